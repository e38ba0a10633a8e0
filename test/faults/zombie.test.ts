// A process stopped in the middle of a commit while another takes its partitions, and woken afterwards (PROTOCOL 2, 3, 10):
// nothing is doubled, nothing is lost, and the sleeper goes on or leaves with exit 5.

import { describe, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { openFeedLog } from '../../src/lake/log.ts';
import { stagingRoot, writerOfStagedKey } from '../../src/model/paths.ts';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, type Fault, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { globFiles, stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const FIRST_BATCH = 'log/00000000000000000000/00000000000000000002.json';
const SLEEPS: readonly { readonly name: string; readonly fault: Fault; readonly committed: boolean }[] = [
  { name: 'with a staged batch', fault: { method: 'makeDurable', key: '/staging/', when: 'before' }, committed: false },
  { name: 'just before its entry', fault: { method: 'createExclusive', key: FIRST_BATCH, when: 'before' }, committed: false },
  { name: 'just after its entry', fault: { method: 'createExclusive', key: FIRST_BATCH, when: 'after' }, committed: true },
  { name: 'between two renames', fault: { method: 'move', when: 'after' }, committed: true },
];

const start = async (fault: Fault) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  const sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch: { batch_size: 1_000 } });
  await sent.send(messages(0, 3_000, (id) => ({ partition: id % 2 })));
  const sleeper = startLake(setup, ['ingest', '--until-caught-up'], { fault: { ...fault, signal: 'SIGSTOP' } });
  await sleeper.stopped();
  const check = () => expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return { kafka, topic, sent, setup, sleeper, check, [Symbol.asyncDispose]: end };
};

describe('asleep across a rebalance', () => {
  for (const { name, fault, committed } of SLEEPS) {
    test(name, async () => {
      await using scene = await start(fault);
      expect((await stateOf(scene.setup.lakePath, 'orders')).version).toBe(committed ? 2 : 1);
      await drain(scene.setup);
      await scene.check();
      await scene.sent.send(messages(3_000, 500, (id) => ({ partition: id % 2 })));
      scene.sleeper.kill('SIGCONT');
      const { code, stderr } = await scene.sleeper.ended;
      expect([code === 0 || code === 5, stderr]).toEqual([true, expect.any(String)]);
      await drain(scene.setup);
      await scene.check();
    });
  }
});

test('a writer fenced in its sleep cannot commit what it staged, and goes on under a new name', async () => {
  await using scene = await start({ method: 'createExclusive', key: FIRST_BATCH, when: 'before' });
  const store = await openLocalStore({ root: scene.setup.lakePath, access: 'write' });
  const staged = await store.list(stagingRoot('orders'));
  const asleep = writerOfStagedKey('orders', staged[0]?.key ?? '');
  expect(asleep).not.toBe(null);
  const newId = createIdSource({ nowMs: Date.now, randomBytes });
  const cleaner = await openFeedLog({ store, feed: 'orders', writer: newId(), nowMs: Date.now, newId });
  await cleaner.fence(asleep ?? '');
  expect((await store.list(stagingRoot('orders'))).filter(({ key }) => key.includes(asleep ?? ''))).toEqual([]);
  scene.sleeper.kill('SIGCONT');
  const { code, stderr } = await scene.sleeper.ended;
  expect([code, stderr]).toEqual([0, expect.stringContaining('"reason":"fenced"')]);
  await scene.check();
});

test('the renames of a dead writer are finished by the next start, whatever it takes in', async () => {
  await using scene = await start({ method: 'move', when: 'before' });
  scene.sleeper.kill('SIGKILL');
  await scene.sleeper.ended;
  expect(globFiles(scene.setup.lakePath, 'orders').data).toEqual([]);
  await drain(scene.setup);
  await scene.check();
});

test('two lakes under two groups on one lake share the work or one leaves with exit 5; nothing is doubled', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 3 });
  await using sent = await record(kafka, topic);
  const feeds = [streamFeed('orders', topic)];
  const batch = { batch_size: 200 };
  const setups = ['one', 'two'].map((name) => writeSetup({ folder: folder.path, kafka, feeds, batch, name: `${name}.json` }));
  await sent.send(messages(0, 6_000, (id) => ({ partition: id % 3 })));
  const both = setups.map((setup) => startLake(setup, ['ingest', '--until-caught-up']));
  const results = await Promise.all(both.map((lake) => lake.ended));
  for (const { code, stderr } of results) expect([code === 0 || code === 5, stderr]).toEqual([true, expect.any(String)]);
  const [setup] = setups;
  if (!setup) throw new Error('no setup');
  await drain(setup);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});
