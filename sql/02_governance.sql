-- What is taken in, how long it is kept, who may read it, and what was done. feeds.json is the source of the first three:
-- missing rows are added when ingest starts, a row that differs is left alone (`lake feeds sync` writes it).

CREATE TABLE IF NOT EXISTS feed_registry (
  feed_id BIGINT NOT NULL AUTO_INCREMENT,
  feed_name VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  feed_type VARCHAR(16) NOT NULL COMMENT 'stream or table',
  source_type VARCHAR(16) NOT NULL DEFAULT 'kafka',
  kafka_topic VARCHAR(249) COLLATE utf8mb4_bin NOT NULL,
  destination VARCHAR(16) NOT NULL COMMENT 'data_lake, data_warehouse or both',
  partitioning_strategy VARCHAR(16) NOT NULL COMMENT 'date or version',
  storage_mode VARCHAR(16) NOT NULL COMMENT 'append or overwrite',
  storage_format VARCHAR(16) NOT NULL DEFAULT 'parquet',
  compression VARCHAR(16) NULL,
  mysql_table VARCHAR(64) NULL,
  schema_definition JSON NULL COMMENT 'null: inferred from the first messages, not yet known',
  is_active TINYINT(1) NOT NULL DEFAULT 1,
  created_by INT NOT NULL DEFAULT 1,
  created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  PRIMARY KEY (feed_id),
  UNIQUE KEY uk_feed_name (feed_name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS data_retention_policies (
  policy_id BIGINT NOT NULL AUTO_INCREMENT,
  feed_name VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  retention_days INT NULL COMMENT 'streams',
  retention_versions INT NULL COMMENT 'tables',
  auto_delete TINYINT(1) NOT NULL DEFAULT 0,
  created_by INT NOT NULL DEFAULT 1,
  created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  PRIMARY KEY (policy_id),
  UNIQUE KEY uk_feed_name (feed_name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS audit_log (
  audit_id BIGINT NOT NULL AUTO_INCREMENT,
  feed_name VARCHAR(48) COLLATE utf8mb4_bin NULL COMMENT 'null: concerns no single feed',
  action VARCHAR(64) NOT NULL COMMENT 'e.g. feed_registered, column_added, snapshot_sealed',
  resource VARCHAR(255) NULL COMMENT 'the table, file or snapshot it was done to',
  details JSON NULL,
  row_count BIGINT NULL,
  file_count BIGINT NULL,
  byte_count BIGINT NULL,
  performed_by INT NOT NULL DEFAULT 1 COMMENT 'user id, as created_by in the registry',
  actor VARCHAR(255) NULL COMMENT 'user and host of the operating system, and which lake',
  performed_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (audit_id),
  KEY idx_feed_name (feed_name, performed_at),
  KEY idx_performed_at (performed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS feed_permissions (
  permission_id BIGINT NOT NULL AUTO_INCREMENT,
  feed_name VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  grantee VARCHAR(255) COLLATE utf8mb4_bin NOT NULL COMMENT 'user or role of the database',
  permission VARCHAR(32) NOT NULL DEFAULT 'read',
  granted_by INT NOT NULL DEFAULT 1,
  granted_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (permission_id),
  UNIQUE KEY uk_permission (feed_name, grantee, permission)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
