// A table's process stopped in the middle of a publish while another takes its topic, and woken afterwards (PROTOCOL R4, 10): what
// it published is void or the other went on from it, and the state is the fold of the topic.

import { describe, expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, type Fault, startLake, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const SECOND_PUBLISH = 'log/00000000000000000000/00000000000000000004.json';
const SLEEPS: readonly { readonly name: string; readonly fault: Fault; readonly published: boolean }[] = [
  { name: 'before staging', fault: { method: 'localPath', key: '/staging/', when: 'before' }, published: false },
  { name: 'with staged files', fault: { method: 'makeDurable', key: '/staging/', when: 'before' }, published: false },
  { name: 'just before its entry', fault: { method: 'createExclusive', key: SECOND_PUBLISH, when: 'before' }, published: false },
  { name: 'just after its entry', fault: { method: 'createExclusive', key: SECOND_PUBLISH, when: 'after' }, published: true },
  { name: 'with both old files out', fault: { method: 'move', n: 4, when: 'after' }, published: true },
];

describe('asleep while another publishes', () => {
  for (const { name, fault, published } of SLEEPS) {
    test(name, async () => {
      const chance = random();
      console.log(`seed ${chance.seed}`);
      await using folder = await tempDir();
      const kafka = await testKafka();
      const topic = await kafka.createTopic({ partitions: 2 });
      await using sent = await record(kafka, topic);
      const setup = writeSetup({ folder: folder.path, kafka, feeds: [tableFeed('totals', topic)], batch: { batch_size: 300 } });
      const send = (count: number) => sent.send(changelog(chance, { count, keys: 50, partitions: 2 }));
      const check = () => expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
      await send(500);
      await drain(setup);
      await send(1_000);
      const sleeper = startLake(setup, ['ingest', '--until-caught-up'], { fault: { ...fault, signal: 'SIGSTOP' } });
      await sleeper.stopped();
      expect((await stateOf(setup.lakePath, 'totals')).version).toBe(published ? 4 : 3);
      await drain(setup);
      await check();
      await send(500);
      await drain(setup);
      sleeper.kill('SIGCONT');
      const { code, stderr } = await sleeper.ended;
      expect([code === 0 || code === 5, stderr]).toEqual([true, expect.any(String)]);
      if (!published) expect(stderr).toContain('"event":"commit_conflicted"');
      await send(100);
      await drain(setup);
      await check();
    });
  }
});
