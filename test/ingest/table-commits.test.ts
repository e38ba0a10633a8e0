// Batches of a table on their way into a real lake: applied in order, durable with a publish, given up with one that is lost.
import { expect, test } from 'bun:test';
import { LakeError } from '../../src/errors.ts';
import { pauseAt } from '../helpers/faulty-store.ts';
import { type Bench, openCommits, STAGING } from './commit-helpers.ts';
import { type Message, order, wrong } from './stage-helpers.ts';

const NOTHING = { kind: 'nothing' } as const;
const APPLIED = { kind: 'applied' } as const;
const READ_AGAIN = { kind: 'read_again' } as const;
const COMMITTED = { kind: 'committed', partitions: [0] } as const;
const orders = (start: number, end: number): Message[] => Array.from({ length: end - start }, (_, n) => order(start + n));
const open = () => openCommits({ isTable: true });
/** Starts a publish and waits until it is at the disk. */
const pausedPublish = async (bench: Bench) => {
  const pause = pauseAt((call) => call.method === 'makeDurable' && call.key.startsWith(STAGING));
  bench.hooks.atDisk = pause.hook;
  const publishing = bench.publish();
  await pause.reached;
  return { publishing, go: pause.go };
};

test('batches are applied, and durable, counted and told with one publish', async () => {
  await using bench = await open();
  const { commits } = bench;
  expect([await bench.publish(), commits.canPublish]).toEqual([NOTHING, false]);
  await bench.take(orders(0, 2));
  expect(await bench.close()).toEqual(APPLIED);
  await bench.take([wrong(2), ...orders(3, 5)]);
  expect([await bench.close(), commits.messages, commits.canPublish, commits.busy]).toEqual([APPLIED, 0, true, false]);
  expect([await bench.positions(), bench.told]).toEqual([{}, []]);
  expect([await bench.publish(), commits.messages, commits.canPublish]).toEqual([COMMITTED, 5, false]);
  expect([await bench.positions(), await bench.entries()]).toEqual([{ 0: 5 }, ['publish 0:0-5']]);
  expect(bench.told).toEqual(['snapshot_published', 'messages_refused']);
  expect([bench.staged(), await bench.tables()]).toEqual([[], []]);
});

test('a batch that is closed during a publish waits for it, and follows on', async () => {
  await using bench = await open();
  await bench.take(orders(0, 2));
  await bench.close();
  const { publishing, go } = await pausedPublish(bench);
  expect([bench.commits.busy, bench.commits.canClose, bench.commits.canPublish]).toEqual([true, true, false]);
  await bench.take(orders(2, 5));
  const closing = bench.close();
  go();
  expect([await publishing, await closing]).toEqual([COMMITTED, APPLIED]);
  expect([await bench.publish(), await bench.entries()]).toEqual([COMMITTED, ['publish 0:0-2', 'publish 0:2-5']]);
});

test('with a publish that is lost to another, batches closed before and during it are given up, for one conflict in all', async () => {
  await using bench = await open();
  await bench.take(orders(0, 2));
  await bench.close();
  const { publishing, go } = await pausedPublish(bench);
  await bench.take(orders(2, 5));
  const closing = bench.close();
  await bench.other(0, 3);
  go();
  expect([await publishing, await closing]).toEqual([READ_AGAIN, NOTHING]);
  expect([bench.told, bench.commits.canPublish, await bench.tables()]).toEqual([['commit_conflicted positions'], false, []]);
  await bench.restart();
  await bench.take(orders(3, 6));
  expect([await bench.close(), await bench.publish(), await bench.positions()]).toEqual([APPLIED, COMMITTED, { 0: 6 }]);
});

test('a batch that was written before a publish is lost is given up, although it waits for nothing', async () => {
  await using bench = await open();
  await bench.take(orders(0, 2));
  await bench.close();
  const flushed = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  bench.hooks.flushed = () => {
    reached.resolve();
    return flushed.promise;
  };
  await bench.take(orders(2, 5));
  const closing = bench.close();
  await reached.promise;
  await bench.other(0, 3);
  expect(await bench.publish()).toEqual(READ_AGAIN);
  flushed.resolve();
  expect([await closing, bench.told, await bench.tables()]).toEqual([NOTHING, ['commit_conflicted positions'], []]);
});

test('three lost publishes in a row end the feed, whatever was applied between them', async () => {
  await using bench = await open();
  const lose = async (from: number) => {
    await bench.restart();
    await bench.take(orders(from, from + 1));
    expect(await bench.close()).toEqual(APPLIED);
    await bench.other(from, from + 1);
    return bench.publish();
  };
  expect([await lose(0), await lose(1)]).toEqual([READ_AGAIN, READ_AGAIN]);
  expect(await lose(2)).toMatchObject({ code: 'fenced' });
});

test('a publish that fails ends the feed’s run, and nothing of it is durable', async () => {
  await using bench = await open();
  await bench.take(orders(0, 2));
  await bench.close();
  bench.hooks.atDisk = ({ method }) => {
    if (method === 'makeDurable') throw new LakeError('disk_full', 'the disk of the lake is full');
  };
  expect(await bench.publish()).toMatchObject({ code: 'disk_full' });
  await bench.take(orders(2, 3));
  expect([await bench.close(), await bench.positions(), bench.staged()]).toEqual([NOTHING, {}, []]);
});
