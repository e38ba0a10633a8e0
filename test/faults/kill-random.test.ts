// SIGKILL of the compiled binary at random moments, again and again, while messages keep coming: nothing lost, nothing doubled.

import { expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { messages, record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const KILLS = 30;
const PARTITIONS = [3, 2, 1];

test(`the binary is killed ${KILLS} times`, async () => {
  const { seed, between, next } = random();
  console.log(`seed ${seed}`);
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topics = await Promise.all(PARTITIONS.map((partitions) => kafka.createTopic({ partitions })));
  const recorders = await Promise.all(topics.map((topic) => record(kafka, topic)));
  const feeds = topics.map((topic, index) => streamFeed(`feed_${index}`, topic));
  const setup = writeSetup({ folder: folder.path, kafka, feeds, batch: { batch_size: 150 } });
  let killing = true;
  const producing = (async () => {
    for (let id = 0; killing; id += 60) {
      for (const [index, sent] of recorders.entries()) {
        const partitions = PARTITIONS[index] ?? 1;
        await sent.send(
          messages(id, 60, (one) => ({
            partition: one % partitions,
            ...(one % 50 === 0 ? { value: one % 100 ? null : '{' } : {}),
          })),
        );
      }
      const pauseUntilMs = performance.now() + 40;
      await until(() => performance.now() > pauseUntilMs);
    }
  })();
  let commits = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const lake = startLake(setup, ['ingest'], { as: 'binary' });
    // Half of them anywhere, start included; half while batches commit.
    const killAtMs = performance.now() + between(50, 2_500);
    if (next() < 0.5) await lake.event('batch_committed', 1 + Math.floor(between(0, 8)));
    const soonMs = performance.now() + between(0, 60);
    await until(() => performance.now() > Math.max(soonMs, lake.events('batch_committed').length > 0 ? 0 : killAtMs), {
      everyMs: 1,
    });
    lake.kill('SIGKILL');
    const { code, stderr } = await lake.ended;
    expect(code === null ? 'killed' : stderr).toBe('killed');
    commits += lake.events('batch_committed').length;
  }
  killing = false;
  await producing;
  await drain(setup, { as: 'binary' });
  expect(commits).toBeGreaterThan(KILLS);
  let produced = 0;
  for (const [index, sent] of recorders.entries()) {
    produced += sent.messages.length;
    await expectExactlyOnce(sent.messages, setup.lakePath, `feed_${index}`, { kafka, topic: sent.topic });
    await sent[Symbol.asyncDispose]();
  }
  console.log(`${KILLS} kills, ${commits} commits before them, ${produced} messages`);
});
