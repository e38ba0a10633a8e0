// SIGKILL at every step of a commit, with real Kafka: the next run finishes what was committed and takes the rest, once.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, type Fault, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const entry = (version: number): string => `log/00000000000000000000/${String(version).padStart(20, '0')}.json`;

/** Version 1 pins the schema, 2 is the first batch: messages of two days, so two data files and two of dead letters. */
const STEPS: readonly { readonly name: string; readonly fault: Fault; readonly version: number }[] = [
  { name: 'before the schema is pinned', fault: { method: 'createExclusive', key: entry(1), when: 'before' }, version: 0 },
  { name: 'after the schema is pinned', fault: { method: 'createExclusive', key: entry(1), when: 'after' }, version: 1 },
  { name: 'before anything is staged', fault: { method: 'localPath', key: '/staging/', when: 'before' }, version: 1 },
  { name: 'between data and dead letters', fault: { method: 'localPath', key: '/dead_letters', when: 'before' }, version: 1 },
  { name: 'after staging', fault: { method: 'size', key: '/staging/', when: 'before' }, version: 1 },
  { name: 'before the files are durable', fault: { method: 'makeDurable', key: '/staging/', when: 'before' }, version: 1 },
  { name: 'after the files are durable', fault: { method: 'makeDurable', key: '/staging/', when: 'after' }, version: 1 },
  { name: 'before the entry', fault: { method: 'createExclusive', key: entry(2), when: 'before' }, version: 1 },
  { name: 'after the entry', fault: { method: 'createExclusive', key: entry(2), when: 'after' }, version: 2 },
  { name: 'before the first rename', fault: { method: 'move', when: 'before' }, version: 2 },
  { name: 'between two renames', fault: { method: 'move', when: 'after' }, version: 2 },
  { name: 'before the last rename', fault: { method: 'move', n: 4, when: 'before' }, version: 2 },
  { name: 'after the renames, before group offsets', fault: { method: 'move', n: 4, when: 'after' }, version: 2 },
  {
    name: 'in the second batch, before its entry',
    fault: { method: 'createExclusive', key: entry(3), when: 'before' },
    version: 2,
  },
  {
    name: 'in the second batch, after its entry',
    fault: { method: 'createExclusive', key: entry(3), when: 'after' },
    version: 3,
  },
];

describe('killed', () => {
  for (const { name, fault, version } of STEPS) {
    test(name, async () => {
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic({ partitions: 2 });
      await using sent = await record(kafka, topic);
      const setup = writeSetup({
        folder: folder.path,
        kafka,
        feeds: [streamFeed('orders', topic)],
        batch: { batch_size: 1_000 },
      });
      await sent.send(messages(0, 2_500, (id) => ({ partition: id % 2, ...(id % 100 < 2 ? { value: `no json ${id}` } : {}) })));
      const killed = await startLake(setup, ['ingest', '--until-caught-up'], { fault }).ended;
      expect(killed.code).toBe(null);
      expect((await stateOf(setup.lakePath, 'orders')).version).toBe(version);
      await drain(setup);
      const { state } = await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
      expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual([
        state.positions.get(0)?.position ?? null,
        state.positions.get(1)?.position ?? null,
      ]);
    });
  }
});
