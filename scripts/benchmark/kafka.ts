// The benchmark's Kafka and its topics: a broker of its own whose data stays, and messages that are produced once.

import { createWriteStream, existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { type Admin, Kafka, logLevel, type Producer } from 'kafkajs';
import { ScriptError, say } from '../common.ts';
import { answers, startBroker } from '../service/kafka-broker.ts';
import { endProcess, endWithParent, freePort } from '../service/process.ts';
import { servicesFolder } from '../service/service.ts';
import { benchMessages } from './messages.ts';
import type { BenchTopic } from './options.ts';

export const benchFolder = join(servicesFolder, 'bench');
const PARTITIONS = 3;
/** One record batch's bytes before compression: what a producer tuned for throughput sends. */
const BATCH_BYTES = 150_000;
const IN_FLIGHT_MAX = 4;

export type BenchKafka = AsyncDisposable & { readonly bootstrap: string };

/** The broker that KAFKA_BOOTSTRAP_SERVERS names, else one of ours that ends with the scope (or with this process). */
export async function benchKafka(): Promise<BenchKafka> {
  const named = process.env['KAFKA_BOOTSTRAP_SERVERS'];
  if (named) {
    if (!(await answers(named))) throw new ScriptError(`no Kafka answers at ${named}`);
    return { bootstrap: named, [Symbol.asyncDispose]: async () => {} };
  }
  const folder = join(benchFolder, 'kafka');
  const port = await freePort();
  // The defaults of a broker in use, but nothing deletes the messages.
  const ref = await startBroker({ folder, port });
  const ending = join(folder, 'ending');
  mkdirSync(ending, { recursive: true });
  endWithParent(ref, ending);
  return { bootstrap: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void (await endProcess(ref)) };
}

/** Makes and fills the topics that are not complete. */
export async function fillTopics(bootstrap: string, topics: readonly BenchTopic[]): Promise<void> {
  const kafka = new Kafka({ brokers: bootstrap.split(','), clientId: 'lake-bench', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await Promise.all([admin.connect(), producer.connect()]);
  try {
    for (const size of new Set(topics.map((topic) => topic.size))) {
      const missing: BenchTopic[] = [];
      for (const topic of topics.filter((one) => one.size === size)) {
        if ((await messagesIn(admin, topic.name)) === topic.messages) continue;
        await recreate(admin, topic);
        missing.push(topic);
      }
      if (missing.length > 0) await produce(producer, missing);
    }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  }
}

async function messagesIn(admin: Admin, topic: string): Promise<number | null> {
  if (!(await admin.listTopics()).includes(topic)) return null;
  const ends = await admin.fetchTopicOffsets(topic);
  return ends.reduce((sum, { low, high }) => sum + Number(high) - Number(low), 0);
}

async function recreate(admin: Admin, topic: BenchTopic): Promise<void> {
  if ((await admin.listTopics()).includes(topic.name)) {
    await admin.deleteTopics({ topics: [topic.name] });
    while ((await admin.listTopics()).includes(topic.name)) await Bun.sleep(100);
  }
  // The broker compresses, so that every topic holds the same record batches and no codec is needed here.
  const configEntries = Object.entries({ 'compression.type': topic.codec, 'retention.ms': '-1' });
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      {
        topic: topic.name,
        numPartitions: PARTITIONS,
        replicationFactor: 1,
        configEntries: configEntries.map(([name, value]) => ({ name, value })),
      },
    ],
  });
}

/** The same messages into all topics of one size. */
async function produce(producer: Producer, topics: readonly BenchTopic[]): Promise<void> {
  const [first] = topics;
  if (!first) return;
  say(`producing ${first.messages} messages of about ${first.size} B to ${topics.map(({ name }) => name).join(', ')}`);
  const perRequest = PARTITIONS * Math.max(1, Math.floor(BATCH_BYTES / first.size));
  const inFlight: Promise<unknown>[] = [];
  for (let from = 0; from < first.messages; from += perRequest) {
    const messages = benchMessages(from, Math.min(first.messages, from + perRequest), first).map(
      ({ value, timestampMs }, index) => ({ partition: index % PARTITIONS, value, timestamp: String(timestampMs) }),
    );
    inFlight.push(Promise.all(topics.map((topic) => producer.send({ topic: topic.name, messages, acks: -1 }))));
    if (inFlight.length >= IN_FLIGHT_MAX) await inFlight.shift();
  }
  await Promise.all(inFlight);
}

/** The same messages as lines of a file, for what is measured without Kafka. */
export async function messagesFile(topic: BenchTopic): Promise<string> {
  const path = join(benchFolder, `messages-${topic.size}-${topic.messages}.ndjson`);
  if (existsSync(path)) return path;
  const file = createWriteStream(`${path}.partial`);
  for (let from = 0; from < topic.messages; from += 10_000) {
    const lines = benchMessages(from, Math.min(topic.messages, from + 10_000), topic).map(({ value }) => `${value}\n`);
    if (!file.write(lines.join(''))) await new Promise<void>((resolve) => file.once('drain', () => resolve()));
  }
  file.end();
  await finished(file);
  renameSync(`${path}.partial`, path);
  return path;
}
