// What tests do to a Kafka: topics, messages with every coordinate chosen, transactions, watermarks.
// Offsets are bigints, timestamps milliseconds, keys and values as given or null.

import { randomUUID } from 'node:crypto';
import { type Admin, CompressionTypes, type Consumer, Kafka, logLevel, type Producer } from 'kafkajs';
import { until } from './until.ts';

export type TestMessage = {
  readonly partition?: number;
  readonly key?: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly timestampMs?: number;
  readonly headers?: Record<string, string | Buffer>;
};

export type TopicOptions = { readonly name?: string; readonly partitions?: number; readonly configs?: Record<string, string> };
export type ProduceOptions = { readonly compression?: 'none' | 'gzip' };

export type OpenTransaction = {
  readonly send: (topic: string, messages: readonly TestMessage[]) => Promise<void>;
  readonly commit: () => Promise<void>;
  readonly abort: () => Promise<void>;
};

export type Watermarks = { readonly partition: number; readonly low: bigint; readonly high: bigint };

export type TestKafka = {
  readonly bootstrap: string;
  /** For what is not here. */
  readonly client: Kafka;
  readonly admin: () => Promise<Admin>;
  /** Returns the name, made up unless given. */
  readonly createTopic: (options?: TopicOptions) => Promise<string>;
  readonly deleteTopic: (topic: string) => Promise<void>;
  /** In order; without a partition they go to 0. */
  readonly produce: (topic: string, messages: readonly TestMessage[], options?: ProduceOptions) => Promise<void>;
  /** By an idempotent producer of its own; ends with commit or abort. */
  readonly openTransaction: () => Promise<OpenTransaction>;
  /** Moves the low watermark up to `before`. */
  readonly deleteRecords: (topic: string, partitions: readonly { partition: number; before: bigint }[]) => Promise<void>;
  /** Kafka's first and next offset of every partition, by partition. */
  readonly watermarks: (topic: string) => Promise<Watermarks[]>;
  /** The group's committed offset of every partition; null where it has none. */
  readonly groupOffsets: (groupId: string, topic: string) => Promise<(bigint | null)[]>;
  /** A consumer of the given group, for what another program would do. */
  readonly consumer: (groupId: string) => Consumer;
  readonly close: () => Promise<void>;
};

/** The largest number of messages sent in one request. */
const sendCountMax = 5_000;

export const uniqueName = (base: string): string => `${base}_${randomUUID().slice(0, 8)}`;

async function sendAll(
  sender: Pick<Producer, 'send'>,
  topic: string,
  messages: readonly TestMessage[],
  compression: CompressionTypes,
): Promise<void> {
  for (let start = 0; start < messages.length; start += sendCountMax) {
    const part = messages.slice(start, start + sendCountMax).map((message) => ({
      partition: message.partition ?? 0,
      key: message.key ?? null,
      value: message.value,
      ...(message.timestampMs === undefined ? {} : { timestamp: String(message.timestampMs) }),
      ...(message.headers === undefined ? {} : { headers: message.headers }),
    }));
    await sender.send({ topic, messages: part, compression, acks: -1 });
  }
}

/** Connects on first use and stays connected until `close`. */
function once<T extends { connect: () => Promise<void>; disconnect: () => Promise<void> }>(make: () => T) {
  let connected: Promise<T> | null = null;
  const connect = async (): Promise<T> => {
    const made = make();
    await made.connect();
    return made;
  };
  return {
    get: (): Promise<T> => {
      connected ??= connect();
      return connected;
    },
    close: async (): Promise<void> => {
      await (await connected)?.disconnect().catch(() => {});
      connected = null;
    },
  };
}

export function kafkaAt(bootstrap: string): TestKafka {
  const client = new Kafka({ brokers: bootstrap.split(','), clientId: 'lake-test', logLevel: logLevel.NOTHING });
  const admin = once(() => client.admin());
  const producer = once(() => client.producer({ allowAutoTopicCreation: false }));
  return {
    bootstrap,
    client,
    admin: admin.get,
    createTopic: async ({ name = uniqueName('topic'), partitions = 1, configs = {} } = {}) => {
      const configEntries = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
      await (await admin.get()).createTopics({
        // kafkajs takes a broker that has not heard of the topic yet for a refusal.
        waitForLeaders: false,
        topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1, configEntries }],
      });
      // A busy broker hears of it later, and its leaders may not know yet that they are.
      await until(async () => await (await admin.get()).fetchTopicOffsets(name).catch(() => null), {
        what: `${name} has leaders`,
      });
      return name;
    },
    deleteTopic: async (topic) => {
      await (await admin.get()).deleteTopics({ topics: [topic] });
      // kafkajs goes on asking for every topic it ever sent to, and fails for all when one is gone.
      await producer.close();
    },
    produce: async (topic, messages, { compression = 'none' } = {}) =>
      await sendAll(
        await producer.get(),
        topic,
        messages,
        compression === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None,
      ),
    openTransaction: async () => {
      const own = client.producer({ transactionalId: uniqueName('tx'), idempotent: true, maxInFlightRequests: 1 });
      await own.connect();
      const transaction = await own.transaction();
      return {
        send: (topic, messages) => sendAll(transaction, topic, messages, CompressionTypes.None),
        commit: async () => {
          await transaction.commit();
          await own.disconnect();
        },
        abort: async () => {
          await transaction.abort();
          await own.disconnect();
        },
      };
    },
    deleteRecords: async (topic, partitions) => {
      const connected = await admin.get();
      // kafkajs looks for the leaders before it asks for them: this makes it ask.
      await connected.fetchTopicOffsets(topic);
      const seeks = partitions.map(({ partition, before }) => ({ partition, offset: String(before) }));
      await connected.deleteTopicRecords({ topic, partitions: seeks });
    },
    watermarks: async (topic) =>
      (await (await admin.get()).fetchTopicOffsets(topic))
        .map(({ partition, low, high }) => ({ partition, low: BigInt(low), high: BigInt(high) }))
        .sort((a, b) => a.partition - b.partition),
    groupOffsets: async (groupId, topic) => {
      const [found] = await (await admin.get()).fetchOffsets({ groupId, topics: [topic] });
      const sorted = [...(found?.partitions ?? [])].sort((a, b) => a.partition - b.partition);
      return sorted.map(({ offset }) => (BigInt(offset) < 0n ? null : BigInt(offset)));
    },
    consumer: (groupId) => client.consumer({ groupId }),
    close: async () => void (await Promise.all([admin.close(), producer.close()])),
  };
}
