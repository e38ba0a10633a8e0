// lake audit: both targets' books as one, after things were done to them.

import { expect, test } from 'bun:test';
import { drain, type LakeSetup, runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { warehouseSetup } from '../helpers/warehouse.ts';

async function auditOf(setup: LakeSetup, args: readonly string[] = []) {
  const { code, stdout, stderr } = await runLake(setup, ['audit', '--json', ...args]);
  const trail: Record<string, unknown>[] = stdout === '' ? [] : JSON.parse(stdout);
  return { code, stderr, trail };
}

const gapsOf = (trail: readonly Record<string, unknown>[]) =>
  trail.filter(({ action }) => action === 'gap_recorded').map(({ target, feed, resource }) => [target, feed, resource]);

/** Takes 10 messages in, loses the next 5, and accepts that. */
async function withGap(setup: LakeSetup, topic: string): Promise<void> {
  const kafka = await testKafka();
  await using sent = await record(kafka, topic);
  await sent.send(messages(0, 10));
  await drain(setup);
  await sent.send(messages(10, 10));
  await kafka.deleteRecords(topic, [{ partition: 0, before: 15n }]);
  await drain(setup, { args: ['--on-gap', 'record'] });
}

const BOTH = [
  ['lake', 'orders', '0:10-15'],
  ['warehouse', 'orders', '0:10-15'],
];

test.each([...mysqlEngines, 'duckdb'] as const)('a gap is told once for the lake and once for %s', async (engine) => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const feeds = [streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' })];
  const parts = { folder: folder.path, kafka, feeds };
  await using database = engine === 'duckdb' ? null : await testMysql(engine);
  const setup = database ? warehouseSetup({ ...parts, database }) : writeSetup(parts);
  const startedMs = Date.now();
  await withGap(setup, topic);
  const { code, trail } = await auditOf(setup);
  expect(code).toBe(0);
  expect(gapsOf(trail).sort()).toEqual(BOTH);
  expect(trail.filter(({ action }) => action === 'feed_registered')).toHaveLength(1);
  const times = trail.map(({ at }) => Date.parse(String(at)));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  for (const at of times) expect(Math.abs(at - startedMs)).toBeLessThan(120_000);
  for (const { actor } of trail) expect(actor).toBeString();
});

test('--since and --feed choose; without the database the journal still tells all of it, with exit 4', async () => {
  await using folder = await tempDir();
  await using database = await testMysql();
  const kafka = await testKafka();
  const [topic, other] = [await kafka.createTopic(), await kafka.createTopic()];
  const feeds = [
    streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' }),
    streamFeed('others', other, { destination: 'both', mysql_table: 'fact_others' }),
  ];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds });
  await withGap(setup, topic);
  const all = (await auditOf(setup)).trail;
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  for (const [since, count] of [
    ['1h', all.length],
    ['2025-01-28', all.length],
    [tomorrow.slice(0, 10), 0],
    [tomorrow, 0],
    [String(all.at(-1)?.['at']), all.filter(({ at }) => at === all.at(-1)?.['at']).length],
  ] as const) {
    expect({ since, count: (await auditOf(setup, ['--since', since])).trail.length }).toEqual({ since, count });
  }
  const { trail: chosen } = await auditOf(setup, ['--feed', 'others']);
  expect(chosen.length).toBeGreaterThan(0);
  expect(new Set(chosen.map(({ feed }) => feed))).toEqual(new Set(['others']));
  const away = await auditOf(setup, ['--mysql-port', '1']);
  expect(away.code).toBe(4);
  expect(gapsOf(away.trail).sort()).toEqual(BOTH);
  for (const wrong of [
    ['--since', '5'],
    ['--since', 'yesterday'],
    ['--since', '2025-13-01'],
    ['--feed', 'nope'],
  ])
    expect({ wrong, code: (await auditOf(setup, wrong)).code }).toEqual({ wrong, code: 2 });
});
