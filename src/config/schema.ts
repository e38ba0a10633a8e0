// feeds.json as valibot schemas: the shape alone. What needs two values to be judged is in feed-rules.ts, what is filled in when
// a key is missing in config.ts. feeds.schema.json is generated from here (scripts/feeds-schema.ts).
import * as v from 'valibot';

import {
  bytes,
  matching,
  namesTo,
  object,
  objectOf,
  plainObject,
  ratio,
  seconds,
  text,
  timezone,
  wholeNumber,
  yesOrNo,
} from './parts.ts';

export const FEED_NAME = /^[a-z][a-z0-9_]{0,47}$/;
const SERVER_LIST = /^\s*(\[[0-9a-fA-F:.]+\]|[^\s:,[\]]+):\d{1,5}\s*(,\s*(\[[0-9a-fA-F:.]+\]|[^\s:,[\]]+):\d{1,5}\s*)*$/;

/** What editors show beside the key. */
const described = <const Schema extends v.GenericSchema<unknown, unknown>>(schema: Schema, description: string) =>
  v.pipe(schema, v.description(description));

const serverList = matching(SERVER_LIST, 'must be host:port, or several with commas between');

const tls = object({
  ca: v.optional(described(text, 'PEM text, best taken from a file.')),
  cert: v.optional(text),
  key: v.optional(text),
  reject_unauthorized: v.optional(yesOrNo),
});

const kafka = object({
  bootstrap_servers: v.optional(
    described(
      v.union([serverList, v.pipe(v.array(serverList), v.minLength(1, 'must name at least one host:port'))]),
      'host:port of one or more brokers.',
    ),
  ),
  group_id: v.optional(described(text, 'Consumer group of the lake pipeline.')),
  warehouse_group_id: v.optional(described(text, 'Consumer group of the warehouse pipeline.')),
  ssl: v.optional(v.union([yesOrNo, tls])),
  sasl: v.nullish(
    object({ mechanism: v.picklist(['plain', 'scram-sha-256', 'scram-sha-512']), username: text, password: v.string() }),
  ),
  session_timeout_seconds: v.optional(seconds(3600)),
});

const lake = object({
  path: v.optional(described(text, 'Folder of the lake; a relative one is taken from the folder of this file.')),
  compression: v.optional(v.picklist(['snappy', 'zstd', 'gzip', 'none'])),
  timezone: v.optional(described(timezone, 'Which day a row or a snapshot belongs to, e.g. "Europe/Berlin".')),
});

const mysqlName = matching(
  /^[A-Za-z_][A-Za-z0-9_]{0,63}$/,
  'must be letters, digits and _, at most 64, not beginning with a digit',
);

const mysql = objectOf({
  engine: v.literal('mysql'),
  host: v.optional(text),
  port: v.optional(wholeNumber(1, 65_535)),
  user: v.optional(text),
  password: v.optional(v.string()),
  database: v.optional(mysqlName),
  ssl: v.optional(v.union([yesOrNo, tls])),
});
const duckdb = objectOf({ engine: v.literal('duckdb'), path: v.optional(text) });

const batch = object({
  batch_size: v.optional(described(wholeNumber(1, 10_000_000), 'A lake batch closes at this many messages.')),
  batch_bytes: v.optional(described(bytes, 'A lake batch closes at this size, e.g. "32MB"; memory follows from it.')),
  batch_timeout_seconds: v.optional(described(seconds(86_400), 'A lake batch closes after this time at the latest.')),
});

const jsonPath = v.union([text, v.array(text)]);

export const fieldSchema = object({
  type: v.optional(
    described(
      text,
      'SQL type: VARCHAR(n), BIGINT, INTEGER, DOUBLE, DECIMAL(p,s), BOOLEAN, DATE, TIMESTAMP, JSON, BLOB, STRUCT(…), T[].',
    ),
  ),
  from: v.optional(described(jsonPath, 'Where the value sits: "USER_ID", "payment.method", or a list of keys.')),
  required: v.optional(described(yesOrNo, 'A message without it becomes a dead letter.')),
  format: v.optional(described(text, 'iso8601, epoch_ms, epoch_s, or a strptime pattern like "%d.%m.%Y".')),
  on_excess: v.optional(v.picklist(['dead_letter', 'round'])),
  timezone: v.optional(timezone),
});

const feedFields = v.union([namesTo(v.union([text, fieldSchema])), v.array(text)]);

export const feedSchema = object({
  feed_name: matching(FEED_NAME, 'must match [a-z][a-z0-9_]{0,47}: lower-case letters, digits and _, at most 48'),
  topic: v.optional(
    v.pipe(
      matching(/^[a-zA-Z0-9._-]{1,249}$/, 'must be letters, digits, ".", "_" and "-", at most 249'),
      v.check((name) => name !== '.' && name !== '..', 'cannot be "." or ".."'),
    ),
  ),
  feed_type: described(v.picklist(['stream', 'table']), 'stream: every message is a row. table: the latest row a key.'),
  destination: v.optional(v.picklist(['data_lake', 'data_warehouse', 'both'])),
  partitioning: v.optional(v.picklist(['date', 'version'])),
  storage_mode: v.optional(v.picklist(['append', 'overwrite'])),
  enabled: v.optional(yesOrNo),
  start: v.optional(described(text, 'earliest, latest, group, or an ISO timestamp.')),
  event_time: v.nullish(described(text, 'Field whose value gives a row its day.')),
  schema: v.nullish(
    object({
      fields: v.nullish(feedFields),
      key_field: v.nullish(v.union([text, v.array(text)])),
      key_from: v.optional(v.picklist(['value', 'message_key'])),
    }),
  ),
  unknown_fields: v.optional(v.picklist(['ignore', 'keep'])),
  headers: v.optional(yesOrNo),
  dead_letters_max_ratio: v.optional(ratio),
  snapshot_every: v.optional(described(text, 'day, hour, or minutes like "15m".')),
  mysql_table: v.nullish(mysqlName),
  dimensions: v.optional(v.array(object({ table: mysqlName, key: text, attributes: v.optional(v.array(text)) }))),
  retention: v.nullish(
    object({
      retention_days: v.nullish(wholeNumber(1, 1_000_000)),
      retention_versions: v.nullish(wholeNumber(1, 1_000_000)),
      auto_delete: v.optional(yesOrNo),
    }),
  ),
  permissions: v.nullish(
    object({
      mysql_readers: v.optional(v.array(text)),
      lake_group: v.nullish(matching(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, 'must be the name of a group')),
      lake_mode: v.nullish(matching(/^0?[0-7]{3}$/, 'must be an octal mode like "0750"')),
    }),
  ),
});

export const configSchema = object({
  $schema: v.optional(v.string()),
  kafka: v.optional(kafka),
  lake: v.optional(lake),
  warehouse: v.nullish(v.pipe(plainObject, v.variant('engine', [mysql, duckdb]))),
  batch: v.optional(batch),
  governance: v.optional(
    object({ created_by: v.optional(described(wholeNumber(0, 2_147_483_647), 'User id written to the registry.')) }),
  ),
  feeds: v.optional(v.array(feedSchema)),
});

/** feeds.json after its texts were filled in and its shape was checked. */
export type RawConfig = v.InferOutput<typeof configSchema>;
export type RawFeed = v.InferOutput<typeof feedSchema>;
export type RawField = v.InferOutput<typeof fieldSchema>;
