// Deleted keys over many periods (design 4, §1.2): they are forgotten at a seal, in both targets, once no partition can bring an older
// row of theirs; and until then no late row brings one back.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { stateOf } from '../helpers/lake-rows.ts';
import { at, same, snapshotScene } from '../helpers/snapshot-scene.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

async function scene() {
  const one = await snapshotScene({ partitions: 2 });
  const send = (partition: number, timestampMs: number, id: number, text: string | null) =>
    one.sent.send([{ partition, key: String(id), value: text === null ? null : JSON.stringify({ id, text }), timestampMs }]);
  return {
    ...one,
    row: (partition: number, ms: number, id: number) => send(partition, ms, id, `of ${id}`),
    gone: (partition: number, ms: number, id: number) => send(partition, ms, id, null),
    /** In the lake and in MySQL. */
    tombstones: async () => {
      const state = await stateOf(one.setup.lakePath, 'totals');
      const file = [...state.files.values()].find(({ kind }) => kind === 'state');
      return [file?.rows, (await rowsOf(one.database, 'SELECT 1 FROM lake_tombstones')).length];
    },
    /** The newest snapshots of both are the fold, and the same; their keys. */
    keys: async () => {
      const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
      one.check(lake);
      one.check(warehouse);
      expect(same(lake)).toEqual(same(warehouse));
      return lake
        .at(-1)
        ?.rows.map(({ values }) => Number(values['id']))
        .sort((a, b) => a - b);
    },
  };
}

test('are forgotten when every partition is beyond them, and not before: a late row does not come back', async () => {
  await using one = await scene();
  for (const id of [1, 2, 3]) await one.row(0, at(20, id), id);
  await one.row(1, at(20, 5), 9);
  await one.gone(0, at(20, 40), 1);
  await one.gone(0, at(20, 10), 2);
  await one.row(0, at(21, 10), 4);
  await one.run(at(20, 45), 'all');
  await one.run(at(21, 15), 'all');
  // Partition 1 is at 20:05.
  expect(await one.tombstones()).toEqual([2, 2]);
  await one.row(1, at(20, 20), 1);
  await one.row(1, at(20, 6), 2);
  await one.run(at(21, 20), 'all');
  expect(await one.keys()).toEqual([3, 4, 9]);
  await one.row(1, at(21, 50), 8);
  await one.run(at(22, 15), 'all');
  expect(await one.tombstones()).toEqual([0, 0]);
  await one.row(1, at(22, 16), 1);
  await one.run(at(22, 20), 'all');
  expect(await one.keys()).toEqual([1, 3, 4, 8, 9]);
});

test('do not grow over many periods', async () => {
  await using one = await scene();
  const counts: (number | undefined)[][] = [];
  for (let hour = 8; hour < 14; hour++) {
    for (const partition of [0, 1]) {
      for (let id = 0; id < 5; id++) await one.row(partition, at(hour, 10), 100 * hour + 10 * partition + id);
      for (let id = 0; id < 4; id++) await one.gone(partition, at(hour, 20), 100 * hour + 10 * partition + id);
    }
    await one.run(at(hour, 30), 'all');
    counts.push(await one.tombstones());
  }
  // Those of an hour are forgotten with the next seal at which both partitions are beyond.
  for (const [lake = 0, warehouse = 0] of counts) expect([lake <= 16, warehouse <= 16]).toEqual([true, true]);
  expect((await one.keys())?.length).toBe(12);
});

test('are kept while a partition has had no message, which each seal says in both targets', async () => {
  await using one = await scene();
  await one.row(0, at(20), 1);
  await one.gone(0, at(20, 10), 1);
  await one.run(at(20, 15), 'all');
  const told = ({ stderr }: { stderr: string }) =>
    [...stderr.matchAll(/"event":"tombstones_kept".*?"target":"(\w+)".*?"partitions":"([\d,]+)"/g)]
      .map((found) => `${found[1]} ${found[2]}`)
      .sort();
  expect(told(await one.run(at(21, 15), 'all'))).toEqual(['lake 1', 'warehouse 1']);
  expect(await one.tombstones()).toEqual([1, 1]);
  await one.row(1, at(21, 20), 2);
  expect(told(await one.run(at(22, 15), 'all'))).toEqual([]);
});
