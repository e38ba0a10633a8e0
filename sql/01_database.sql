-- The database, and which lake it belongs to. One database serves one lake: `lake ingest` refuses another lake's.
-- Every statement of 01 to 05 may be run again. lake runs those whose table is missing; the name of the database is yours.
-- Works on MySQL 8.0.15 and later, and on MariaDB 10.11 and later. Times are in UTC.

CREATE DATABASE IF NOT EXISTS data_warehouse CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

USE data_warehouse;

-- One row; its lock also keeps two starting programs apart.
CREATE TABLE IF NOT EXISTS lake_identity (
  singleton TINYINT NOT NULL DEFAULT 1 COMMENT 'always 1: a second row cannot be',
  lake_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL COMMENT 'as in _lake/lake.json',
  format INT NOT NULL COMMENT 'of the tables lake_*',
  created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (singleton)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
