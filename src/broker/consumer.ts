// A member of the consumer group that hands over record sets in order and without a jump.
// Invariant (PROTOCOL K2): a record set is handed over only if it was fetched at the expected offset of its partition; anything
// else (kafkajs starts at the group offset, and jumps on its own after OFFSET_OUT_OF_RANGE) is dropped and sought again.

import type { Batch, Consumer, EachBatchPayload, Kafka, KafkaConfig as KafkaJsConfig } from 'kafkajs';
import type { KafkaConfig } from '../config/config.ts';
import { assert } from '../errors.ts';
import type { Log } from '../log.ts';
import { subscribedAssigner } from './assigner.ts';
import { createKafka, kafkaError } from './client.ts';
import type { Fetched } from './fetch-response.ts';
import { createFetchTap } from './fetch-tap.ts';

export type TopicPartition = { readonly topic: string; readonly partition: number };
export const partitionKey = ({ topic, partition }: TopicPartition): string => `${topic}:${partition}`;

export type ConsumerHandlers = {
  /** The group gave us exactly these; says where to read each from (absent: leave it alone). Called again after every rebalance. */
  assigned(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, bigint>>;
  /** Resolves when there is room for more; called before every `take`. */
  room(): Promise<void>;
  /** Takes a record set fetched at `fetchedOffset`, synchronously. */
  take(fetched: Fetched, fetchedOffset: bigint): void;
  /** All of a response, which may hold record sets of several topics, was taken or dropped; what comes next takes a round trip. */
  responseTaken(): void;
  /** Kafka no longer has, or never had, the offset asked for, or its end went back. */
  outOfRange(partition: TopicPartition): void;
  /** The broker answered that it has no such topic; kafkajs then reads no other topic either until it is there again. */
  unknownTopic(topic: string): void;
  /** Kafka answers with what is no record set of a format that is read here, again and again. */
  unreadable(partition: TopicPartition, offset: bigint): void;
  /** kafkajs gave up after it had joined; `restarting` tells whether it tries again by itself. */
  crashed(error: Error, restarting: boolean): void;
};

export type GroupConsumer = {
  /** Joins. Throws kafka_unreachable, kafka_refused when that does not come about. */
  run(): Promise<void>;
  /** Where to read next; the record sets in flight are dropped. */
  seek(partition: TopicPartition, offset: bigint): void;
  /** Stops fetching a partition until the next assignment or seek. */
  leaveAlone(partition: TopicPartition): void;
  /** Advisory group offsets (next offsets). Never throws: positions are what counts. */
  commitGroupOffsets(
    offsets: ReadonlyMap<string, { readonly partition: TopicPartition; readonly offset: bigint }>,
  ): Promise<void>;
  /** No more record sets are handed over; the membership stays. */
  pauseAll(): void;
  /** Leaves the group and closes; a Kafka that does not answer is waited for some seconds. */
  stop(): Promise<void>;
};

/** Bytes of a fetch: large enough to amortise a round trip, small enough to bound memory (all partitions of a broker together). */
const FETCH_BYTES_MAX = 2 * 1024 * 1024;
const PARTITION_BYTES_MAX = 512 * 1024;
/** A quiet topic is asked this often; it bounds how late a message is seen, a rebalance noticed and a stop obeyed. */
const FETCH_WAIT_MS_MAX = 100;
/** Group offsets are a copy for Kafka's tools: nothing waits long for them. */
const GROUP_OFFSETS_MS_MAX = 5_000;
/** A member that could not say goodbye is missed when its session is over. */
const LEAVE_MS_MAX = 5_000;
/** Where it has just not answered. */
const LEAVE_LATE_MS_MAX = 1_000;
/** A ticket can be void once, when a connection was cut; not at one offset over and over. */
const UNREADABLE_MAX = 5;

export function createGroupConsumer(options: {
  kafka: KafkaConfig;
  groupId: string;
  topics: readonly string[];
  /** Those of them that one member reads whole. */
  tables: readonly string[];
  handlers: ConsumerHandlers;
  log: Log;
}): GroupConsumer {
  const { handlers, log } = options;
  const expected = new Map<string, bigint>();
  const unreadable = new Map<string, { offset: bigint; times: number }>();
  let generation = 0;
  let stopping = false;
  let starting = false;
  let failedToStart: Error | null = null;
  let offsetsLate = false;
  const tap = createFetchTap({
    onOutOfRange: (topic, partition) => {
      if (expected.has(partitionKey({ topic, partition }))) handlers.outOfRange({ topic, partition });
    },
    onUnknownTopic: (topic) => {
      if (!stopping) handlers.unknownTopic(topic);
    },
  });
  const kafka: Kafka = createKafka(options.kafka, log, { socketFactory: tap.socketFactory } satisfies Partial<KafkaJsConfig>);
  const sessionTimeout = options.kafka.sessionTimeoutSeconds * 1000;
  const consumer: Consumer = kafka.consumer({
    groupId: options.groupId,
    partitionAssigners: [subscribedAssigner(options.tables)],
    sessionTimeout,
    rebalanceTimeout: Math.max(sessionTimeout, 10_000),
    heartbeatInterval: Math.floor(sessionTimeout / 3),
    maxBytes: FETCH_BYTES_MAX,
    maxBytesPerPartition: PARTITION_BYTES_MAX,
    maxWaitTimeInMs: FETCH_WAIT_MS_MAX,
    // A dead coordinator or a cut connection is waited out; the caller decides when waiting is pointless.
    retry: { initialRetryTime: 200, maxRetryTime: 5_000, retries: 10, restartOnFailure: async () => !stopping },
  });

  const seek = (partition: TopicPartition, offset: bigint): void => {
    expected.set(partitionKey(partition), offset);
    withGroup(() => {
      consumer.seek({ ...partition, offset: String(offset) });
      consumer.resume([{ topic: partition.topic, partitions: [partition.partition] }]);
    });
  };

  /** No record set where one was delivered: once it is fetched again, then it is told. */
  const notReadable = (at: TopicPartition, offset: bigint): void => {
    const before = unreadable.get(partitionKey(at));
    const times = before?.offset === offset ? before.times + 1 : 1;
    unreadable.set(partitionKey(at), { offset, times });
    if (times >= UNREADABLE_MAX) handlers.unreadable(at, offset);
  };

  const eachBatch = async (payload: EachBatchPayload): Promise<void> => {
    const fetched = ticketOf(payload.batch, tap.take);
    try {
      await takeBatch(payload, fetched);
    } finally {
      if (fetched?.isLast()) handlers.responseTaken();
    }
  };

  const takeBatch = async ({ batch, heartbeat, resolveOffset }: EachBatchPayload, fetched: Fetched | null): Promise<void> => {
    const at = { topic: batch.topic, partition: batch.partition };
    const wanted = expected.get(partitionKey(at));
    if (stopping || wanted === undefined) return;
    const fetchedOffset = BigInt((batch as Batch & { fetchedOffset: string }).fetchedOffset);
    if (!fetched && fetchedOffset === wanted) notReadable(at, wanted);
    if (!fetched || fetchedOffset !== wanted) {
      log.debug('fetch_dropped', { ...at, wanted, fetched: fetchedOffset });
      if (expected.has(partitionKey(at))) consumer.seek({ ...at, offset: String(wanted) });
      return;
    }
    assert(fetched.topic === at.topic && fetched.partition === at.partition, 'a ticket came back for another partition');
    const mine = generation;
    await heartbeating(handlers.room(), heartbeat, Math.floor(sessionTimeout / 3));
    if (stopping || mine !== generation || expected.get(partitionKey(at)) !== wanted) return;
    if (!fetched.isCurrent()) return consumer.seek({ ...at, offset: String(wanted) });
    handlers.take(fetched, fetchedOffset);
    resolveOffset(batch.lastOffset());
    if (expected.get(partitionKey(at)) === wanted) expected.set(partitionKey(at), fetched.nextOffset);
  };

  const joined = async (assignment: Record<string, number[]>): Promise<void> => {
    if (stopping) return;
    const mine = ++generation;
    expected.clear();
    const partitions = Object.entries(assignment).flatMap(([topic, list]) => list.map((partition) => ({ topic, partition })));
    // Paused until their positions are known: kafkajs would begin at the group offset.
    withGroup(() => consumer.pause(Object.entries(assignment).map(([topic, list]) => ({ topic, partitions: list }))));
    const starts = await handlers.assigned(partitions);
    if (mine !== generation || stopping) return;
    for (const partition of partitions) {
      const start = starts.get(partitionKey(partition));
      if (start !== undefined) seek(partition, start);
    }
  };

  return {
    run: async () => {
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        joined(payload.memberAssignment).catch((error: Error) => handlers.crashed(error, false));
      });
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        if (stopping) return;
        if (starting && !payload.restart) failedToStart = payload.error;
        else handlers.crashed(payload.error, payload.restart);
      });
      starting = true;
      try {
        await consumer.connect();
        await consumer.subscribe({ topics: [...options.topics] });
        await consumer.run({ autoCommit: false, partitionsConsumedConcurrently: 1, eachBatchAutoResolve: false, eachBatch });
        // kafkajs tells a join that failed for good by an event, and resolves.
        if (failedToStart) throw failedToStart;
      } catch (cause) {
        throw kafkaError(cause, options.kafka, `joining the group ${options.groupId}`);
      } finally {
        starting = false;
      }
    },
    seek,
    leaveAlone: (partition) => {
      expected.delete(partitionKey(partition));
      withGroup(() => consumer.pause([{ topic: partition.topic, partitions: [partition.partition] }]));
    },
    commitGroupOffsets: async (offsets) => {
      const list = [...offsets.values()].map(({ partition, offset }) => ({ ...partition, offset: String(offset) }));
      if (list.length === 0 || (stopping && offsetsLate)) return;
      try {
        offsetsLate = true;
        await within(GROUP_OFFSETS_MS_MAX, consumer.commitOffsets(list));
        offsetsLate = false;
      } catch (error) {
        log.warn('group_offsets_not_committed', {
          topic: list[0]?.topic,
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    },
    pauseAll: () => {
      stopping = true;
    },
    stop: async () => {
      stopping = true;
      await within(offsetsLate ? LEAVE_LATE_MS_MAX : LEAVE_MS_MAX, consumer.disconnect());
    },
  };
}

/** kafkajs throws while it has no group, between a crash and its next join; the join then positions everything anew. */
function withGroup(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('Consumer group was not initialized')) throw error;
  }
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}

/** The record set behind the ticket that fetch-tap left in the place of the records. */
function ticketOf(batch: Batch, take: (ticket: bigint) => Fetched | null): Fetched | null {
  const value = batch.messages[0]?.value;
  return batch.messages.length === 1 && value?.length === 8 ? take(value.readBigInt64BE(0)) : null;
}

/** Waits without losing the membership; a rebalance makes the heartbeat throw, which ends the wait. */
async function heartbeating(wait: Promise<void>, heartbeat: () => Promise<void>, everyMs: number): Promise<void> {
  let waiting = true;
  const done = wait.finally(() => {
    waiting = false;
  });
  while (waiting) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tick = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, everyMs);
    });
    await Promise.race([done, tick]);
    clearTimeout(timer);
    if (waiting) await heartbeat();
  }
  await done;
}
