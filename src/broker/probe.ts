// One message read out of a topic, beside whoever else reads it (PROTOCOL K5): by a group of its own that is deleted afterwards.
// Invariant: no other group's offsets are looked at or moved, and it ends within its limit.

import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { KafkaAdmin } from './client.ts';
import { createGroupConsumer, partitionKey, type TopicPartition } from './consumer.ts';
import type { Fetched } from './fetch-response.ts';
import { readRecords } from './record-batch.ts';

export type ProbedMessage = {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
};

export type Probe = {
  readonly kafka: KafkaConfig;
  readonly admin: KafkaAdmin;
  readonly place: TopicPartition;
  readonly offset: bigint;
  /** Random. */
  readonly id: string;
  readonly log: Log;
  readonly signal: AbortSignal;
};

/** Joining a group takes up to 3 s on a broker as it is shipped. */
const PROBE_MS_MAX = 20_000;

/** null: there is none at this offset. It must lie between the watermarks. Throws kafka_unreachable, aborted. */
export async function probeMessage({ kafka, admin, place, offset, id, log, signal }: Probe): Promise<ProbedMessage | null> {
  const groupId = `${kafka.groupId}.probe.${id}`;
  const found = Promise.withResolvers<ProbedMessage | null>();
  // Nobody may be waiting for it when it fails.
  found.promise.catch(() => undefined);
  const end = (): void => found.reject(new LakeError('aborted', 'the search was ended'));
  const late = setTimeout(() => found.reject(tooLate(kafka, place)), PROBE_MS_MAX);
  signal.addEventListener('abort', end);
  const consumer = createGroupConsumer({
    kafka,
    groupId,
    topics: [place.topic],
    tables: [],
    log,
    handlers: {
      assigned: async () => new Map([[partitionKey(place), offset]]),
      room: async () => undefined,
      take: (fetched) => {
        if (fetched.partition === place.partition && fetched.nextOffset > offset) found.resolve(messageAt(fetched, offset));
      },
      outOfRange: () => found.resolve(null),
      unknownTopic: () => found.resolve(null),
      unreadable: () =>
        found.reject(new LakeError('message_format', `offset ${offset} of ${partitionKey(place)} cannot be read`)),
      crashed: (error) => found.reject(error),
    },
  });
  try {
    const running = consumer.run();
    await Promise.race([running, found.promise]);
    return await found.promise;
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', end);
    await consumer.stop().catch(() => undefined);
    await admin.deleteGroups([groupId]).catch((error: unknown) => {
      log.warn('probe_group_left', { group: groupId, reason: error instanceof Error ? error.message : String(error) });
    });
  }
}

function messageAt(fetched: Fetched, offset: bigint): ProbedMessage | null {
  let message: ProbedMessage | null = null;
  readRecords(fetched.records, offset, fetched.abortedTransactions, {
    record: (bytes, part) => {
      if (BigInt(part.offset) !== offset) return;
      const copy = (start: number, length: number): Uint8Array | null =>
        length < 0 ? null : Uint8Array.from(bytes.subarray(start, start + length));
      message = {
        timestampMs: part.timestampMs,
        key: copy(part.keyStart, part.keyLength),
        value: copy(part.valueStart, part.valueLength),
      };
    },
  });
  return message;
}

const tooLate = (kafka: KafkaConfig, place: TopicPartition): LakeError =>
  new LakeError(
    'kafka_unreachable',
    `Kafka at ${kafka.bootstrapServers.join(', ')} gave nothing within ${PROBE_MS_MAX / 1000} s`,
    {
      where: { topic: place.topic, partition: place.partition },
    },
  );
