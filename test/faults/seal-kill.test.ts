// SIGKILL at random moments around the ends of periods, of both pipelines: every snapshot that is sealed is the same in lake and
// warehouse, cut at the same offsets, and the fold of what lies before them.

import { expect, test } from 'bun:test';
import { expectSealed } from '../helpers/expect-sealed.ts';
import { type RunningLake, startLake } from '../helpers/ingest.ts';
import { at, type SnapshotScene, snapshotScene } from '../helpers/snapshot-scene.ts';
import { until } from '../helpers/until.ts';

const KILLS = 15;
/** Longer than a start takes, so that the boundary passes while it runs; shorter than the 10 s in which messages are held before it. */
const AHEAD_MS = 1_500;

const pause = async (ms: number): Promise<void> => {
  const endMs = performance.now() + ms;
  await until(() => performance.now() >= endMs, { everyMs: 1 });
};

/** Messages of the end of a period, and of the beginning of the next. */
async function changes(one: SnapshotScene, hour: number): Promise<void> {
  await one.change(at(hour, -20), at(hour) - 1, 60, [0, 1, 2]);
  await one.change(at(hour), at(hour) + 2_000, 40, [0, 1, 2]);
}

/** At any moment, or right behind something that happens at the end of a period. */
async function strike(one: SnapshotScene, lake: RunningLake): Promise<void> {
  const { chance } = one;
  const near = ['cut_met', 'snapshot_published', 'snapshot_sealed'][Math.floor(chance.between(0, 4))];
  const endMs = performance.now() + (near === undefined ? chance.between(500, 3_500) : 6_000);
  await until(() => performance.now() >= endMs || (near !== undefined && lake.events(near).length > 0), { everyMs: 1 });
  if (near !== undefined) await pause(chance.next() ** 2 * 120);
  lake.kill('SIGKILL');
  await lake.ended;
}

test(`both pipelines in one process, killed ${KILLS} times`, async () => {
  await using one = await snapshotScene();
  console.log(`seed ${one.chance.seed}`);
  await one.change(at(0, 5), at(0, 30), 100, [0, 1, 2]);
  await one.run(at(0, 35), 'all');
  for (let hour = 1; hour <= KILLS; hour++) {
    await changes(one, hour);
    await strike(one, startLake(one.setup, ['ingest', '--mode', 'all'], { clockMs: at(hour) - AHEAD_MS }));
  }
  const count = await expectSealed(one, at(KILLS, 30));
  expect(count).toBeGreaterThan(1);
  console.log(`${KILLS} kills, ${count} snapshots sealed`);
});

test(`a process for each target, each of them killed, ${KILLS} times in all`, async () => {
  await using one = await snapshotScene();
  console.log(`seed ${one.chance.seed}`);
  await one.change(at(0, 5), at(0, 30), 100, [0, 1, 2]);
  await one.run(at(0, 35), 'all');
  for (let hour = 1; hour <= Math.ceil(KILLS / 2); hour++) {
    await changes(one, hour);
    const clockMs = at(hour) - AHEAD_MS;
    const lakes = ['lake', 'warehouse'].map((mode) => startLake(one.setup, ['ingest', '--mode', mode], { clockMs }));
    await Promise.all(lakes.map((lake) => strike(one, lake)));
  }
  const count = await expectSealed(one, at(Math.ceil(KILLS / 2), 30));
  expect(count).toBeGreaterThan(1);
});
