// A rebalance while a table is read anew (PROTOCOL 10, 14): the member that replaces it falls asleep right before, another one joins, reads
// the table anew and goes on; the first wakes with its old table in hand. The table is the fold of what Kafka has, and counts each message once.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { drain, type RunningLake, startLake, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { expectLakeRebuilt, FEED, type RebuildScene, rebuildScene } from '../helpers/rebuild-scene.ts';
import { until } from '../helpers/until.ts';
import { expectFact, factFeed, rowsOf, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const ALL = Array.from({ length: 200 }, (_, id) => id);
const [GONE, KEPT] = [ALL.slice(0, 20), ALL.slice(20)];
const INGEST = ['ingest', '--on-gap', 'record'];
const WAIT = { timeoutMs: 120_000 };

const ended = async (...members: readonly RunningLake[]): Promise<void> => {
  for (const one of members) one.kill('SIGTERM');
  for (const one of members) {
    const { code, stderr } = await one.ended;
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  }
};

/** All that was sent is in, by whichever member. */
async function allIn(scene: RebuildScene, positions: () => Promise<ReadonlyMap<number, bigint>>): Promise<void> {
  await until(async () => {
    const is = await positions();
    return (await scene.kafka.watermarks(scene.topic)).every(({ partition, high }) => is.get(partition) === high);
  }, WAIT);
}

test('in the lake', async () => {
  await using scene = await rebuildScene(
    ({ folder, kafka, topic }) => writeSetup({ folder, kafka, feeds: [tableFeed(FEED, topic)], batch: { batch_size: 50 } }),
    { policy: 'delete' },
  );
  const { setup } = scene;
  const positions = async () => {
    const state = await stateOf(setup.lakePath, FEED);
    return new Map([...state.positions].map(([partition, { position }]) => [partition, position as bigint]));
  };
  await scene.put(ALL);
  await drain(setup);
  await scene.expire(GONE, KEPT);
  // The new table's files are there, its entry is not.
  const fault = { method: 'makeDurable', key: '/staging/', when: 'after', signal: 'SIGSTOP' } as const;
  const first = startLake(setup, INGEST, { fault });
  await first.stopped();
  const second = startLake(setup, INGEST);
  await until(async () => (await stateOf(setup.lakePath, FEED)).rebuiltVersion > 0, WAIT);
  await scene.put(GONE.slice(0, 3), 'back');
  await allIn(scene, positions);
  first.kill('SIGCONT');
  await until(() => first.events('partitions_assigned').length > 1 || first.events('commit_conflicted').length > 0, WAIT);
  await scene.put(ALL.slice(0, 100), 'newest');
  await allIn(scene, positions);
  await ended(first, second);
  const { state } = await expectLakeRebuilt(scene);
  expect(state.epoch).toBe(2);
});

test.each([...mysqlEngines])('in the warehouse, on %s', async (engine) => {
  await using database = await testMysql(engine);
  using proxy = await mysqlProxy(database.login.port);
  await using scene = await rebuildScene(
    ({ folder, kafka, topic }) =>
      warehouseSetup({ folder, kafka, database, feeds: [factFeed(FEED, topic)], batch: { batch_size: 50 }, port: proxy.port }),
    { policy: 'delete' },
  );
  const { setup } = scene;
  const args = [...INGEST, ...toWarehouse.args];
  const positions = async () => {
    const rows = await rowsOf(database, 'SELECT kafka_partition AS p, position AS o FROM lake_positions');
    return new Map(rows.map(({ p, o }) => [Number(p), BigInt(String(o))]));
  };
  await scene.put(ALL);
  await drain(setup, toWarehouse);
  await scene.expire(GONE, KEPT);
  let first: RunningLake | null = null;
  // In its transaction, with the locks of all positions; the server lets go of it after ten seconds.
  const struck = proxy.strike({
    at: 'DELETE FROM lake_tombstones',
    when: 'before',
    goesOn: true,
    act: () => first?.kill('SIGSTOP'),
  });
  first = startLake(setup, args);
  await struck;
  const second = startLake(setup, args);
  await second.event('rebuild_ended');
  await scene.put(GONE.slice(0, 3), 'back');
  await allIn(scene, positions);
  first.kill('SIGCONT');
  await until(() => (first?.events('partitions_assigned').length ?? 0) > 1, WAIT);
  await scene.put(ALL.slice(0, 100), 'newest');
  await allIn(scene, positions);
  await ended(first, second);
  const { kafka, topic } = scene;
  await expectFact(await scene.inKafka(), database, { feed: FEED, topic }, { kafka });
  expect(new Set((await rowsOf(database, 'SELECT epoch FROM lake_positions')).map(({ epoch }) => Number(epoch))).size).toBe(1);
});
