// Transactions leave markers, holes and a last stable offset before the end: committed messages are in, aborted ones are not,
// and a partition counts as read when everything stable is (PROTOCOL 16).

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import type { TestKafka } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, type Recorder, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

/** A key that a careless reader takes for an abort marker. */
const MARKER_LIKE = Buffer.from([0, 0, 0, 0]);

/** Name, content, and how many offsets that takes, markers included. */
const ENDS: readonly [string, (sent: Recorder) => Promise<void>, bigint][] = [
  ['only an aborted transaction', (sent) => sent.inTransaction(messages(0, 50), 'abort'), 51n],
  [
    'messages, then an aborted transaction',
    async (sent) => {
      await sent.send(messages(0, 50));
      await sent.inTransaction(messages(50, 50), 'abort');
    },
    101n,
  ],
  ['a commit marker', (sent) => sent.inTransaction(messages(0, 50), 'commit'), 51n],
  [
    'aborted and committed transactions in turns',
    async (sent) => {
      for (let id = 0; id < 100; id += 10) {
        await sent.inTransaction(messages(id, 10), id % 20 ? 'abort' : 'commit');
        await sent.send(messages(1_000 + id, 3));
      }
    },
    140n,
  ],
  [
    'keys that look like markers, inside and outside of transactions',
    async (sent) => {
      await sent.send(messages(0, 3, () => ({ key: MARKER_LIKE })));
      await sent.inTransaction(
        messages(3, 3, () => ({ key: MARKER_LIKE })),
        'commit',
      );
      await sent.inTransaction(
        messages(6, 3, () => ({ key: MARKER_LIKE })),
        'abort',
      );
      await sent.inTransaction(
        messages(9, 3, () => ({ key: Buffer.from([0, 0, 0, 1]) })),
        'commit',
      );
      await sent.send(messages(12, 3, () => ({ key: MARKER_LIKE })));
    },
    18n,
  ],
  [
    'a large aborted transaction over several fetches, its neighbours committed',
    async (sent) => {
      const filler = 'x'.repeat(2_000);
      const open = await sent.begin(messages(0, 2_500, (id) => ({ value: JSON.stringify({ id, text: filler }) })));
      await sent.inTransaction(messages(5_000, 100), 'commit');
      await open.abort();
      await sent.send(messages(6_000, 10));
    },
    2612n,
  ],
];

/** Markers are written after the producer has its answer. */
const stableAt = async (kafka: TestKafka, topic: string, end: bigint): Promise<void> => {
  await until(async () => (await kafka.watermarks(topic))[0]?.high === end, { what: `${topic} is stable at ${end}` });
};

describe('a partition that ends with', () => {
  for (const [name, fill, end] of ENDS) {
    test(name, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic();
      await using sent = await record(kafka, topic);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
      await fill(sent);
      await stableAt(kafka, topic, end);
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
      // A second start comes to rest on the same position and goes on from it.
      await drain(setup);
      await sent.send(messages(9_000, 10));
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
    });
  }
});

test('an open transaction holds everything after it back, and is taken when it commits', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send(messages(0, 20));
  const open = await sent.begin(messages(20, 20));
  const before = [...sent.messages];
  await sent.send(messages(40, 20));
  await drain(setup);
  const { state } = await expectExactlyOnce(before, setup.lakePath, 'orders');
  expect(state.positions.get(0)?.position).toBe(20n as never);
  await open.commit();
  await stableAt(kafka, topic, 61n);
  await drain(setup);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});

test('a running lake takes an open transaction when it ends, committed or aborted', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  const lake = startLake(setup, ['ingest']);
  let next = 0n;
  for (const end of ['commit', 'abort', 'commit'] as const) {
    const open = await sent.begin(messages(0, 20));
    await sent.send(messages(40, 20));
    await open[end]();
    // The marker takes an offset too, and comes a little later.
    next += 41n;
    await until(async () => (await stateOf(setup.lakePath, 'orders')).positions.get(0)?.position === next);
  }
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});
