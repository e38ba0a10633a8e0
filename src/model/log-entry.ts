// One entry of a feed's commit log: what it says, and its JSON. Pure; the checksum is added and checked by lake/entry-codec.
// Invariant: entryToJson and parseEntry are inverse; messages = rows + dead letters + tombstones in every range.

import { LakeError } from '../errors.ts';
import { NO_SNAPSHOT_PARTS, parseParts, partsToJson, type SnapshotParts } from './entry-snapshot.ts';
import {
  arrayAt,
  intAt,
  type JsonObject,
  type JsonValue,
  nullOr,
  objectAt,
  offsetAt,
  parseFailure,
  stringAt,
  stringsAt,
  textMapAt,
} from './json-fields.ts';
import type { Offset } from './offsets.ts';

export const ENTRY_FORMAT = 1;

/** PROTOCOL R4. Kinds that this version cannot fold are refused by `fold`, never skipped. */
export const ENTRY_KINDS = [
  'append',
  'publish',
  'seal',
  'compact',
  'retain',
  'rewind',
  'retry',
  'drop',
  'schema',
  'config',
  'gap',
  'hole',
  'stop',
  'adopt',
  'fence',
  'rebuild',
] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** The last message of a range, to recognise a re-created topic (K4). */
export type LastMessage = { readonly offset: Offset; readonly timestampMs: number; readonly hash: string };

export type RangeCounts = {
  readonly messages: number;
  readonly rows: number;
  readonly deadLetters: number;
  readonly tombstones: number;
};

/** Offsets [start, end) of one partition; at most one range a partition in an entry. Empty ranges are committed too (K1). */
export type CommittedRange = RangeCounts & {
  readonly partition: number;
  readonly start: Offset;
  readonly end: Offset;
  /** null: the range holds no message. */
  readonly last: LastMessage | null;
  readonly timestampMsMax: number | null;
};

export type LakeFile = {
  /** `state`: the deleted keys of a table, with their coordinates. */
  readonly kind: 'data' | 'dead_letters' | 'state';
  /** Key under the writer's staging folder; where the file lies until it is rolled forward. */
  readonly staged: string;
  /** Final key, and the file's identity in the log. */
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Partition values by column: {year: '2025', month: '01', day: '28'}. */
  readonly values: Readonly<Record<string, string>>;
  /** ISO 8601 UTC, or null without rows that have an event time. */
  readonly eventTimeMin: string | null;
  readonly eventTimeMax: string | null;
};

/** Offsets that Kafka no longer has, or that were left to the programs before us (`takeover`). */
export type Gap = { readonly partition: number; readonly start: Offset; readonly end: Offset; readonly reason: string };

/** `fields` is opaque here: the schema's own JSON. `version` is the one before + 1, from 1. */
export type LogSchema = { readonly version: number; readonly fields: readonly JsonValue[] };

/** What a commit wants to change and what it relied on. Made with `proposal()`, completed to an entry by the log. */
export type Proposal = SnapshotParts & {
  readonly kind: EntryKind;
  /** Unique; a commit is recognised as one's own by it. */
  readonly batch: string;
  /** The epoch and the schema version that were used; 0: no schema is pinned. */
  readonly epoch: number;
  readonly schemaVersion: number;
  /** null: this entry does not depend on it. */
  readonly clusterId: string | null;
  readonly topic: string | null;
  readonly ranges: readonly CommittedRange[];
  readonly gaps: readonly Gap[];
  readonly added: readonly LakeFile[];
  readonly removed: readonly string[];
  readonly schema: LogSchema | null;
  readonly fence: { readonly writer: string } | null;
  /** reason null: the feed is enabled again. */
  readonly stop: { readonly reason: string | null } | null;
  /** Pins to set; `replaces` is the log version of the newest config entry that was seen (0: none). */
  readonly config: { readonly replaces: number; readonly values: Readonly<Record<string, string>> } | null;
};

export type LogEntry = Proposal & {
  readonly version: number;
  readonly feed: string;
  readonly writer: string;
  /** ISO 8601 UTC. */
  readonly at: string;
};

/** A proposal with nothing in it but what is given. */
export const proposal = (given: Pick<Proposal, 'kind' | 'batch' | 'epoch' | 'schemaVersion'> & Partial<Proposal>): Proposal => ({
  clusterId: null,
  topic: null,
  ranges: [],
  gaps: [],
  added: [],
  removed: [],
  schema: null,
  fence: null,
  stop: null,
  config: null,
  ...NO_SNAPSHOT_PARTS,
  ...given,
});

const rangeToJson = (range: CommittedRange): JsonObject => ({
  partition: range.partition,
  start: String(range.start),
  end: String(range.end),
  messages: range.messages,
  rows: range.rows,
  dead_letters: range.deadLetters,
  tombstones: range.tombstones,
  last: range.last && lastToJson(range.last),
  timestamp_ms_max: range.timestampMsMax,
});

export const lastToJson = (last: LastMessage): JsonObject => ({
  offset: String(last.offset),
  timestamp_ms: last.timestampMs,
  hash: last.hash,
});

export const fileToJson = (file: LakeFile): JsonObject => ({
  kind: file.kind,
  staged: file.staged,
  path: file.path,
  rows: file.rows,
  bytes: file.bytes,
  sha256: file.sha256,
  values: { ...file.values },
  event_time_min: file.eventTimeMin,
  event_time_max: file.eventTimeMax,
});

export const gapToJson = (gap: Gap): JsonObject => ({
  partition: gap.partition,
  start: String(gap.start),
  end: String(gap.end),
  reason: gap.reason,
});

