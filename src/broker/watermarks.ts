// What Kafka says of a topic's partitions, asked outside the consumer: bounds, offsets by time, the group's offsets, the cluster.

import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import { type KafkaAdmin, kafkaError } from './client.ts';

/** `end` is the last stable offset (ListOffsets under read_committed), never the high watermark of a fetch (PROTOCOL K3). */
export type Bounds = { readonly low: Offset; readonly end: Offset };

export type TopicBounds = ReadonlyMap<number, Bounds>;

/** Bounds of every partition. Throws topic_missing, kafka_unreachable. */
export async function topicBounds(admin: KafkaAdmin, config: KafkaConfig, topic: string): Promise<TopicBounds> {
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    return new Map(
      offsets
        .map(({ partition, low, offset }): [number, Bounds] => [partition, { low: toOffset(low), end: toOffset(offset) }])
        .sort(([a], [b]) => a - b),
    );
  } catch (cause) {
    throw topicError(cause, config, topic);
  }
}

/** Per partition the first offset at or after `ms`, or the end when nothing is. */
export async function offsetsAt(
  admin: KafkaAdmin,
  config: KafkaConfig,
  topic: string,
  ms: number,
): Promise<ReadonlyMap<number, Offset>> {
  try {
    const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, ms);
    return new Map(offsets.map(({ partition, offset }) => [partition, toOffset(offset)]));
  } catch (cause) {
    throw topicError(cause, config, topic);
  }
}

/** The group's offsets of a topic; partitions it never committed are absent. */
export async function groupOffsets(
  admin: KafkaAdmin,
  config: KafkaConfig,
  group: { groupId: string; topic: string },
): Promise<ReadonlyMap<number, Offset>> {
  try {
    const [found] = await admin.fetchOffsets({ groupId: group.groupId, topics: [group.topic] });
    const known = (found?.partitions ?? []).filter(({ offset }) => BigInt(offset) >= 0n);
    return new Map(known.map(({ partition, offset }) => [partition, toOffset(offset)]));
  } catch (cause) {
    throw topicError(cause, config, group.topic);
  }
}

/** Kafka's id of the cluster. */
export async function clusterId(admin: KafkaAdmin, config: KafkaConfig): Promise<string> {
  try {
    return (await admin.describeCluster()).clusterId;
  } catch (cause) {
    throw kafkaError(cause, config, 'describing the cluster');
  }
}

/** Every topic this user may see. */
export async function topicNames(admin: KafkaAdmin, config: KafkaConfig): Promise<ReadonlySet<string>> {
  try {
    return new Set(await admin.listTopics());
  } catch (cause) {
    throw kafkaError(cause, config, 'listing the topics');
  }
}

export const topicMissing = (config: KafkaConfig, topic: string, cause?: unknown): LakeError =>
  new LakeError('topic_missing', `topic ${topic} does not exist in Kafka at ${config.bootstrapServers.join(', ')}`, {
    where: { topic },
    cause,
  });

function topicError(cause: unknown, config: KafkaConfig, topic: string): LakeError {
  const error = kafkaError(cause, config, `reading the offsets of topic ${topic}`);
  if (error.code !== 'topic_missing') return error;
  return topicMissing(config, topic, cause);
}
