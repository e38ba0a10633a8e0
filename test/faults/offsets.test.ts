// What Kafka has and what the lake needs disagree: group offsets moved or gone, messages deleted, topics or clusters exchanged.
// Positions win; what cannot be read any more is a clear stop and never a silent jump (PROTOCOL 17, 20).

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import type { TestKafka } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { startPrivateKafka, tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const ONCE = ['ingest', '--until-caught-up'];

const pass = async (ms: number): Promise<void> => {
  const endMs = performance.now() + ms;
  await until(() => performance.now() > endMs);
};

const deleteGroup = async (kafka: TestKafka, groupId: string): Promise<void> => {
  const admin = await kafka.admin();
  await until(async () => (await admin.deleteGroups([groupId]).catch(() => null)) !== null, { what: `${groupId} is deleted` });
};

/** As a person with Kafka's tools would, but quicker: a member that does nothing but commit. */
const moveGroup = async (kafka: TestKafka, groupId: string, topic: string, offset: string): Promise<void> => {
  const consumer = kafka.client.consumer({ groupId, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic });
  const joined = Promise.withResolvers<void>();
  consumer.on(consumer.events.GROUP_JOIN, () => joined.resolve());
  await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
  await joined.promise;
  await consumer.commitOffsets([{ topic, partition: 0, offset }]);
  await consumer.disconnect();
  expect(await kafka.groupOffsets(groupId, topic)).toEqual([BigInt(offset)]);
};

describe('group offsets', () => {
  for (const [name, change] of [
    ['deleted', (kafka, groupId) => deleteGroup(kafka, groupId)],
    ['moved back', (kafka, groupId, topic) => moveGroup(kafka, groupId, topic, '3')],
    ['moved forward', (kafka, groupId, topic) => moveGroup(kafka, groupId, topic, '900')],
  ] as const satisfies readonly [string, (kafka: TestKafka, groupId: string, topic: string) => Promise<void>][]) {
    test(`${name}: positions win, and the group offsets are put right`, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic();
      await using sent = await record(kafka, topic);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
      await sent.send(messages(0, 500));
      await drain(setup);
      await sent.send(messages(500, 500));
      await change(kafka, setup.groupId, topic);
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
      expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual([1000n]);
      await change(kafka, setup.groupId, topic);
      await drain(setup);
      expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual([1000n]);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
    });
  }
});

describe('messages that Kafka deleted before they were read', () => {
  test('stop their feed, not the others; recording the gap goes on', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const [topic, other] = [await kafka.createTopic({ partitions: 2 }), await kafka.createTopic()];
    await using sent = await record(kafka, topic);
    await using sentOther = await record(kafka, other);
    const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic), streamFeed('other', other)] });
    await sent.send(messages(0, 200, (id) => ({ partition: id % 2 })));
    await drain(setup);
    await sent.send(messages(200, 200, (id) => ({ partition: id % 2 })));
    await sentOther.send(messages(0, 100));
    await kafka.deleteRecords(topic, [{ partition: 1, before: 150n }]);
    const stopped = await runLake(setup, ONCE);
    expect(stopped.code).toBe(1);
    expect(stopped.stderr).toContain(
      'partition 1 cannot resume at offset 100: the topic now starts at 150 (50 messages are gone)',
    );
    expect(stopped.stderr).toContain('lake ingest --feed orders --on-gap record');
    expect(stopped.stderr).toContain('code   offset_out_of_range (exit 1)');
    await expectExactlyOnce(sentOther.messages, setup.lakePath, 'other', { kafka, topic: other });
    await drain(setup, { args: ['--on-gap', 'record'] });
    const { state } = await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
    expect(state.gaps.map(({ partition, start, end, reason }) => `${partition}:${start}-${end} ${reason}`)).toEqual([
      '1:100-150 expired',
    ]);
    await drain(setup);
    expect((await stateOf(setup.lakePath, 'orders')).gaps.length).toBe(1);
  });

  test('also when all of the topic is gone', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topic = await kafka.createTopic();
    await using sent = await record(kafka, topic);
    const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
    await sent.send(messages(0, 100));
    await drain(setup);
    await sent.send(messages(100, 100));
    await kafka.deleteRecords(topic, [{ partition: 0, before: 200n }]);
    expect((await runLake(setup, ONCE)).stderr).toContain('code   offset_out_of_range');
    await drain(setup, { args: ['--on-gap', 'record'] });
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  });

  for (const onGap of ['stop', 'record'] as const) {
    test(`while the program runs, --on-gap ${onGap}`, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic();
      const other = await kafka.createTopic();
      await using sent = await record(kafka, topic);
      await using sentOther = await record(kafka, other);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic), streamFeed('other', other)] });
      await sent.send(messages(0, 100));
      const lake = startLake(setup, ['ingest', '--on-gap', onGap, '--session-timeout-seconds', '10']);
      await lake.event('batch_committed');
      // Stopped, and the fetch that waits at the broker answered, it cannot read what comes and goes meanwhile.
      lake.kill('SIGSTOP');
      await lake.stopped();
      await pass(1_000);
      await sent.send(messages(100, 100));
      await kafka.deleteRecords(topic, [{ partition: 0, before: 150n }]);
      lake.kill('SIGCONT');
      await lake.event(onGap === 'stop' ? 'feed_stopped' : 'gap_recorded');
      await sent.send(messages(200, 100));
      await sentOther.send(messages(0, 100));
      await until(async () => (await stateOf(setup.lakePath, 'other')).positions.get(0)?.position === 100n);
      if (onGap === 'record')
        await until(async () => (await stateOf(setup.lakePath, 'orders')).positions.get(0)?.position === 300n);
      lake.kill('SIGTERM');
      const { code, stderr } = await lake.ended;
      expect([code, stderr.includes('offset_out_of_range')]).toEqual(onGap === 'stop' ? [1, true] : [0, false]);
      await drain(setup, { args: ['--on-gap', 'record'] });
      const { state } = await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
      expect(state.gaps.map(({ start, end }) => `${start}-${end}`)).toEqual(['100-150']);
      expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual([300n]);
      await expectExactlyOnce(sentOther.messages, setup.lakePath, 'other', { kafka, topic: other });
    });
  }
});

