// The embedded warehouse of a test's lake, read as anybody would: the copy that it leaves for readers, opened read-only.

import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execute, openDatabase } from '../../src/duckdb/connection.ts';
import { baseFolder } from './services.ts';

export type EmbeddedCopy = {
  readonly engine: 'duckdb';
  /** Of the copy; the lake around it is the test's. */
  readonly path: string;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Beside any lake, so that a test names its lake as it likes. */
export function testEmbedded(): EmbeddedCopy {
  const folder = mkdtempSync(join(baseFolder(), 'embedded-'));
  return {
    engine: 'duckdb',
    path: join(folder, 'warehouse.duckdb'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Numbers beyond 2^53, decimals and times come as texts, bytes as Buffers. */
export async function embeddedRows(path: string, text: string, values: readonly string[] = []) {
  await using database = await openDatabase({ path, readOnly: true });
  const { rows } = await execute(await database.connect(), { text, values });
  const changed = (value: string | number | Uint8Array | null) => (value instanceof Uint8Array ? Buffer.from(value) : value);
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, changed(value)])));
}
