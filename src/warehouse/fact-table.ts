// The tables of a feed in the warehouse: its fact table and its dimensions, with columns and indexes in order (DESIGN §5).
// Pure. Invariant: no two columns of a table are one name in SQL; a column of ours that a feed declares itself is called lake_<name>.

import { assert } from '../errors.ts';
import type { Feed, Field, FieldType, TypedField } from '../model/feed.ts';
import type { Dialect } from './dialect.ts';
import { type IndexPart, indexParts, varcharRowBytes } from './mysql-types.ts';

/** What a column of ours holds, where no field type says it. */
export type OwnKind = 'id' | 'key_hash' | 'created_at' | 'updated_at';

export type OwnHolds = { readonly kind: OwnKind };

export type SqlColumn = {
  readonly name: string;
  /** As SQL takes it. */
  readonly quoted: string;
  /** key: part of the natural key, compared byte by byte. lake: a column of ours. */
  readonly role: 'key' | 'field' | 'lake';
  /** What it must be able to hold; an existing table is compared with this, not with `type`. */
  readonly holds: FieldType | OwnHolds;
  /** As CREATE TABLE says it, without NULL or NOT NULL. */
  readonly type: string;
  /** All of it after the name, in a new table. */
  readonly definition: string;
  /** null: a column of ours, or `extra`. */
  readonly field: Field | null;
};

export type SqlIndex = {
  readonly name: string;
  readonly kind: 'primary' | 'unique' | 'plain';
  readonly parts: readonly IndexPart[];
};

export type SqlTable = {
  readonly name: string;
  readonly quoted: string;
  readonly columns: readonly SqlColumn[];
  readonly indexes: readonly SqlIndex[];
};

/** Fields of the message first, in their order. `key` is one of the fact's fields, whose hash alone is the dimension's. */
export type DimensionTable = SqlTable & {
  readonly key: SqlColumn;
  readonly attributes: readonly SqlColumn[];
  readonly keyHash: SqlColumn;
  readonly firstSeenAt: SqlColumn;
  readonly lastSeenAt: SqlColumn;
};

/** Columns of ours; null where a stream has none. */
export type FactOwn = {
  readonly id: SqlColumn;
  readonly snapshotDate: SqlColumn | null;
  readonly snapshotVersion: SqlColumn | null;
  readonly keyHash: SqlColumn | null;
  readonly kafkaPartition: SqlColumn;
  readonly kafkaOffset: SqlColumn;
  readonly kafkaTimestamp: SqlColumn;
  readonly createdAt: SqlColumn;
  readonly updatedAt: SqlColumn;
};

export type FactTable = SqlTable & {
  readonly feed: string;
  readonly kind: Feed['type'];
  /** Of the registry and the audit. */
  readonly createdBy: number;
  /** What comes from the message, in the order of valueColumns (model/columns): the fields, and `extra`. */
  readonly values: readonly SqlColumn[];
  /** Those of `values` that are the key, in the order of the key. Empty for a stream. */
  readonly keys: readonly SqlColumn[];
  readonly own: FactOwn;
  /** The view of the newest snapshot; null for a stream. */
  readonly latest: { readonly name: string; readonly quoted: string } | null;
  readonly dimensions: readonly DimensionTable[];
};

/** MySQL's limit on identifiers. */
const NAME_CHARS_MAX = 64;

type Own = { readonly holds: SqlColumn['holds']; readonly definition: string };

const own = (dialect: Dialect, name: string, { holds, definition }: Own): SqlColumn => ({
  name,
  quoted: dialect.name(name),
  role: 'lake',
  holds,
  type: definition.replace(/ (NOT )?NULL.*$/, ''),
  definition,
  field: null,
});

/** Makes columns of ours under names that the feed's fields leave free. */
const ownColumns = (dialect: Dialect, taken: readonly { readonly name: string }[]) => {
  const names = new Set(taken.map(({ name }) => name.toLowerCase()));
  const make = (name: string, holds: SqlColumn['holds'], definition: string): SqlColumn =>
    own(dialect, names.has(name) ? `lake_${name}` : name, { holds, definition });
  const texts = dialect.own;
  return {
    id: () => make('id', { kind: 'id' }, texts.id),
    date: (name: string) => make(name, { kind: 'date' }, texts.date),
    integer: (name: string) => make(name, { kind: 'integer' }, texts.integer),
    bigint: (name: string) => make(name, { kind: 'bigint' }, texts.bigint),
    timestamp: (name: string) => make(name, { kind: 'timestamp' }, texts.timestamp),
    keyHash: () => make('key_hash', { kind: 'key_hash' }, texts.keyHash),
    createdAt: () => make('created_at', { kind: 'created_at' }, texts.createdAt),
    updatedAt: () => make('updated_at', { kind: 'updated_at' }, texts.updatedAt),
  };
};

