// Starting, stopping, sharing: several processes of one group on one lake, graceful ends, and feeds chosen by name.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, type Recorder, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const committed = async (lakePath: string, feed: string): Promise<number> =>
  [...(await stateOf(lakePath, feed)).positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0);

const scene = async (batch: Record<string, unknown>, partitions = 4) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  const check = () => expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  return { kafka, topic, sent, setup, check, [Symbol.asyncDispose]: end };
};

const send = (sent: Recorder, from: number, count: number, partitions = 4) =>
  sent.send(messages(from, count, (id) => ({ partition: id % partitions })));

describe('a graceful stop', () => {
  test('commits what is staged, and the next run goes on from there', async () => {
    // Nothing but the stop would close this batch.
    await using one = await scene({ batch_timeout_seconds: 3600 });
    await send(one.sent, 0, 1_000);
    const lake = startLake(one.setup, ['ingest']);
    await lake.event('partitions_assigned');
    // What is staged shows nowhere: the count after the stop says whether it was.
    const readByMs = performance.now() + 2_000;
    await until(() => performance.now() > readByMs);
    expect(await committed(one.setup.lakePath, 'orders')).toBe(0);
    lake.kill('SIGTERM');
    const { code, stderr } = await lake.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    expect(await committed(one.setup.lakePath, 'orders')).toBe(1_000);
    await send(one.sent, 1_000, 1_000);
    await drain(one.setup);
    await one.check();
  });

  test('asked for twice aborts, and nothing is lost', async () => {
    await using one = await scene({ batch_size: 500 });
    await send(one.sent, 0, 20_000);
    const lake = startLake(one.setup, ['ingest']);
    await lake.event('batch_committed');
    lake.kill('SIGTERM');
    lake.kill('SIGINT');
    const { code } = await lake.ended;
    expect([0, 1]).toContain(code ?? -1);
    await drain(one.setup);
    await one.check();
  });

  test('before anything is there ends at once', async () => {
    await using one = await scene({});
    const lake = startLake(one.setup, ['ingest']);
    await lake.event('partitions_assigned');
    lake.kill('SIGINT');
    expect((await lake.ended).code).toBe(0);
  });
});

describe('one group', () => {
  test('a member joins and leaves in the middle: exactly once', async () => {
    await using one = await scene({ batch_size: 100 });
    const first = startLake(one.setup, ['ingest']);
    await first.event('partitions_assigned');
    let id = 0;
    let over = false;
    const producing = (async () => {
      for (; !over; id += 40) await send(one.sent, id, 40);
    })();
    await first.event('batch_committed', 2);
    const second = startLake(one.setup, ['ingest']);
    await second.event('batch_committed', 2);
    await first.event('partitions_assigned', 2);
    second.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
    await first.event('partitions_assigned', 3);
    const third = startLake(one.setup, ['ingest']);
    await third.event('batch_committed', 2);
    third.kill('SIGKILL');
    await third.ended;
    over = true;
    await producing;
    await until(async () => (await committed(one.setup.lakePath, 'orders')) === one.sent.messages.length);
    first.kill('SIGTERM');
    const { code, stderr } = await first.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    await one.check();
  });

  test('two that run until caught up end both, whoever reads what', async () => {
    await using one = await scene({ batch_size: 300 });
    await send(one.sent, 0, 6_000);
    const both = [startLake(one.setup, ['ingest', '--until-caught-up']), startLake(one.setup, ['ingest', '--until-caught-up'])];
    for (const lake of both) {
      const { code, stderr } = await lake.ended;
      expect([code, stderr]).toEqual([0, expect.any(String)]);
    }
    await one.check();
  });

  test('members that read different feeds do not take each other’s partitions', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topics = [await kafka.createTopic({ partitions: 2 }), await kafka.createTopic({ partitions: 2 })];
    const recorders = await Promise.all(topics.map((topic) => record(kafka, topic)));
    const feeds = topics.map((topic, index) => streamFeed(`feed_${index}`, topic));
    const setup = writeSetup({ folder: folder.path, kafka, feeds });
    const daemon = startLake(setup, ['ingest', '--feed', 'feed_0']);
    await daemon.event('partitions_assigned');
    for (const sent of recorders) await send(sent, 0, 500, 2);
    const other = startLake(setup, ['ingest', '--feed', 'feed_1', '--until-caught-up']);
    const { code, stderr } = await other.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    await until(async () => (await committed(setup.lakePath, 'feed_0')) === 500);
    daemon.kill('SIGTERM');
    expect((await daemon.ended).code).toBe(0);
    for (const [index, sent] of recorders.entries()) {
      await expectExactlyOnce(sent.messages, setup.lakePath, `feed_${index}`, { kafka, topic: sent.topic });
      await sent[Symbol.asyncDispose]();
    }
  });
});

test('--feed takes the named feeds alone; an unknown one is a usage error', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topics = [await kafka.createTopic(), await kafka.createTopic()];
  const feeds = topics.map((topic, index) => streamFeed(`feed_${index}`, topic));
  const setup = writeSetup({ folder: folder.path, kafka, feeds });
  const recorders = await Promise.all(topics.map((topic) => record(kafka, topic)));
  for (const sent of recorders) await send(sent, 0, 100, 1);
  await drain(setup, { args: ['--feed', 'feed_1'] });
  expect((await stateOf(setup.lakePath, 'feed_0')).version).toBe(0);
  await expectExactlyOnce(recorders[1]?.messages ?? [], setup.lakePath, 'feed_1', { kafka, topic: topics[1] ?? '' });
  expect((await runLake(setup, ['ingest', '--feed', 'feed_7', '--until-caught-up'])).code).toBe(2);
  for (const sent of recorders) await sent[Symbol.asyncDispose]();
});

test('the sources run under Deno', async () => {
  await using one = await scene({});
  await send(one.sent, 0, 3_000);
  await drain(one.setup, { as: 'deno' });
  await one.check();
});
