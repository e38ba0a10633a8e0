// What `lake feeds add` does for a feed, in order, made of what is there already. Pure: the same plan is printed by a dry run, shown before
// it is done, and performed. Invariant: a step that is done is `there` for the next plan, so a run that was killed is ended by another.

import { typeName } from './columns.ts';
import type { Feed } from './feed.ts';
import { unifiedDiff } from './unified-diff.ts';

export type StepName = 'topic' | 'configuration' | 'sql' | 'registry' | 'table' | 'permissions' | 'audit';

export type Step = {
  readonly step: StepName;
  /** What it is about, by name. */
  readonly what: string;
  /** left: not for this command, and `note` says for whom. */
  readonly state: 'to_do' | 'there' | 'left';
  readonly note: string;
  /** As `diff -u` writes it; empty when nothing changes, or nothing of it is a text. */
  readonly diff: string;
};

export type TopicShape = { readonly partitions: number; readonly replicationFactor: number };

/** A text before and after; null: it is not there. */
export type Change = { readonly name: string; readonly before: string | null; readonly after: string };

/** Columns with their values, a line each. */
type RowText = string;

export type RegistryFacts = {
  /** Where the rows are, for a person: `database data_warehouse`. */
  readonly place: string;
  /** `before`: null where there is no row yet; the same as `after`: nothing to do. */
  readonly rows: readonly { readonly table: string; readonly before: RowText | null; readonly after: RowText }[];
};

export type AddFacts = {
  readonly feed: Feed;
  readonly topic: {
    readonly shape: TopicShape | null;
    readonly wanted: (TopicShape & { readonly settings: ReadonlyMap<string, string> }) | null;
  };
  readonly configuration: Change;
  /** null: the feed has no table, or its columns are not known yet. */
  readonly sql: Change | null;
  /** null: there is no database to register in. */
  readonly registry: RegistryFacts | null;
  /** null: the feed has no table. `columns` false: they come with the first messages. */
  readonly table: { readonly name: string; readonly columnsKnown: boolean; readonly missing: readonly string[] } | null;
  /** Who is to be let in; null: nobody is. `missing`: those that are not yet. */
  readonly permissions: { readonly wanted: readonly string[]; readonly missing: readonly string[] } | null;
  readonly isAudited: boolean;
};

export function planFeed(facts: AddFacts): readonly Step[] {
  return [
    planTopic(facts),
    planConfiguration(facts),
    ...planSql(facts),
    ...planRegistry(facts),
    ...planTable(facts),
    ...planPermissions(facts),
    planAudit(facts),
  ];
}

/** Before the feed: a running ingest may look for it at once. */
function planTopic({ feed, topic: { shape, wanted } }: AddFacts): Step {
  const what = `topic ${feed.topic}`;
  if (shape === null && wanted !== null) {
    const settings = [...wanted.settings].map(([name, value]) => `${name}=${value}`);
    const text = [`partitions=${wanted.partitions}`, `replication.factor=${wanted.replicationFactor}`, ...settings].join('\n');
    const note = `${wanted.partitions} partitions, replication factor ${wanted.replicationFactor}`;
    return { step: 'topic', what, state: 'to_do', note, diff: unifiedDiff(`kafka topic ${feed.topic}`, null, `${text}\n`) };
  }
  const partitions = shape === null ? 'not asked for' : `${shape.partitions} partitions`;
  const differs = wanted !== null && shape !== null && wanted.partitions !== shape.partitions;
  return {
    step: 'topic',
    what,
    state: 'there',
    note: differs ? `${partitions}: it was there before, and stays as it is` : partitions,
    diff: '',
  };
}

function planConfiguration({ configuration: { name, before, after }, feed }: AddFacts): Step {
  const isThere = before === after;
  const fields = feed.fields === null ? 'fields from its first messages' : `${feed.fields.length} fields`;
  const off = feed.enabled ? '' : `; not enabled:  lake feeds enable ${feed.name}`;
  const note = `${feed.type}, ${feed.destination}, ${fields}${off}`;
  return { step: 'configuration', what: name, state: isThere ? 'there' : 'to_do', note, diff: unifiedDiff(name, before, after) };
}

function planSql({ sql }: AddFacts): Step[] {
  if (sql === null) return [];
  const { name, before, after } = sql;
  if (before === null)
    return [{ step: 'sql', what: name, state: 'to_do', note: 'the table, as it is made', diff: unifiedDiff(name, null, after) }];
  const note = before === after ? 'the table, as it is made' : 'it was changed since, and stays as it is';
  return [{ step: 'sql', what: name, state: 'there', note, diff: '' }];
}

