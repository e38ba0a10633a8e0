// A topic as it is in Kafka, and a new one. Invariant: one that is there is never changed.

import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import { type KafkaAdmin, kafkaError, typeOf } from './client.ts';
import { topicNames } from './watermarks.ts';

export type NewTopic = {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly settings: ReadonlyMap<string, string>;
};

export type TopicShape = { readonly partitions: number; readonly replicationFactor: number };

/** null: there is none of this name, or this user may not see it. Throws kafka_unreachable, kafka_refused. */
export async function topicShape(admin: KafkaAdmin, config: KafkaConfig, topic: string): Promise<TopicShape | null> {
  // Asked by name, a broker that makes topics by itself would make it.
  if (!(await topicNames(admin, config)).has(topic)) return null;
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const partitions = topics[0]?.partitions ?? [];
    return { partitions: partitions.length, replicationFactor: partitions[0]?.replicas.length ?? 0 };
  } catch (cause) {
    throw kafkaError(cause, config, `describing topic ${topic}`);
  }
}

/** What Kafka refuses (a setting, too many replicas) is thrown as kafka_refused; nothing is made when `validateOnly`. */
export async function createTopic(
  admin: KafkaAdmin,
  config: KafkaConfig,
  { topic, partitions, replicationFactor, settings }: NewTopic,
  { validateOnly = false }: { readonly validateOnly?: boolean } = {},
): Promise<'created' | 'there'> {
  const configEntries = [...settings].map(([name, value]) => ({ name, value }));
  try {
    const wanted = { topic, numPartitions: partitions, replicationFactor, configEntries };
    // kafkajs would take a broker that has not heard of the topic yet for a refusal.
    const isMade = await admin.createTopics({ topics: [wanted], validateOnly, waitForLeaders: false });
    if (!validateOnly) await untilLed(admin, topic);
    return isMade ? 'created' : 'there';
  } catch (cause) {
    const said = reasonOf(cause);
    if (said === null) throw kafkaError(cause, config, `creating topic ${topic}`);
    throw new LakeError('kafka_refused', `Kafka does not make topic ${topic}: ${said}`, {
      where: { topic },
      todo: 'correct --partitions, --replication-factor or --topic-config, or have an administrator create the topic',
      cause,
    });
  }
}

const LED_LOOKS_MAX = 100;
const LOOK_AGAIN_MS = 100;

/** Its partitions have leaders a moment after the topic is made. When they have none for long, whoever reads it says so. */
async function untilLed(admin: KafkaAdmin, topic: string): Promise<void> {
  for (let look = 0; look < LED_LOOKS_MAX; look++) {
    const found = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => null);
    const partitions = found?.topics[0]?.partitions ?? [];
    if (partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** kafkajs keeps Kafka's answer a topic in a list; null: it was none. */
function reasonOf(cause: unknown): string | null {
  if (!(cause instanceof Error) || cause.name !== 'KafkaJSAggregateError') return null;
  const { errors } = cause as unknown as { readonly errors: unknown };
  const [first] = Array.isArray(errors) ? errors : [];
  return first instanceof Error ? `${first.message} (${typeOf(first)})` : null;
}
