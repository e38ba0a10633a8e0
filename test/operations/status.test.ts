// lake status: every feed and target on one line, from what was committed.

import { describe, expect, test } from 'bun:test';
import { drain, type LakeSetup, runLake, streamFeed } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed, warehouseSetup } from '../helpers/warehouse.ts';

async function statusOf(setup: LakeSetup, args: readonly string[] = []) {
  const { code, stdout, stderr } = await runLake(setup, ['status', '--json', ...args]);
  const lines: Record<string, unknown>[] = JSON.parse(stdout);
  return { code, stderr, lines };
}

describe('lake status', () => {
  test('tells ready, behind, stopped, never started and away apart', async () => {
    await using folder = await tempDir();
    await using database = await testMysql();
    const kafka = await testKafka();
    const [orders, totals, wrong, later] = [
      await kafka.createTopic(),
      await kafka.createTopic(),
      await kafka.createTopic(),
      await kafka.createTopic(),
    ];
    const feeds = [
      streamFeed('orders', orders, { dead_letters_max_ratio: 0.5 }),
      factFeed('totals', totals, { destination: 'both' }),
      streamFeed('wrong', wrong, { dead_letters_max_ratio: 0.1 }),
      streamFeed('later', later),
    ];
    const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds });
    for (const topic of [orders, totals]) {
      await using sent = await record(kafka, topic);
      await sent.send([...messages(0, 20), { key: 'k', value: 'no json' }]);
    }
    await using refused = await record(kafka, wrong);
    await refused.send(messages(0, 2_000, () => ({ value: 'no json' })));
    await using waiting = await record(kafka, later);
    await waiting.send(messages(0, 3));
    const startedMs = Date.now();
    expect((await runLake(setup, ['ingest', '--until-caught-up', '--feed', 'orders,totals,wrong'])).code).toBe(1);
    await using more = await record(kafka, orders);
    await more.send(messages(30, 4));
    const { code, lines } = await statusOf(setup);
    expect(code).toBe(3);
    expect(lines.map(({ feed, target, state, lag, open_dead_letters }) => [feed, target, state, lag, open_dead_letters])).toEqual(
      [
        ['orders', 'lake', 'behind', 4, 1],
        ['totals', 'lake', 'ready', 0, 1],
        ['totals', 'warehouse', 'ready', 0, 1],
        ['wrong', 'lake', 'stopped', 2_000, 0],
        ['later', 'lake', 'never_started', 3, 0],
      ],
    );
    const [behind, table, fact, stopped] = lines;
    expect(behind).toMatchObject({ files: 1, snapshot_date: null, reason: null });
    expect(Number(behind?.['bytes'])).toBeGreaterThan(500);
    expect(String(stopped?.['reason'])).toContain('2000');
    const today = new Date().toISOString().slice(0, 10);
    for (const line of [table, fact]) {
      expect(line).toMatchObject({ snapshot_date: today, snapshot_version: 1 });
      const committedMs = Date.parse(String(line?.['last_commit_at']));
      expect(committedMs).toBeGreaterThanOrEqual(startedMs - 1_000);
      expect(committedMs).toBeLessThanOrEqual(Date.now() + 1_000);
    }
    const away = await statusOf(setup, ['--mysql-port', '1']);
    expect(away.code).toBe(4);
    expect(away.lines.map(({ state }) => state)).toEqual(['behind', 'ready', 'away', 'stopped', 'never_started']);
  });

  test('shows what is committed while Kafka is away, with exit 4', async () => {
    await using folder = await tempDir();
    await using database = await testMysql();
    const kafka = await testKafka();
    const topic = await kafka.createTopic();
    await using sent = await record(kafka, topic);
    const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds: [streamFeed('orders', topic)] });
    await sent.send(messages(0, 20));
    await drain(setup);
    const { code, stderr, lines } = await statusOf(setup, ['--bootstrap-servers', '127.0.0.1:1']);
    expect(code).toBe(4);
    expect(stderr).toContain('start Kafka');
    expect(lines).toMatchObject([{ feed: 'orders', state: 'unknown', lag: null, files: 1 }]);
  });
});
