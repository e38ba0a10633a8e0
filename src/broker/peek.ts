// Looks into partitions without being a member of any group, so that nothing is left behind in Kafka and no ACL for a group is needed:
// the high watermark, and single messages as a reader of committed messages would meet them.

import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import { createKafka, isPassing, kafkaError, typeOf } from './client.ts';
import { type Cluster, clusterOf, READ_COMMITTED, READ_UNCOMMITTED } from './cluster.ts';
import type { Fetched } from './fetch-response.ts';
import { createFetchTap, type FetchTap } from './fetch-tap.ts';
import { readRecords } from './record-batch.ts';
import { topicMissing } from './watermarks.ts';

/** Offsets [from, end) of a partition. */
export type Stretch = { readonly topic: string; readonly partition: number; readonly from: Offset; readonly end: Offset };

/** Kafka sends one whole record batch, however large, and more only up to this; it grows while all that comes is aborted. */
const FETCH_BYTES_MIN = 16 * 1024;
const FETCH_BYTES_MAX = 1024 * 1024;
/** About 60 MB of aborted messages, or that many transactions in a row; a table of lags does not read on for longer. */
const FETCHES_MAX = 64;
/** A leader that has just moved is found again. */
const ATTEMPTS_MAX = 3;

export type KafkaPeek = {
  /** Per partition the next offset that Kafka will give, transactions that are open included. */
  highWatermarks(topic: string): Promise<ReadonlyMap<number, Offset>>;
  /** Timestamp (ms) of the first message there; `none`: nothing but markers, aborted messages and holes; null: not found out. */
  firstMessageMs(stretch: Stretch): Promise<number | 'none' | null>;
  /** The message at this very offset; null: there is none that a reader of committed messages would meet. */
  messageAt(place: {
    readonly topic: string;
    readonly partition: number;
    readonly offset: Offset;
  }): Promise<PeekedMessage | null>;
};

export type PeekedMessage = {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
};

/** Throws kafka_unreachable, kafka_refused; so do the questions, and topic_missing. */
export async function connectPeek(config: KafkaConfig, log: Log): Promise<{ peek: KafkaPeek } & AsyncDisposable> {
  const tap = createFetchTap({ onOutOfRange: () => undefined, onUnknownTopic: () => undefined });
  const cluster = clusterOf(createKafka(config, log, { socketFactory: tap.socketFactory }), READ_UNCOMMITTED);
  const asked = async <T>(topic: string, question: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++) {
      try {
        await cluster.addTargetTopic(topic);
        await cluster.refreshMetadataIfNecessary();
        return await question();
      } catch (cause) {
        if (attempt < ATTEMPTS_MAX && isPassing(cause) && typeOf(cause) !== 'UNKNOWN_TOPIC_OR_PARTITION') {
          await cluster.refreshMetadata().catch(() => undefined);
          continue;
        }
        const error = kafkaError(cause, config, `looking into topic ${topic}`);
        throw error.code === 'topic_missing' ? topicMissing(config, topic, cause) : error;
      }
    }
  };
  try {
    await cluster.connect();
  } catch (cause) {
    await cluster.disconnect().catch(() => undefined);
    throw kafkaError(cause, config, 'connecting');
  }
  // What a fetch brought lies in bytes that the next one of the same connection is written over.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
  const peek: KafkaPeek = {
    highWatermarks: (topic) => asked(topic, () => highWatermarks(cluster, topic)),
    firstMessageMs: (stretch) => inTurn(() => asked(stretch.topic, () => firstMessageMs(cluster, tap, stretch))),
    messageAt: (place) => inTurn(() => asked(place.topic, () => messageAt(cluster, tap, place))),
  };
  return { peek, [Symbol.asyncDispose]: () => cluster.disconnect() };
}

async function highWatermarks(cluster: Cluster, topic: string): Promise<ReadonlyMap<number, Offset>> {
  const partitions = cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => ({ partition: partitionId }));
  const [found] = await cluster.fetchTopicsOffset([{ topic, fromBeginning: false, partitions }]);
  return new Map((found?.partitions ?? []).map(({ partition, offset }) => [partition, toOffset(offset)]));
}

async function firstMessageMs(cluster: Cluster, tap: FetchTap, { topic, partition, from, end }: Stretch) {
  let [next, maxBytes] = [from, FETCH_BYTES_MIN];
  for (let fetches = 0; fetches < FETCHES_MAX && next < end; fetches++) {
    const fetched = await fetchAt(cluster, tap, { topic, partition, offset: next, maxBytes });
    if (fetched === 'out_of_range') return null;
    // Log compaction has left nothing up to the end.
    if (fetched === 'nothing') return 'none';
    const first = firstRecord(fetched, next);
    if (first !== null) return first.offset >= end ? 'none' : first.timestampMs;
    if (fetched.nextOffset <= next) return null;
    next = toOffset(fetched.nextOffset);
    maxBytes = Math.min(FETCH_BYTES_MAX, maxBytes * 2);
  }
  return next < end ? null : 'none';
}

type FetchAt = { readonly topic: string; readonly partition: number; readonly offset: Offset; readonly maxBytes: number };

async function fetchAt(cluster: Cluster, tap: FetchTap, { topic, partition, offset, maxBytes }: FetchAt) {
  const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  if (nodeId === undefined) throw new LakeError('kafka_unreachable', `partition ${partition} of topic ${topic} has no leader`);
  const broker = await cluster.findBroker({ nodeId });
  const partitions = [{ partition, fetchOffset: String(offset), maxBytes }];
  const wanted = { isolationLevel: READ_COMMITTED, maxWaitTime: 0, minBytes: 0, maxBytes, topics: [{ topic, partitions }] };
  try {
    const { responses } = await broker.fetch(wanted);
    const ticket = responses[0]?.partitions[0]?.messages[0]?.value;
    return (ticket?.length === 8 ? tap.take(ticket.readBigInt64BE(0)) : null) ?? 'nothing';
  } catch (error) {
    if (typeOf(error) === 'OFFSET_OUT_OF_RANGE') return 'out_of_range';
    throw error;
  }
}

/** The first batch that comes holds the offset, or lies beyond it. */
async function messageAt(cluster: Cluster, tap: FetchTap, place: Omit<FetchAt, 'maxBytes'>): Promise<PeekedMessage | null> {
  const fetched = await fetchAt(cluster, tap, { ...place, maxBytes: FETCH_BYTES_MIN });
  if (fetched === 'out_of_range' || fetched === 'nothing') return null;
  let message: PeekedMessage | null = null;
  readRecords(fetched.records, place.offset, fetched.abortedTransactions, {
    record: (bytes, { offset, timestampMs, keyStart, keyLength, valueStart, valueLength }) => {
      if (BigInt(offset) !== place.offset) return;
      const copy = (start: number, length: number): Uint8Array | null =>
        length < 0 ? null : Uint8Array.from(bytes.subarray(start, start + length));
      message = { timestampMs, key: copy(keyStart, keyLength), value: copy(valueStart, valueLength) };
    },
  });
  return message;
}

type Record = { readonly offset: bigint; readonly timestampMs: number };

function firstRecord({ records, abortedTransactions }: Fetched, from: Offset): Record | null {
  let first: Record | null = null;
  readRecords(records, from, abortedTransactions, {
    record: (_bytes, { offset, timestampMs }) => {
      first ??= { offset: BigInt(offset), timestampMs };
    },
  });
  return first;
}
