// How long a message takes from its producer to a SELECT, at a steady rate.

import { join } from 'node:path';
import type { Admin, Producer } from 'kafkajs';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { say } from '../common.ts';
import { configure, messageOf, newTopic, PARTITIONS, rowOf, tableFeed, type WarehouseBench } from './changelog.ts';
import { benchFolder } from './kafka.ts';

const PROBE_MS = 2;
const SEND_EVERY_MS = 10;
/** Tables are made, code is compiled: paced as what follows, and not counted. */
const WARM_MS = 3_000;

type Latency = WarehouseBench & {
  readonly sql: Connection;
  readonly port: number;
  readonly admin: Admin;
  readonly producer: Producer;
};

/** The latency of every message but those of the warm-up, as a line to print. */
export async function latency(bench: Latency, rate: number): Promise<string> {
  const { sql, admin, bootstrap, port, lakePath, latencySeconds } = bench;
  const [topic, database] = [`bench_latency_${rate}`, `bench_latency_${rate}`];
  await newTopic(admin, topic);
  await sql.query(`DROP DATABASE IF EXISTS ${database}`);
  const folder = join(benchFolder, 'runs', 'latency');
  configure(folder, { bootstrap, port, database, feeds: [tableFeed(topic, 'data_warehouse')] });
  const lake = Bun.spawn([lakePath, 'ingest', '--mode', 'warehouse', '--log-format', 'json'], {
    cwd: folder,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const source = pacedProducer(bench, topic);
  const looking = watchPositions(bench, database);
  await source.send(rate / PARTITIONS);
  await looking.until(source.sent);
  await source.pace(rate, WARM_MS);
  const from = source.sent().map((times) => times.length);
  looking.looksMs.length = 0;
  await source.pace(rate, latencySeconds * 1000);
  await looking.until(source.sent);
  await looking.end();
  lake.kill('SIGTERM');
  await lake.exited;
  const waitsMs = source
    .sent()
    .flatMap((times, partition) =>
      times.flatMap((atMs, offset) =>
        offset < (from[partition] ?? 0) ? [] : [(looking.seenMs[partition]?.[offset] ?? Number.NaN) - atMs],
      ),
    );
  const [all, answers, looks] = [waitsMs, source.answersMs, looking.looksMs].map(shareOf);
  if (!all || !answers || !looks) throw new Error('nothing was measured');
  say(`latency at ${rate}/s: p50 ${all(0.5)} ms, p99 ${all(0.99)} ms`);
  const met = Number(all(0.99)) < 100 ? 'met   ' : 'missed';
  return `${met}  produce to SELECT at ${rate} messages/s, ${waitsMs.length} messages in ${latencySeconds} s: p50 ${all(0.5)} ms, p99 ${all(0.99)} ms, most ${all(1)} ms (aim: p99 under 100; of it the producer's answer p50 ${answers(0.5)}, p99 ${answers(0.99)}, the SELECT p99 ${looks(0.99)})`;
}

const shareOf = (unsorted: readonly number[]): ((share: number) => string) => {
  const sorted = unsorted.toSorted((one, other) => one - other);
  return (share) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(0);
};

/** Sends the changelog to all partitions alike, and remembers when each message was handed to the producer. */
function pacedProducer({ producer, keys }: Latency, topic: string) {
  const sent = Array.from({ length: PARTITIONS }, (): number[] => []);
  const answersMs: number[] = [];
  let index = 0;
  const send = async (perPartition: number): Promise<void> => {
    const atMs = performance.now();
    const messages = Array.from({ length: Math.round(perPartition * PARTITIONS) }, (_, n) => ({
      ...messageOf(rowOf(index++, keys)),
      partition: n % PARTITIONS,
    }));
    const answers = await producer.send({ topic, acks: 1, messages });
    answersMs.push(performance.now() - atMs);
    const counts = Map.groupBy(messages, ({ partition }) => partition);
    for (const { partition, baseOffset } of answers)
      for (let n = 0; n < (counts.get(partition)?.length ?? 0); n++) {
        const times = sent[partition];
        if (times) times[Number(baseOffset) + n] = atMs;
      }
  };
  const pace = async (rate: number, forMs: number): Promise<void> => {
    const endMs = performance.now() + forMs;
    answersMs.length = 0;
    for (let next = performance.now(); next < endMs; next += SEND_EVERY_MS) {
      await send((rate * SEND_EVERY_MS) / 1000 / PARTITIONS);
      await Bun.sleep(Math.max(0, next + SEND_EVERY_MS - performance.now()));
    }
  };
  return { send, pace, answersMs, sent: (): readonly (readonly number[])[] => sent };
}

/** A row is there for a SELECT when the position beyond it is: both are one transaction. */
function watchPositions({ sql }: Latency, database: string) {
  const seenMs = Array.from({ length: PARTITIONS }, (): number[] => []);
  const looksMs: number[] = [];
  const look = async (): Promise<void> => {
    const startedMs = performance.now();
    const [rows] = await sql
      .query<RowDataPacket[]>(`SELECT kafka_partition, position FROM ${database}.lake_positions`)
      .catch(() => [[] as RowDataPacket[]]);
    const nowMs = performance.now();
    looksMs.push(nowMs - startedMs);
    for (const row of rows) {
      const seen = seenMs[Number(row['kafka_partition'])];
      while (seen && seen.length < Number(row['position'])) seen.push(nowMs);
    }
  };
  let ended = false;
  const looking = (async () => {
    while (!ended) {
      await look();
      await Bun.sleep(PROBE_MS);
    }
  })();
  return {
    seenMs,
    looksMs,
    until: async (sent: () => readonly (readonly number[])[]): Promise<void> => {
      while (sent().some((times, partition) => (seenMs[partition]?.length ?? 0) < times.length)) await Bun.sleep(PROBE_MS);
    },
    end: async (): Promise<void> => {
      ended = true;
      await looking;
    },
  };
}
