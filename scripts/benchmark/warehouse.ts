// scripts/bench --warehouse: a changelog into MySQL beside the same final rows sent from memory, how long a message takes from its
// producer to a SELECT, and both pipelines beside each other. Kafka, MySQL, lake and this process share the machine's cores.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { ScriptError, say } from '../common.ts';
import { startMysqlServer } from '../service/mysql-server.ts';
import { endProcess, endWithParent, freePort } from '../service/process.ts';
import { bothPipelines } from './both-pipelines.ts';
import { changelogTopic, configure, type Row, rowOf, tableFeed, type WarehouseBench } from './changelog.ts';
import { benchFolder } from './kafka.ts';
import { latency } from './latency.ts';
import { measure } from './measure.ts';
import { median } from './report.ts';

const RATES = [1_000, 5_000] as const;
const ROWS_PER_STATEMENT = 1_000;

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
    out.push('');
    for (const rate of RATES) out.push(await latency({ ...bench, sql, port, admin, producer }, rate));
    out.push('', ...(await bothPipelines({ ...bench, sql, port, topic })));
    await sql.end();
    return out.join('\n');
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
    await endProcess(server);
  }
}

type Throughput = WarehouseBench & { readonly sql: Connection; readonly port: number; readonly topic: string };

async function throughput(bench: Throughput): Promise<string[]> {
  const { sql, messages, keys, rounds, lakePath } = bench;
  const folder = join(benchFolder, 'runs', 'warehouse');
  const [lakeMs, floorMs, cpu]: [number[], number[], number[]] = [[], [], []];
  for (let round = 1; round <= rounds; round++) {
    const database = 'bench_warehouse';
    await sql.query(`DROP DATABASE IF EXISTS ${database}`);
    configure(folder, { ...bench, database, feeds: [tableFeed(bench.topic, 'data_warehouse')] });
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
