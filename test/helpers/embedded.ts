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
  const connection = await database.connect();
  const { rows } = await execute(connection, { text, values }).finally(() => connection.closeSync());
  const changed = (value: string | number | Uint8Array | null) => (value instanceof Uint8Array ? Buffer.from(value) : value);
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, changed(value)])));
}

/** Of the feeds `totals`, a table, and `orders`, a stream. */
const LOOK = `SELECT
  (SELECT count(*) FROM fact_orders) AS appended,
  (SELECT count(DISTINCT (kafka_partition, kafka_offset)) FROM fact_orders) AS different,
  (SELECT sum(row_count) FROM lake_positions WHERE feed = 'orders') AS promised,
  (SELECT count(*) FROM fact_totals_latest) AS latest,
  (SELECT count(DISTINCT id) FROM fact_totals_latest) AS keys,
  (SELECT count(*) FROM lake_dead_letters) AS letters,
  (SELECT sum(dead_letters) FROM lake_positions) AS promised_letters,
  (SELECT count(*) FROM fact_totals f JOIN lake_positions p ON p.feed = 'totals' AND p.kafka_partition = f.kafka_partition
    WHERE f.kafka_offset >= p.position) AS beyond`;
const TABLES = ['fact_orders', 'fact_totals_latest'];

/** One opening: looked at twice, with the tables that are there only after the first rows. null: not yet there. */
export async function embeddedLook(path: string) {
  await using database = await openDatabase({ path, readOnly: true });
  const connection = await database.connect();
  const ask = async (text: string) => (await execute(connection, { text, values: [] })).rows;
  using _closed = { [Symbol.dispose]: () => connection.closeSync() };
  const there = (await ask('SELECT table_name AS name FROM information_schema.tables')).map((row) => row['name']);
  if (!TABLES.every((name) => there.includes(name))) return null;
  const [first] = await ask(LOOK);
  const [last] = await ask(LOOK);
  return { first, last };
}