/** The entry's JSON without its checksum; what the checksum is taken of. */
export const entryToJson = (entry: LogEntry): JsonObject => ({
  format: ENTRY_FORMAT,
  version: entry.version,
  feed: entry.feed,
  kind: entry.kind,
  writer: entry.writer,
  batch: entry.batch,
  at: entry.at,
  epoch: entry.epoch,
  schema_version: entry.schemaVersion,
  cluster_id: entry.clusterId,
  topic: entry.topic,
  ranges: entry.ranges.map(rangeToJson),
  gaps: entry.gaps.map(gapToJson),
  added: entry.added.map(fileToJson),
  removed: [...entry.removed],
  schema: entry.schema && { version: entry.schema.version, fields: [...entry.schema.fields] },
  fence: entry.fence && { writer: entry.fence.writer },
  stop: entry.stop && { reason: entry.stop.reason },
  config: entry.config && { replaces: entry.config.replaces, values: { ...entry.config.values } },
  // Entries from before there were tables keep their bytes, and so their checksums.
  ...partsToJson(entry),
});

export const parseLast = (value: unknown, at: string): LastMessage => {
  const json = objectAt(value, at);
  return {
    offset: offsetAt(json['offset'], `${at}.offset`),
    timestampMs: intAt(json['timestamp_ms'], `${at}.timestamp_ms`),
    hash: stringAt(json['hash'], `${at}.hash`),
  };
};

const parseRange = (value: unknown, at: string): CommittedRange => {
  const json = objectAt(value, at);
  const count = (name: string) => intAt(json[name], `${at}.${name}`, 0);
  return {
    partition: count('partition'),
    start: offsetAt(json['start'], `${at}.start`),
    end: offsetAt(json['end'], `${at}.end`),
    messages: count('messages'),
    rows: count('rows'),
    deadLetters: count('dead_letters'),
    tombstones: count('tombstones'),
    last: nullOr(json['last'], `${at}.last`, parseLast),
    timestampMsMax: nullOr(json['timestamp_ms_max'], `${at}.timestamp_ms_max`, intAt),
  };
};

export const parseFile = (value: unknown, at: string): LakeFile => {
  const json = objectAt(value, at);
  const kind = json['kind'];
  if (kind !== 'data' && kind !== 'dead_letters' && kind !== 'state') throw parseFailure(`${at}.kind`, 'a kind of file', kind);
  return {
    kind,
    staged: stringAt(json['staged'], `${at}.staged`),
    path: stringAt(json['path'], `${at}.path`),
    rows: intAt(json['rows'], `${at}.rows`, 0),
    bytes: intAt(json['bytes'], `${at}.bytes`, 0),
    sha256: stringAt(json['sha256'], `${at}.sha256`),
    values: textMapAt(json['values'], `${at}.values`),
    eventTimeMin: nullOr(json['event_time_min'], `${at}.event_time_min`, stringAt),
    eventTimeMax: nullOr(json['event_time_max'], `${at}.event_time_max`, stringAt),
  };
};

export const parseGap = (value: unknown, at: string): Gap => {
  const json = objectAt(value, at);
  return {
    partition: intAt(json['partition'], `${at}.partition`, 0),
    start: offsetAt(json['start'], `${at}.start`),
    end: offsetAt(json['end'], `${at}.end`),
    reason: stringAt(json['reason'], `${at}.reason`),
  };
};

export const parseSchema = (value: unknown, at: string): LogSchema => {
  const json = objectAt(value, at);
  return {
    version: intAt(json['version'], `${at}.version`, 1),
    fields: arrayAt(json['fields'], `${at}.fields`, (field) => field),
  };
};

const parseKind = (value: unknown): EntryKind => {
  const kind = ENTRY_KINDS.find((known) => known === value);
  if (kind === undefined) throw new LakeError('lake_foreign_format', `log entry has the unknown kind ${JSON.stringify(value)}`);
  return kind;
};

/** Parses an entry at the border. Throws lake_damaged naming the field, or lake_foreign_format. */
export const parseEntry = (value: unknown): LogEntry => {
  const json = objectAt(value, 'entry');
  const format = intAt(json['format'], 'format', 1);
  if (format > ENTRY_FORMAT) {
    throw new LakeError('lake_foreign_format', `log entry has format ${format}, newer than ${ENTRY_FORMAT}`);
  }
  return {
    version: intAt(json['version'], 'version', 1),
    feed: stringAt(json['feed'], 'feed'),
    kind: parseKind(json['kind']),
    writer: stringAt(json['writer'], 'writer'),
    batch: stringAt(json['batch'], 'batch'),
    at: stringAt(json['at'], 'at'),
    epoch: intAt(json['epoch'], 'epoch', 0),
    schemaVersion: intAt(json['schema_version'], 'schema_version', 0),
    clusterId: nullOr(json['cluster_id'], 'cluster_id', stringAt),
    topic: nullOr(json['topic'], 'topic', stringAt),
    ranges: arrayAt(json['ranges'], 'ranges', parseRange),
    gaps: arrayAt(json['gaps'], 'gaps', parseGap),
    added: arrayAt(json['added'], 'added', parseFile),
    removed: stringsAt(json['removed'], 'removed'),
    schema: nullOr(json['schema'], 'schema', parseSchema),
    fence: nullOr(json['fence'], 'fence', (fence, at) => ({ writer: stringAt(objectAt(fence, at)['writer'], `${at}.writer`) })),
    stop: nullOr(json['stop'], 'stop', (stop, at) => ({
      reason: nullOr(objectAt(stop, at)['reason'], `${at}.reason`, stringAt),
    })),
    config: nullOr(json['config'], 'config', (config, at) => ({
      replaces: intAt(objectAt(config, at)['replaces'], `${at}.replaces`, 0),
      values: textMapAt(objectAt(config, at)['values'], `${at}.values`),
    })),
    ...parseParts(json),
  };
};
