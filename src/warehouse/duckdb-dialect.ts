// The texts of the embedded DuckDB. There is one writer, so nothing is locked; a table has no index but those that keep a row
// unique, for every other one is kept in memory and searched by nobody.

import duckdbText from '../../sql/duckdb_tables.sql' with { type: 'text' };
import { quoteName } from '../duckdb/sql.ts';
import type { FieldType } from '../model/feed.ts';
import type { Dialect, NewerUpsert, Upsert } from './dialect.ts';
import { checkEmbedded } from './duckdb-check.ts';
import type { SqlTable } from './fact-table.ts';
import { ownTables, sqlStatements } from './own-tables.ts';
import type { Statement } from './warehouse.ts';

/** In any session, whatever its time zone. */
const NOW = 'make_timestamp(epoch_us(now()))';

/** Instants are TIMESTAMPs in UTC, as in MySQL; what is JSON stays the text it was. */
export function embeddedType(type: FieldType): string {
  switch (type.kind) {
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'struct':
    case 'list':
      return 'JSON';
    default:
      return type.kind.toUpperCase();
  }
}

const incoming = (column: string): string => `excluded.${column}`;

/** The upsert of the engine does not read back what it has set: the order of the assignments means nothing. */
function conflict(key: readonly string[], sets: readonly (readonly [string, string])[]): string {
  return ` ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${sets.map(([column, value]) => `${column} = ${value}`).join(', ')}`;
}

function latestWins({ table, key, fields, order, touch }: NewerUpsert): string {
  const sets = [...fields, ...order].map((name) => [name, incoming(name)] as const);
  const newer = `(${order.map(incoming).join(', ')}) > (${order.map((name) => `${table}.${name}`).join(', ')})`;
  return `${conflict(key, [...sets, ...touched(touch)])} WHERE ${newer}`;
}

const touched = (columns: readonly string[]) => columns.map((name) => [name, NOW] as const);

const upsert = ({ table, key, sets, touch }: Upsert): string =>
  conflict(key, [...sets((column) => `${table}.${column}`, incoming), ...touched(touch)]);

function createTable(table: SqlTable): Statement {
  const unique = table.indexes
    .filter(({ kind }) => kind === 'unique')
    .map(({ parts }) => `UNIQUE (${parts.map(({ name }) => quoteName(name)).join(', ')})`);
  const lines = [...table.columns.map((column) => `${column.quoted} ${column.definition}`), ...unique];
  return { text: `CREATE TABLE IF NOT EXISTS ${table.quoted} (\n  ${lines.join(',\n  ')}\n)`, values: [] };
}

/** A copy for readers that is being made is a database beside this one. */
const IS_HERE = "table_catalog = current_database() AND table_schema = 'main'";

const described = (select: string, from: string, order = ''): ((table: string) => Statement) => {
  const text = `SELECT ${select} FROM information_schema.${from} WHERE ${IS_HERE} AND table_name = ?${order}`;
  return (table) => ({ text, values: [table] });
};

const OWN_TABLES = ownTables(duckdbText);

export const DUCKDB_SEQUENCES: readonly string[] = sqlStatements(duckdbText).filter((text) => text.startsWith('CREATE SEQUENCE'));

export const duckdbDialect: Dialect = {
  name: quoteName,
  type: embeddedType,
  own: {
    id: `BIGINT NOT NULL DEFAULT nextval('lake_ids')`,
    date: 'DATE NOT NULL',
    integer: 'INTEGER NOT NULL',
    bigint: 'BIGINT NOT NULL',
    timestamp: 'TIMESTAMP NOT NULL',
    keyHash: 'BLOB NOT NULL',
    createdAt: `TIMESTAMP NOT NULL DEFAULT ${NOW}`,
    updatedAt: `TIMESTAMP NOT NULL DEFAULT ${NOW}`,
  },
  rowBytesMax: Number.POSITIVE_INFINITY,
  insertRowsMax: 20_000,
  // Each chunk is a scan of the table; only the feeds of this process wait for it.
  copyRowsMax: 200_000,
  forUpdate: '',
  forShare: '',
  now: NOW,
  touch: `, updated_at = ${NOW}`,
  openFeed: "CASE WHEN state = 'open' THEN feed END",
  isHere: IS_HERE,
  latestWins,
  upsert,
  unlessThere: ({ key }) => ` ON CONFLICT (${key.join(', ')}) DO NOTHING`,
  deleteJoined: ({ table, other, on, where }) => `DELETE FROM ${table} f USING ${other} t WHERE ${on} AND ${where}`,
  deleteSome: (table, where, rowsMax) =>
    `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE ${where} LIMIT ${rowsMax})`,
  checksum: ({ keyHash, partition, offset }) =>
    `bit_xor(CAST('0x' || left(sha256(lower(hex(${keyHash})) || ':' || ${partition} || ':' || ${offset}), 16) AS UBIGINT))`,
  createTable,
  identityTables: OWN_TABLES.filter(({ name }) => name === 'lake_identity'),
  otherTables: OWN_TABLES.filter(({ name }) => name !== 'lake_identity'),
  described: {
    table: described(`table_type AS type, 'duckdb' AS engine, '' AS collation`, 'tables'),
    columns: described(
      `column_name AS name, data_type AS kind, data_type AS type, is_nullable AS nullable, column_default AS preset, '' AS extra,
        '' AS expression, '' AS charset, '' AS collation, '' AS comment`,
      'columns',
      ' ORDER BY ordinal_position',
    ),
    indexes: null,
  },
  check: checkEmbedded,
};
