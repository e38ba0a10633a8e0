// Creates the sample topics and fills each exactly once. What is there already is read from the topic's own offsets: the
// messages are the same on every run, so a topic left half full is completed where it ends. Topics that hold anything else
// are left alone.

import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Admin, Kafka, logLevel, type Producer } from 'kafkajs';
import { runScript, say } from './common.ts';
import { makeSamples, type SampleMessage } from './sample-messages.ts';
import { servicesFolder } from './service/service.ts';
import { startServices } from './services.ts';

/** What the samples add up to, to compare with. */
export const samplesPath = join(servicesFolder, 'samples.json');
const partitionCount = 3;
const sendCountMax = 5_000;
const leaderMsMax = 30_000;

/** FNV-1a over the key, so that a key stays in one partition. */
function partitionOf(key: string, count: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(key)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % count;
}

function byPartition(messages: readonly SampleMessage[], count: number): SampleMessage[][] {
  const partitions: SampleMessage[][] = Array.from({ length: count }, () => []);
  for (const message of messages) partitions[partitionOf(message.key, count)]?.push(message);
  return partitions;
}

async function createTopics(admin: Admin, topics: ReadonlyMap<string, { table: boolean }>): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const missing = [...topics].filter(([topic]) => !existing.has(topic));
  if (missing.length === 0) return;
  await admin.createTopics({
    // Waited for where they are first asked; a broker that has not heard of a topic yet would be taken for a refusal.
    waitForLeaders: false,
    topics: missing.map(([topic, { table }]) => ({
      topic,
      numPartitions: partitionCount,
      configEntries: [
        { name: 'retention.ms', value: '-1' },
        { name: 'cleanup.policy', value: table ? 'compact' : 'delete' },
      ],
    })),
  });
}

type TopicEnds = Awaited<ReturnType<Admin['fetchTopicOffsets']>>;

/** Right after its creation a topic's leaders may not know yet that they are. */
async function endsOf(admin: Admin, topic: string): Promise<TopicEnds> {
  const endMs = performance.now() + leaderMsMax;
  for (;;) {
    try {
      return (await admin.fetchTopicOffsets(topic)).sort((a, b) => a.partition - b.partition);
    } catch (error) {
      if (performance.now() > endMs) throw error;
      await Bun.sleep(100);
    }
  }
}

/** The last message of a partition. A coordinator that is just loading makes kafkajs give up at the join: it is asked again. */
async function lastMessage(kafka: Kafka, topic: string, partition: number, next: bigint): Promise<SampleMessage | null> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readLast(kafka, topic, partition, next);
    } catch (error) {
      if (attempt === PROBES_MAX) throw error;
      await Bun.sleep(500);
    }
  }
}

const PROBES_MAX = 10;

/** Even log compaction keeps it. */
async function readLast(kafka: Kafka, topic: string, partition: number, next: bigint): Promise<SampleMessage | null> {
  const groupId = `lake_samples.probe.${randomUUID()}`;
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    const found = Promise.withResolvers<SampleMessage | null>();
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition: from, message }) => {
        if (from !== partition || BigInt(message.offset) !== next - 1n) return;
        const [key, value] = [message.key?.toString() ?? '', message.value?.toString() ?? null];
        found.resolve({ key, value, timestampMs: Number(message.timestamp) });
      },
    });
    consumer.seek({ topic, partition, offset: String(next - 1n) });
    const timer = setTimeout(() => found.resolve(null), 10_000);
    return await found.promise.finally(() => clearTimeout(timer));
  } finally {
    await consumer.disconnect();
    const admin = kafka.admin();
    await admin.connect();
    await admin.deleteGroups([groupId]).catch(() => {});
    await admin.disconnect();
  }
}

type TopicWork = { readonly topic: string; readonly missing: readonly SampleMessage[][] };

/** Per partition what is still to be sent; null when the topic holds something that is not ours. */
async function workOn(kafka: Kafka, admin: Admin, topic: string, messages: readonly SampleMessage[]): Promise<TopicWork | null> {
  const ends = await endsOf(admin, topic);
  const wanted = byPartition(messages, ends.length);
  const missing: SampleMessage[][] = [];
  for (const [partition, expected] of wanted.entries()) {
    const next = BigInt(ends[partition]?.high ?? '0');
    if (next > expected.length) return null;
    if (next > 0n && next < expected.length) {
      const last = await lastMessage(kafka, topic, partition, next);
      const ours = expected[Number(next) - 1];
      if (last === null || last.key !== ours?.key || last.value !== ours.value) return null;
    }
    missing.push(expected.slice(Number(next)));
  }
  return { topic, missing };
}

async function send(producer: Producer, { topic, missing }: TopicWork): Promise<number> {
  let count = 0;
  for (const [partition, messages] of missing.entries()) {
    for (let start = 0; start < messages.length; start += sendCountMax) {
      const part = messages.slice(start, start + sendCountMax);
      await producer.send({
        topic,
        messages: part.map(({ key, value, timestampMs }) => ({ partition, key, value, timestamp: String(timestampMs) })),
      });
      count += part.length;
    }
  }
  return count;
}

export type Produced = { readonly total: number; readonly added: number; readonly leftAlone: readonly string[] };

/** Creates and fills the sample topics; a second run adds nothing. */
export async function produceSamples(bootstrap: string): Promise<Produced> {
  say('filling the sample topics');
  const { topics, expectedTotals, erasedUsers } = makeSamples();
  const kafka = new Kafka({ brokers: bootstrap.split(','), clientId: 'lake-samples', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  // Idempotent: a request that is repeated after a lost answer leaves no second copy.
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await Promise.all([admin.connect(), producer.connect()]);
  let added = 0;
  const leftAlone: string[] = [];
  try {
    await createTopics(admin, topics);
    for (const [topic, { messages }] of topics) {
      const work = await workOn(kafka, admin, topic, messages);
      if (work === null) leftAlone.push(topic);
      else added += await send(producer, work);
    }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  }
  const counts = Object.fromEntries([...topics].map(([topic, { messages }]) => [topic, messages.length]));
  mkdirSync(servicesFolder, { recursive: true });
  const facts = { messages: counts, erased_users: erasedUsers, expected_totals: expectedTotals };
  writeFileSync(samplesPath, `${JSON.stringify(facts, null, 1)}\n`);
  for (const topic of leftAlone) say(`${topic} holds other messages and is left alone`);
  say(added === 0 ? 'no new samples: Kafka has them all' : `${added} sample messages produced`);
  return { total: Object.values(counts).reduce((sum, count) => sum + count, 0), added, leftAlone };
}

if (import.meta.main) {
  await runScript(async () => {
    const environment = await startServices();
    await produceSamples(environment['KAFKA_BOOTSTRAP_SERVERS'] ?? '');
    return 0;
  });
}
