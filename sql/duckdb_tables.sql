-- lake's own tables in the embedded warehouse: those of 01 to 04 in DuckDB's words. Tables that grow have no index, for one has to fit into
-- memory. A feed has one open snapshot, a key one tombstone, a message one dead letter; that is the writer's to keep, for it is the only one.
-- Readers find them in warehouse.duckdb, without keys and defaults. Times are in UTC.

-- Of all `id` columns: numbers grow, and no two rows have the same.
CREATE SEQUENCE IF NOT EXISTS lake_ids;

CREATE TABLE IF NOT EXISTS lake_identity (
  singleton TINYINT NOT NULL DEFAULT 1,
  lake_id VARCHAR NOT NULL,
  format INTEGER NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  PRIMARY KEY (singleton)
);

CREATE TABLE IF NOT EXISTS feed_registry (
  feed_id BIGINT NOT NULL DEFAULT nextval('lake_ids'),
  feed_name VARCHAR NOT NULL,
  feed_type VARCHAR NOT NULL,
  source_type VARCHAR NOT NULL DEFAULT 'kafka',
  kafka_topic VARCHAR NOT NULL,
  destination VARCHAR NOT NULL,
  partitioning_strategy VARCHAR NOT NULL,
  storage_mode VARCHAR NOT NULL,
  storage_format VARCHAR NOT NULL DEFAULT 'parquet',
  compression VARCHAR,
  mysql_table VARCHAR,
  schema_definition JSON,
  is_active BOOLEAN NOT NULL DEFAULT true,
  created_by INTEGER NOT NULL DEFAULT 1,
  created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  updated_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  UNIQUE (feed_name)
);

CREATE TABLE IF NOT EXISTS data_retention_policies (
  policy_id BIGINT NOT NULL DEFAULT nextval('lake_ids'),
  feed_name VARCHAR NOT NULL,
  retention_days INTEGER,
  retention_versions INTEGER,
  auto_delete BOOLEAN NOT NULL DEFAULT false,
  created_by INTEGER NOT NULL DEFAULT 1,
  created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  updated_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  UNIQUE (feed_name)
);

CREATE TABLE IF NOT EXISTS audit_log (
  audit_id BIGINT NOT NULL DEFAULT nextval('lake_ids'),
  feed_name VARCHAR,
  action VARCHAR NOT NULL,
  resource VARCHAR,
  details JSON,
  row_count BIGINT,
  file_count BIGINT,
  byte_count BIGINT,
  performed_by INTEGER NOT NULL DEFAULT 1,
  actor VARCHAR,
  performed_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now()))
);

CREATE TABLE IF NOT EXISTS feed_permissions (
  permission_id BIGINT NOT NULL DEFAULT nextval('lake_ids'),
  feed_name VARCHAR NOT NULL,
  grantee VARCHAR NOT NULL,
  permission VARCHAR NOT NULL DEFAULT 'read',
  granted_by INTEGER NOT NULL DEFAULT 1,
  granted_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  UNIQUE (feed_name, grantee, permission)
);

CREATE TABLE IF NOT EXISTS lake_positions (
  feed VARCHAR NOT NULL,
  topic VARCHAR NOT NULL,
  kafka_partition INTEGER NOT NULL,
  position BIGINT NOT NULL,
  epoch BIGINT NOT NULL DEFAULT 0,
  start_offset BIGINT NOT NULL,
  last_offset BIGINT,
  last_timestamp_ms BIGINT,
  last_hash VARCHAR,
  timestamp_ms_max BIGINT,
  messages BIGINT NOT NULL DEFAULT 0,
  row_count BIGINT NOT NULL DEFAULT 0,
  dead_letters BIGINT NOT NULL DEFAULT 0,
  tombstones BIGINT NOT NULL DEFAULT 0,
  retained_rows BIGINT NOT NULL DEFAULT 0,
  retained_dead_letters BIGINT NOT NULL DEFAULT 0,
  retained_before DATE,
  cluster_id VARCHAR,
  schema_version INTEGER NOT NULL DEFAULT 0,
  caught_up_at TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  PRIMARY KEY (feed, topic, kafka_partition)
);

CREATE TABLE IF NOT EXISTS lake_gaps (
  feed VARCHAR NOT NULL,
  topic VARCHAR NOT NULL,
  kafka_partition INTEGER NOT NULL,
  start_offset BIGINT NOT NULL,
  end_offset BIGINT NOT NULL,
  epoch BIGINT NOT NULL DEFAULT 0,
  reason VARCHAR NOT NULL,
  recorded_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  PRIMARY KEY (feed, topic, kafka_partition, start_offset, epoch)
);

CREATE TABLE IF NOT EXISTS lake_snapshots (
  feed VARCHAR NOT NULL,
  snapshot_date DATE NOT NULL,
  snapshot_version INTEGER NOT NULL,
  state VARCHAR NOT NULL,
  boundary_ms BIGINT NOT NULL,
  cut_kind VARCHAR,
  positions VARCHAR,
  row_count BIGINT,
  checksum UBIGINT,
  missed VARCHAR,
  copy_id VARCHAR,
  created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  opened_at TIMESTAMP,
  sealed_at TIMESTAMP,
  PRIMARY KEY (feed, snapshot_date, snapshot_version)
);

CREATE TABLE IF NOT EXISTS lake_tombstones (
  feed VARCHAR NOT NULL,
  key_hash BLOB NOT NULL,
  kafka_partition INTEGER NOT NULL,
  kafka_offset BIGINT NOT NULL,
  kafka_timestamp TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS lake_dead_letters (
  id BIGINT NOT NULL DEFAULT nextval('lake_ids'),
  feed VARCHAR NOT NULL,
  topic VARCHAR NOT NULL,
  kafka_partition INTEGER NOT NULL,
  kafka_offset BIGINT NOT NULL,
  kafka_timestamp TIMESTAMP,
  kafka_key BLOB,
  value BLOB,
  headers VARCHAR,
  field VARCHAR,
  reason VARCHAR NOT NULL,
  schema_version INTEGER NOT NULL DEFAULT 0,
  effective_timestamp TIMESTAMP,
  state VARCHAR NOT NULL DEFAULT 'open',
  created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
  closed_at TIMESTAMP
);
