// SIGKILL at every step of a publish, and at random moments: the next run finishes what was published and reads the rest again; the
// state is the fold of the topic, and a glob never sees two states of one snapshot.

import { describe, expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, type Fault, startLake, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { filesUnder } from '../helpers/lake-folder.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const entry = (version: number): string => `log/00000000000000000000/${String(version).padStart(20, '0')}.json`;

/** Version 1 pins key and period, 2 the schema, 3 is the first publish, 4 the one that is hit: it takes two files out (two moves each, for a file may
 *  still be staged), and puts a data, a state and a dead-letters file in. */
const STEPS: readonly { readonly name: string; readonly fault: Fault; readonly version: number }[] = [
  { name: 'before staging', fault: { method: 'localPath', key: '/staging/', when: 'before' }, version: 3 },
  { name: 'between data and state file', fault: { method: 'localPath', key: '/state/state_', n: 2, when: 'before' }, version: 3 },
  { name: 'after staging', fault: { method: 'size', key: '/staging/', when: 'before' }, version: 3 },
  { name: 'before the files are durable', fault: { method: 'makeDurable', key: '/staging/', when: 'before' }, version: 3 },
  { name: 'before the entry', fault: { method: 'createExclusive', key: entry(4), when: 'before' }, version: 3 },
  { name: 'after the entry', fault: { method: 'createExclusive', key: entry(4), when: 'after' }, version: 4 },
  { name: 'before the first rename', fault: { method: 'move', when: 'before' }, version: 4 },
  { name: 'with the old data file out', fault: { method: 'move', n: 2, when: 'after' }, version: 4 },
  { name: 'with both old files out', fault: { method: 'move', n: 4, when: 'after' }, version: 4 },
  { name: 'with the first new file in', fault: { method: 'move', n: 5, when: 'after' }, version: 4 },
  { name: 'before the last rename', fault: { method: 'move', n: 7, when: 'before' }, version: 4 },
  { name: 'after the renames, before group offsets', fault: { method: 'move', n: 7, when: 'after' }, version: 4 },
];

const scene = async (batch: Record<string, unknown>) => {
  const chance = random();
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  const sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [tableFeed('totals', topic)], batch });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  const send = (count: number) => sent.send(changelog(chance, { count, keys: 50, partitions: 2 }));
  const published = () => filesUnder(setup.lakePath, 'tables/totals');
  const check = () => expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
  return { chance, kafka, topic, sent, setup, send, published, check, [Symbol.asyncDispose]: end };
};

describe('killed', () => {
  for (const { name, fault, version } of STEPS) {
    test(name, async () => {
      await using one = await scene({ batch_size: 300 });
      console.log(`seed ${one.chance.seed}`);
      await one.send(500);
      await drain(one.setup);
      expect((await stateOf(one.setup.lakePath, 'totals')).version).toBe(3);
      await one.send(1_000);
      const killed = await startLake(one.setup, ['ingest', '--until-caught-up'], { fault }).ended;
      expect([killed.code, killed.stderr]).toEqual([null, expect.any(String)]);
      expect((await stateOf(one.setup.lakePath, 'totals')).version).toBe(version);
      expect(one.published().length).toBeLessThanOrEqual(1);
      await drain(one.setup);
      const { state } = await one.check();
      expect(await one.kafka.groupOffsets(one.setup.groupId, one.topic)).toEqual([
        state.positions.get(0)?.position ?? null,
        state.positions.get(1)?.position ?? null,
      ]);
    });
  }
});

const KILLS = 10;

test(`killed ${KILLS} times at random moments while messages keep coming`, async () => {
  await using one = await scene({ batch_size: 100 });
  const { chance, setup } = one;
  console.log(`seed ${chance.seed}`);
  let killing = true;
  const producing = (async () => {
    while (killing) {
      await one.send(40);
      const pauseUntilMs = performance.now() + 60;
      await until(() => performance.now() > pauseUntilMs);
    }
  })();
  let publishes = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const lake = startLake(setup, ['ingest']);
    // Some anywhere, start included; the others just after a publish or a little later.
    const killAtMs = performance.now() + chance.between(100, 3_000);
    if (chance.next() < 0.6) {
      await lake.event('snapshot_published', 1 + Math.floor(chance.between(0, 2)));
      const soonMs = performance.now() + chance.between(0, 1_200);
      await until(() => performance.now() > soonMs, { everyMs: 1 });
    } else await until(() => performance.now() > killAtMs, { everyMs: 1 });
    lake.kill('SIGKILL');
    const { code, stderr } = await lake.ended;
    expect(code === null ? 'killed' : stderr).toBe('killed');
    publishes += lake.events('snapshot_published').length;
    expect(one.published().length).toBeLessThanOrEqual(1);
  }
  killing = false;
  await producing;
  await drain(setup);
  await one.check();
  expect(publishes).toBeGreaterThan(0);
  console.log(`${KILLS} kills, ${publishes} publishes before them, ${one.sent.messages.length} messages`);
});
