// What a new feed shall be: what was said by flags or answers first, then what the sample shows, then the defaults. Pure.
// Invariant: what was said is never changed; what contradicts it is told.

import { KEY_CHARS_MAX, typeName } from './columns.ts';
import type { Feed, Field, FieldType } from './feed.ts';
import type { FieldEvidence, Proposal } from './propose.ts';

/** undefined: not said. */
export type FeedWishes = {
  readonly name: string;
  readonly type?: Feed['type'] | undefined;
  readonly destination?: Feed['destination'] | undefined;
  readonly topic?: string | undefined;
  readonly fields?: readonly { readonly name: string; readonly type: FieldType | null }[] | undefined;
  readonly key?: readonly string[] | undefined;
  /** null: none. */
  readonly eventTime?: string | null | undefined;
  readonly retentionDays?: number | undefined;
  readonly retentionVersions?: number | undefined;
  readonly mysqlTable?: string | undefined;
  readonly mysqlReaders?: readonly string[] | undefined;
  readonly lakeGroup?: string | undefined;
};

export type FeedChoice = Pick<
  Feed,
  'name' | 'type' | 'destination' | 'topic' | 'fields' | 'keyFields' | 'keyFrom' | 'eventTime'
> & {
  readonly mysqlTable: string | null;
  readonly retention: { readonly days: number | null; readonly versions: number | null };
  readonly permissions: { readonly mysqlReaders: readonly string[]; readonly lakeGroup: string | null };
};

/** A key that nobody named is left empty: the configuration's own rules then tell it. */
export function chooseFeed(wishes: FeedWishes, proposal: Proposal | null): FeedChoice {
  const { name } = wishes;
  const isTable = wishes.key !== undefined || wishes.retentionVersions !== undefined;
  const type = wishes.type ?? (isTable ? 'table' : (proposal?.type ?? 'stream'));
  const destination = wishes.destination ?? (type === 'table' ? 'both' : 'data_lake');
  const wanted = fieldsOf(wishes, proposal, destination);
  const key = type === 'table' ? keyOf(wishes, proposal, wanted) : { fields: [], from: 'value' as const, sources: [] };
  const fields = wanted === null ? null : withKey(wanted, key, wishes);
  return {
    ...{ name, type, destination, topic: wishes.topic ?? name, fields },
    ...{
      keyFields: key.fields,
      keyFrom: key.from,
      eventTime: wishes.eventTime !== undefined ? wishes.eventTime : eventTimeOf(type, proposal, fields),
    },
    mysqlTable: wishes.mysqlTable ?? (destination === 'data_lake' ? null : `fact_${name}`),
    retention: { days: wishes.retentionDays ?? null, versions: wishes.retentionVersions ?? null },
    permissions: { mysqlReaders: wishes.mysqlReaders ?? [], lakeGroup: wishes.lakeGroup ?? null },
  };
}

const REST = { required: false, format: { kind: 'iso8601' }, onExcess: 'dead_letter', timezone: null } as const;
/** A column of a warehouse that is grouped and joined by is no LONGTEXT: four times what was seen, and more. */
const SHORT_CHARS_MAX = 64;
const TEXT: FieldType = { kind: 'varchar', charsMax: null };

/** null: to be inferred from the first messages. */
function fieldsOf({ fields }: FeedWishes, proposal: Proposal | null, destination: Feed['destination']): readonly Field[] | null {
  const isShort = ({ charsMax, field }: FieldEvidence): boolean =>
    destination !== 'data_lake' &&
    field.type.kind === 'varchar' &&
    charsMax !== null &&
    charsMax > 0 &&
    charsMax <= SHORT_CHARS_MAX;
  const seen =
    proposal?.fields.map(
      (one): Field => (isShort(one) ? { ...one.field, type: { kind: 'varchar', charsMax: KEY_CHARS_MAX } } : one.field),
    ) ?? [];
  if (!fields) return seen.length > 0 ? seen : null;
  return fields.map(({ name, type }): Field => {
    const same =
      seen.find(({ from }) => from[0] === name) ?? seen.find((field) => field.name.toLowerCase() === name.toLowerCase());
    if (!same) return { name, from: [name], type: type ?? TEXT, ...REST };
    const isTime = (type ?? same.type)?.kind === 'timestamp' || (type ?? same.type)?.kind === 'date';
    return { ...same, name, type: type ?? same.type, format: isTime ? same.format : REST.format };
  });
}

