// A feeds.json with comments and one feed, a database, and messages for feeds that are to be added.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runLake, streamFeed } from './ingest.ts';
import { uniqueName } from './kafka.ts';
import { testMysql } from './mysql.ts';
import { tempDir, testKafka } from './services.ts';
import { type AnyDatabase, warehouseSetup } from './warehouse.ts';

/** `embedded`: without a server. */
export async function newFeedScene({ embedded = false }: { readonly embedded?: boolean } = {}) {
  const folder = await tempDir();
  const kafka = await testKafka();
  const server = embedded ? null : await testMysql();
  const database: AnyDatabase = server ?? {
    engine: 'duckdb',
    path: join(folder.path, 'lake', 'warehouse.duckdb'),
    [Symbol.asyncDispose]: async () => {},
  };
  const other = uniqueName('other');
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds: [streamFeed(other, other)] });
  const commented = readFileSync(setup.configPath, 'utf8').replace('"feeds": [', '"feeds": [\n    // the first of all');
  writeFileSync(setup.configPath, commented);
  return {
    ...{ kafka, database, setup, folder: folder.path, commented, login: server?.login ?? null },
    text: () => readFileSync(setup.configPath, 'utf8'),
    lake: (...args: string[]) => runLake(setup, args),
    json: async (...args: string[]) => {
      const { code, stdout, stderr } = await runLake(setup, [...args, '--json']);
      if (stdout === '') throw new Error(`lake ${args.join(' ')} ended with ${code}:\n${stderr}`);
      return JSON.parse(stdout);
    },
    /** What both journals tell of a feed's coming and going. */
    told: async (feed: string): Promise<string[]> => {
      const path = join(setup.lakePath, '_lake/audit.ndjson');
      const lines = readFileSync(path, 'utf8').trim().split('\n');
      const actions = ['feed_added', 'feed_removed', 'feed_enabled', 'feed_disabled'];
      return lines
        .map((line) => JSON.parse(line))
        .filter((line) => line.feed === feed && actions.includes(line.action))
        .map((line) => line.action);
    },
    [Symbol.asyncDispose]: async () => {
      await server?.[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export type NewFeedScene = Awaited<ReturnType<typeof newFeedScene>>;

/** As a changelog of ksqlDB: names in capitals, the key in the message too, one key deleted. */
export const totals = (count: number) => [
  ...Array.from({ length: count }, (_, index) => {
    const user = `user${index % 20}`;
    const value = { USER_ID: user, TOTAL: index + 0.5, ORDERS: index, UPDATED_AT: Date.UTC(2025, 0, 28) + index * 1000 };
    return { key: user, value: JSON.stringify(value), partition: index % 2 };
  }),
  { key: 'user3', value: null, partition: 1 },
];
