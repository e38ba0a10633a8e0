// Rows of a fact table beside those that should be there (of the lake, or decoded from Kafka anew), as typed rows in the embedded
// engine (DESIGN §7, verify).
// Invariant: both sides are read as the texts that were sent, then as the field's own type, so that only values differ.

import { type ColumnValues, type Connection, fillTempTable, query, run } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { duckdbType } from '../model/columns.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { type FactTable, isOwn, type SqlColumn } from './fact-table.ts';
import { comparedColumns, comparedSql, quotedNames } from './staged-batch.ts';
import type { Row, SqlScalar, Statement, Warehouse } from './warehouse.ts';

export type Difference = {
  /** Rows that one side alone has; a changed row is in both counts. */
  readonly onlyWanted: number;
  readonly onlyFound: number;
  /** Of the fact table. */
  readonly rows: number;
  /** A few of them, as JSON, with the side. */
  readonly examples: readonly string[];
};

const CHUNK_ROWS = 5_000;
const EXAMPLES_MAX = 3;
const [WANTED, FOUND, LOADED] = ['verify_wanted', 'verify_found', 'verify_loaded'];

export type Compared = {
  readonly warehouse: Warehouse;
  readonly connection: Connection;
  readonly fact: FactTable;
  /** Which of its rows. */
  readonly where: Statement;
  /** A SELECT of the rows as they are staged; null: there are none. */
  readonly wanted: string | null;
  /** What the side that `wanted` comes from is called. */
  readonly side: string;
  /** Coordinates that are compared on neither side: their messages are open dead letters of one. */
  readonly except: ReadonlySet<string>;
  readonly signal: AbortSignal;
};

export const rowsOfSnapshot = ({ own }: FactTable, { date, version }: SnapshotName): Statement => ({
  text: `${own.snapshotDate?.quoted} = ? AND ${own.snapshotVersion?.quoted} = ?`,
  values: [date, version],
});

export const rowsOfRange = ({ own }: FactTable, { partition, start, end }: OffsetRange): Statement => ({
  text: `${own.kafkaPartition.quoted} = ? AND ${own.kafkaOffset.quoted} >= ? AND ${own.kafkaOffset.quoted} < ?`,
  values: [partition, String(start), String(end)],
});

export type OffsetRange = { readonly partition: number; readonly start: bigint; readonly end: bigint };

export async function compareRows(compared: Compared): Promise<Difference> {
  const { connection, fact, except, side: name } = compared;
  const columns = comparedColumns(fact);
  await loadWarehouse(compared, columns);
  await loadWanted(compared, columns);
  const filter = except.size === 0 ? '' : `WHERE NOT ${leftOut(fact, columns, except)}`;
  const side = (table: string): string =>
    `SELECT ${columns.map((column, index) => `${typed(`c${index}`, column)} AS c${index}`).join(', ')} FROM ${table} ${filter}`;
  const only = (one: string, other: string): string => `(${side(one)}) EXCEPT ALL (${side(other)})`;
  const [counts] = await query(
    connection,
    `SELECT (SELECT count(*) FROM (${only(WANTED, FOUND)})) AS l, (SELECT count(*) FROM (${only(FOUND, WANTED)})) AS w,
       (SELECT count(*) FROM ${FOUND}) AS n`,
  );
  const examples: string[] = [];
  for (const [where, sql] of [
    [name, only(WANTED, FOUND)],
    ['warehouse', only(FOUND, WANTED)],
  ]) {
    const rows = await query(connection, `SELECT to_json(t)::VARCHAR AS row FROM (${sql} LIMIT ${EXAMPLES_MAX}) t`);
    examples.push(...rows.map((row) => `${where} alone: ${named(String(row['row']), columns)}`));
  }
  for (const table of [WANTED, FOUND, LOADED]) await run(connection, `DROP TABLE IF EXISTS ${table}`);
  return { onlyWanted: Number(counts?.['l']), onlyFound: Number(counts?.['w']), rows: Number(counts?.['n']), examples };
}

