// A table in the lake: the open snapshot is the fold of the topic, over any number of runs.

import { expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const RUNS = 4;

test('a random changelog, taken in over several runs, is its fold', async () => {
  const chance = random();
  console.log(`seed ${chance.seed}`);
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 3 });
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [tableFeed('totals', topic)], batch: { batch_size: 300 } });
  for (let run = 0; run < RUNS; run++) {
    await sent.send(changelog(chance, { count: 1_000, keys: 60, partitions: 3 }));
    await drain(setup);
    const { state, folded } = await expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
    expect(folded.live.size).toBeGreaterThan(0);
    expect(folded.deleted.size).toBeGreaterThan(0);
    expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual(
      [0, 1, 2].map((partition) => state.positions.get(partition)?.position ?? null),
    );
  }
});
