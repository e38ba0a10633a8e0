// Tables and streams in MySQL and MariaDB: what is there is the fold of what was produced, exactly once, over any number of runs.

import { describe, expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { drain } from '../helpers/ingest.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { expectFact, factFeed, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

const RUNS = 4;

describe.each([...mysqlEngines])('%s', (engine) => {
  test('a random changelog, taken in over several runs, is its fold', async () => {
    const chance = random();
    console.log(`seed ${chance.seed}`);
    await using folder = await tempDir();
    await using database = await testMysql(engine);
    const kafka = await testKafka();
    const topic = await kafka.createTopic({ partitions: 3 });
    await using sent = await record(kafka, topic);
    const feeds = [factFeed('totals', topic)];
    const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds, batch: { batch_size: 300 } });
    for (let run = 0; run < RUNS; run++) {
      await sent.send(changelog(chance, { count: 1_000, keys: 60, partitions: 3 }));
      await drain(setup, toWarehouse);
      const { live, deleted } = await expectFact(sent.messages, database, { feed: 'totals', topic }, { kafka });
      expect(live.size).toBeGreaterThan(0);
      expect(deleted.size).toBeGreaterThan(0);
    }
  });
});
