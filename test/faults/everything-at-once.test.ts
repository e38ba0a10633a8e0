// PROTOCOL 9 by the commands themselves: verify, query and a loop that globs, beside an ingest that never rests, a compaction and a
// retention. No false finding, no query that fails, never a doubled row.

import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { runLake, startLake, streamFeed } from '../helpers/ingest.ts';
import { globFiles, readRows } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import { message, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

const DAY_MS = 86_400_000;
/** How long ago the messages of a part are; the first two kinds are due for retention, the others for compaction. */
const DAYS = [60, 45, 5, 4, 3, 0] as const;
const RETENTION = { retention_days: 30, auto_delete: true };
const PART = 60;
const ROUNDS_MIN = 2;
/** Seven processes at once, on a machine that may be slow. */
const TEST_MS_MAX = 600_000;

const started = new Set<Bun.Subprocess>();
afterAll(() => {
  for (const child of started) child.kill('SIGKILL');
});

test(
  '9: verify, query and a glob loop beside a busy ingest, a compaction and a retention',
  async () => {
    await using folder = await tempDir();
    await using database = await testMysql();
    const kafka = await testKafka();
    const configs = { 'retention.ms': '-1' };
    const topics = { orders: await kafka.createTopic({ partitions: 2, configs }), totals: await kafka.createTopic({ configs }) };
    const schema = { fields: { id: 'BIGINT', text: 'VARCHAR', at: 'TIMESTAMP' } };
    const setup = warehouseSetup({
      folder: folder.path,
      kafka,
      database,
      feeds: [
        streamFeed('orders', topics.orders, {
          ...{ schema, event_time: 'at', destination: 'both', mysql_table: 'fact_orders', retention: RETENTION },
        }),
        factFeed('totals', topics.totals, { destination: 'both' }),
      ],
      batch: { batch_size: PART, batch_timeout_seconds: 0.2 },
    });
    await using orders = await record(kafka, topics.orders);
    await using totals = await record(kafka, topics.totals);
    const nowMs = Date.now();
    let id = 0;
    const sendPart = async (): Promise<void> => {
      const list = Array.from({ length: PART }, () => {
        id += 1;
        const at = new Date(nowMs - (DAYS[id % DAYS.length] ?? 0) * DAY_MS).toISOString();
        return message(id, { partition: id % 2, timestampMs: nowMs, value: JSON.stringify({ id, text: `text ${id}`, at }) });
      });
      const changes = Array.from({ length: PART }, (_, n) => message(n, { key: String(n), timestampMs: nowMs + id }));
      await Promise.all([orders.send(list), totals.send(changes)]);
    };
    const lake = startLake(setup, ['ingest']);
    await sendPart();
    await lake.event('snapshot_published');
    await lake.event('batch_committed', 3);
    const glob = startGlob(setup.lakePath);

    let isOver = false;
    const rounds = { housekeeping: 0, verify: 0, query: 0 };
    const wrong: string[] = [];
    const ask = async (...args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await runLake(setup, args);
      if (code !== 0) wrong.push(`lake ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
      return stdout;
    };
    const moved = { compacted: 0, expired: 0 };
    const loops = [
      async () => {
        const expired = JSON.parse(await ask('retention', '--json')) as { actions: unknown[] };
        const compacted = JSON.parse(await ask('compact', '--older-than', '0s', '--json')) as { actions: unknown[] };
        moved.expired += expired.actions.length;
        moved.compacted += compacted.actions.length;
        rounds.housekeeping += 1;
      },
      async () => {
        await ask('verify', '--json');
        rounds.verify += 1;
      },
      async () => {
        const count = async (what: string, wanted: string): Promise<void> => {
          const said = await ask(
            'query',
            `SELECT count(*) - count(DISTINCT (kafka_partition, kafka_offset)), ${what}`,
            '--format',
            'csv',
          );
          if (!said.endsWith(`\n${wanted}\n`)) wrong.push(`${what}: ${said}`);
        };
        await count('count(*) > 0 FROM orders', '0,true');
        await count('count(*) FROM totals', `0,${PART}`);
        rounds.query += 1;
      },
    ].map(async (round) => {
      while (!isOver && wrong.length === 0) await round();
    });
    // At the pace at which they are taken in.
    const sending = (async () => {
      for (let parts = 1; !isOver; parts += 1) {
        await sendPart();
        await lake.event('batch_committed', parts);
      }
    })();
    const isEnough = (): boolean =>
      Object.values(rounds).every((count) => count >= ROUNDS_MIN) && Object.values(moved).every((count) => count > 0);
    const enough = until(() => wrong.length > 0 || isEnough(), { timeoutMs: 200_000, what: 'rounds' }).finally(() => {
      isOver = true;
    });
    await Promise.all([...loops, sending, enough]);
    expect(wrong).toEqual([]);
    const looks = await glob.end();
    expect(looks.filter(({ rows, distinct }) => rows !== distinct)).toEqual([]);
    expect(looks.length).toBeGreaterThan(ROUNDS_MIN);

    lake.kill('SIGTERM');
    expect((await lake.ended).code).toBe(0);
    await ask('ingest', '--until-caught-up');
    await ask('retention');
    await ask('verify', '--deep');
    expect(wrong).toEqual([]);
    const kept = orders.messages
      .map(({ value }) => JSON.parse(String(value)) as { id: number; at: string })
      .filter(({ at }) => Date.parse(at) > nowMs - 30 * DAY_MS)
      .map((one) => one.id)
      .sort((a, b) => a - b);
    const inLake = await readRows(setup.lakePath, { ...globFiles(setup.lakePath, 'orders'), deadLetters: [] });
    expect(inLake.map(({ values }) => Number(values['id'])).sort((a, b) => a - b)).toEqual(kept);
    const inFact = await rowsOf(database, 'SELECT id FROM fact_orders');
    expect(inFact.map((row) => Number(row['id'])).sort((a, b) => a - b)).toEqual(kept);
  },
  TEST_MS_MAX,
);

/** A person's reader, which looks again where a file went away between its listing and its reading. */
function startGlob(lakePath: string) {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, '../helpers/reader-child.ts'), 'glob-again', lakePath, 'orders'],
    {
      stdout: 'pipe',
      stderr: 'inherit',
    },
  );
  started.add(child);
  const text = new Response(child.stdout).text();
  return {
    end: async () => {
      child.kill('SIGTERM');
      const lines = (await text).split('\n').slice(0, -1);
      expect(lines.filter((line) => line.includes('error'))).toEqual([]);
      return lines.map((line) => JSON.parse(line) as { rows: number; distinct: number });
    },
  };
}
