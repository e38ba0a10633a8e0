// PROTOCOL 14: a tombstone that Kafka does not have any more, because a table was away for longer than delete.retention.ms, or because
// offsets expired. The table is read anew, and is then the fold of what Kafka has.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type LakeResult, type LogLine, runLake, startLake, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import type { Produced } from '../helpers/produced.ts';
import { expectLakeRebuilt, FEED, KEPT_MS, rebuildScene, START_MS } from '../helpers/rebuild-scene.ts';
import { until } from '../helpers/until.ts';
import { expectFact, factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const ALL = Array.from({ length: 20 }, (_, id) => id);
const GONE = [3, 4, 7];
const KEPT = ALL.filter((id) => !GONE.includes(id));
const RECORD = ['--on-gap', 'record'];

const eventsOf = ({ stderr }: LakeResult, name: string): LogLine[] =>
  stderr.split('\n').flatMap((line) => (line.includes(`"${name}"`) ? [JSON.parse(line) as LogLine] : []));
const ended = (result: LakeResult): LakeResult => {
  if (result.code !== 0) throw new Error(`lake ingest ended with ${result.code}:\n${result.stderr}`);
  return result;
};

const inLake = (policy = 'compact,delete', more: Record<string, unknown> = {}) =>
  rebuildScene(({ folder, kafka, topic }) => writeSetup({ folder, kafka, feeds: [tableFeed(FEED, topic, more)] }), { policy });

describe('in the lake', () => {
  test('a table that was away for longer than delete.retention.ms loses the keys whose tombstones are gone', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.eat(GONE, KEPT);
    const run = ended(await scene.run(KEPT_MS + 60_000));
    expect(eventsOf(run, 'rebuild_started')).toMatchObject([{ level: 'warn', feed: FEED, reason: 'not_caught_up' }]);
    expect(eventsOf(run, 'rebuild_ended')).toMatchObject([{ feed: FEED, target: 'lake', rows: KEPT.length }]);
    const { state } = await expectLakeRebuilt(scene);
    expect([state.epoch, state.rebuiltVersion > 0]).toEqual([2, true]);
    // And it is known again to have missed nothing.
    expect(Date.parse(state.snapshot?.caughtUpAt ?? '')).toBeGreaterThanOrEqual(START_MS + KEPT_MS + 60_000);
    expect(eventsOf(ended(await scene.run(KEPT_MS + 70_000)), 'rebuild_started')).toEqual([]);
  });

  test('one that was away for less is read on', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.eat(GONE, KEPT);
    const run = ended(await scene.run(KEPT_MS - 30_000));
    expect([eventsOf(run, 'rebuild_started'), (await stateOf(scene.setup.lakePath, FEED)).snapshot?.rows]).toEqual([
      [],
      ALL.length,
    ]);
  });

  test('one whose topic is not compacted is read on, however long it was away', async () => {
    await using scene = await inLake('delete');
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.put(KEPT, 'newer');
    expect(eventsOf(ended(await scene.run(100 * KEPT_MS)), 'rebuild_started')).toEqual([]);
  });

  test('one that runs with nothing to read says so, and need not be read anew', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    for (const minutes of [0, 0.9, 1.8, 2.7, 3.6]) {
      const run = ended(await scene.run(minutes * KEPT_MS));
      expect(eventsOf(run, 'rebuild_started')).toEqual([]);
    }
    await expectLakeRebuilt(scene);
  });

  test('one that has nothing to read is read anew all the same', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.forget();
    const run = ended(await scene.run(2 * KEPT_MS));
    expect(eventsOf(run, 'rebuild_ended')).toMatchObject([{ rows: 0 }]);
    await expectLakeRebuilt(scene);
    await scene.put(KEPT);
    ended(await scene.run(2 * KEPT_MS + 1_000));
    await expectLakeRebuilt(scene);
  });

  test('a gap that is recorded leads to a rebuild, even in a topic that is not compacted', async () => {
    await using scene = await inLake('delete');
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.expire(GONE, KEPT);
    expect((await scene.run(0)).code).toBe(1);
    expect((await stateOf(scene.setup.lakePath, FEED)).rebuiltVersion).toBe(0);
    const run = ended(await scene.run(0, RECORD));
    expect(eventsOf(run, 'rebuild_started')).toMatchObject([{ reason: 'gap', gaps: expect.stringContaining('1:10-12') }]);
    const { state } = await expectLakeRebuilt(scene);
    expect(state.gaps).toMatchObject([{ reason: 'expired' }, { reason: 'expired' }]);
    expect(eventsOf(ended(await scene.run(0)), 'rebuild_started')).toEqual([]);
  });

  test('dead letters that a rebuild finds again are not doubled, and new ones are kept', async () => {
    await using scene = await inLake();
    await scene.refuse([1, 2]);
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.refuse([3]);
    await scene.put(KEPT, 'newer');
    const run = ended(await scene.run(2 * KEPT_MS));
    expect(eventsOf(run, 'rebuild_ended').length).toBe(1);
    await expectLakeRebuilt(scene);
  });

  test('a period that is over is sealed when the rebuild is in, and without the lost keys', async () => {
    await using scene = await inLake('compact,delete', { snapshot_every: 'hour' });
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.eat(GONE, KEPT);
    const run = ended(await scene.run(90 * 60_000));
    const order = run.stderr.match(/rebuild_started|rebuild_ended|snapshot_sealed/g);
    expect(order).toEqual(['rebuild_started', 'rebuild_ended', 'snapshot_sealed']);
    const state = await stateOf(scene.setup.lakePath, FEED);
    expect(state.sealed).toMatchObject([{ version: 11, rows: KEPT.length, cut: 'at_cut' }]);
    expect(state.snapshot).toMatchObject({ version: 12, rows: KEPT.length });
  });

  test('what comes during a rebuild waits for it, and is taken then', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    ended(await runLake(scene.setup, ['ingest', '--until-caught-up']));
    await scene.expire(GONE, KEPT);
    const fault = { method: 'localPath', key: '/state/state_', when: 'before', signal: 'SIGSTOP' } as const;
    const lake = startLake(scene.setup, ['ingest', ...RECORD], { fault });
    await lake.stopped();
    await scene.put([3, ...KEPT], 'newest');
    lake.kill('SIGCONT');
    await lake.event('rebuild_ended');
    await lake.event('snapshot_published', 2);
    lake.kill('SIGTERM');
    ended(await lake.ended);
    const { state } = await expectLakeRebuilt(scene);
    expect(state.snapshot?.rows).toBe(KEPT.length + 1);
    expect(lake.events('commit_conflicted')).toEqual([]);
  });

  test('a topic that was created anew is no reason to read the table anew', async () => {
    await using scene = await inLake();
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.kafka.deleteTopic(scene.topic);
    await until(async () => !(await (await scene.kafka.admin()).listTopics()).includes(scene.topic));
    await scene.createTopic();
    await scene.put([...ALL, ...ALL], 'other');
    const run = await scene.run(2 * KEPT_MS);
    expect([run.code, run.stderr.includes('(topic_recreated)')]).toEqual([1, true]);
    expect((await stateOf(scene.setup.lakePath, FEED)).rebuiltVersion).toBe(0);
  });
});

