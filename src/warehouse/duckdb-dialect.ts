// The texts of the embedded DuckDB. There is one writer, so nothing is locked. Tables that grow have no index and no unique key: an
// index of DuckDB has to fit into memory, with every row of every snapshot. Rows find their like by a join with a whole batch.

import duckdbText from '../../sql/duckdb_tables.sql' with { type: 'text' };
import { quoteName, quoteText } from '../duckdb/sql.ts';
import type { FieldType } from '../model/feed.ts';
import type { CopiedRows, Dialect, NewerUpsert, Upsert } from './dialect.ts';
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

const old = (column: string): string => `old.${column}`;

type Merge = {
  readonly key: readonly string[];
  readonly sets: readonly (readonly [string, string])[];
  readonly touch: readonly string[];
};

/** The part of a MERGE that duckdb-transaction puts between its rows, `excluded`, and what is inserted. */
function merge({ key, sets, touch }: Merge, when = ''): string {
  const isSame = key.map((name) => `${old(name)} = ${incoming(name)}`).join(' AND ');
  const all = [...sets, ...touch.map((name) => [name, NOW] as const)].map(([column, value]) => `${column} = ${value}`);
  return ` ON ${isSame} WHEN MATCHED${when} THEN UPDATE SET ${all.join(', ')}`;
}

function latestWins({ key, fields, order, touch }: NewerUpsert): string {
  const sets = [...fields, ...order].map((name) => [name, incoming(name)] as const);
  return merge({ key, sets, touch }, ` AND (${order.map(incoming).join(', ')}) > (${order.map(old).join(', ')})`);
}

const upsert = ({ key, sets, touch }: Upsert): string => merge({ key, sets: sets(old, incoming), touch });

function unlessThere({ table, keyHash, date, version, into }: CopiedRows): string {
  const isCopy = `o.${date} = ${quoteText(into.date)} AND o.${version} = ${into.version}`;
  return ` AND NOT EXISTS (SELECT 1 FROM ${table} o WHERE o.${keyHash} = s.${keyHash} AND ${isCopy})`;
}

function createTable(table: SqlTable): Statement {
  const lines = table.columns.map((column) => `${column.quoted} ${column.definition}`);
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
  unlessThere,
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
