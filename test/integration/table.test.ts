// A table in the lake: the open snapshot is the fold of the topic, over any number of runs.

import { expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, type RunningLake, runLake, startLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const scene = async (partitions: number, batch: Record<string, unknown> = {}) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const again = { folder: folder.path, kafka, feeds: [tableFeed('totals', topic)] };
  const setup = writeSetup({ ...again, batch });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  const check = () => expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
  return { kafka, topic, sent, setup, again: { ...again, groupId: setup.groupId }, check, [Symbol.asyncDispose]: end };
};

const RUNS = 4;

test('a random changelog, taken in over several runs, is its fold', async () => {
  const chance = random();
  console.log(`seed ${chance.seed}`);
  // Longer than the test: what is read is published at the end of each run, and nothing waits for the clock.
  await using one = await scene(3, { batch_size: 300, batch_timeout_seconds: 3600 });
  for (let run = 0; run < RUNS; run++) {
    await one.sent.send(changelog(chance, { count: 1_000, keys: 60, partitions: 3 }));
    await drain(one.setup);
    const { state, folded } = await one.check();
    expect([folded.live.size > 0, folded.deleted.size > 0, folded.deadLetters.length > 0]).toEqual([true, true, true]);
    expect(await one.kafka.groupOffsets(one.setup.groupId, one.topic)).toEqual(
      [0, 1, 2].map((partition) => state.positions.get(partition)?.position ?? null),
    );
  }
});

const row = (partition: number, timestampMs: number, text: string): TestMessage => ({
  partition,
  key: '1',
  value: JSON.stringify({ id: 1, text }),
  timestampMs,
});
const gone = (partition: number, timestampMs: number): TestMessage => ({ partition, key: '1', value: null, timestampMs });

test('a key in two partitions with a tombstone in one of them: the later of all counts, whichever comes first', async () => {
  await using one = await scene(2);
  const liveAfter = async (message: TestMessage): Promise<(string | null)[]> => {
    await one.sent.send([message]);
    await drain(one.setup);
    const { folded } = await one.check();
    return [...folded.live.values()].map(({ message }) => String(message.value));
  };
  const text = (of: string) => [JSON.stringify({ id: 1, text: of })];
  expect(await liveAfter(row(0, 1_000, 'first'))).toEqual(text('first'));
  expect(await liveAfter(gone(1, 2_000))).toEqual([]);
  expect(await liveAfter(row(0, 1_500, 'older than the tombstone'))).toEqual([]);
  expect(await liveAfter(row(0, 2_000, 'as old, in the partition before'))).toEqual([]);
  expect(await liveAfter(row(0, 2_001, 'newer'))).toEqual(text('newer'));
  expect(await liveAfter(row(1, 2_000, 'older again'))).toEqual(text('newer'));
  // Its own clock says 100, its partition has been at 2,001.
  expect(await liveAfter(row(0, 100, 'after a clock that went back'))).toEqual(text('after a clock that went back'));
});

test('offsets without a row and refused messages move the positions and leave the snapshot’s files as they are', async () => {
  await using one = await scene(1);
  await one.sent.send([row(0, 1_000, 'a')]);
  await drain(one.setup);
  const before = await one.check();
  await one.sent.send([{ partition: 0, key: '1', value: 'no json', timestampMs: 2_000 }]);
  await one.sent.inTransaction([row(0, 3_000, 'aborted')], 'abort');
  await drain(one.setup);
  const after = await one.check();
  const filesOf = ({ state }: typeof before, kind: string) =>
    [...state.files.values()].filter((file) => file.kind === kind).map(({ path }) => path);
  expect([filesOf(after, 'data'), filesOf(after, 'state')]).toEqual([filesOf(before, 'data'), filesOf(before, 'state')]);
  expect([filesOf(before, 'dead_letters').length, filesOf(after, 'dead_letters').length]).toEqual([0, 1]);
  expect(after.state.version).toBe(before.state.version + 1);
});

test('a table is published at the pace of batch_timeout, and when it is told to stop', async () => {
  await using one = await scene(2, { batch_timeout_seconds: 1 });
  await one.sent.send([row(0, 1_000, 'a'), row(1, 1_000, 'b')]);
  const lake = startLake(one.setup, ['ingest']);
  expect(await lake.event('snapshot_published')).toMatchObject({ feed: 'totals', messages: 2, rows: 1, files: 2 });
  await one.check();
  await one.sent.send([row(0, 2_000, 'c')]);
  await lake.event('snapshot_published', 2);
  await one.check();
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  const slow = writeSetup({ ...one.again, batch: { batch_timeout_seconds: 3600, batch_size: 2 } });
  const second = startLake(slow, ['ingest', '--log-level', 'debug']);
  await second.event('partitions_assigned');
  await one.sent.send([row(0, 3_000, 'd'), row(1, 3_000, 'e')]);
  const readByMs = performance.now() + 1_500;
  await until(() => performance.now() > readByMs);
  expect(second.events('snapshot_published')).toEqual([]);
  second.kill('SIGTERM');
  expect((await second.ended).code).toBe(0);
  expect(second.events('snapshot_published').length).toBe(1);
  const { state } = await one.check();
  expect(state.snapshot?.caughtUpAt).not.toBe(null);
});

