// PROTOCOL 9: `lake query` again and again beside a busy ingest of a stream and a table whose publishes take each other's place. No
// count ever shrinks or doubles, and what is seen of the table is a state that was published.

import { expect, test } from 'bun:test';
import { loadConfig } from '../../src/config/load.ts';
import { gather } from '../../src/duckdb/statement.ts';
import { createLog } from '../../src/log.ts';
import { openInstallation } from '../../src/operations/installation.ts';
import { type QueryRequest, runQuery } from '../../src/operations/query.ts';
import { startLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { FIRST_MS, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const KEYS = 50;
const MESSAGES = 5_000;
const PART = 100;

/** Values only grow with the offset, so that a state says how many messages it is the fold of. */
const change = (n: number) => ({
  key: String(n % KEYS),
  value: n % 7 === 3 ? null : JSON.stringify({ id: n % KEYS, text: String(n) }),
  timestampMs: FIRST_MS + n,
});

test('counts never shrink and never double, and a table is one of its published states', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const [orders, totals] = [
    await kafka.createTopic({ configs: { 'retention.ms': '-1' } }),
    await kafka.createTopic({ configs: { 'retention.ms': '-1' } }),
  ];
  await using stream = await record(kafka, orders);
  await using table = await record(kafka, totals);
  const setup = writeSetup({
    folder: folder.path,
    kafka,
    feeds: [streamFeed('orders', orders), tableFeed('totals', totals)],
    batch: { batch_size: 100, batch_timeout_seconds: 0.05 },
  });
  const lake = startLake(setup, ['ingest']);
  const send = async (from: number): Promise<void> => {
    const part = Array.from({ length: PART }, (_, index) => change(from + index));
    await Promise.all([stream.send(part), table.send(part)]);
  };
  await send(0);
  await lake.event('snapshot_published');
  await lake.event('batch_committed');
  const taken = Array.from({ length: MESSAGES }, (_, n) => change(n)).filter(({ value }) => value !== null).length;
  const seen: { readonly orders: number; readonly last: number }[] = [];
  const anew: string[] = [];
  await using installation = openInstallation({
    config: loadConfig({ path: setup.configPath, env: {}, overrides: {} }),
    log: createLog({ level: 'debug', format: 'json', write: (line) => void anew.push(line), now: () => new Date() }),
    nowMs: Date.now,
    newId: () => 'x',
    signal: new AbortController().signal,
  });
  for (let n = PART, rows = 0; rows < taken; n += PART) {
    const sending = n < MESSAGES ? send(n) : null;
    const [found, distinct] = await ask(installation, 'SELECT count(*), count(DISTINCT kafka_offset) FROM orders', folder.path);
    expect(found).toBe(distinct);
    rows = Number(found);
    const state = await ask(installation, "SELECT id || '=' || text FROM totals ORDER BY kafka_offset", folder.path);
    const last = Number(state.at(-1)?.split('=')[1] ?? -1);
    expect(state).toEqual(foldOf(last, state));
    seen.push({ orders: rows, last });
    await sending;
  }
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  const shrunk = seen.filter(({ orders: count, last }, index) => {
    const before = seen[index - 1];
    return before !== undefined && (count < before.orders || last < before.last);
  });
  expect(shrunk).toEqual([]);
  expect(new Set(seen.map(({ orders: count }) => count)).size).toBeGreaterThan(3);
  expect(new Set(seen.map(({ last }) => last)).size).toBeGreaterThan(2);
  console.log(`${seen.length} looks, ${anew.length} begun anew`);
});

async function ask(installation: ReturnType<typeof openInstallation>, sql: string, folder: string): Promise<readonly string[]> {
  const request: QueryRequest = { sql, unsafe: false, memoryBytesMax: 256_000_000, tempFolder: `${folder}/spill`, writes: null };
  return runQuery(installation, request, {
    gather: ({ connection, last }) => gather(connection, { sql, last, rowsMax: null }),
    give: async ({ batches }) => {
      const cells: string[] = [];
      for await (const batch of batches()) for (const row of batch) cells.push(...row.map(String));
      return cells;
    },
  });
}

/** The fold of the messages up to `last`, and of the tombstones after it that the state may hold already. */
function foldOf(last: number, state: readonly string[]): readonly string[] {
  const folds = Array.from({ length: 8 }, (_, more) => fold(last + more));
  return folds.find((one) => JSON.stringify(one) === JSON.stringify(state)) ?? folds[0] ?? [];
}

function fold(last: number): readonly string[] {
  const live = new Map<number, number>();
  for (let n = 0; n <= last; n++) {
    if (change(n).value === null) live.delete(n % KEYS);
    else live.set(n % KEYS, n);
  }
  return [...live].sort(([, a], [, b]) => a - b).map(([id, n]) => `${id}=${n}`);
}
