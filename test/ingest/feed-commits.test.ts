// Batches of one feed on their way into a real lake: what is durable, in which order, and what is left of one that is given up.
// Another writer is a second log on the same folder; a slow or failing disk is a wrapped store.
import { expect, test } from 'bun:test';
import { LakeError } from '../../src/errors.ts';
import { type Proposal, proposal } from '../../src/model/log-entry.ts';
import { pauseAt } from '../helpers/faulty-store.ts';
import { FEED, newId, noSignal } from '../helpers/lake-folder.ts';
import { type Bench, openCommits, STAGING } from './commit-helpers.ts';
import { large, type Message, order, wrong } from './stage-helpers.ts';

const NOTHING = { kind: 'nothing' } as const;
const READ_AGAIN = { kind: 'read_again' } as const;
const committed = (...partitions: number[]) => ({ kind: 'committed', partitions }) as const;
const diskFull = () => new LakeError('disk_full', 'the disk of the lake is full');
const orders = (start: number, end: number): Message[] => Array.from({ length: end - start }, (_, n) => order(start + n));
const wrongs = (start: number, end: number): Message[] => Array.from({ length: end - start }, (_, n) => wrong(start + n));

/** Takes and closes [0, 2), which waits at the disk, then [0, 3) of another partition, which is written and waits for it. */
async function twoInFlight(bench: Bench, second = orders(0, 3)) {
  const pause = pauseAt((call) => call.method === 'makeDurable');
  bench.hooks.atDisk = pause.hook;
  await bench.take(orders(0, 2));
  const one = bench.close();
  await pause.reached;
  await bench.take(second, 1);
  const two = bench.close();
  return { one, two, go: pause.go };
}

test.each(['makeDurable', 'createExclusive'] as const)(
  'a batch is written while the one before waits in %s, and a third is not closed',
  async (method) => {
    await using bench = await openCommits();
    const { commits } = bench;
    expect([commits.canClose, commits.busy]).toEqual([true, false]);
    const pause = pauseAt((call) => call.method === method);
    bench.hooks.atDisk = pause.hook;
    await bench.take(orders(0, 2));
    const one = bench.close();
    await pause.reached;
    expect([commits.canClose, commits.busy]).toEqual([true, true]);
    await bench.take(orders(2, 5));
    const two = bench.close();
    expect(commits.canClose).toBe(false);
    await bench.written(2);
    await bench.take(orders(5, 6));
    expect([await bench.close(), commits.canClose, bench.stage.batch?.messages]).toEqual([NOTHING, false, 1]);
    expect([await bench.positions(), bench.staged().length, bench.folder.glob()]).toEqual([{}, 2, []]);
    pause.go();
    expect([await one, await two]).toEqual([committed(0), committed(0)]);
    expect([commits.canClose, commits.busy, commits.messages]).toEqual([true, false, 5]);
    expect(await bench.close()).toEqual(committed(0));
    expect(await bench.entries()).toEqual(['append 0:0-2', 'append 0:2-5', 'append 0:5-6']);
    expect([await bench.positions(), bench.staged(), bench.folder.glob().length]).toEqual([{ 0: 6 }, [], 3]);
    expect(bench.told).toEqual(['batch_committed', 'batch_committed', 'batch_committed']);
  },
);

test('an empty one between two batches answers nothing and gives nothing up', async () => {
  await using bench = await openCommits();
  expect(await bench.close()).toEqual(NOTHING);
  await bench.take(orders(0, 2));
  expect([await bench.close(), await bench.close()]).toEqual([committed(0), NOTHING]);
  await bench.take(orders(2, 3));
  expect(await bench.close()).toEqual(committed(0));
});

test('counts its bytes until it is written, and has no table afterwards, although it is not committed', async () => {
  await using bench = await openCommits();
  const atFlush = Promise.withResolvers<void>();
  const flushing = Promise.withResolvers<void>();
  bench.hooks.flushing = () => {
    flushing.resolve();
    return atFlush.promise;
  };
  const pause = pauseAt((call) => call.method === 'makeDurable');
  bench.hooks.atDisk = pause.hook;
  await bench.take([large(0), order(1)]);
  const closing = bench.close();
  await flushing.promise;
  expect(bench.commits.writingBytes).toBe(bench.sealed());
  expect([(await bench.tables()).length, bench.commits.canClose]).toEqual([2, false]);
  atFlush.resolve();
  await pause.reached;
  expect([bench.commits.writingBytes, await bench.tables(), bench.commits.busy]).toEqual([0, [], true]);
  pause.go();
  expect(await closing).toEqual(committed(0));
});

