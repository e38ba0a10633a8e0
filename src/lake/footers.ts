// What Parquet files say of themselves in their footers; no page of data is read.

import { type Connection, query } from '../duckdb/connection.ts';
import { quoteText } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';

export type Footer = {
  readonly rows: number;
  /** Ours (lake_feed, lake_batch, lake_ranges, …) and those of others. */
  readonly metadata: ReadonlyMap<string, string>;
};

/** Files of one statement: opening one costs most. */
const FILES_MAX = 500;

/** By path; a text says why a footer cannot be read. */
export async function readFooters(
  connection: Connection,
  paths: readonly string[],
): Promise<ReadonlyMap<string, Footer | { readonly unreadable: string }>> {
  const footers = new Map<string, Footer | { readonly unreadable: string }>();
  for (let from = 0; from < paths.length; from += FILES_MAX) {
    const some = paths.slice(from, from + FILES_MAX);
    try {
      for (const [path, footer] of await readSome(connection, some)) footers.set(path, footer);
    } catch (error) {
      if (!(error instanceof LakeError) || error.code !== 'engine_failed') throw error;
      // One that cannot be read fails the statement for all.
      for (const path of some) footers.set(path, await readOne(connection, path));
    }
  }
  return footers;
}

async function readOne(connection: Connection, path: string): Promise<Footer | { readonly unreadable: string }> {
  try {
    return (await readSome(connection, [path])).get(path) ?? { unreadable: 'there is no footer' };
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'engine_failed') throw error;
    const cause = error.cause instanceof Error ? error.cause.message : error.message;
    return { unreadable: cause.split('\n')[0] ?? cause };
  }
}

async function readSome(connection: Connection, paths: readonly string[]): Promise<ReadonlyMap<string, Footer>> {
  const list = `[${paths.map(quoteText).join(', ')}]`;
  const counts = await query(connection, `SELECT file_name, num_rows FROM parquet_file_metadata(${list})`);
  const pairs = await query(
    connection,
    `SELECT file_name, decode(key) AS name, decode(value) AS text FROM parquet_kv_metadata(${list})
     WHERE starts_with(decode(key), 'lake_')`,
  );
  const footers = new Map<string, { rows: number; metadata: Map<string, string> }>();
  for (const row of counts) footers.set(String(row['file_name']), { rows: Number(row['num_rows']), metadata: new Map() });
  for (const row of pairs) footers.get(String(row['file_name']))?.metadata.set(String(row['name']), String(row['text']));
  return footers;
}