async function inWarehouse(more: Record<string, unknown> = {}) {
  const database = await testMysql();
  const scene = await rebuildScene(({ folder, kafka, topic }) =>
    warehouseSetup({ folder, kafka, database, feeds: [factFeed(FEED, topic, more)] }),
  );
  const check = async (refused: (message: Produced) => boolean = () => false) => {
    const { kafka, topic } = scene;
    return await expectFact(await scene.inKafka(), database, { feed: FEED, topic }, { kafka, refused });
  };
  /** From now on MySQL takes no row with this text. */
  const refuseText = (text: string) =>
    rowsOf(
      database,
      `CREATE TRIGGER refuse_bad BEFORE INSERT ON fact_${FEED} FOR EACH ROW
       IF NEW.text = '${text}' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this text'; END IF`,
    );
  return { ...scene, database, check, refuseText };
}

const WAREHOUSE = ['--mode', 'warehouse'];
const BOTH = { destination: 'both' };

describe('in the warehouse', () => {
  test('a table that was away for longer than delete.retention.ms loses the keys whose tombstones are gone', async () => {
    await using scene = await inWarehouse();
    await scene.put(ALL);
    ended(await scene.run(0, WAREHOUSE));
    const same = `SELECT lake_id, created_at FROM fact_${FEED} WHERE id = 5`;
    const before = await rowsOf(scene.database, same);
    await scene.eat(GONE, KEPT);
    const run = ended(await scene.run(KEPT_MS + 60_000, WAREHOUSE));
    expect(eventsOf(run, 'rebuild_started')).toMatchObject([{ level: 'warn', target: 'warehouse', reason: 'not_caught_up' }]);
    expect(eventsOf(run, 'rebuild_ended')).toMatchObject([{ target: 'warehouse', rows: KEPT.length }]);
    await scene.check();
    const told = await rowsOf(
      scene.database,
      `SELECT resource, row_count, details FROM audit_log WHERE action = 'table_rebuilt'`,
    );
    expect(told).toMatchObject([
      { row_count: String(KEPT.length), details: { reason: 'not_caught_up', from: { 0: '10', 1: '10' } } },
    ]);
    expect([before.length, await rowsOf(scene.database, same)]).toEqual([1, before]);
    expect(eventsOf(ended(await scene.run(KEPT_MS + 70_000, WAREHOUSE)), 'rebuild_started')).toEqual([]);
  });

  test('both targets are rebuilt, each by itself, and are the fold of what Kafka has', async () => {
    await using scene = await inWarehouse(BOTH);
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.eat(GONE, KEPT);
    await scene.refuse([3]);
    await scene.put(GONE.slice(2), 'back');
    const run = ended(await scene.run(2 * KEPT_MS));
    const targets = eventsOf(run, 'rebuild_ended').map(({ target }) => target);
    expect(targets.sort()).toEqual(['lake', 'warehouse']);
    await scene.check();
    await expectLakeRebuilt(scene);
    const verified = await runLake(scene.setup, ['verify', FEED, '--deep']);
    expect([verified.code, verified.code === 0 ? '' : verified.stdout]).toEqual([0, '']);
  });

  test('one that runs with nothing to read says so, and need not be read anew', async () => {
    await using scene = await inWarehouse();
    await scene.put(ALL);
    for (const minutes of [0, 0.9, 1.8, 2.7, 3.6]) {
      const run = ended(await scene.run(minutes * KEPT_MS, WAREHOUSE));
      expect(eventsOf(run, 'rebuild_started')).toEqual([]);
    }
    await scene.check();
  });

  test('one that has nothing to read is read anew all the same, and goes on from there', async () => {
    await using scene = await inWarehouse();
    await scene.put(ALL);
    ended(await scene.run(0, WAREHOUSE));
    await scene.forget();
    expect(eventsOf(ended(await scene.run(2 * KEPT_MS, WAREHOUSE)), 'rebuild_ended')).toMatchObject([{ rows: 0 }]);
    await scene.check();
    await scene.put(KEPT);
    ended(await scene.run(2 * KEPT_MS + 1_000, WAREHOUSE));
    await scene.check();
  });

  test('a gap that is recorded leads to a rebuild, once', async () => {
    await using scene = await inWarehouse(BOTH);
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.expire(GONE, KEPT);
    const run = ended(await scene.run(0, RECORD));
    expect(eventsOf(run, 'rebuild_started').map(({ reason }) => reason)).toEqual(['gap', 'gap']);
    await scene.check();
    await expectLakeRebuilt(scene);
    expect(eventsOf(ended(await scene.run(0)), 'rebuild_started')).toEqual([]);
  });

  test('dead letters that a rebuild finds again are not doubled, nor opened again, and new ones are kept', async () => {
    await using scene = await inWarehouse();
    await scene.refuse([1, 2]);
    await scene.put(ALL);
    ended(await scene.run(0, WAREHOUSE));
    await rowsOf(scene.database, `UPDATE lake_dead_letters SET state = 'dropped' WHERE kafka_partition = 0`);
    await scene.refuse([3]);
    await scene.put(KEPT, 'newer');
    expect(eventsOf(ended(await scene.run(2 * KEPT_MS, WAREHOUSE)), 'rebuild_ended').length).toBe(1);
    await scene.check();
    const letters = await rowsOf(scene.database, `SELECT state FROM lake_dead_letters ORDER BY kafka_partition, kafka_offset`);
    expect(letters).toMatchObject([{ state: 'dropped' }, { state: 'open' }, { state: 'open' }]);
  });

  test('dead letters that a rebuild does not find again are closed, and no count is wrong afterwards', async () => {
    await using scene = await inWarehouse();
    await scene.refuse([1, 2]);
    await scene.put(ALL);
    ended(await scene.run(0, WAREHOUSE));
    await rowsOf(
      scene.database,
      'UPDATE lake_positions SET dead_letters = 2, retained_dead_letters = 1 WHERE kafka_partition = 0',
    );
    await scene.forget();
    await scene.refuse([3]);
    await scene.put(KEPT, 'newer');
    ended(await scene.run(2 * KEPT_MS, WAREHOUSE));
    const letters = await rowsOf(scene.database, `SELECT state FROM lake_dead_letters ORDER BY kafka_timestamp`);
    expect(letters).toMatchObject([{ state: 'superseded' }, { state: 'superseded' }, { state: 'open' }]);
    const verified = await runLake(scene.setup, ['verify', FEED, '--deep']);
    expect([verified.code, verified.code === 0 ? '' : verified.stdout]).toEqual([0, '']);
  });

  const MANY = Array.from({ length: 300 }, (_, id) => id);
  const isBad = ({ value }: Produced): boolean => String(value).includes('"bad"');

  test('rows that the server refuses are found in one reading, and the rows of their keys are the ones before', async () => {
    await using scene = await inWarehouse();
    await scene.put(MANY);
    ended(await scene.run(0, WAREHOUSE));
    await scene.refuseText('bad');
    await scene.put(MANY.slice(0, 120), 'bad');
    const run = ended(await scene.run(2 * KEPT_MS, WAREHOUSE));
    expect(eventsOf(run, 'rows_refused')).toMatchObject([{ rows: 120 }]);
    expect(eventsOf(run, 'rebuild_started').length).toBe(2);
    await scene.check(isBad);
  });

  test('one whose rows the server mostly refuses stops the feed with its words, and the old table stays', async () => {
    await using scene = await inWarehouse(BOTH);
    await scene.put(MANY.slice(0, 200));
    ended(await scene.run(0));
    await scene.refuseText('bad');
    await scene.put(MANY.slice(0, 150), 'bad');
    const run = await scene.run(2 * KEPT_MS);
    expect([run.code, run.stderr]).toEqual([
      1,
      expect.stringMatching(/150 of the last 200 messages of feed totals do not fit: the warehouse refuses it/),
    ]);
    expect(await rowsOf(scene.database, `SELECT text, COUNT(*) AS n FROM fact_${FEED} GROUP BY text`)).toMatchObject([
      { text: 'new', n: '200' },
    ]);
    // The lake has no such trouble, and is not stopped.
    await expectLakeRebuilt(scene);
    await rowsOf(scene.database, 'DROP TRIGGER refuse_bad');
    ended(await scene.run(2 * KEPT_MS));
    await scene.check();
  });

  test('a period that is over is sealed when the rebuild is in, and both targets are equal', async () => {
    await using scene = await inWarehouse({ ...BOTH, snapshot_every: 'hour' });
    await scene.put(ALL);
    ended(await scene.run(0));
    await scene.eat(GONE, KEPT);
    const run = ended(await scene.run(90 * 60_000));
    for (const target of ['lake', 'warehouse']) {
      const lines = run.stderr.split('\n').filter((line) => line.includes(`"target":"${target}"`));
      const order = lines.join('\n').match(/rebuild_started|rebuild_ended|snapshot_sealed/g);
      expect(order).toEqual(['rebuild_started', 'rebuild_ended', 'snapshot_sealed']);
    }
    const counts = await rowsOf(
      scene.database,
      `SELECT state, row_count, checksum, (SELECT COUNT(*) FROM fact_${FEED} f WHERE f.snapshot_version = s.snapshot_version) AS n
       FROM lake_snapshots s ORDER BY snapshot_version`,
    );
    const { sealed } = await stateOf(scene.setup.lakePath, FEED);
    const n = String(KEPT.length);
    expect(counts).toMatchObject([
      { state: 'sealed', row_count: n, checksum: sealed[0]?.checksum, n },
      { state: 'open', n },
    ]);
    expect(sealed).toMatchObject([{ version: 11, rows: KEPT.length }]);
  });
});