type Use = { readonly role: 'key' | 'field'; readonly asText: boolean };

const valueColumn = (dialect: Dialect, field: TypedField, { role, asText }: Use): SqlColumn => {
  const { name } = field;
  const type = dialect.type(asText ? { kind: 'varchar', charsMax: null } : field.type, { key: role === 'key' });
  const definition = `${type} ${role === 'key' ? 'NOT NULL' : 'NULL'}`;
  return { name, quoted: dialect.name(name), role, holds: field.type, type, definition, field };
};

const extraColumn = (dialect: Dialect): SqlColumn => {
  const [name, holds] = ['extra', { kind: 'json' }] as const;
  const type = dialect.type(holds, { key: false });
  return { name, quoted: dialect.name(name), role: 'field', holds, type, definition: `${type} NULL`, field: null };
};

/** Columns of fields; the longest VARCHARs are LONGTEXT when together they would not fit in a row. Their length is checked in decode. */
function valueColumns(dialect: Dialect, fields: readonly TypedField[], keys: readonly string[]): SqlColumn[] {
  const bytes = ({ type }: TypedField): number =>
    type.kind === 'varchar' && type.charsMax ? varcharRowBytes(type.charsMax) : 20;
  let sum = fields.reduce((total, field) => total + bytes(field), 0);
  const texts = new Set<TypedField>();
  for (const field of [...fields].sort((a, b) => bytes(b) - bytes(a))) {
    if (sum <= dialect.rowBytesMax) break;
    if (keys.includes(field.name) || field.type.kind !== 'varchar') continue;
    texts.add(field);
    sum -= bytes(field) - 20;
  }
  const roleOf = ({ name }: TypedField): Use['role'] => (keys.includes(name) ? 'key' : 'field');
  return fields.map((field) => valueColumn(dialect, field, { role: roleOf(field), asText: texts.has(field) }));
}

const whole = (...columns: readonly SqlColumn[]): IndexPart[] => columns.map(({ name }) => ({ name, length: null }));

/** By the beginning of long texts. Only for columns of fields. */
const onFields = (columns: readonly SqlColumn[]): IndexPart[] =>
  indexParts(columns.flatMap(({ name, holds }) => (isOwn(holds) ? [] : [{ name, type: holds }])));

const OWN_KINDS: readonly string[] = ['id', 'key_hash', 'created_at', 'updated_at'] satisfies OwnKind[];
export const isOwn = (holds: SqlColumn['holds']): holds is OwnHolds => OWN_KINDS.includes(holds.kind);

/** Two indexes on columns called `a_b` and `a`, `b` would be one name. */
function named(indexes: readonly SqlIndex[]): SqlIndex[] {
  const seen = new Set<string>();
  return indexes.map((index) => {
    let name = index.name.slice(0, NAME_CHARS_MAX);
    for (let n = 2; seen.has(name.toLowerCase()); n++) name = `${index.name.slice(0, NAME_CHARS_MAX - 4)}_${n}`;
    seen.add(name.toLowerCase());
    return { ...index, name };
  });
}

const plain = (columns: readonly SqlColumn[], parts: readonly IndexPart[]): SqlIndex => ({
  name: `idx_${columns.map(({ name }) => name).join('_')}`,
  kind: 'plain',
  parts,
});

