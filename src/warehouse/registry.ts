// Rows of feed_registry and data_retention_policies, as feeds.json says them (DESIGN §8). Pure.

import type { Feed, Field } from '../model/feed.ts';
import { fieldToJson } from '../model/pinned-schema.ts';
import type { Statement } from './warehouse.ts';

/** The registry's copy of a schema. */
export const schemaDefinition = (fields: readonly Field[], keys: readonly string[]): string =>
  JSON.stringify({ key_field: [...keys], fields: fields.map(fieldToJson) });

const insert = (table: string, row: GovernanceValues): Statement => {
  const columns = Object.keys(row);
  return {
    text: `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
    values: Object.values(row),
  };
};

/** By column, as feeds.json says it. */
export type GovernanceValues = Readonly<Record<string, string | number | null>>;

export const registryRow = (feed: Feed, compression: string): Statement =>
  insert('feed_registry', {
    ...registryValues(feed),
    source_type: 'kafka',
    storage_format: 'parquet',
    compression,
    schema_definition: feed.fields?.every((field) => field.type !== null) ? schemaDefinition(feed.fields, feed.keyFields) : null,
    created_by: feed.createdBy,
  });

/** What a check compares. */
export const registryValues = (feed: Feed): GovernanceValues => ({
  feed_name: feed.name,
  feed_type: feed.type,
  kafka_topic: feed.topic,
  destination: feed.destination,
  partitioning_strategy: feed.partitioning,
  storage_mode: feed.storageMode,
  mysql_table: feed.mysqlTable,
  is_active: feed.enabled ? 1 : 0,
});

export const policyRow = (feed: Feed): Statement =>
  insert('data_retention_policies', { ...policyValues(feed), created_by: feed.createdBy });

export const policyValues = (feed: Feed): GovernanceValues => ({
  feed_name: feed.name,
  retention_days: feed.retention.days,
  retention_versions: feed.retention.versions,
  auto_delete: feed.retention.autoDelete ? 1 : 0,
});
