// SQL of keyed state, for both targets: the winner of each key in a batch, its merge into what changed before, a table's next files.
// A winner is the greatest (kafka_timestamp, kafka_partition, kafka_offset) of its key, tombstones included (DESIGN §5).
// Invariant: however the same messages are cut into batches, and in whatever order they come, the state is the same.
import { assert } from '../errors.ts';
import { type Column, duckdbType } from '../model/columns.ts';
import type { FieldType } from '../model/feed.ts';
import { quoteName, quoteNames } from './sql.ts';

/** Whether a row of winners or delta is a tombstone. */
export const DELETED_COLUMN = '_deleted';
const ORDER = ['kafka_timestamp', 'kafka_partition', 'kafka_offset'];
/** What is kept of a deleted key, besides the key. */
export const COORDINATE_COLUMNS: readonly Column[] = [
  { name: 'kafka_partition', type: 'INTEGER' },
  { name: 'kafka_offset', type: 'BIGINT' },
  { name: 'kafka_timestamp', type: 'TIMESTAMPTZ' },
];

export type CollapseParts = {
  /** The table to make. Table names are quoted ones, here and below. */
  readonly into: string;
  readonly rows: string;
  /** Key columns and coordinates; null: the batch has none. */
  readonly tombstones: string | null;
  /** Plain names, in order. */
  readonly keyColumns: readonly string[];
};

/** Makes the table of a batch's winners: all columns of the rows, and `_deleted`. */
export function collapseSql({ into, rows, tombstones, keyColumns }: CollapseParts): string {
  const deleted = (table: string, is: boolean): string => `SELECT *, ${is} AS ${DELETED_COLUMN} FROM ${table}`;
  const all = [deleted(rows, false), ...(tombstones === null ? [] : [deleted(tombstones, true)])];
  return winnersSql({ into, all, keyColumns });
}

/** Makes the next delta of the one before (null: none) and a batch's winners. Columns added meanwhile are NULL in older rows. */
export function mergeSql(parts: {
  readonly into: string;
  readonly delta: string | null;
  readonly winners: string;
  readonly keyColumns: readonly string[];
}): string {
  const { into, delta, winners, keyColumns } = parts;
  const all = [...(delta === null ? [] : [delta]), winners].map((table) => `SELECT * FROM ${table}`);
  return winnersSql({ into, all, keyColumns });
}

function winnersSql(parts: {
  readonly into: string;
  readonly all: readonly string[];
  readonly keyColumns: readonly string[];
}): string {
  const { into, all, keyColumns } = parts;
  assert(keyColumns.length > 0, 'a table has a key');
  const order = ORDER.map((name) => `${quoteName(name)} DESC`).join(', ');
  return `CREATE TABLE ${into} AS SELECT * FROM (${all.join(' UNION ALL BY NAME ')})
QUALIFY row_number() OVER (PARTITION BY ${quoteNames(keyColumns)} ORDER BY ${order}) = 1`;
}

export type PublishParts = {
  readonly delta: string;
  /** The table to make of rowids of the delta that lost against what is published; dropped by the caller. */
  readonly losers: string;
  /** What was published before: a table or a table function such as read_parquet, without partition columns; null: nothing yet. */
  readonly base: string | null;
  readonly tombstones: string | null;
  readonly keyColumns: readonly string[];
  /** Of the data file, in order, key and coordinates among them. */
  readonly columns: readonly Column[];
};

/** `losers` comes first; `data` and `state` are then the queries of the next data file and the next file of tombstones. The published
 *  files are only scanned, the delta is hashed. A key is in one of the two files, or in none, and stays so. */
export function publishSql(parts: PublishParts): { readonly losers: string; readonly data: string; readonly state: string } {
  const { delta, losers, base, tombstones, keyColumns, columns } = parts;
  const keys = columns.filter(({ name }) => keyColumns.includes(name));
  assert(keys.length === keyColumns.length && keys.length > 0, 'the key columns are among the columns');
  const stateColumns = [...keys, ...COORDINATE_COLUMNS];
  const sameKey = keyColumns.map((name) => `o.${quoteName(name)} = d.${quoteName(name)}`).join(' AND ');
  const compared = (sign: string): string => `${sameKey} AND ${coordinates('o')} ${sign} ${coordinates('d')}`;
  const published = [base, tombstones].flatMap((table) =>
    table === null ? [] : [`SELECT ${quoteNames(named(stateColumns))} FROM ${table}`],
  );
  const lost = `SELECT d.rowid AS id FROM (${published.join(' UNION ALL ')}) o JOIN ${delta} d ON ${compared('>=')}`;
  const next = (table: string | null, file: readonly Column[], isDeleted: boolean): string => {
    const kept = table === null ? [] : [`SELECT o.* FROM ${table} o ANTI JOIN ${delta} d ON ${compared('<')}`];
    const won = `SELECT d.* EXCLUDE (${DELETED_COLUMN}) FROM ${delta} d WHERE ${isDeleted ? '' : 'NOT '}${DELETED_COLUMN}
      AND d.rowid NOT IN (SELECT id FROM ${losers})`;
    // A column that was added is in no older file: an empty table has them all.
    const shape = `SELECT ${file.map(({ name, type }) => `NULL::${type} AS ${quoteName(name)}`).join(', ')} WHERE false`;
    const cast = file.map(({ name, type }) => `CAST(${quoteName(name)} AS ${type}) AS ${quoteName(name)}`).join(', ');
    return `SELECT ${cast} FROM (${[...kept, won, shape].join(' UNION ALL BY NAME ')})`;
  };
  return {
    losers: `CREATE TABLE ${losers} AS ${published.length === 0 ? 'SELECT 0::BIGINT AS id WHERE false' : lost}`,
    data: next(base, columns, false),
    state: next(tombstones, stateColumns, true),
  };
}

const named = (columns: readonly Column[]): string[] => columns.map(({ name }) => name);
const coordinates = (table: string): string => `(${ORDER.map((name) => `${table}.${quoteName(name)}`).join(', ')})`;

/** The expression of key_hash, 32 bytes; model/key-text is its reference. NULL when a part is NULL, which no key is. */
export function keyHashSql(columns: readonly { readonly name: string; readonly type: FieldType }[]): string {
  assert(columns.length > 0, 'a table has a key');
  // Not concat(), which passes over a NULL: (NULL, 'a') would then be ('a').
  const parts = columns
    .map(({ name, type }) => textSql(quoteName(name), type))
    .map((text) => `strlen(${text}) || ':' || ${text}`);
  return `unhex(sha256(${parts.join(' || ')}))`;
}

function textSql(column: string, type: FieldType): string {
  switch (type.kind) {
    case 'varchar':
      return column;
    case 'integer':
    case 'bigint':
    case 'date':
      return `CAST(${column} AS VARCHAR)`;
    case 'decimal':
      return decimalSql(`CAST(${column} AS VARCHAR)`, type);
    case 'timestamp':
      return `CAST(epoch_us(${column}) AS VARCHAR)`;
    case 'boolean':
      return `CAST(CAST(${column} AS INTEGER) AS VARCHAR)`;
    case 'blob':
      return `hex(${column})`;
    default:
      assert(false, `a ${duckdbType(type)} is no key`);
  }
}

/** DuckDB writes a DECIMAL(3,3) as `.500`, and what it becomes when widened to DECIMAL(4,3) as `0.500`. */
function decimalSql(text: string, { precision, scale }: FieldType & { kind: 'decimal' }): string {
  if (scale === 0) return text;
  const whole = precision === scale ? `replace(${text}, '.', '0.')` : text;
  return `rtrim(rtrim(${whole}, '0'), '.')`;
}
