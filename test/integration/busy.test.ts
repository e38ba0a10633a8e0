// Runs with an end on topics that have none, and where a feed begins.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import type { TestKafka } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { FIRST_MS, messages, type Recorder, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const scene = async (more: Record<string, unknown> = {}, partitions = 1) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const setup = writeSetup({
    folder: folder.path,
    kafka,
    feeds: [streamFeed('orders', topic, more)],
    batch: { batch_timeout_seconds: 30 },
  });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  const check = () => expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  const gaps = async () =>
    (await stateOf(setup.lakePath, 'orders')).gaps
      .map(({ partition, start, end: to, reason }) => `${partition}:${start}-${to} ${reason}`)
      .toSorted();
  return { kafka, topic, sent, setup, check, gaps, [Symbol.asyncDispose]: end };
};

const send = (sent: Recorder, from: number, count: number, partitions = 1) =>
  sent.send(messages(from, count, (id) => ({ partition: id % partitions })));

/** Sends a few messages at a time, without a pause, until it is told to end. */
function keepSending(sent: Recorder, from: number, partitions: number): { end(): Promise<void> } {
  let over = false;
  const sending = (async () => {
    for (let id = from; !over; id += 20) await send(sent, id, 20, partitions);
  })();
  return {
    end: async () => {
      over = true;
      await sending;
    },
  };
}

describe('--until-caught-up on a topic that goes on', () => {
  for (const members of [1, 2]) {
    test(`ends for ${members} with all that was there at the start, in few files`, async () => {
      await using one = await scene({}, 2);
      await send(one.sent, 0, 20_000, 2);
      const producer = keepSending(one.sent, 20_000, 2);
      const lakes = Array.from({ length: members }, () => startLake(one.setup, ['ingest', '--until-caught-up']));
      const results = await Promise.all(lakes.map(({ ended }) => ended));
      const stillSending = one.sent.messages.length;
      await producer.end();
      expect(one.sent.messages.length).toBeGreaterThanOrEqual(stillSending);
      for (const { code, stderr } of results) expect([code, stderr]).toEqual([0, expect.any(String)]);
      const state = await stateOf(one.setup.lakePath, 'orders');
      for (const { position } of state.positions.values()) expect(position).toBeGreaterThanOrEqual(10_000n);
      expect(state.positions.size).toBe(2);
      const commits = results.flatMap(({ stderr }) => stderr.match(/"batch_committed"/g) ?? []).length;
      expect(commits).toBeLessThanOrEqual(3 * members);
      await drain(one.setup);
      await one.check();
    });
  }
});

describe('start latest', () => {
  test('leaves out what is there, on record, and nothing that comes later', async () => {
    await using one = await scene({ start: 'latest' }, 2);
    await one.kafka.produce(
      one.topic,
      messages(0, 101, (id) => ({ partition: id % 2 })),
    );
    await drain(one.setup);
    expect(await one.gaps()).toEqual(['0:0-51 start latest', '1:0-50 start latest']);
    await send(one.sent, 200, 100, 2);
    await drain(one.setup);
    await one.check();
  });

  test('of a topic that was empty at the first run takes what came while nothing ran', async () => {
    await using one = await scene({ start: 'latest' }, 2);
    await drain(one.setup);
    await send(one.sent, 0, 100, 2);
    await drain(one.setup);
    await one.check();
    expect(await one.gaps()).toEqual([]);
  });
});

test('start at a time leaves out what is older, on record', async () => {
  await using one = await scene({ start: new Date(FIRST_MS + 30 * 60_000).toISOString() }, 3);
  // Partition 1 holds older ones only, partition 2 nothing.
  await one.kafka.produce(one.topic, messages(0, 30));
  await one.kafka.produce(
    one.topic,
    messages(0, 20, () => ({ partition: 1 })),
  );
  await one.sent.send(messages(30, 30));
  await drain(one.setup);
  expect(await one.gaps()).toEqual(['0:0-30 start timestamp', '1:0-20 start timestamp']);
  await one.check();
  await one.sent.send(messages(0, 30, (id) => ({ partition: id % 3 })));
  await drain(one.setup);
  await one.check();
});

/** As the program before did: reads so far, and commits that. */
async function commitAs(kafka: TestKafka, groupId: string, topic: string, offset: string): Promise<void> {
  const consumer = kafka.client.consumer({ groupId, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic });
  const joined = Promise.withResolvers<void>();
  consumer.on(consumer.events.GROUP_JOIN, () => joined.resolve());
  await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
  await joined.promise;
  await consumer.commitOffsets([{ topic, partition: 0, offset }]);
  await consumer.disconnect();
}

test('start group goes on where another consumer of the group stopped, on record', async () => {
  await using one = await scene({ start: 'group' }, 2);
  await one.kafka.produce(one.topic, messages(0, 40));
  await commitAs(one.kafka, one.setup.groupId, one.topic, '40');
  // Nothing was ever committed of partition 1: all of it is taken.
  await one.sent.send(messages(40, 60, (id) => ({ partition: id % 2 })));
  await drain(one.setup);
  expect(await one.gaps()).toEqual(['0:0-40 takeover']);
  await one.check();
  expect(await one.kafka.groupOffsets(one.setup.groupId, one.topic)).toEqual([70n, 30n]);
  await send(one.sent, 100, 20, 2);
  await drain(one.setup);
  await one.check();
  expect(await one.gaps()).toEqual(['0:0-40 takeover']);
});
