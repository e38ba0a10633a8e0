// scripts/bench --warehouse: a changelog into MySQL beside the same final rows sent from memory, and how long a message takes from
// its producer to a SELECT. Kafka, MySQL, lake and this process share the machine's cores.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Admin, Kafka, logLevel, type Producer } from 'kafkajs';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { ScriptError, say } from '../common.ts';
import { startMysqlServer } from '../service/mysql-server.ts';
import { endProcess, endWithParent, freePort } from '../service/process.ts';
import { benchFolder } from './kafka.ts';
import { measure } from './measure.ts';
import { median } from './report.ts';

export type WarehouseBench = {
  readonly bootstrap: string;
  readonly lakePath: string;
  readonly rounds: number;
  readonly messages: number;
  readonly keys: number;
  readonly latencySeconds: number;
};

const PARTITIONS = 3;
const RATES = [1_000, 5_000] as const;
const ROWS_PER_STATEMENT = 1_000;
const PROBE_MS = 2;

type Row = {
  readonly user_id: string;
  readonly transaction_count: number;
  readonly total_amount: string;
  readonly updated_at: string;
};

/** Message `index` of the changelog; every key comes several times, its last message counts. */
function rowOf(index: number, keys: number): Row {
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

const messageOf = (row: Row) => ({ key: row.user_id, value: JSON.stringify({ ...row, total_amount: Number(row.total_amount) }) });

export async function benchWarehouse(bench: WarehouseBench): Promise<string> {
  const port = await freePort();
  const folder = join(benchFolder, 'mysql');
  mkdirSync(join(folder, 'ending'), { recursive: true });
  const server = await startMysqlServer({ engine: 'mysql', folder, port });
  endWithParent(server, join(folder, 'ending'));
  const kafka = new Kafka({ brokers: bench.bootstrap.split(','), clientId: 'lake-bench', logLevel: logLevel.NOTHING });
  const [admin, producer] = [kafka.admin(), kafka.producer({ allowAutoTopicCreation: false })];
  await Promise.all([admin.connect(), producer.connect()]);
  try {
    const sql = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root' });
    const topic = await changelogTopic(admin, producer, bench);
    const out = await throughput({ ...bench, sql, port, topic });
    for (const rate of RATES) out.push(await latency({ ...bench, sql, port, admin, producer }, rate));
    await sql.end();
    return out.join('\n');
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
    await endProcess(server);
  }
}

async function newTopic(admin: Admin, name: string): Promise<void> {
  if ((await admin.listTopics()).includes(name)) {
    await admin.deleteTopics({ topics: [name] });
    while ((await admin.listTopics()).includes(name)) await Bun.sleep(100);
  }
  const configEntries = [{ name: 'retention.ms', value: '-1' }];
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: name, numPartitions: PARTITIONS, configEntries }] });
}

async function changelogTopic(admin: Admin, producer: Producer, { messages, keys }: WarehouseBench): Promise<string> {
  const topic = 'bench_changelog';
  await newTopic(admin, topic);
  for (let from = 0; from < messages; from += 10_000) {
    const some = Array.from({ length: Math.min(10_000, messages - from) }, (_, index) => messageOf(rowOf(from + index, keys)));
    await producer.send({ topic, messages: some });
  }
  return topic;
}

function configFor(
  folder: string,
  { topic, bootstrap, port, database }: { topic: string; bootstrap: string; port: number; database: string },
): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const fields = {
    user_id: { type: 'VARCHAR(255)', required: true },
    transaction_count: 'BIGINT',
    total_amount: 'DECIMAL(15,2)',
    updated_at: 'TIMESTAMP',
  };
  const group = crypto.randomUUID();
  const config = {
    kafka: { bootstrap_servers: bootstrap.split(','), group_id: group, warehouse_group_id: `${group}.warehouse` },
    lake: { path: join(folder, 'lake') },
    warehouse: { engine: 'mysql', host: '127.0.0.1', port, user: 'root', password: '', database },
    feeds: [
      {
        feed_name: 'summary',
        topic,
        feed_type: 'table',
        destination: 'data_warehouse',
        mysql_table: 'fact_summary',
        schema: { key_field: 'user_id', fields },
        dimensions: [{ table: 'dim_users', key: 'user_id' }],
      },
    ],
  };
  writeFileSync(join(folder, 'feeds.json'), JSON.stringify(config));
}