test('offsets that another writer took first are read again, and what was closed after them is given up', async () => {
  await using bench = await openCommits();
  const { one, two, go } = await twoInFlight(bench);
  await bench.written(2);
  await bench.other(0, 1);
  go();
  expect([await one, await two]).toEqual([READ_AGAIN, NOTHING]);
  expect([bench.staged(), await bench.entries()]).toEqual([[], ['append 0:0-1']]);
  await bench.take(orders(3, 4), 1);
  expect([await bench.close(), bench.staged(), await bench.tables()]).toEqual([NOTHING, [], []]);
  await bench.restart();
  await bench.take(orders(1, 4));
  const next = bench.close();
  await bench.take(orders(4, 5));
  expect(await next).toEqual(committed(0));
  expect(await bench.close()).toEqual(committed(0));
  expect(await bench.entries()).toEqual(['append 0:0-1', 'append 0:1-4', 'append 0:4-5']);
});

test('a batch that the disk refuses throws, and what was closed after it is given up', async () => {
  await using bench = await openCommits();
  const { one, two, go } = await twoInFlight(bench);
  await bench.written(2);
  const wait = bench.hooks.atDisk;
  const error = diskFull();
  bench.hooks.atDisk = (call) => {
    if (call.method === 'createExclusive') throw error;
    return wait(call);
  };
  go();
  expect([await one, await two]).toEqual([error, NOTHING]);
  bench.hooks.atDisk = () => undefined;
  await bench.take(orders(3, 4), 1);
  expect([await bench.close(), bench.staged(), await bench.tables(), await bench.entries()]).toEqual([NOTHING, [], [], []]);
  await bench.restart();
  await bench.take(orders(0, 2));
  expect([await bench.close(), await bench.positions()]).toEqual([committed(0), { 0: 2 }]);
});

test.each([
  ['are left', false, false],
  ['are gone', true, false],
  ['are left, and the lake was opened again before it committed', false, true],
])(
  'a writer that was fenced after its batch was written reads again under a new id; its files %s',
  async (_name, areGone, opened) => {
    await using bench = await openCommits();
    const other = await bench.folder.open();
    const writers = () => [...new Set(bench.staged().map((file) => file.slice(STAGING.length + 1).split('/')[0] ?? ''))];
    const before: string[] = [];
    bench.hooks.flushed = async () => {
      bench.hooks.flushed = async () => undefined;
      before.push(...writers());
      const [writer = ''] = before;
      const { epoch } = other.state();
      if (areGone) await other.fence(writer);
      else
        await other.commit(proposal({ kind: 'fence', batch: newId(), epoch, schemaVersion: 0, fence: { writer } }), {
          signal: noSignal,
        });
      if (opened) await bench.lake.tidy();
    };
    await bench.take(orders(0, 2));
    expect([await bench.close(), bench.staged(), await bench.entries()]).toEqual([READ_AGAIN, [], ['fence']]);
    await bench.restart();
    bench.hooks.flushed = async () => void before.push(...writers());
    await bench.take(orders(0, 2));
    expect([await bench.close(), await bench.positions()]).toEqual([committed(0), { 0: 2 }]);
    expect(new Set(before).size).toBe(2);
  },
);

test('two batches in flight under a writer that was fenced are both given up', async () => {
  await using bench = await openCommits();
  const { one, two, go } = await twoInFlight(bench);
  await bench.written(2);
  const [writer = ''] = (bench.staged()[0] ?? '').slice(STAGING.length + 1).split('/');
  await (await bench.folder.open()).fence(writer);
  go();
  expect([await one, await two, await bench.entries()]).toEqual([READ_AGAIN, NOTHING, ['fence']]);
});

