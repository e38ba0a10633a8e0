// What Kafka's log compaction does to a topic: whether it is compacted at all, and how long tombstones stay.

import { ConfigResourceTypes } from 'kafkajs';
import type { KafkaConfig } from '../config/config.ts';
import type { TopicSettings } from '../model/rebuild.ts';
import { type KafkaAdmin, kafkaError } from './client.ts';

/** Kafka's own default, a day. */
export const DELETE_RETENTION_MS = 86_400_000;

const [POLICY, RETENTION] = ['cleanup.policy', 'delete.retention.ms'];

/** Throws topic_missing, kafka_unreachable, or kafka_refused when this user may not ask. */
export async function topicSettings(admin: KafkaAdmin, config: KafkaConfig, topic: string): Promise<TopicSettings> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [POLICY, RETENTION] }],
    });
    const entries = resources[0]?.configEntries ?? [];
    const settingOf = (name: string): string | undefined => entries.find(({ configName }) => configName === name)?.configValue;
    const policies = (settingOf(POLICY) ?? '').split(',').map((policy) => policy.trim());
    return { isCompacted: policies.includes('compact'), deleteRetentionMs: Number(settingOf(RETENTION) ?? DELETE_RETENTION_MS) };
  } catch (cause) {
    throw kafkaError(cause, config, `asking for the settings of topic ${topic}`);
  }
}