type ChosenKey = { readonly fields: readonly string[]; readonly from: Feed['keyFrom']; readonly sources: readonly string[] };

function keyOf({ key }: FeedWishes, proposal: Proposal | null, fields: readonly Field[] | null): ChosenKey {
  const proposed = proposal?.key ?? null;
  if (key === undefined)
    return { fields: proposed?.fields ?? [], from: proposed?.from ?? 'value', sources: proposed?.names ?? [] };
  const isProposed =
    proposed !== null && key.length === proposed.fields.length && key.every((name, at) => name === proposed.fields[at]);
  // The name of a key that has none of its own is the person's.
  const isNamed = proposed?.from === 'message_key' && key.length === proposed.names.length;
  const isHeld = key.every((name) => fields === null || fields.some((field) => field.name === name));
  if (isProposed) return { fields: key, from: proposed.from, sources: proposed.names };
  if (isHeld) return { fields: key, from: 'value', sources: key };
  if (isNamed) return { fields: key, from: 'message_key', sources: proposed.names[0] === 'message_key' ? key : proposed.names };
  return { fields: key, from: proposed === null ? 'value' : 'message_key', sources: key };
}

function withKey(fields: readonly Field[], key: ChosenKey, { fields: said }: FeedWishes): readonly Field[] {
  const keyType = (type: FieldType | null, isSaid: boolean): FieldType =>
    !isSaid && (type === null || (type.kind === 'varchar' && type.charsMax === null))
      ? { kind: 'varchar', charsMax: KEY_CHARS_MAX }
      : (type ?? TEXT);
  const own = key.from === 'message_key' ? key.fields.filter((name) => !fields.some((field) => field.name === name)) : [];
  const added = own.map((name): Field => {
    const from = key.sources[key.fields.indexOf(name)] ?? name;
    return { ...REST, name, from: [from], type: keyType(null, false), required: true };
  });
  const isSaid = (name: string): boolean => said?.some((field) => field.name === name && field.type !== null) === true;
  const rest = fields.map((field) =>
    key.fields.includes(field.name) ? { ...field, type: keyType(field.type, isSaid(field.name)), required: true } : field,
  );
  return [...added, ...rest];
}

function eventTimeOf(type: Feed['type'], proposal: Proposal | null, fields: readonly Field[] | null): string | null {
  const name = type === 'stream' ? (proposal?.eventTime ?? null) : null;
  const field = fields?.find((one) => one.name === name);
  return field?.type?.kind === 'timestamp' || field?.type?.kind === 'date' ? name : null;
}

/** What was said now and is otherwise in feeds.json already, each in a few words. */
export function contradictions(feed: Feed, wishes: FeedWishes): string[] {
  const found: string[] = [];
  const compare = (what: string, said: unknown, is: unknown): void => {
    if (said !== undefined && said !== is) found.push(`${what} is ${is ?? 'not set'} there, not ${said ?? 'unset'}`);
  };
  const listed = (fields: readonly { readonly name: string; readonly type: FieldType | null }[] | null | undefined) =>
    fields?.map(({ name, type }) => (type === null ? name : `${name}:${typeName(type)}`)).join(',');
  compare('feed_type', wishes.type, feed.type);
  compare('destination', wishes.destination, feed.destination);
  compare('topic', wishes.topic, feed.topic);
  const types = wishes.fields?.map(({ name, type }) => ({ name, type: type === null ? null : type }));
  const known = feed.fields?.map(({ name, type }) => ({
    name,
    type: types?.find((one) => one.name === name)?.type === null ? null : type,
  }));
  compare('fields', listed(types), listed(known) ?? null);
  compare('key_field', wishes.key?.join(','), feed.keyFields.join(',') || null);
  compare('event_time', wishes.eventTime, feed.eventTime);
  compare('retention_days', wishes.retentionDays, feed.retention.days);
  compare('retention_versions', wishes.retentionVersions, feed.retention.versions);
  compare('mysql_table', wishes.mysqlTable, feed.mysqlTable);
  compare('mysql_readers', wishes.mysqlReaders?.join(','), feed.permissions.mysqlReaders.join(',') || null);
  compare('lake_group', wishes.lakeGroup, feed.permissions.lakeGroup);
  return found;
}
