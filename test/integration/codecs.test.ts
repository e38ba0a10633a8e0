// Every way Kafka stores messages: compressed by clients or by the broker, large, compacted, timed by the broker.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { type JavaCompression, produceWithJava } from '../helpers/java-producer.ts';
import type { TestKafka } from '../helpers/kafka.ts';
import { describeGroup } from '../helpers/kafka-tool.ts';
import { message, messages, type Produced, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly JavaCompression[];
const BIG = 10_000_000;

/** Neither all alike nor all different: compressors then use literals, matches and stored blocks. */
const text = (id: number): string => `${id} ${'abcdefghij'.repeat(id % 90)} ${crypto.randomUUID()}`;

const scene = async (kafka: TestKafka, configs: Record<string, string> = {}, feed: Record<string, unknown> = {}) => {
  const folder = await tempDir();
  const topic = await kafka.createTopic({ configs });
  const sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic, feed)] });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return { topic, sent, setup, [Symbol.asyncDispose]: end };
};

describe('compressed by', () => {
  for (const codec of CODECS) {
    test(`a Java client with ${codec}, messages of 10 MB among them`, async () => {
      const kafka = await testKafka();
      await using one = await scene(kafka, { 'max.message.bytes': '20000000' });
      const values = Array.from({ length: 3_000 }, (_, id) => JSON.stringify({ id, text: text(id) }));
      for (const id of [1_000, 2_000]) values[id] = JSON.stringify({ id, text: `${crypto.randomUUID()}${'y'.repeat(BIG)}` });
      const lines = values.map((value, id) => ({ key: `k${id}`, value }));
      await produceWithJava(kafka, one.topic, { compression: codec, lines });
      const produced = lines.map(
        ({ key, value }, id): Produced => ({
          partition: 0,
          offset: BigInt(id),
          key: Buffer.from(key),
          value: Buffer.from(value),
          timestampMs: null,
        }),
      );
      await drain(one.setup);
      await expectExactlyOnce(produced, one.setup.lakePath, 'orders', { kafka, topic: one.topic });
    });

    test(`the broker with ${codec === 'none' ? 'uncompressed' : codec}`, async () => {
      const kafka = await testKafka();
      await using one = await scene(kafka, { 'compression.type': codec === 'none' ? 'uncompressed' : codec });
      await one.sent.send(messages(0, 4_000, (id) => ({ value: JSON.stringify({ id, text: text(id) }) })));
      await drain(one.setup);
      await expectExactlyOnce(one.sent.messages, one.setup.lakePath, 'orders', { kafka, topic: one.topic });
    });
  }
});

test('keys of every kind come through: none, empty, binary, with separators, of zero bytes', async () => {
  const kafka = await testKafka();
  await using one = await scene(kafka);
  const keys = [
    null,
    '',
    'k',
    Buffer.from([0]),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0x1e]),
    Buffer.from([0x6b, 0x1e, 0x1e]),
    Buffer.from([0xff, 0xfe, 0x00, 0x1e, 0x80]),
    'schlüssel\u001e',
    Buffer.from([...Array(256).keys()]),
    'x'.repeat(100_000),
  ];
  // Each kind alone in its chunk, then all together, then beside values that are refused.
  for (const key of keys) {
    await one.sent.send([message(1, { key })]);
    await drain(one.setup);
  }
  await one.sent.send(keys.map((key, id) => message(id, { key })));
  await one.sent.send(keys.flatMap((key, id) => [message(id, { key, value: Buffer.from([0xff, 0x31]) }), message(id, { key })]));
  await drain(one.setup);
  await expectExactlyOnce(one.sent.messages, one.setup.lakePath, 'orders', {
    kafka,
    topic: one.topic,
    refused: ({ value }) => value?.[0] === 0xff,
  });
});