test('a batch of which a file vanished without a fence is read again, and the others are taken away', async () => {
  await using bench = await openCommits();
  bench.hooks.flushed = async () => {
    await bench.folder.store.remove(bench.staged()[0] ?? '');
    expect(bench.staged().length).toBe(1);
  };
  await bench.take([...orders(0, 2), wrong(2)]);
  expect([await bench.close(), bench.staged(), await bench.entries()]).toEqual([READ_AGAIN, [], []]);
  expect(bench.told).toEqual(['commit_conflicted staged_files']);
});

test('a schema that grew gives up its batch and those closed after it, not the one before', async () => {
  await using bench = await openCommits();
  bench.hooks.grows = true;
  const { one, two, go } = await twoInFlight(bench, wrongs(0, 1));
  expect([await two, bench.commits.busy]).toEqual([READ_AGAIN, true]);
  await bench.take(orders(1, 2), 1);
  const three = bench.close();
  go();
  // Until it is told to begin anew, the stage does not hand over what follows.
  expect([await one, await three]).toEqual([committed(0), READ_AGAIN]);
  expect([bench.staged(), await bench.tables(), await bench.entries()]).toEqual([[], [], ['append 0:0-2']]);
  await bench.restart();
  await bench.take(orders(0, 1), 1);
  expect([await bench.close(), await bench.entries()]).toEqual([committed(1), ['append 0:0-2', 'append 1:0-1']]);
});

test('a batch with too many dead letters stops the feed in the log; the one before it is durable', async () => {
  await using bench = await openCommits();
  const { one, two, go } = await twoInFlight(bench, wrongs(0, 120));
  await bench.written(2);
  go();
  expect(await one).toEqual(committed(0));
  expect(await two).toMatchObject({ code: 'schema_refuses' });
  expect([await bench.entries(), bench.staged()]).toEqual([['append 0:0-2', 'stop'], []]);
  expect((await bench.folder.state()).stopped?.reason).toBe('120 of the last 122 messages do not fit its schema');
  await bench.take(orders(2, 3));
  expect([await bench.close(), bench.staged()]).toEqual([NOTHING, []]);
  await bench.restart();
  await bench.take(orders(2, 3));
  expect([await bench.close(), bench.staged()]).toMatchObject([{ code: 'feed_stopped' }, []]);
});

test('a batch with too many dead letters leaves no file when the stop cannot be recorded either', async () => {
  await using bench = await openCommits();
  const error = diskFull();
  bench.hooks.atDisk = (call) => {
    if (call.method === 'createExclusive') throw error;
  };
  await bench.take(wrongs(0, 120));
  expect([await bench.close(), bench.staged(), await bench.entries()]).toEqual([error, [], []]);
});

test('three conflicts in a row are no passing rebalance; a commit between them begins the count anew', async () => {
  await using bench = await openCommits();
  let position = 0;
  const next = async (isTaken: boolean) => {
    await bench.restart();
    await bench.take(orders(position, position + 1));
    if (isTaken) await bench.other(position, position + 1);
    position++;
    return bench.close();
  };
  for (const isTaken of [true, true, false, true, true]) expect(await next(isTaken)).toEqual(isTaken ? READ_AGAIN : committed(0));
  expect(await next(true)).toMatchObject({ code: 'fenced', where: { feed: FEED } });
  expect(bench.staged()).toEqual([]);
});

test('a schema that was pinned meanwhile is read again, and is not counted as a conflict', async () => {
  await using bench = await openCommits();
  const other = await bench.folder.open();
  for (let version = 1; version <= 4; version++) {
    await bench.restart();
    await bench.take(orders(0, 1));
    const { epoch } = other.state();
    const pin: Proposal = proposal({
      kind: 'schema',
      batch: newId(),
      epoch,
      schemaVersion: version - 1,
      schema: { version, fields: [] },
    });
    expect((await other.commit(pin, { signal: noSignal })).kind).toBe('committed');
    expect(await bench.close()).toEqual(READ_AGAIN);
  }
  await bench.restart();
  await bench.take(orders(0, 1));
  expect(await bench.close()).toEqual(committed(0));
});
