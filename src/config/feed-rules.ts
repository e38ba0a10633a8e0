// One feed of feeds.json to a Feed: defaults by type, and every combination that makes no sense refused by name (DESIGN §2, §5).
// Problems are relative to the feed.
import type { Feed, FeedStart, Field } from '../model/feed.ts';
import { parseSnapshotEvery } from '../model/snapshot.ts';
import { isTime, readFields } from './feed-fields.ts';
import type { JsonPath, Problem } from './issues.ts';
import type { RawFeed } from './schema.ts';
import { didYouMean } from './suggest.ts';

export type ReadFeed = { readonly feed: Feed; readonly problems: readonly Problem[] };

type Say = (path: JsonPath, message: string) => void;

export function readFeed(
  raw: RawFeed,
  more: { readonly createdBy: number; readonly warehouseEngine: 'mysql' | 'duckdb' },
): ReadFeed {
  const problems: Problem[] = [];
  const say: Say = (path, message) => problems.push({ path, message });
  const { fields, problems: ofFields } = readFields(raw);
  problems.push(...ofFields);
  const keyFields = [raw.schema?.key_field ?? []].flat();
  checkKind(raw, say);
  checkKey(raw, { keyFields, fields }, say);
  checkEventTime(raw, fields, say);
  checkRetention(raw, say);
  checkDimensions(raw, fields, say);
  if (more.warehouseEngine === 'mysql' && (raw.destination ?? 'data_lake') !== 'data_lake') checkMysqlTypes(fields, say);
  return { feed: toFeed(raw, { fields, keyFields, createdBy: more.createdBy, start: readStart(raw, say) }), problems };
}

type Parts = {
  readonly fields: readonly Field[] | null;
  readonly keyFields: readonly string[];
  readonly createdBy: number;
  readonly start: FeedStart;
};

function toFeed(raw: RawFeed, parts: Parts): Feed {
  const stream = raw.feed_type === 'stream';
  const destination = raw.destination ?? 'data_lake';
  return {
    name: raw.feed_name,
    topic: raw.topic ?? raw.feed_name,
    type: raw.feed_type,
    destination,
    enabled: raw.enabled ?? true,
    partitioning: raw.partitioning ?? (stream ? 'date' : 'version'),
    storageMode: raw.storage_mode ?? (stream ? 'append' : 'overwrite'),
    start: parts.start,
    eventTime: raw.event_time ?? null,
    fields: parts.fields,
    keyFields: parts.keyFields,
    keyFrom: raw.schema?.key_from ?? 'value',
    unknownFields: raw.unknown_fields ?? 'ignore',
    headers: raw.headers ?? false,
    deadLettersMaxRatio: raw.dead_letters_max_ratio ?? 0.5,
    snapshotEvery: raw.snapshot_every ?? 'day',
    mysqlTable: raw.mysql_table ?? (destination === 'data_lake' ? null : `fact_${raw.feed_name}`),
    dimensions: (raw.dimensions ?? []).map(({ table, key, attributes }) => ({ table, key, attributes: attributes ?? [] })),
    retention: {
      days: raw.retention?.retention_days ?? null,
      versions: raw.retention?.retention_versions ?? null,
      autoDelete: raw.retention?.auto_delete ?? false,
    },
    permissions: {
      mysqlReaders: raw.permissions?.mysql_readers ?? [],
      lakeGroup: raw.permissions?.lake_group ?? null,
      lakeMode: raw.permissions?.lake_mode ?? null,
    },
    createdBy: parts.createdBy,
  };
}

/** What belongs to streams only or to tables only. */
function checkKind(raw: RawFeed, say: Say): void {
  if (raw.feed_type === 'stream') {
    if (raw.partitioning === 'version') say(['partitioning'], 'a stream cannot be partitioned by version; say "date"');
    if (raw.storage_mode === 'overwrite') say(['storage_mode'], 'a stream cannot be overwritten; say "append"');
    if (raw.snapshot_every !== undefined)
      say(['snapshot_every'], 'snapshot_every has no meaning for a stream: it has no snapshots');
    return;
  }
  if (raw.partitioning === 'date') say(['partitioning'], 'a table cannot be partitioned by date; say "version"');
  if (raw.storage_mode === 'append') say(['storage_mode'], 'a table cannot be in append mode; say "overwrite"');
  if (raw.snapshot_every !== undefined && parseSnapshotEvery(raw.snapshot_every) === null) {
    say(
      ['snapshot_every'],
      `snapshot_every "${raw.snapshot_every}" must be "day", "hour" or minutes from "1m" to "1440m"${didYouMean(raw.snapshot_every, ['day', 'hour'])}`,
    );
  }
}

