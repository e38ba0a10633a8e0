// What a topic's settings in Kafka say: whether it is compacted, how long tombstones stay, how long messages do.

import { ConfigResourceTypes } from 'kafkajs';
import type { KafkaConfig } from '../config/config.ts';
import type { TopicSettings } from '../model/rebuild.ts';
import { type KafkaAdmin, kafkaError } from './client.ts';

/** Kafka's own default, a day. */
export const DELETE_RETENTION_MS = 86_400_000;

/** Throws topic_missing, kafka_unreachable, or kafka_refused when this user may not ask. */
export async function topicSettings(admin: KafkaAdmin, config: KafkaConfig, topic: string): Promise<TopicSettings> {
  const { policies, value } = await asked(admin, config, { topic, name: 'delete.retention.ms' });
  return { isCompacted: policies.includes('compact'), deleteRetentionMs: Number(value ?? DELETE_RETENTION_MS) };
}

/** Milliseconds after its timestamp at which a message may be deleted; null: never by its age. Throws as topicSettings does. */
export async function topicRetentionMs(admin: KafkaAdmin, config: KafkaConfig, topic: string): Promise<number | null> {
  const { policies, value } = await asked(admin, config, { topic, name: 'retention.ms' });
  const retentionMs = Number(value ?? -1);
  return policies.includes('delete') && retentionMs >= 0 ? retentionMs : null;
}

/** The cleanup policies, and one setting more. */
async function asked(admin: KafkaAdmin, config: KafkaConfig, { topic, name }: { readonly topic: string; readonly name: string }) {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['cleanup.policy', name] }],
    });
    const settings = new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
    const policies = (settings.get('cleanup.policy') ?? '').split(',').map((policy) => policy.trim());
    return { policies, value: settings.get(name) };
  } catch (cause) {
    throw kafkaError(cause, config, `asking for the settings of topic ${topic}`);
  }
}
