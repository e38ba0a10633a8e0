// A changelog and a stream on their way into one database, through a proxy that a test strikes at; both held to what was produced.

import { changelog } from './changelog.ts';
import { drain, type LakeSetup, streamFeed } from './ingest.ts';
import type { TestDatabase } from './mysql.ts';
import { mysqlProxy } from './mysql-proxy.ts';
import { record } from './produced.ts';
import { random } from './random.ts';
import { tempDir, testKafka } from './services.ts';
import { expectAppended, expectFact, factFeed, toWarehouse, warehouseSetup } from './warehouse.ts';

/** `setup` leads through the proxy, `direct` past it. The database is the caller's to end. */
export async function warehouseScene(database: TestDatabase, batch: Record<string, unknown> = {}) {
  const chance = random();
  console.log(`seed ${chance.seed}`);
  const folder = await tempDir();
  const proxy = await mysqlProxy(database.login.port);
  const kafka = await testKafka();
  const [topic, streamTopic] = [await kafka.createTopic({ partitions: 2 }), await kafka.createTopic({ partitions: 2 })];
  const [changes, orders] = [await record(kafka, topic), await record(kafka, streamTopic)];
  const stream = streamFeed('orders', streamTopic, { destination: 'data_warehouse', mysql_table: 'fact_orders' });
  const shared = { folder: folder.path, kafka, database, feeds: [factFeed('totals', topic), stream] };
  const setup = warehouseSetup({ ...shared, port: proxy.port, batch });
  const direct = warehouseSetup({ ...shared, name: 'direct.json' });
  return {
    ...{ proxy, chance, setup, direct, database },
    send: async (count: number): Promise<void> => {
      await changes.send(changelog(chance, { count, keys: 30, partitions: 2 }));
      await orders.send(changelog(chance, { count: count >> 2, keys: 1_000, partitions: 2 }));
    },
    /** Takes in what is left by this setup; then all of it is there exactly once. */
    check: async (by: LakeSetup): Promise<void> => {
      await drain(by, toWarehouse);
      await expectFact(changes.messages, database, { feed: 'totals', topic }, { kafka });
      await expectAppended(orders.messages, database, { feed: 'orders', topic: streamTopic }, { kafka });
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      proxy[Symbol.dispose]();
      await changes[Symbol.asyncDispose]();
      await orders[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
