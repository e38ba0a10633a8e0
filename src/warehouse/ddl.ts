// DDL of the tables of a feed, as statements for MySQL and MariaDB. Pure. Every one may be run again, or by two at once; an
// ADD COLUMN that comes second fails with 1060, which is as good.

import { assert } from '../errors.ts';
import type { FactTable, SqlColumn, SqlIndex, SqlTable } from './fact-table.ts';
import { mysqlName, mysqlText, TABLE_OPTIONS } from './mysql-types.ts';
import type { Statement } from './warehouse.ts';

const statement = (text: string): Statement => ({ text, values: [] });

export function indexDefinition(index: SqlIndex): string {
  const parts = index.parts.map(({ name, length }) => `${mysqlName(name)}${length === null ? '' : `(${length})`}`).join(', ');
  if (index.kind === 'primary') return `PRIMARY KEY (${parts})`;
  return `${index.kind === 'unique' ? 'UNIQUE ' : ''}KEY ${mysqlName(index.name)} (${parts})`;
}

export function createTable(table: SqlTable): Statement {
  const lines = [
    ...table.columns.map((column) => `${column.quoted} ${column.definition}`),
    ...table.indexes.map((index) => indexDefinition(index)),
  ];
  return statement(`CREATE TABLE IF NOT EXISTS ${table.quoted} (\n  ${lines.join(',\n  ')}\n) ${TABLE_OPTIONS}`);
}

/** A column that the server fills in by itself. */
export const isFilled = (column: SqlColumn): boolean => / DEFAULT | AUTO_INCREMENT/.test(column.definition);

/** Into a table that may have rows: nullable, unless it is filled in. */
export const addedDefinition = (column: SqlColumn): string => (isFilled(column) ? column.definition : `${column.type} NULL`);

/** One column a statement, so that each is added or already there. At the end: the server then copies no row. */
export const addColumn = (table: SqlTable, column: SqlColumn): Statement =>
  statement(`ALTER TABLE ${table.quoted} ADD COLUMN ${column.quoted} ${addedDefinition(column)}`);

/**
 * The rows of the snapshot that lake_snapshots names as open: never max() over the rows. Columns are named one by one, for a
 * view keeps those of its making: it is made again when a column comes.
 */
export function createLatestView(table: FactTable): Statement {
  const { snapshotDate, snapshotVersion } = table.own;
  assert(table.latest && snapshotDate && snapshotVersion, `${table.name} is a stream's: it has no snapshots`);
  const columns = table.columns.map((column) => `f.${column.quoted}`).join(', ');
  return statement(
    `CREATE OR REPLACE VIEW ${table.latest.quoted} AS\nSELECT ${columns}\nFROM ${table.quoted} f JOIN lake_snapshots s\n` +
      `  ON s.feed = ${mysqlText(table.feed)} AND s.state = 'open'\n` +
      `  AND f.${snapshotDate.quoted} = s.snapshot_date AND f.${snapshotVersion.quoted} = s.snapshot_version`,
  );
}