type Throughput = WarehouseBench & { readonly sql: Connection; readonly port: number; readonly topic: string };

async function throughput(bench: Throughput): Promise<string[]> {
  const { sql, messages, keys, rounds, lakePath } = bench;
  const folder = join(benchFolder, 'runs', 'warehouse');
  const [lakeMs, floorMs, cpu]: [number[], number[], number[]] = [[], [], []];
  for (let round = 1; round <= rounds; round++) {
    const database = 'bench_warehouse';
    await sql.query(`DROP DATABASE IF EXISTS ${database}`);
    configFor(folder, { ...bench, database });
    const command = [lakePath, 'ingest', '--until-caught-up', '--mode', 'warehouse', '--log-format', 'json'];
    const { stderr, cpuMs } = await measure({ command, folder });
    const lines = stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    const time = (event: string): number => Date.parse(lines.find((line) => line.event === event)?.at);
    lakeMs.push(time('ingest_ended') - time('partitions_assigned'));
    cpu.push(cpuMs);
    const [[found]] = await sql.query<RowDataPacket[]>(
      `SELECT COUNT(*) AS n, SUM(transaction_count) AS sum FROM ${database}.fact_summary`,
    );
    if (Number(found?.['n']) !== keys) throw new ScriptError(`lake wrote ${found?.['n']} rows of ${keys}`);
    floorMs.push(await floor(bench, database));
    say(`warehouse, round ${round}: lake ${lakeMs.at(-1)} ms, floor ${floorMs.at(-1)?.toFixed(0)} ms`);
  }
  const [lake, from] = [median(lakeMs), median(floorMs)];
  return [
    `| ${messages / 1000} k messages over ${keys / 1000} k keys → MySQL | ms | k messages/s | lake ÷ floor | CPU s |`,
    '|---|---:|---:|---:|---:|',
    `| floor: the ${keys / 1000} k final rows, upserts of ${ROWS_PER_STATEMENT} rows from memory | ${from.toFixed(0)} | | | |`,
    `| lake ingest --mode warehouse | ${lake.toFixed(0)} | ${(messages / lake).toFixed(0)} | ${(from / lake).toFixed(2)} | ${(median(cpu) / 1000).toFixed(1)} |`,
    '',
    `${from / lake >= 0.7 ? 'met   ' : 'missed'}  lake: ${(from / lake).toFixed(2)} of the floor (aim: at least 0.70)`,
  ];
}

/** Into an empty copy of the same table, with the same dimension. */
async function floor({ sql, messages, keys }: Throughput, database: string): Promise<number> {
  const rows = new Map<string, Row>();
  for (let index = 0; index < messages; index++) {
    const row = rowOf(index, keys);
    rows.set(row.user_id, row);
  }
  await sql.query(`TRUNCATE ${database}.fact_summary`);
  await sql.query(`TRUNCATE ${database}.dim_users`);
  const list = [...rows.values()];
  const startedMs = performance.now();
  await sql.beginTransaction();
  for (let from = 0; from < list.length; from += ROWS_PER_STATEMENT) {
    const some = list.slice(from, from + ROWS_PER_STATEMENT);
    const hashes = some.map(({ user_id }) => new Bun.CryptoHasher('sha256').update(user_id).digest());
    const time = (row: Row): string => row.updated_at.replace('T', ' ').replace('Z', '000');
    await sql.query(
      `INSERT INTO ${database}.fact_summary (user_id, transaction_count, total_amount, updated_at, key_hash, kafka_partition, kafka_offset,
         kafka_timestamp, snapshot_date, snapshot_version) VALUES ?
       ON DUPLICATE KEY UPDATE transaction_count = VALUES(transaction_count), total_amount = VALUES(total_amount), updated_at = VALUES(updated_at)`,
      [
        some.map((row, index) => [
          row.user_id,
          row.transaction_count,
          row.total_amount,
          time(row),
          hashes[index],
          0,
          from + index,
          time(row),
          '2026-01-27',
          1,
        ]),
      ],
    );
    await sql.query(
      `INSERT INTO ${database}.dim_users (user_id, key_hash, first_seen_at, last_seen_at) VALUES ?
       ON DUPLICATE KEY UPDATE last_seen_at = VALUES(last_seen_at)`,
      [some.map((row, index) => [row.user_id, hashes[index], time(row), time(row)])],
    );
  }
  await sql.commit();
  return performance.now() - startedMs;
}