/** `fields`: those declared, or those pinned in the feed's log; every type is known. */
export function factTable(feed: Feed, fields: readonly TypedField[], dialect: Dialect): FactTable {
  const name = feed.mysqlTable ?? `fact_${feed.name}`;
  const table = feed.type === 'table';
  const values = [
    ...valueColumns(dialect, fields, feed.keyFields),
    ...(feed.unknownFields === 'keep' ? [extraColumn(dialect)] : []),
  ];
  const keys = feed.keyFields.map((key) => columnNamed(values, key, feed.name));
  const make = ownColumns(dialect, values);
  const columns: FactOwn = {
    id: make.id(),
    snapshotDate: table ? make.date('snapshot_date') : null,
    snapshotVersion: table ? make.integer('snapshot_version') : null,
    keyHash: table ? make.keyHash() : null,
    kafkaPartition: make.integer('kafka_partition'),
    kafkaOffset: make.bigint('kafka_offset'),
    kafkaTimestamp: make.timestamp('kafka_timestamp'),
    createdAt: make.createdAt(),
    updatedAt: make.updatedAt(),
  };
  const { id, ...rest } = columns;
  const view = `${name.slice(0, NAME_CHARS_MAX - '_latest'.length)}_latest`;
  return {
    feed: feed.name,
    kind: feed.type,
    createdBy: feed.createdBy,
    name,
    quoted: dialect.name(name),
    columns: [id, ...values, ...Object.values(rest).filter((column) => column !== null)],
    indexes: named([
      { name: 'PRIMARY', kind: 'primary', parts: whole(id) },
      ...factIndexes(feed, { own: columns, keys, values }),
    ]),
    values,
    keys,
    own: columns,
    latest: table ? { name: view, quoted: dialect.name(view) } : null,
    dimensions: feed.dimensions.map((dimension) => dimensionTable(feed, dimension, { fields, dialect })),
  };
}

type FactParts = { readonly own: FactOwn; readonly keys: readonly SqlColumn[]; readonly values: readonly SqlColumn[] };

/** A row is one by its key in its snapshot, or by its coordinates; the others serve the users' own queries, and retention. */
function factIndexes(feed: Feed, { own, keys, values }: FactParts): SqlIndex[] {
  if (own.snapshotDate === null || own.snapshotVersion === null || own.keyHash === null) {
    const day = values.find((column) => column.name === feed.eventTime) ?? own.kafkaTimestamp;
    return [{ name: 'uk_kafka', kind: 'unique', parts: whole(own.kafkaPartition, own.kafkaOffset) }, plain([day], whole(day))];
  }
  return [
    { name: 'uk_key_snapshot', kind: 'unique', parts: whole(own.keyHash, own.snapshotDate, own.snapshotVersion) },
    plain(keys, onFields(keys)),
    plain([own.snapshotDate], whole(own.snapshotDate, own.snapshotVersion)),
    plain([own.snapshotVersion], whole(own.snapshotVersion)),
  ];
}

type DimensionParts = { readonly fields: readonly TypedField[]; readonly dialect: Dialect };

function dimensionTable(feed: Feed, dimension: Feed['dimensions'][number], { fields, dialect }: DimensionParts): DimensionTable {
  const wanted = [dimension.key, ...dimension.attributes.filter((name) => name !== dimension.key)];
  const found = wanted.map((name) => {
    const field = fields.find((candidate) => candidate.name === name);
    assert(field, `dimension ${dimension.table} of feed ${feed.name} names the field ${name}, which is not there`);
    return field;
  });
  const values = valueColumns(dialect, found, [dimension.key]);
  const key = columnNamed(values, dimension.key, feed.name);
  const make = ownColumns(dialect, values);
  const id = make.id();
  const [keyHash, firstSeenAt, lastSeenAt] = [make.keyHash(), make.timestamp('first_seen_at'), make.timestamp('last_seen_at')];
  return {
    name: dimension.table,
    quoted: dialect.name(dimension.table),
    columns: [id, ...values, keyHash, firstSeenAt, lastSeenAt, make.createdAt(), make.updatedAt()],
    indexes: named([
      { name: 'PRIMARY', kind: 'primary', parts: whole(id) },
      // By hash: the collations equate keys that are different, and so would a unique key on the texts.
      { name: 'uk_key_hash', kind: 'unique', parts: whole(keyHash) },
      plain([key], onFields([key])),
    ]),
    key,
    attributes: values.filter((column) => column !== key),
    keyHash,
    firstSeenAt,
    lastSeenAt,
  };
}

function columnNamed(columns: readonly SqlColumn[], name: string, feed: string): SqlColumn {
  const column = columns.find((candidate) => candidate.name === name);
  assert(column, `feed ${feed} has the key field ${name}, which is not among its fields`);
  return column;
}