function planRegistry({ registry }: AddFacts): Step[] {
  if (registry === null) return [];
  const { place, rows } = registry;
  const changed = rows.filter(({ before, after }) => before !== after);
  const diff = changed.map(({ table, before, after }) => unifiedDiff(`${table} (${place})`, before, after));
  const note = rows.map(({ table }) => table).join(', ');
  return [{ step: 'registry', what: place, state: changed.length > 0 ? 'to_do' : 'there', note, diff: diff.join('') }];
}

function planTable({ table }: AddFacts): Step[] {
  if (table === null) return [];
  const what = table.name;
  if (!table.columnsKnown) {
    const note = 'lake ingest makes it when the first messages show its columns';
    return [{ step: 'table', what, state: 'left', note, diff: '' }];
  }
  const state = table.missing.length > 0 ? 'to_do' : 'there';
  return [{ step: 'table', what, state, note: table.missing.join(', ') || 'as its feed needs it', diff: '' }];
}

function planPermissions({ permissions, table }: AddFacts): Step[] {
  if (permissions === null) return [];
  const { wanted, missing } = permissions;
  const what = wanted.join(', ');
  if (table === null || !table.columnsKnown) {
    const note = 'lake ingest lets them in when there is something to read';
    return [{ step: 'permissions', what, state: 'left', note, diff: '' }];
  }
  const lines = (names: readonly string[]): string => names.map((name) => `${name}\n`).join('');
  const diff = unifiedDiff('feed_permissions', lines(wanted.filter((name) => !missing.includes(name))), lines(wanted));
  return [{ step: 'permissions', what, state: missing.length > 0 ? 'to_do' : 'there', note: 'may read', diff }];
}

const planAudit = ({ isAudited }: AddFacts): Step => ({
  step: 'audit',
  what: 'feed_added',
  state: isAudited ? 'there' : 'to_do',
  note: 'who, when, and what the feed is',
  diff: '',
});

/** A message that the feed takes, to try it with; key: null where none is needed. */
export function exampleMessage(feed: Feed): { readonly key: string | null; readonly value: string } {
  const fields = feed.fields ?? [];
  const isFromKey = (name: string): boolean => feed.keyFrom === 'message_key' && feed.keyFields.includes(name);
  const nested = (path: readonly string[], value: unknown): unknown =>
    path.reduceRight((held, name) => ({ [name]: held }), value);
  const value: Record<string, unknown> = {};
  for (const field of fields) {
    const [first = field.name, ...rest] = field.from;
    if (!isFromKey(field.name) && !(first in value)) value[first] = nested(rest, exampleOf(field));
  }
  const keys = fields.filter(({ name }) => feed.keyFields.includes(name));
  const parts = Object.fromEntries(keys.map((field) => [field.from.at(-1) ?? field.name, exampleOf(field)]));
  const [only] = Object.values(parts);
  const key = keys.length === 1 ? String(only) : JSON.stringify(parts);
  return { key: feed.type === 'table' ? key : null, value: JSON.stringify(value) };
}

type Typed = Pick<NonNullable<Feed['fields']>[number], 'name' | 'type' | 'format'>;

function exampleOf({ name, type, format }: Typed): unknown {
  switch (type?.kind) {
    case 'bigint':
    case 'integer':
    case 'double':
      return 1;
    case 'decimal':
      return type.scale === 0 ? 1 : 0.5;
    case 'boolean':
      return true;
    case 'date':
      return '2025-01-28';
    case 'timestamp':
      return format.kind === 'epoch_ms' ? 1_738_094_400_000 : format.kind === 'epoch_s' ? 1_738_094_400 : '2025-01-28T20:00:00Z';
    case 'blob':
      return 'bGFrZQ==';
    case 'json':
      return {};
    case 'list':
      return [];
    case 'struct':
      return Object.fromEntries(type.fields.map((field) => [field.name, exampleOf({ ...field, format })]));
    default:
      return [...`${name}_1`].slice(0, type?.kind === 'varchar' ? (type.charsMax ?? undefined) : undefined).join('');
  }
}

/** For the journal: what was added. */
export const feedDetails = (feed: Feed): Readonly<Record<string, string>> => ({
  ...{ type: feed.type, topic: feed.topic, destination: feed.destination },
  fields: feed.fields?.map(({ name, type }) => (type === null ? name : `${name} ${typeName(type)}`)).join(', ') ?? 'inferred',
});
