// The changelog of the warehouse's benchmarks: its messages, its topics, and the configuration that reads it.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Admin, Producer } from 'kafkajs';

export const PARTITIONS = 3;

export type WarehouseBench = {
  readonly bootstrap: string;
  readonly lakePath: string;
  readonly rounds: number;
  /** Of the changelog, and the keys it is over. */
  readonly messages: number;
  readonly keys: number;
  readonly latencySeconds: number;
};

export type Row = {
  readonly user_id: string;
  readonly transaction_count: number;
  readonly total_amount: string;
  readonly updated_at: string;
};

/** Message `index` of the changelog; every key comes several times, its last message counts. */
export function rowOf(index: number, keys: number): Row {
  const key = (index * 7919) % keys;
  const count = Math.floor(index / keys) + 1;
  const updated = new Date(Date.UTC(2026, 0, 27) + index * 10).toISOString();
  return {
    user_id: `U${100_000 + key}`,
    transaction_count: count,
    total_amount: (count * 12.34 + key / 100).toFixed(2),
    updated_at: updated,
  };
}

export const messageOf = (row: Row) => ({
  key: row.user_id,
  value: JSON.stringify({ ...row, total_amount: Number(row.total_amount) }),
});

async function hasLeaders(admin: Admin, topic: string): Promise<boolean> {
  const found = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => null);
  const partitions = found?.topics[0]?.partitions ?? [];
  return partitions.length === PARTITIONS && partitions.every(({ leader }) => leader >= 0);
}

export async function newTopic(admin: Admin, name: string): Promise<void> {
  if ((await admin.listTopics()).includes(name)) {
    await admin.deleteTopics({ topics: [name] });
    while ((await admin.listTopics()).includes(name)) await Bun.sleep(100);
  }
  const configEntries = [{ name: 'retention.ms', value: '-1' }];
  await admin.createTopics({ waitForLeaders: false, topics: [{ topic: name, numPartitions: PARTITIONS, configEntries }] });
  // A broker that just deleted a topic of this name may say for a while that there is none.
  while (!(await hasLeaders(admin, name))) await Bun.sleep(100);
}

export async function changelogTopic(admin: Admin, producer: Producer, { messages, keys }: WarehouseBench): Promise<string> {
  const topic = 'bench_changelog';
  await newTopic(admin, topic);
  for (let from = 0; from < messages; from += 10_000) {
    const some = Array.from({ length: Math.min(10_000, messages - from) }, (_, index) => messageOf(rowOf(from + index, keys)));
    await producer.send({ topic, messages: some });
  }
  return topic;
}

export const tableFeed = (topic: string, destination: 'data_warehouse' | 'both') => ({
  feed_name: 'summary',
  topic,
  feed_type: 'table',
  destination,
  mysql_table: 'fact_summary',
  schema: {
    key_field: 'user_id',
    fields: {
      user_id: { type: 'VARCHAR(255)', required: true },
      transaction_count: 'BIGINT',
      total_amount: 'DECIMAL(15,2)',
      updated_at: 'TIMESTAMP',
    },
  },
  dimensions: [{ table: 'dim_users', key: 'user_id' }],
});

type Place = { readonly bootstrap: string; readonly port: number; readonly database: string; readonly feeds: readonly object[] };

/** An empty folder with a feeds.json in it. */
export function configure(folder: string, { bootstrap, port, database, feeds }: Place): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const group = crypto.randomUUID();
  const config = {
    kafka: { bootstrap_servers: bootstrap.split(','), group_id: group, warehouse_group_id: `${group}.warehouse` },
    lake: { path: join(folder, 'lake') },
    warehouse: { engine: 'mysql', host: '127.0.0.1', port, user: 'root', password: '', database },
    feeds,
  };
  writeFileSync(join(folder, 'feeds.json'), JSON.stringify(config));
}