type Latency = WarehouseBench & {
  readonly sql: Connection;
  readonly port: number;
  readonly admin: Admin;
  readonly producer: Producer;
};

/** A row is there for a SELECT when the position beyond it is: both are one transaction. */
async function latency(
  { sql, port, admin, producer, bootstrap, lakePath, keys, latencySeconds }: Latency,
  rate: number,
): Promise<string> {
  const [topic, database] = [`bench_latency_${rate}`, `bench_latency_${rate}`];
  await newTopic(admin, topic);
  await sql.query(`DROP DATABASE IF EXISTS ${database}`);
  const folder = join(benchFolder, 'runs', 'latency');
  configFor(folder, { topic, bootstrap, port, database });
  const lake = Bun.spawn([lakePath, 'ingest', '--mode', 'warehouse', '--log-format', 'json'], {
    cwd: folder,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const sent = Array.from({ length: PARTITIONS }, (): number[] => []);
  const waitsMs: number[] = [];
  const seen = Array<number>(PARTITIONS).fill(0);
  const look = async (): Promise<void> => {
    const [rows] = await sql
      .query<RowDataPacket[]>(`SELECT kafka_partition, position FROM ${database}.lake_positions`)
      .catch(() => [[] as RowDataPacket[]]);
    const nowMs = performance.now();
    for (const row of rows) {
      const partition = Number(row['kafka_partition']);
      for (let offset = seen[partition] ?? 0; offset < Number(row['position']); offset++) {
        const at = sent[partition]?.[offset];
        if (at !== undefined) waitsMs.push(nowMs - at);
        seen[partition] = offset + 1;
      }
    }
  };
  let index = 0;
  const send = async (count: number, timed: boolean): Promise<void> => {
    const atMs = performance.now();
    const messages = Array.from({ length: count }, () => messageOf(rowOf(index++, keys)));
    const byPartition = Map.groupBy(
      messages.map((message, n) => ({ ...message, partition: n % PARTITIONS })),
      ({ partition }) => partition,
    );
    const answers = await producer.send({ topic, acks: 1, messages: [...byPartition.values()].flat() });
    for (const { partition, baseOffset } of answers)
      for (let n = 0; timed && n < (byPartition.get(partition)?.length ?? 0); n++) {
        const list = sent[partition];
        if (list) list[Number(baseOffset) + n] = atMs;
      }
  };
  // Warm: tables are made, code is compiled.
  await send(rate, false);
  while (seen.reduce((sum, one) => sum + one, 0) < rate) {
    await look();
    await Bun.sleep(20);
  }
  const endMs = performance.now() + latencySeconds * 1000;
  const every = 10;
  let sending = true;
  const looking = (async () => {
    while (sending || seen.reduce((sum, one) => sum + one, 0) < index) {
      await look();
      await Bun.sleep(PROBE_MS);
    }
  })();
  for (let next = performance.now(); next < endMs; next += every) {
    await send((rate * every) / 1000, true);
    await Bun.sleep(Math.max(0, next + every - performance.now()));
  }
  sending = false;
  await looking;
  lake.kill('SIGTERM');
  await lake.exited;
  const sorted = waitsMs.toSorted((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(0);
  say(`latency at ${rate}/s: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
  const met = Number(at(0.99)) < 100 ? 'met   ' : 'missed';
  return `${met}  produce to SELECT at ${rate} messages/s, ${sorted.length} messages in ${latencySeconds} s: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(0.99999)} ms (aim: p99 under 100)`;
}
