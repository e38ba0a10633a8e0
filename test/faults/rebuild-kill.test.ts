// SIGKILL at every step of a rebuild (PROTOCOL 14): the table is the one before or the one after, whole, and the next run reads anew
// what was not replaced. A glob never sees two states of one snapshot.

import { describe, expect, test } from 'bun:test';
import { drain, type Fault, type RunningLake, startLake, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { filesUnder } from '../helpers/lake-folder.ts';
import { readRows, stateOf } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { expectLakeRebuilt, FEED, rebuildScene } from '../helpers/rebuild-scene.ts';
import { expectFact, factFeed, rowsOf, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

const entry = (version: number): string => `log/00000000000000000000/${String(version).padStart(20, '0')}.json`;

/** Versions count from the first publish: 1 is the gap, 2 the rebuild, which takes two files out (two moves each), and puts a data, a
 *  state and a dead-letters file in. */
const STEPS: readonly {
  readonly name: string;
  readonly fault: Omit<Fault, 'key'> & { readonly key?: string | number };
  readonly version: number;
}[] = [
  { name: 'before the gap', fault: { method: 'createExclusive', key: 1, when: 'before' }, version: 0 },
  { name: 'after the gap', fault: { method: 'createExclusive', key: 1, when: 'after' }, version: 1 },
  { name: 'before staging', fault: { method: 'localPath', key: '/staging/', when: 'before' }, version: 1 },
  { name: 'between data and state file', fault: { method: 'localPath', key: '/state/state_', when: 'before' }, version: 1 },
  { name: 'before the files are durable', fault: { method: 'makeDurable', key: '/staging/', when: 'before' }, version: 1 },
  { name: 'before the entry', fault: { method: 'createExclusive', key: 2, when: 'before' }, version: 1 },
  { name: 'after the entry', fault: { method: 'createExclusive', key: 2, when: 'after' }, version: 2 },
  { name: 'with the old data file out', fault: { method: 'move', n: 2, when: 'after' }, version: 2 },
  { name: 'with both old files out', fault: { method: 'move', n: 4, when: 'after' }, version: 2 },
  { name: 'with the first new file in', fault: { method: 'move', n: 5, when: 'after' }, version: 2 },
  { name: 'after the renames, before group offsets', fault: { method: 'move', n: 7, when: 'after' }, version: 2 },
];

const ALL = Array.from({ length: 30 }, (_, id) => id);
const [GONE, KEPT] = [ALL.slice(0, 5), ALL.slice(5)];
const RECORD = ['--on-gap', 'record'];

describe('killed during a rebuild', () => {
  for (const { name, fault, version } of STEPS) {
    test(name, async () => {
      await using scene = await rebuildScene(
        ({ folder, kafka, topic }) => writeSetup({ folder, kafka, feeds: [tableFeed(FEED, topic)], batch: { batch_size: 10 } }),
        // Not compacted: nothing but the steps below is in the log.
        { partitions: 1, policy: 'delete' },
      );
      const { setup } = scene;
      await scene.put(ALL);
      await drain(setup);
      await scene.expire(GONE, KEPT);
      await scene.refuse([1]);
      const { version: first } = await stateOf(setup.lakePath, FEED);
      const { key, ...rest } = fault;
      const struck: Fault = key === undefined ? rest : { ...rest, key: typeof key === 'number' ? entry(first + key) : key };
      const killed = await startLake(setup, ['ingest', '--until-caught-up', ...RECORD], { fault: struck }).ended;
      expect([killed.code, killed.stderr]).toEqual([null, expect.any(String)]);
      const state = await stateOf(setup.lakePath, FEED);
      expect([state.version - first, state.snapshot?.rows]).toEqual([version, version < 2 ? ALL.length : KEPT.length]);
      const globbed = filesUnder(setup.lakePath, `tables/${FEED}`);
      expect(globbed.length).toBeLessThanOrEqual(1);
      for (const path of globbed) {
        const rows = await readRows(setup.lakePath, { data: [path], deadLetters: [] });
        expect([ALL.length, KEPT.length]).toContain(rows.length);
      }
      await drain(setup, { args: RECORD });
      expect((await expectLakeRebuilt(scene)).state.gaps.length).toBe(1);
    });
  }
});

const swapped = (when: 'before' | 'after', at: string, n = 1) => ({ name: `${when} ${at}`, strike: { at, n, when } as const });
/** The first COMMIT is the gap's, the second the rebuild's. */
const WAREHOUSE_STEPS = [
  swapped('before', 'INSERT INTO lake_gaps'),
  swapped('after', 'COMMIT'),
  swapped('before', 'start_offset ='),
  swapped('after', 'DELETE FROM lake_tombstones'),
  swapped('after', 'INSERT INTO `fact_totals`'),
  swapped('after', 'DELETE FROM `fact_totals`'),
  swapped('before', 'COMMIT', 2),
  swapped('after', 'COMMIT', 2),
];

describe('killed during a rebuild in the warehouse', () => {
  for (const { name, strike } of WAREHOUSE_STEPS) {
    test(name, async () => {
      const database = await testMysql();
      using proxy = await mysqlProxy(database.login.port);
      await using scene = await rebuildScene(
        ({ folder, kafka, topic }) =>
          warehouseSetup({ folder, kafka, database, feeds: [factFeed(FEED, topic)], port: proxy.port }),
        { partitions: 1, policy: 'delete' },
      );
      const { setup, topic, kafka } = scene;
      await scene.put(ALL);
      await drain(setup, toWarehouse);
      await scene.expire(GONE, KEPT);
      let lake: RunningLake | null = null;
      const struck = proxy.strike({ ...strike, act: () => lake?.kill('SIGKILL') });
      lake = startLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args, ...RECORD]);
      const { code, stderr } = await lake.ended;
      expect([code, stderr]).toEqual([null, expect.any(String)]);
      await struck;
      const rows = await rowsOf(database, `SELECT id FROM fact_${FEED}_latest`);
      expect([ALL.length, KEPT.length]).toContain(rows.length);
      await drain(setup, { args: [...toWarehouse.args, ...RECORD] });
      await expectFact(await scene.inKafka(), database, { feed: FEED, topic }, { kafka });
      expect(await rowsOf(database, `SELECT action FROM audit_log WHERE action = 'table_rebuilt'`)).toHaveLength(1);
    });
  }
});