describe('a topic created anew', () => {
  const recreate = async (kafka: TestKafka, topic: string, count: number): Promise<void> => {
    const admin = await kafka.admin();
    if ((await admin.listTopics()).includes(topic)) await kafka.deleteTopic(topic);
    await until(async () => !(await admin.listTopics()).includes(topic));
    await until(() => kafka.createTopic({ name: topic }).catch(() => null), { what: `${topic} is there again` });
    await kafka.produce(topic, messages(50_000, count));
  };

  for (const [name, count, code] of [
    ['refilled beyond the position', 150, 'topic_recreated'],
    ['filled less than before', 50, 'topic_truncated'],
    ['still empty', 0, 'topic_truncated'],
  ] as const) {
    test(`${name} is a clear stop`, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic();
      await using sent = await record(kafka, topic);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
      await sent.send(messages(0, 100));
      await drain(setup);
      await recreate(kafka, topic, count);
      const { code: exit, stderr } = await runLake(setup, ONCE);
      expect(stderr).toContain(`code   ${code} (exit 1)`);
      expect(exit).toBe(1);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders');
    });
  }

  for (const again of [true, false]) {
    test(`${again ? 'later' : 'never'}, deleted while the program runs, stops its feed and no other`, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const [topic, other] = [await kafka.createTopic(), await kafka.createTopic()];
      await using sent = await record(kafka, topic);
      await using sentOther = await record(kafka, other);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic), streamFeed('other', other)] });
      await sent.send(messages(0, 100));
      const lake = startLake(setup, ['ingest']);
      await lake.event('batch_committed');
      await kafka.deleteTopic(topic);
      await pass(1_500);
      if (again) await recreate(kafka, topic, 150);
      await sentOther.send(messages(0, 100));
      await lake.event('feed_stopped');
      await until(async () => (await stateOf(setup.lakePath, 'other')).positions.get(0)?.position === 100n);
      lake.kill('SIGTERM');
      const { code, stderr } = await lake.ended;
      expect(stderr).toMatch(again ? /code {3}(topic_recreated|topic_truncated|topic_missing)/ : /code {3}topic_missing/);
      expect(code).toBe(1);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders');
      await expectExactlyOnce(sentOther.messages, setup.lakePath, 'other', { kafka, topic: other });
    });
  }
});

test('another cluster under the same address is refused', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  await using foreign = await startPrivateKafka();
  const topic = await kafka.createTopic();
  await foreign.createTopic({ name: topic });
  await foreign.produce(topic, messages(0, 200));
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send(messages(0, 100));
  await drain(setup);
  const { code, stderr } = await runLake(setup, [...ONCE, '--bootstrap-servers', foreign.bootstrap]);
  expect(stderr).toContain('code   cluster_changed (exit 1)');
  expect(code).toBe(1);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});
