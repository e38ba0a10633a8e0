// What a test put into a topic, with the offsets that Kafka gave it: the truth that a lake is compared with.

import { CompressionTypes, type Message, type Producer, type Transaction } from 'kafkajs';
import type { TestKafka, TestMessage } from './kafka.ts';

export type Produced = {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** null: Kafka chose it. */
  readonly timestampMs: number | null;
};

export type Recorder = {
  readonly topic: string;
  readonly messages: readonly Produced[];
  send(messages: readonly TestMessage[]): Promise<void>;
  /** What an aborted transaction sent is not part of `messages`. */
  inTransaction(messages: readonly TestMessage[], end: 'commit' | 'abort'): Promise<void>;
  /** A transaction that stays open until one of the two is called. */
  begin(messages: readonly TestMessage[]): Promise<{ commit(): Promise<void>; abort(): Promise<void> }>;
  /** Adds what another producer sent. */
  add(messages: readonly Produced[]): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Two days, so that a batch over all of it fills two files. */
export const FIRST_MS = Date.UTC(2025, 0, 28, 23, 0, 0);
const STEP_MS = 60_000;

/** `{"id":…,"text":…}` with a time of its own; every 60 of them cross midnight. */
export const message = (id: number, more: Partial<TestMessage> = {}): TestMessage => ({
  key: `k${id}`,
  value: JSON.stringify({ id, text: `text ${id}` }),
  timestampMs: FIRST_MS + (id % 120) * STEP_MS,
  ...more,
});

export const messages = (from: number, count: number, more: (id: number) => Partial<TestMessage> = () => ({})): TestMessage[] =>
  Array.from({ length: count }, (_, index) => message(from + index, more(from + index)));

export async function record(kafka: TestKafka, topic: string): Promise<Recorder> {
  const producer = kafka.client.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  const all: Produced[] = [];
  const begin: Recorder['begin'] = async (list) => {
    const own = kafka.client.producer({
      transactionalId: `tx_${topic}_${Math.random()}`,
      idempotent: true,
      maxInFlightRequests: 1,
      transactionTimeout: 60_000,
    });
    await own.connect();
    const transaction = await own.transaction();
    const sent = await sendRecorded(transaction, topic, list);
    return {
      commit: async () => {
        await transaction.commit();
        all.push(...sent);
        await own.disconnect();
      },
      abort: async () => {
        await transaction.abort();
        await own.disconnect();
      },
    };
  };
  return {
    topic,
    messages: all,
    send: async (list) => void all.push(...(await sendRecorded(producer, topic, list))),
    begin,
    inTransaction: async (list, end) => await (await begin(list))[end](),
    add: (list) => void all.push(...list),
    [Symbol.asyncDispose]: () => producer.disconnect(),
  };
}

const SEND_COUNT_MAX = 5_000;

/** Kafka answers with the first offset of each partition's part. */
async function sendRecorded(
  sender: Pick<Producer, 'send'> | Pick<Transaction, 'send'>,
  topic: string,
  list: readonly TestMessage[],
): Promise<Produced[]> {
  const produced: Produced[] = [];
  for (let start = 0; start < list.length; start += SEND_COUNT_MAX) {
    const part = list.slice(start, start + SEND_COUNT_MAX);
    const answer = await sender.send({ topic, messages: part.map(toKafkaJs), acks: -1, compression: CompressionTypes.None });
    const next = new Map(answer.map(({ partition, baseOffset }) => [partition, BigInt(baseOffset ?? '-1')]));
    for (const one of part) {
      const partition = one.partition ?? 0;
      const offset = next.get(partition) ?? -1n;
      next.set(partition, offset + 1n);
      const bytes = (value: string | Buffer | null | undefined) =>
        value === null || value === undefined ? null : Buffer.from(value as string);
      const { key, value, timestampMs = null } = one;
      produced.push({ partition, offset, key: bytes(key), value: bytes(value), timestampMs });
    }
  }
  return produced;
}

const toKafkaJs = (one: TestMessage): Message => ({
  partition: one.partition ?? 0,
  key: one.key ?? null,
  value: one.value,
  ...(one.timestampMs === undefined ? {} : { timestamp: String(one.timestampMs) }),
  ...(one.headers === undefined ? {} : { headers: one.headers }),
});
