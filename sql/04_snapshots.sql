-- The snapshots of the table feeds, deleted keys, and messages that could not become rows.

CREATE TABLE IF NOT EXISTS lake_snapshots (
  feed VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  snapshot_date DATE NOT NULL,
  snapshot_version INT NOT NULL,
  state VARCHAR(16) COLLATE utf8mb4_bin NOT NULL COMMENT 'opening (being copied), open (the newest), sealed, or expiring (being deleted)',
  boundary_ms BIGINT NOT NULL COMMENT 'the instant it ends at',
  cut_kind VARCHAR(16) COLLATE utf8mb4_bin NULL COMMENT 'at_cut, or past_cut: sealed beyond the common offsets; adopted: it was there before lake',
  positions LONGTEXT COLLATE utf8mb4_bin NULL COMMENT 'JSON, partition to position: sealed there, or copied from there',
  row_count BIGINT NULL,
  checksum BIGINT UNSIGNED NULL COMMENT 'XOR over the rows',
  missed LONGTEXT COLLATE utf8mb4_bin NULL COMMENT 'JSON: periods after it that passed while nobody ran',
  copy_id VARCHAR(64) COLLATE utf8mb4_bin NULL COMMENT 'whose copy an opening one is, or the one that followed a sealed one',
  created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  opened_at DATETIME(6) NULL,
  sealed_at DATETIME(6) NULL,
  open_feed VARCHAR(48) COLLATE utf8mb4_bin GENERATED ALWAYS AS (CASE WHEN state = 'open' THEN feed END) STORED,
  PRIMARY KEY (feed, snapshot_date, snapshot_version),
  UNIQUE KEY uk_one_open (open_feed)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- A deleted key is remembered until no partition can bring an older row of it.
CREATE TABLE IF NOT EXISTS lake_tombstones (
  feed VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  key_hash BINARY(32) NOT NULL,
  kafka_partition INT NOT NULL,
  kafka_offset BIGINT NOT NULL,
  kafka_timestamp DATETIME(6) NOT NULL,
  PRIMARY KEY (feed, key_hash)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS lake_dead_letters (
  id BIGINT NOT NULL AUTO_INCREMENT,
  feed VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  topic VARCHAR(249) COLLATE utf8mb4_bin NOT NULL,
  kafka_partition INT NOT NULL,
  kafka_offset BIGINT NOT NULL,
  kafka_timestamp DATETIME(6) NULL,
  kafka_key LONGBLOB NULL,
  value LONGBLOB NULL,
  headers LONGTEXT COLLATE utf8mb4_bin NULL,
  field TEXT NULL,
  reason TEXT NOT NULL,
  schema_version INT NOT NULL DEFAULT 0 COMMENT 'that refused it, or, once retried, that it was decoded by',
  effective_timestamp DATETIME(6) NULL COMMENT 'that its row would carry',
  state VARCHAR(16) COLLATE utf8mb4_bin NOT NULL DEFAULT 'open' COMMENT 'open, retried, superseded or dropped',
  created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  closed_at DATETIME(6) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY uk_message (feed, topic, kafka_partition, kafka_offset),
  KEY idx_state (feed, state)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
