// Sample messages of a topic: the oldest and the newest of each partition, bounded in number and bytes, over holes and aborted ones.

import { expect, test } from 'bun:test';
import { connectAdmin } from '../../src/broker/client.ts';
import { connectPeek } from '../../src/broker/peek.ts';
import { type SampleLimits, sampleTopic } from '../../src/broker/sample.ts';
import { topicBounds } from '../../src/broker/watermarks.ts';
import { createLog } from '../../src/log.ts';
import { load } from '../config/helpers.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { testKafka } from '../helpers/services.ts';

const log = createLog({ level: 'error', format: 'json', write: () => undefined, now: () => new Date(0) });

async function sampled(topic: string, limits: SampleLimits) {
  const { bootstrap } = await testKafka();
  const { kafka } = load({ kafka: { bootstrap_servers: bootstrap }, feeds: [] });
  await using admin = await connectAdmin(kafka, log);
  await using peek = await connectPeek(kafka, log);
  const found = await sampleTopic(peek.peek, topic, await topicBounds(admin.admin, kafka, topic), limits);
  return found.map(({ partition, offset, value }) => ({
    partition,
    offset: Number(offset),
    value: value === null ? null : Buffer.from(value).toString(),
  }));
}

const numbered = (count: number, more: (n: number) => Partial<TestMessage> = () => ({})): TestMessage[] =>
  Array.from({ length: count }, (_, n) => ({ value: String(n), ...more(n) }));
const LARGE: SampleLimits = { messagesMax: 1_000, bytesMax: 1_000_000 };

test('of each partition the oldest and the newest; of a short one all, once', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 3 });
  await kafka.produce(topic, [...numbered(3_000), ...numbered(5, () => ({ partition: 1 }))]);
  const found = await sampled(topic, { messagesMax: 60, bytesMax: 1_000_000 });
  const offsets = (partition: number) => found.filter((one) => one.partition === partition).map(({ offset }) => offset);
  expect(offsets(0)).toEqual([...Array(15).keys(), ...Array.from({ length: 15 }, (_, n) => 2_985 + n)]);
  expect(offsets(1)).toEqual([0, 1, 2, 3, 4]);
  expect(offsets(2)).toEqual([]);
  expect(await sampled(await kafka.createTopic(), LARGE)).toEqual([]);
});

test('what was aborted is not there, and what lies before it is found all the same', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(topic, numbered(400));
  const transaction = await kafka.openTransaction();
  await transaction.send(
    topic,
    numbered(500, () => ({ value: 'aborted' })),
  );
  await transaction.abort();
  const found = await sampled(topic, { messagesMax: 100, bytesMax: 1_000_000 });
  expect(found.some(({ value }) => value === 'aborted')).toBe(false);
  expect(found.map(({ offset }) => offset)).toEqual([...Array(50).keys(), ...Array.from({ length: 50 }, (_, n) => 350 + n)]);
});

test('large messages are few', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(
    topic,
    numbered(40, () => ({ value: 'x'.repeat(20_000) })),
  );
  const found = await sampled(topic, { messagesMax: 1_000, bytesMax: 100_000 });
  expect(found.length).toBeGreaterThan(1);
  expect(found.length).toBeLessThanOrEqual(8);
});

test('offsets that Kafka has deleted are passed over, tombstones are there', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(
    topic,
    numbered(20, (n) => ({ key: `k${n}`, ...(n % 2 === 0 && { value: null }) })),
  );
  await kafka.deleteRecords(topic, [{ partition: 0, before: 10n }]);
  const found = await sampled(topic, LARGE);
  expect(found.map(({ offset, value }) => [offset, value])).toEqual(
    Array.from({ length: 10 }, (_, n) => [n + 10, n % 2 === 0 ? null : String(n + 10)]),
  );
});
