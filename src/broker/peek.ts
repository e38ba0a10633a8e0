// Looks into partitions without being a member of any group, so that nothing is left behind in Kafka and no ACL for a group is needed:
// the high watermark, and messages as a reader of committed messages would meet them, one or all of a stretch.

import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import { createKafka, isPassing, kafkaError, typeOf } from './client.ts';
import { type Cluster, clusterOf, NO_MEMBER, READ_COMMITTED, READ_UNCOMMITTED } from './cluster.ts';
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
  /** The message there, as a reader of committed messages has it; null: there is none. */
  messageAt(at: MessageAt): Promise<PeekedMessage | null>;
  /**
   * All record sets of a stretch, one after the other; the last may reach beyond its end. What is handed over is overwritten when
   * `take` answers, and false ends the reading.
   */
  read(stretch: Stretch, take: (fetched: Fetched, at: Offset) => Promise<boolean>): Promise<Read>;
  /** Of a group that nobody is a member of. false: somebody is, or it was refused. */
  setGroupOffsets(group: GroupOffsets): Promise<boolean>;
};

export type GroupOffsets = { readonly groupId: string; readonly topic: string; readonly offsets: ReadonlyMap<number, Offset> };

export type MessageAt = { readonly topic: string; readonly partition: number; readonly offset: Offset };

export type PeekedMessage = {
  readonly offset: bigint;
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
    messageAt: (at) => inTurn(() => asked(at.topic, () => messageAt(cluster, tap, at))),
    read: (stretch, take) => inTurn(() => readOn(cluster, tap, stretch, { asked, take })),
    setGroupOffsets: (group) => inTurn(() => setGroupOffsets(cluster, group)),
  };
  return { peek, [Symbol.asyncDispose]: () => cluster.disconnect() };
}

type Reading = { readonly asked: <T>(topic: string, question: () => Promise<T>) => Promise<T>; readonly take: Take };

/** Goes on where it was when a leader moves or a connection is cut: what was taken is not taken again. */
async function readOn(cluster: Cluster, tap: FetchTap, stretch: Stretch, { asked, take }: Reading): Promise<Read> {
  let from = stretch.from;
  const taking: Take = async (fetched, at) => {
    const goesOn = await take(fetched, at);
    from = toOffset(fetched.nextOffset);
    return goesOn;
  };
  return asked(stretch.topic, () => readStretch(cluster, tap, { ...stretch, from }, taking, Number.POSITIVE_INFINITY));
}

async function setGroupOffsets(cluster: Cluster, { groupId, topic, offsets }: GroupOffsets): Promise<boolean> {
  const partitions = [...offsets].map(([partition, offset]) => ({ partition, offset: String(offset) }));
  try {
    const broker = await cluster.findGroupCoordinator({ groupId });
    await broker.offsetCommit({ ...NO_MEMBER, groupId, topics: [{ topic, partitions }] });
    return true;
  } catch {
    return false;
  }
}

async function highWatermarks(cluster: Cluster, topic: string): Promise<ReadonlyMap<number, Offset>> {
  const partitions = cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => ({ partition: partitionId }));
  const [found] = await cluster.fetchTopicsOffset([{ topic, fromBeginning: false, partitions }]);
  return new Map((found?.partitions ?? []).map(({ partition, offset }) => [partition, toOffset(offset)]));
}

async function firstMessageMs(cluster: Cluster, tap: FetchTap, stretch: Stretch) {
  let first: PeekedMessage | null = null;
  const end = await readStretch(cluster, tap, stretch, async (fetched, at) => {
    first = firstMessage(fetched, at);
    return first === null;
  });
  const found = first as PeekedMessage | null;
  if (found !== null) return found.offset >= stretch.end ? 'none' : found.timestampMs;
  return end === 'read' ? 'none' : null;
}

async function messageAt(
  cluster: Cluster,
  tap: FetchTap,
  { topic, partition, offset }: MessageAt,
): Promise<PeekedMessage | null> {
  let found: PeekedMessage | null = null;
  await readStretch(cluster, tap, { topic, partition, from: offset, end: toOffset(offset + 1n) }, async (fetched, at) => {
    found = firstMessage(fetched, at);
    return found === null;
  });
  const message = found as PeekedMessage | null;
  return message?.offset === offset ? message : null;
}

/** `given_up`: too many fetches brought nothing but aborted messages; `expired`: Kafka no longer has the first offset. */
export type Read = 'read' | 'stopped' | 'given_up' | 'expired';

type Take = (fetched: Fetched, at: Offset) => Promise<boolean>;

async function readStretch(
  cluster: Cluster,
  tap: FetchTap,
  stretch: Stretch,
  take: Take,
  fetchesMax = FETCHES_MAX,
): Promise<Read> {
  const { topic, partition, end } = stretch;
  let [next, maxBytes] = [stretch.from, FETCH_BYTES_MIN];
  for (let fetches = 0; fetches < fetchesMax && next < end; fetches++) {
    const fetched = await fetchAt(cluster, tap, { topic, partition, offset: next, maxBytes });
    if (fetched === 'out_of_range') return 'expired';
    // Log compaction has left nothing up to the end.
    if (fetched === 'nothing') return 'read';
    if (!(await take(fetched, next))) return 'stopped';
    if (fetched.nextOffset <= next) return 'given_up';
    next = toOffset(fetched.nextOffset);
    maxBytes = Math.min(FETCH_BYTES_MAX, maxBytes * 2);
  }
  return next < end ? 'given_up' : 'read';
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

function firstMessage({ records, abortedTransactions }: Fetched, from: Offset): PeekedMessage | null {
  let first: PeekedMessage | null = null;
  readRecords(records, from, abortedTransactions, {
    record: (bytes, { offset, timestampMs, keyStart, keyLength, valueStart, valueLength }) => {
      if (first !== null) return;
      const copy = (start: number, length: number): Uint8Array | null =>
        length < 0 ? null : Uint8Array.from(bytes.subarray(start, start + length));
      first = { offset: BigInt(offset), timestampMs, key: copy(keyStart, keyLength), value: copy(valueStart, valueLength) };
    },
  });
  return first;
}