function checkKey(
  raw: RawFeed,
  { keyFields, fields }: { keyFields: readonly string[]; fields: readonly Field[] | null },
  say: Say,
): void {
  const path = raw.schema?.key_field == null ? ['schema'] : ['schema', 'key_field'];
  if (raw.feed_type === 'stream') {
    if (keyFields.length > 0) say(path, 'key_field has no meaning for a stream: every message is a row');
    if (raw.schema?.key_from === 'message_key')
      say(['schema', 'key_from'], 'key_from has no meaning for a stream: every message is a row');
    return;
  }
  if (keyFields.length === 0) say(path, 'a table needs a key: schema.key_field is missing');
  for (const [index, name] of keyFields.entries()) {
    if (keyFields.indexOf(name) !== index) say(path, `"${name}" is twice in key_field`);
    const field = declared(name, { fields, as: 'key_field', path }, say);
    if (field?.type && ['struct', 'list', 'json'].includes(field.type.kind)) {
      say(path, `key_field "${name}" is a ${field.type.kind.toUpperCase()}, which cannot be compared as a key`);
    }
  }
}

/** The named field, or null; a field that is not declared is told, unless all fields are to be inferred. */
function declared(name: string, at: { fields: readonly Field[] | null; as: string; path: JsonPath }, say: Say): Field | null {
  if (at.fields === null) return null;
  const field = at.fields.find((candidate) => candidate.name === name) ?? null;
  const names = at.fields.map((candidate) => candidate.name);
  if (field === null) say(at.path, `field "${name}" in ${at.as} is not declared${didYouMean(name, names)}`);
  return field;
}

function checkEventTime(raw: RawFeed, fields: readonly Field[] | null, say: Say): void {
  const name = raw.event_time ?? null;
  if (name === null) return;
  const field = declared(name, { fields, as: 'event_time', path: ['event_time'] }, say);
  if (field?.type && !isTime(field.type)) {
    say(['event_time'], `field "${name}" in event_time is a ${field.type.kind.toUpperCase()}; it must be a TIMESTAMP or a DATE`);
  }
}

function checkRetention(raw: RawFeed, say: Say): void {
  const { retention_days: days, retention_versions: versions, auto_delete: autoDelete } = raw.retention ?? {};
  const stream = raw.feed_type === 'stream';
  if (stream && versions != null)
    say(['retention', 'retention_versions'], 'retention_versions has no meaning for a stream; say retention_days');
  if (!stream && days != null)
    say(['retention', 'retention_days'], 'retention_days has no meaning for a table; say retention_versions');
  if (autoDelete && days == null && versions == null) {
    say(['retention', 'auto_delete'], `auto_delete needs ${stream ? 'retention_days' : 'retention_versions'}`);
  }
}

function checkDimensions(raw: RawFeed, fields: readonly Field[] | null, say: Say): void {
  for (const [index, dimension] of (raw.dimensions ?? []).entries()) {
    const path: JsonPath = ['dimensions', index];
    if ((raw.destination ?? 'data_lake') === 'data_lake')
      say(path, `dimension "${dimension.table}" needs destination "data_warehouse" or "both"`);
    declared(dimension.key, { fields, as: `the key of dimension "${dimension.table}"`, path: [...path, 'key'] }, say);
    for (const [at, name] of (dimension.attributes ?? []).entries()) {
      declared(name, { fields, as: `the attributes of dimension "${dimension.table}"`, path: [...path, 'attributes', at] }, say);
    }
  }
}

/** MySQL's own limits where they are below ours: a utf8mb4 column within a row of 65,535 bytes, 30 fraction digits. */
function checkMysqlTypes(fields: readonly Field[] | null, say: Say): void {
  for (const { name, type } of fields ?? []) {
    const path = ['schema', 'fields', name, 'type'];
    if (type?.kind === 'varchar' && (type.charsMax ?? 0) > 16_383) {
      say(path, `field "${name}": MySQL has at most VARCHAR(16383); say VARCHAR without a length`);
    }
    if (type?.kind === 'decimal' && type.scale > 30)
      say(path, `field "${name}": MySQL has at most 30 fraction digits, not ${type.scale}`);
  }
}

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

function readStart(raw: RawFeed, say: Say): FeedStart {
  const text = raw.start ?? 'earliest';
  if (text === 'earliest') return { kind: text };
  if (raw.feed_type === 'table') {
    say(['start'], `a table cannot start at "${text}": its state needs every message; say "earliest"`);
    return { kind: 'earliest' };
  }
  if (text === 'latest' || text === 'group') return { kind: text };
  const match = TIMESTAMP.exec(text);
  // Without an offset a timestamp is UTC, here as everywhere; JavaScript would take the local zone.
  const ms = match
    ? Date.parse(text.length > 10 && match[1] === undefined ? `${text.replace(' ', 'T')}Z` : text.replace(' ', 'T'))
    : Number.NaN;
  if (ms >= 0 && isCalendarDay(text)) return { kind: 'timestamp', ms };
  say(
    ['start'],
    `start "${text}" must be "earliest", "latest", "group" or a time like "2025-01-28T00:00:00Z"${didYouMean(text, ['earliest', 'latest', 'group'])}`,
  );
  return { kind: 'earliest' };
}

/** Date.parse takes February 30 for March 2. */
function isCalendarDay(text: string): boolean {
  const day = text.slice(0, 10);
  const ms = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 10) === day;
}