/** The rows of these coordinates; of a table, all rows of the keys that these coordinates have on either side. */
function leftOut({ keys }: FactTable, columns: readonly SqlColumn[], except: ReadonlySet<string>): string {
  const list = [...except].map((at) => `'${at}'`).join(', ');
  const isIn = `c${columns.length - 3} || ':' || c${columns.length - 2} IN (${list})`;
  if (keys.length === 0) return `(${isIn})`;
  const key = `[${keys.map((one) => `CAST(c${columns.indexOf(one)} AS VARCHAR)`).join(', ')}]`;
  const of = (table: string): string => `SELECT ${key} FROM ${table} WHERE ${isIn}`;
  return `(${key} IN (${of(WANTED)} UNION ALL ${of(FOUND)}))`;
}

/** c0, c1, … as the columns are called. */
const named = (row: string, columns: readonly SqlColumn[]): string =>
  row.replaceAll(/"c(\d+)":/g, (_, index: string) => `"${columns[Number(index)]?.name}":`);

function typed(name: string, { holds }: SqlColumn): string {
  if (isOwn(holds)) return name;
  switch (holds.kind) {
    case 'double':
    case 'decimal':
    case 'bigint':
    case 'integer':
    case 'date':
      return `CAST(${name} AS ${duckdbType(holds)})`;
    default:
      return name;
  }
}

const isBlob = ({ holds }: SqlColumn): boolean => !isOwn(holds) && holds.kind === 'blob';
const definitions = (columns: readonly SqlColumn[]): string =>
  columns.map((column, index) => `c${index} ${isBlob(column) ? 'BLOB' : 'VARCHAR'}`).join(', ');

async function loadWanted({ connection, fact, wanted }: Compared, columns: readonly SqlColumn[]): Promise<void> {
  await run(connection, `CREATE OR REPLACE TABLE ${WANTED} (${definitions(columns)})`);
  if (wanted === null) return;
  // A file from before a column was added has NULL there.
  const empty = fact.values.map(
    ({ name, holds }) => `NULL::${isOwn(holds) ? 'VARCHAR' : duckdbType(holds)} AS ${quoteName(name)}`,
  );
  const whole = `(${wanted}) UNION ALL BY NAME (SELECT ${empty.join(', ')} WHERE false)`;
  await run(connection, `INSERT INTO ${WANTED} SELECT ${comparedSql(fact)} FROM (${whole})`);
}

/** In the order of ids, a chunk at a time. */
async function loadWarehouse(compared: Compared, columns: readonly SqlColumn[]): Promise<void> {
  const { warehouse, connection, fact, where, signal } = compared;
  const { id } = fact.own;
  await run(connection, `CREATE OR REPLACE TABLE ${FOUND} (${definitions(columns)})`);
  for (let after: SqlScalar = '0'; ; ) {
    const text = `SELECT ${id.quoted}, ${quotedNames(columns)} FROM ${fact.quoted}
      WHERE ${where.text} AND ${id.quoted} > ? ORDER BY ${id.quoted} LIMIT ${CHUNK_ROWS}`;
    const rows: readonly Row[] = await warehouse.run({ text, values: [...where.values, after] }, signal);
    if (rows.length === 0) return;
    const content = Object.fromEntries(
      columns.map((column, index): [string, ColumnValues] => [`c${index}`, valuesOf(rows, column)]),
    );
    await fillTempTable(connection, LOADED, { count: rows.length, columns: content });
    await run(connection, `INSERT INTO ${FOUND} SELECT * FROM ${LOADED}`);
    after = String(rows.at(-1)?.[id.name]);
  }
}

function valuesOf(rows: readonly Row[], column: SqlColumn): ColumnValues {
  const values = rows.map((row) => row[column.name] ?? null);
  if (!isBlob(column)) return { type: 'VARCHAR', values: values.map((value) => (value === null ? null : textOf(value))) };
  return {
    type: 'BLOB',
    values: values.map((value) => (value instanceof Uint8Array || value === null ? value : Buffer.from(String(value)))),
  };
}

const textOf = (value: string | number | Uint8Array): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