test('of two members one reads a table whole, and the other the other table', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topics = [await kafka.createTopic({ partitions: 3 }), await kafka.createTopic({ partitions: 2 })];
  const recorders = await Promise.all(topics.map((topic) => record(kafka, topic)));
  const feeds = topics.map((topic, index) => tableFeed(`table_${index}`, topic));
  const setup = writeSetup({ folder: folder.path, kafka, feeds, batch: { batch_size: 200 } });
  const chance = random();
  console.log(`seed ${chance.seed}`);
  const send = async () => {
    for (const [index, sent] of recorders.entries())
      await sent.send(changelog(chance, { count: 500, keys: 40, partitions: 3 - index }));
  };
  await send();
  const members = [startLake(setup, ['ingest']), startLake(setup, ['ingest'])];
  const assigned = () => members.map((lake) => String(lake.events('partitions_assigned').at(-1)?.['partitions'] ?? ''));
  const whole = topics.map((topic, index) =>
    [0, 1, 2]
      .slice(0, 3 - index)
      .map((partition) => `${topic}:${partition}`)
      .join(','),
  );
  await until(() => assigned().toSorted().join() === whole.toSorted().join(), { timeoutMs: 180_000, what: 'a table each' });
  await send();
  const done = async () => {
    const states = await Promise.all(feeds.map(({ feed_name }) => stateOf(setup.lakePath, feed_name)));
    return states.every((state) => [...state.positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) === 1_000);
  };
  await until(done, { timeoutMs: 180_000, what: 'both tables are in' });
  for (const lake of members) lake.kill('SIGTERM');
  for (const lake of members) expect((await lake.ended).code).toBe(0);
  for (const [index, sent] of recorders.entries()) {
    await expectSnapshot(sent.messages, setup.lakePath, `table_${index}`, { kafka, topic: sent.topic });
    await sent[Symbol.asyncDispose]();
  }
});

test.each([
  ['whoever has the table then', []],
  ['who had it before', ['--feed', 'other']],
])('what was applied before a rebalance is forgotten and read again, by %s', async (_, args) => {
  await using one = await scene(3);
  const chance = random();
  console.log(`seed ${chance.seed}`);
  const send = () => one.sent.send(changelog(chance, { count: 1_000, keys: 40, partitions: 3 }));
  await send();
  // Nothing but a stop would publish.
  const feeds = [...one.again.feeds, streamFeed('other', await one.kafka.createTopic())];
  const setup = writeSetup({ ...one.again, feeds, batch: { batch_size: 100, batch_timeout_seconds: 3600 } });
  const first = startLake(setup, ['ingest', '--log-level', 'debug']);
  const appliedBy = (lake: RunningLake) => lake.events('batch_applied').reduce((sum, { rows }) => sum + Number(rows), 0);
  await until(() => appliedBy(first) > 300, { what: 'batches are applied' });
  const second = startLake(setup, ['ingest', '--log-level', 'debug', ...args]);
  const members = [first, second];
  await second.event('partitions_assigned');
  await first.event('partitions_assigned', 2);
  const before = members.map(appliedBy);
  await send();
  await until(() => members.some((lake, index) => appliedBy(lake) - (before[index] ?? 0) > 1_000), { what: 'all is read again' });
  for (const lake of members) lake.kill('SIGTERM');
  for (const lake of members) {
    expect((await lake.ended).code).toBe(0);
    expect(lake.events('commit_conflicted')).toEqual([]);
  }
  expect(members.map((lake) => lake.events('snapshot_published').length).toSorted()).toEqual([0, 1]);
  await one.check();
});

test.each([
  ['stream', 'table', streamFeed, tableFeed],
  ['table', 'stream', tableFeed, streamFeed],
] as const)('a %s in the lake does not become a %s', async (before, now, first, second) => {
  await using one = await scene(1);
  await one.sent.send([row(0, 1_000, 'a')]);
  await drain(writeSetup({ ...one.again, feeds: [first('totals', one.topic)] }));
  const { code, stderr } = await runLake(writeSetup({ ...one.again, feeds: [second('totals', one.topic)] }), [
    'ingest',
    '--until-caught-up',
  ]);
  expect([code, stderr]).toEqual([2, expect.stringContaining(`is a ${now} in feeds.json, and a ${before} in the lake`)]);
});
