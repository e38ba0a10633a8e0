// The helpers themselves, so that a failing test means what it says.

import { expect, test } from 'bun:test';
import { startPrivateKafka, tempDir, testKafka } from './services.ts';
import { until } from './until.ts';

test('a produced message has the partition, key, time and headers that were asked for', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  const header = { source: 'shop' };
  await kafka.produce(topic, [{ partition: 1, key: 'k', value: 'v', timestampMs: 1_000, headers: header }]);
  const consumer = kafka.consumer(`${topic}_group`);
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen: string[] = [];
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      seen.push([partition, message.key, message.value, message.timestamp, message.headers?.['source']].join(' '));
    },
  });
  await until(() => seen.length > 0);
  await consumer.disconnect();
  expect(seen).toEqual(['1 k v 1000 shop']);
  expect(await kafka.groupOffsets(`${topic}_group`, topic)).toEqual([null, 1n]);
});

test('deleted records raise the low watermark', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(topic, [{ value: 'a' }, { value: 'b' }, { value: null, key: 'c' }], { compression: 'gzip' });
  await kafka.deleteRecords(topic, [{ partition: 0, before: 2n }]);
  expect(await kafka.watermarks(topic)).toEqual([{ partition: 0, low: 2n, high: 3n }]);
  await kafka.deleteTopic(topic);
});

test('an aborted transaction leaves offsets without messages', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const aborted = await kafka.openTransaction();
  await aborted.send(topic, [{ value: 'no' }]);
  await aborted.abort();
  const committed = await kafka.openTransaction();
  await committed.send(topic, [{ value: 'yes' }]);
  await committed.commit();
  expect(await until(async () => (await kafka.watermarks(topic)).find(({ high }) => high === 4n))).toBeDefined();
});

test('a killed broker comes back on its port with its messages', async () => {
  await using kafka = await startPrivateKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(topic, [{ value: 'kept' }]);
  const pid = kafka.pid();
  await kafka.stop({ signal: 'SIGKILL' });
  await kafka.start();
  expect(kafka.pid()).not.toBe(pid);
  const watermarks = await until(() => kafka.watermarks(topic).catch(() => null));
  expect(watermarks).toEqual([{ partition: 0, low: 0n, high: 1n }]);
});

test('a temporary folder goes with its scope', async () => {
  let path = '';
  {
    await using folder = await tempDir();
    path = folder.path;
    expect(await Bun.file(path).exists()).toBe(false);
  }
  const { existsSync } = await import('node:fs');
  expect(existsSync(path)).toBe(false);
});
