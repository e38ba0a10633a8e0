// The judge of all the others: it must notice every way in which a lake can be wrong.

import { expect, test } from 'bun:test';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expectExactlyOnce, ranges } from './expect-exactly-once.ts';
import { drain, streamFeed, writeSetup } from './ingest.ts';
import { globFiles } from './lake-rows.ts';
import { messages, type Produced, record } from './produced.ts';
import { tempDir, testKafka } from './services.ts';

test('differences between what was produced and what is there are found', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send(messages(0, 100));
  await drain(setup);
  const told = async (produced: readonly Produced[]): Promise<string> =>
    await expectExactlyOnce(produced, setup.lakePath, 'orders', { kafka, topic }).then(
      () => 'nothing',
      (error: Error) => error.message,
    );
  const all = [...sent.messages];
  const change = (change: Partial<Produced>) => all.map((message, index) => (index === 7 ? { ...message, ...change } : message));
  expect(await told(all)).toBe('nothing');
  expect(await told(all.slice(0, -3))).toContain('by the log: never produced 0:97-99');
  expect(await told([...all, ...change({ offset: 200n }).slice(7, 8)])).toContain('by glob: missing 0:200');
  expect(await told(change({ key: Buffer.from('other') }))).toContain('0:7 has the key 6B37, sent 6F74686572');
  expect(await told(change({ value: Buffer.from('{"id":7,"text":"other"}') }))).toContain('0:7 has text = text 7, sent other');
  expect(await told(change({ timestampMs: 5 }))).toContain('0:7 has the time');
  expect(await told(change({ value: Buffer.from('x') }))).toContain('0:7 is a row');
  expect(await told(change({ value: null }))).toContain('never produced 0:7');
  await sent.send(messages(100, 1));
  expect(await told(all)).toContain('partition 0: the position is 100, Kafka ends at 101');
  await drain(setup);
  const [file = ''] = globFiles(setup.lakePath, 'orders').data;
  const path = join(setup.lakePath, file);
  const copy = join(dirname(path), 'copy.parquet');
  copyFileSync(path, copy);
  expect(await told(sent.messages)).toContain('files only a glob finds');
  expect(await told(sent.messages)).toContain('by glob: more than once 0:0-');
  rmSync(copy);
  expect(await told(sent.messages)).toBe('nothing');
  copyFileSync(path, join(folder.path, 'kept'));
  writeFileSync(path, Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(8)]));
  expect(await told(sent.messages)).not.toBe('nothing');
  rmSync(path);
  expect(await told(sent.messages)).toContain('the log names');
  copyFileSync(join(folder.path, 'kept'), path);
  expect(await told(sent.messages)).toBe('nothing');
});

test('offsets are told as ranges', () => {
  const at = (partition: number, ...offsets: number[]) => offsets.map((offset) => ({ partition, offset: BigInt(offset) }));
  expect(ranges([...at(1, 5), ...at(0, 3, 1, 2, 9)])).toBe('0:1-3, 0:9, 1:5');
});
