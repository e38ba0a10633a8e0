// Kafka away: at the start a clear refusal, in the middle a wait. And topics that are not there.

import { describe, expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { freePort } from '../../scripts/service/process.ts';
import type { Offset } from '../../src/model/offsets.ts';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import {
  drain,
  type LakeResult,
  type RunningLake,
  runLake,
  startLake,
  streamFeed,
  tableFeed,
  writeSetup,
} from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { startPrivateKafka, tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

test('off at the start: exit 4, says where it looked', async () => {
  await using folder = await tempDir();
  const bootstrap = `127.0.0.1:${await freePort()}`;
  const setup = writeSetup({ folder: folder.path, kafka: { bootstrap }, feeds: [streamFeed('orders', 'orders')] });
  const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up']);
  expect(stderr).toContain(`error: Kafka at ${bootstrap} does not answer`);
  expect(stderr).toContain('code   kafka_unreachable (exit 4)');
  expect(code).toBe(4);
});

test('a topic that is missing stops its feed, exit 1; the others go on', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({
    folder: folder.path,
    kafka,
    feeds: [streamFeed('lost', 'no_such_topic'), streamFeed('orders', topic)],
  });
  await sent.send(messages(0, 100));
  const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up']);
  expect(stderr).toContain('error: topic no_such_topic does not exist in Kafka');
  expect(stderr).toContain('code   topic_missing (exit 1)');
  expect(code).toBe(1);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});

describe('in the middle', () => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    test(`ended by ${signal} and started again, twice: ingest goes on by itself`, async () => {
      await using folder = await tempDir();
      await using kafka = await startPrivateKafka();
      const topic = await kafka.createTopic({ partitions: 2 });
      await using sent = await record(kafka, topic);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch: { batch_size: 200 } });
      const lake = startLake(setup, ['ingest']);
      const all = async (): Promise<boolean> => {
        const { positions } = await stateOf(setup.lakePath, 'orders');
        return [...positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) === sent.messages.length;
      };
      for (const from of [0, 4_000]) {
        await sent.send(messages(from, 4_000, (id) => ({ partition: id % 2 })));
        await lake.event('batch_committed', from === 0 ? 1 : lake.events('batch_committed').length + 1);
        await kafka.stop({ signal });
        await kafka.start();
        await until(all, { timeoutMs: 180_000, what: `everything up to ${from + 4_000} is in` });
      }
      await sent.send(messages(8_000, 100));
      await until(all, { timeoutMs: 180_000 });
      lake.kill('SIGTERM');
      const { code, stderr } = await lake.ended;
      expect([code, stderr]).toEqual([0, expect.any(String)]);
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
    });
  }

  test('away for longer than the client’s own patience: it is waited for', async () => {
    await using folder = await tempDir();
    await using kafka = await startPrivateKafka();
    const topic = await kafka.createTopic({ partitions: 2 });
    await using sent = await record(kafka, topic);
    const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
    const lake = startLake(setup, ['ingest']);
    await sent.send(messages(0, 100));
    await lake.event('batch_committed');
    await kafka.stop();
    // kafkajs gives up while it reads, and then while it joins again.
    const given = () => lake.events('consumer_crashed').length + lake.events('kafka_waited_for').length;
    await until(() => given() >= 2, { timeoutMs: 180_000, what: 'kafkajs gives up twice' });
    await kafka.start();
    await sent.send(messages(100, 100));
    await until(async () => (await stateOf(setup.lakePath, 'orders')).positions.get(0)?.position === 200n, {
      timeoutMs: 180_000,
    });
    lake.kill('SIGTERM');
    const { code, stderr } = await lake.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  });
});

describe('told to stop', () => {
  /** kafkajs asks a Kafka that hangs for a minute and a half, once a table; a stop takes seconds. */
  const STOP_MS_MAX = 60_000;
  const endedSoon = async (lake: RunningLake): Promise<LakeResult> => {
    let result: LakeResult | null = null;
    lake.ended.then((one) => {
      result = one;
    });
    lake.kill('SIGTERM');
    return await until(() => result, { timeoutMs: STOP_MS_MAX, what: 'lake ends' });
  };

  test('while Kafka hangs: what is staged is committed, and nothing is waited for once a table', async () => {
    await using folder = await tempDir();
    await using kafka = await startPrivateKafka();
    const feeds = [];
    for (const name of ['a', 'b', 'c', 'd']) {
      // So short that each table would like to say at the end that it has caught up.
      const topic = await kafka.createTopic({ configs: { 'cleanup.policy': 'compact', 'delete.retention.ms': '20000' } });
      await kafka.produce(topic, messages(0, 50));
      feeds.push(tableFeed(name, topic));
    }
    const setup = writeSetup({ folder: folder.path, kafka, feeds });
    const lake = startLake(setup, ['ingest']);
    await lake.event('snapshot_published', feeds.length);
    kafka.pause();
    const { code, stderr } = await endedSoon(lake);
    kafka.resume();
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    for (const { feed_name: name } of feeds)
      expect((await stateOf(setup.lakePath, name)).positions.get(0)?.position).toBe(50n as Offset);
  });

  test('at the start, before a Kafka that takes connections has said anything: exit 0, nothing was taken', async () => {
    await using folder = await tempDir();
    let connections = 0;
    const mute = createServer((socket) => {
      connections++;
      socket.on('error', () => undefined);
    });
    const port = await freePort();
    await new Promise<void>((resolve) => mute.listen(port, '127.0.0.1', resolve));
    const setup = writeSetup({
      folder: folder.path,
      kafka: { bootstrap: `127.0.0.1:${port}` },
      feeds: [streamFeed('orders', 'orders')],
    });
    const lake = startLake(setup, ['ingest']);
    await until(() => connections > 0);
    const { code, stderr } = await endedSoon(lake);
    mute.close();
    expect([code, stderr]).toEqual([0, expect.stringContaining('"pipeline_given_up"')]);
  });
});
