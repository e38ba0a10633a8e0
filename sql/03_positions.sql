-- How far each feed is, committed in the transaction that writes the rows. Do not change rows here: they are what makes every
-- message arrive exactly once (to take data in again: `lake rewind`).

CREATE TABLE IF NOT EXISTS lake_positions (
  feed VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  topic VARCHAR(249) COLLATE utf8mb4_bin NOT NULL,
  kafka_partition INT NOT NULL,
  position BIGINT NOT NULL COMMENT 'the next offset that is needed',
  epoch BIGINT NOT NULL DEFAULT 0 COMMENT 'raised by rewind, rebuild and a new schema',
  start_offset BIGINT NOT NULL COMMENT 'where the feed began',
  last_offset BIGINT NULL COMMENT 'of the last message, to know it again',
  last_timestamp_ms BIGINT NULL,
  last_hash VARCHAR(64) COLLATE utf8mb4_bin NULL,
  timestamp_ms_max BIGINT NULL COMMENT 'running maximum of the message timestamps',
  messages BIGINT NOT NULL DEFAULT 0 COMMENT 'row_count + dead_letters + tombstones',
  row_count BIGINT NOT NULL DEFAULT 0,
  dead_letters BIGINT NOT NULL DEFAULT 0,
  tombstones BIGINT NOT NULL DEFAULT 0,
  retained_rows BIGINT NOT NULL DEFAULT 0 COMMENT 'of row_count, those that retention has deleted',
  retained_dead_letters BIGINT NOT NULL DEFAULT 0 COMMENT 'of dead_letters, those that retention has deleted',
  retained_before DATE NULL COMMENT 'retention has deleted rows of days before it',
  cluster_id VARCHAR(255) COLLATE utf8mb4_bin NULL,
  schema_version INT NOT NULL DEFAULT 0,
  caught_up_at DATETIME(6) NULL COMMENT 'last seen at the end of the topic',
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  PRIMARY KEY (feed, topic, kafka_partition)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

-- Offsets that Kafka no longer had, [start_offset, end_offset).
CREATE TABLE IF NOT EXISTS lake_gaps (
  feed VARCHAR(48) COLLATE utf8mb4_bin NOT NULL,
  topic VARCHAR(249) COLLATE utf8mb4_bin NOT NULL,
  kafka_partition INT NOT NULL,
  start_offset BIGINT NOT NULL,
  end_offset BIGINT NOT NULL,
  epoch BIGINT NOT NULL DEFAULT 0,
  reason VARCHAR(255) NOT NULL,
  recorded_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (feed, topic, kafka_partition, start_offset, epoch)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
