// The result of a person's SELECT as a Parquet file. Invariant: the file is whole or not there, and no number in it lost a digit:
// Parquet has no integer of 128 bits, and DuckDB would write a double.

import { rm } from 'node:fs/promises';
import { LakeError } from '../errors.ts';
import { type Connection, query } from './connection.ts';
import { quoteName, quoteText } from './sql.ts';
import { prepareAll, viewOfSelect } from './statement.ts';

/** Throws sql_refused, engine_failed; then there is no file. */
export async function copyToParquet(connection: Connection, sql: string, path: string): Promise<void> {
  const view = await viewOfSelect(connection, sql);
  if (view === null) throw new LakeError('sql_refused', 'a Parquet file is made of one SELECT, and this is something else');
  const columns = await query(connection, `DESCRIBE ${view}`);
  const cast = columns.map((column) => {
    const [name, type] = [quoteName(String(column['column_name'])), String(column['column_type'])];
    const exact = type.replaceAll(/\bU?HUGEINT\b/g, 'DECIMAL(38,0)').replaceAll(/\bBIGNUM\b/g, 'VARCHAR');
    return exact === type ? name : `CAST(${name} AS ${exact}) AS ${name}`;
  });
  const copy = `COPY (SELECT ${cast.join(', ')} FROM ${view}) TO ${quoteText(path)} (FORMAT parquet, USE_TMP_FILE false)`;
  try {
    await (await (await prepareAll(connection, copy)).prepare(0)).run();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}