test('headers are stored on request', async () => {
  const kafka = await testKafka();
  await using one = await scene(kafka, {}, { headers: true });
  const headers = { source: 'shop', raw: Buffer.from([0xff, 0x00]), empty: '' };
  await one.sent.send([message(0, { headers }), message(1), message(2, { value: 'refused', headers })]);
  await drain(one.setup);
  const { rows } = await expectExactlyOnce(one.sent.messages, one.setup.lakePath, 'orders', { kafka, topic: one.topic });
  const json = JSON.stringify([
    ['source', 'shop'],
    ['raw', { base64: '/wA=' }],
    ['empty', ''],
  ]);
  const sorted = rows.toSorted((a, b) => Number(a.offset - b.offset));
  expect(sorted.map(({ values }) => values['kafka_headers'] ?? values['headers'] ?? null)).toEqual([json, null, json]);
});

test('log compaction leaves holes, which are no loss', async () => {
  const kafka = await testKafka();
  await using one = await scene(kafka, {
    'cleanup.policy': 'compact',
    'segment.bytes': '20000',
    'min.cleanable.dirty.ratio': '0.001',
    'delete.retention.ms': '1',
    'min.compaction.lag.ms': '0',
  });
  await one.sent.send(messages(0, 50));
  await drain(one.setup);
  const before = [...one.sent.messages];
  for (let round = 1; round <= 6; round++) {
    await one.sent.send(messages(round * 1_000, 400, (id) => ({ key: `k${id % 40}`, timestampMs: Date.now() })));
  }
  const left = await until(() => survivors(kafka, one.topic, before.length), {
    timeoutMs: 180_000,
    what: 'the topic is compacted',
  });
  await drain(one.setup);
  const [lag] = JSON.parse((await runLake(one.setup, ['lag', '--json'])).stdout);
  expect(lag).toMatchObject({ lag: 0, lag_seconds: 0, position: lag.last_stable_offset });
  const { position: current, high_watermark: end } = lag;
  expect(await describeGroup(kafka, one.setup.groupId)).toEqual([{ topic: one.topic, partition: 0, current, end, lag: '0' }]);
  const expected = one.sent.messages.filter(({ offset }) => offset < BigInt(before.length) || left.has(offset));
  await expectExactlyOnce(expected, one.setup.lakePath, 'orders', { kafka, topic: one.topic });
});

/** The offsets that are still there, once compaction has taken some and none for longer than its pauses. */
async function survivors(kafka: TestKafka, topic: string, from: number): Promise<Set<bigint>> {
  let left = new Set<bigint>();
  let sinceMs = performance.now();
  return await until(
    async () => {
      const now = await offsetsIn(kafka, topic);
      if (now.size !== left.size) sinceMs = performance.now();
      left = now;
      return now.size < 1_000 && performance.now() - sinceMs > 3_000 && [...now].some((offset) => offset >= BigInt(from)) && now;
    },
    { timeoutMs: 180_000, what: 'the topic is compacted' },
  );
}

async function offsetsIn(kafka: TestKafka, topic: string): Promise<Set<bigint>> {
  const [{ high = 0n } = {}] = await kafka.watermarks(topic);
  const consumer = kafka.client.consumer({ groupId: `${topic}_${crypto.randomUUID()}`, maxWaitTimeInMs: 100 });
  const offsets = new Set<bigint>();
  let next = 0n;
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachBatch: async ({ batch }) => {
      for (const { offset } of batch.messages) offsets.add(BigInt(offset));
      next = BigInt(batch.lastOffset()) + 1n;
    },
  });
  await until(() => next >= high);
  await consumer.disconnect();
  return offsets;
}

test('a topic timed by the broker has the broker’s time', async () => {
  const kafka = await testKafka();
  await using one = await scene(kafka, { 'message.timestamp.type': 'LogAppendTime' });
  const startMs = Date.now();
  await one.sent.send(messages(0, 500));
  await drain(one.setup);
  const timeless = one.sent.messages.map((sent) => ({ ...sent, timestampMs: null }));
  const { rows } = await expectExactlyOnce(timeless, one.setup.lakePath, 'orders', { kafka, topic: one.topic });
  expect(rows.filter(({ timestampMs }) => timestampMs < startMs - 1_000 || timestampMs > Date.now() + 1_000)).toEqual([]);
});
