// A rewind of the lake beside writers of the same log: who staged before it is kept out by the epoch (PROTOCOL 6), also with a partition
// that is new, and its data does not come back.

import { expect, test } from 'bun:test';
import type { FeedLog } from '../../src/lake/log.ts';
import { readEntry } from '../../src/lake/read-log.ts';
import { type LogEntry, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { createHistory, planRewind, sortFiles } from '../../src/model/rewind.ts';
import { FEED, type LakeFolder, lakeFolder, newId, noSignal, positionsOf, rangeOf, stageAppend } from '../helpers/lake-folder.ts';

const signal = noSignal;
const at = (offset: number) => toOffset(BigInt(offset));

/** As `lake rewind` plans it, of files none of which lies on both sides. */
async function rewindOf(lake: LakeFolder, log: FeedLog, points: Readonly<Record<number, number>>): Promise<Proposal> {
  const state = await log.refresh();
  const history = createHistory();
  for (let version = 1; version <= state.version; version++)
    history.count((await readEntry(lake.store, FEED, version)) as LogEntry);
  const wanted = new Map(Object.entries(points).map(([partition, offset]) => [Number(partition), at(offset)]));
  const { out, unsure } = sortFiles(state.files.values(), history, wanted);
  expect(unsure).toEqual([]);
  const plan = planRewind({ state, history, points: wanted, out, counts: new Map(), tombstones: new Map() });
  if (!plan) throw new Error('there is no plan');
  const rewind = { to: 'test', partitions: plan.partitions, retainedRows: plan.retainedRows };
  const removed = plan.removed.map(({ path }) => path);
  return proposal({ kind: 'rewind', batch: newId(), epoch: state.epoch, schemaVersion: 0, removed, rewind });
}

const commit = async (log: FeedLog, wanted: Proposal) => (await log.commit(wanted, { signal })).kind;

test('6: what was staged before a rewind is refused, though the positions are the same again', async () => {
  await using lake = await lakeFolder();
  const [a, b] = [await lake.open(), await lake.open()];
  await commit(b, stageAppend(b, lake.store, [rangeOf(0, 100)]));
  await a.refresh();
  const staged = stageAppend(a, lake.store, [rangeOf(100, 200)]);
  await commit(b, stageAppend(b, lake.store, [rangeOf(100, 200)]));
  expect(await commit(b, await rewindOf(lake, b, { 0: 100 }))).toBe('committed');
  expect(positionsOf(await lake.state())).toEqual({ 0: 100 });
  // A has seen the rewind by now, and its batch is void all the same.
  await a.refresh();
  expect(await a.commit(staged, { signal })).toMatchObject({ kind: 'conflict', reason: 'epoch' });
  expect(lake.glob()).toHaveLength(1);
  expect(await commit(a, stageAppend(a, lake.store, [rangeOf(100, 150)]))).toBe('committed');
  expect(lake.glob()).toHaveLength(2);
});

test('6: a partition that is read for the first time does not come in by the old epoch', async () => {
  await using lake = await lakeFolder();
  const [a, b] = [await lake.open(), await lake.open()];
  await commit(b, stageAppend(b, lake.store, [rangeOf(0, 100)]));
  await a.refresh();
  const staged = stageAppend(a, lake.store, [rangeOf(0, 10, 1)]);
  await commit(b, await rewindOf(lake, b, { 0: 0 }));
  expect(await a.commit(staged, { signal })).toMatchObject({ kind: 'conflict', reason: 'epoch' });
  expect(positionsOf(await lake.state())).toEqual({ 0: 0 });
  expect(lake.glob()).toEqual([]);
});

test('a rewind that was planned before another commit or rewind is refused, and planned anew it is taken', async () => {
  await using lake = await lakeFolder();
  const [a, b] = [await lake.open(), await lake.open()];
  await commit(b, stageAppend(b, lake.store, [rangeOf(0, 100)]));
  const before = await rewindOf(lake, a, { 0: 0 });
  await commit(b, stageAppend(b, lake.store, [rangeOf(100, 200)]));
  expect(await a.commit(before, { signal })).toMatchObject({ kind: 'conflict', reason: 'positions', lostPartitions: [0] });
  const again = await rewindOf(lake, a, { 0: 0 });
  expect(await commit(a, again)).toBe('committed');
  expect(await commit(b, { ...again, batch: newId() })).toBe('conflict');
  const { positions, files, epoch } = await lake.state();
  expect([positionsOf({ ...(await lake.state()), positions }), files.size, epoch]).toEqual([{ 0: 0 }, 0, 1]);
  expect(positions.get(0)?.totals).toEqual({ messages: 0, rows: 0, deadLetters: 0, tombstones: 0 });
});
