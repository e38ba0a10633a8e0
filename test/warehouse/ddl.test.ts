// The tables of a feed: names, columns and indexes, and that both servers take them, however odd the feed.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTable } from '../../src/warehouse/ddl.ts';
import type { FactTable } from '../../src/warehouse/fact-table.ts';
import { factTable } from '../../src/warehouse/fact-table.ts';
import { mysqlDialect } from '../../src/warehouse/mysql-dialect.ts';
import { createDatabase, OTHER_TABLES, sqlStatements } from '../../src/warehouse/own-tables.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import { type feedOf, load } from '../config/helpers.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { EVENTS, NOW_MS, never, place, SUMMARY, summaryWith, tableOf, typed } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const root = join(import.meta.dir, '../..');
const lines = (table: FactTable): string[] =>
  createTable(table)
    .text.split('\n')
    .map((line) => line.trim());

test("a table feed's columns and indexes; an updated_at of the message keeps its name", () => {
  expect(lines(tableOf(SUMMARY))).toEqual([
    'CREATE TABLE IF NOT EXISTS `fact_summary` (',
    '`id` BIGINT NOT NULL AUTO_INCREMENT,',
    '`user_id` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,',
    '`transaction_count` BIGINT NULL,',
    '`total_amount` DECIMAL(15,2) NULL,',
    '`updated_at` DATETIME(6) NULL,',
    '`snapshot_date` DATE NOT NULL,',
    '`snapshot_version` INT NOT NULL,',
    '`key_hash` BINARY(32) NOT NULL,',
    '`kafka_partition` INT NOT NULL,',
    '`kafka_offset` BIGINT NOT NULL,',
    '`kafka_timestamp` DATETIME(6) NOT NULL,',
    '`created_at` DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),',
    '`lake_updated_at` DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),',
    'PRIMARY KEY (`id`),',
    'UNIQUE KEY `uk_key_snapshot` (`key_hash`, `snapshot_date`, `snapshot_version`),',
    'KEY `idx_user_id` (`user_id`),',
    'KEY `idx_snapshot_date` (`snapshot_date`, `snapshot_version`),',
    'KEY `idx_snapshot_version` (`snapshot_version`)',
    ') ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci',
  ]);
  expect(tableOf(SUMMARY).own.updatedAt.name).toBe('lake_updated_at');
});

test("a stream's table has no snapshots, keeps unknown fields, and gives way to a declared ID", () => {
  const table = tableOf(EVENTS);
  expect(table.columns.map(({ name }) => name)).toEqual([
    ...['lake_id', 'ID', 'at', 'payment', 'on_sale', 'extra'],
    ...['kafka_partition', 'kafka_offset', 'kafka_timestamp', 'created_at', 'updated_at'],
  ]);
  expect(lines(table).filter((line) => line.includes('KEY'))).toEqual([
    'PRIMARY KEY (`lake_id`),',
    'UNIQUE KEY `uk_kafka` (`kafka_partition`, `kafka_offset`),',
    'KEY `idx_at` (`at`)',
  ]);
  expect([table.own.keyHash, table.latest, table.keys]).toEqual([null, null, []]);
});

test('a dimension is one by the hash of its key', () => {
  const [dimension] = tableOf(SUMMARY).dimensions;
  expect(dimension?.columns.map(({ name }) => name)).toEqual([
    ...['id', 'user_id', 'updated_at', 'key_hash', 'first_seen_at', 'last_seen_at', 'created_at', 'lake_updated_at'],
  ]);
  expect(dimension?.indexes.filter(({ kind }) => kind === 'unique').map(({ parts }) => parts)).toEqual([
    [{ name: 'key_hash', length: null }],
  ]);
});

test('sql/05 shows the dimensions of the feeds that come with lake', () => {
  const feeds = load(readFileSync(join(root, 'feeds.json'), 'utf8')).feeds;
  const made = new Map(
    feeds
      .flatMap((feed) => factTable(feed, typed(feed), mysqlDialect).dimensions)
      .map((table) => [table.name, createTable(table).text]),
  );
  expect(sqlStatements(readFileSync(join(root, 'sql/05_dimensions.sql'), 'utf8'))).toEqual([...made.values()]);
});

test('the database is made under its own name', () => {
  expect(createDatabase('shop').text).toBe(
    'CREATE DATABASE IF NOT EXISTS `shop` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci',
  );
  expect(OTHER_TABLES.every(({ columns }) => columns.length > 3)).toBe(true);
});

const many = (count: number, type: string): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, type]));
const keyed = (fields: Record<string, string>) => summaryWith({}, { schema: { key_field: Object.keys(fields), fields } });

const odd: readonly (readonly [name: string, feed: Parameters<typeof feedOf>[0]])[] = [
  [
    'every type',
    summaryWith({ a: 'VARCHAR', b: 'BLOB', c: 'DECIMAL(38,30)', d: 'STRUCT(x BIGINT[])[]', e: 'TIMESTAMP', f: 'DOUBLE' }),
  ],
  ['two long texts as the key', keyed({ a: 'VARCHAR(255)', b: 'VARCHAR(768)' })],
  ['a text as long as MySQL has it as the key', keyed({ a: 'VARCHAR(13000)' })],
  ['16 texts as the key', keyed(many(16, 'VARCHAR(255)'))],
  ['20 numbers as the key', keyed(many(20, 'BIGINT'))],
  ['bytes as the key', keyed({ a: 'BLOB', b: 'DATE' })],
  ['more long texts than fit in a row', summaryWith(many(40, 'VARCHAR(4000)'))],
  ['180 texts, near the most that InnoDB has', summaryWith(many(180, 'VARCHAR(100)'))],
  ['names that need quotes', summaryWith({ 'a b': 'BIGINT', 'c`d': 'VARCHAR', select: 'DATE', é: 'BIGINT', 'a?b': 'BIGINT' })],
  ['names as long as they may be', keyed({ ['k'.repeat(64)]: 'BIGINT', ['l'.repeat(64)]: 'BIGINT' })],
  ['columns of ours as fields', summaryWith({ ID: 'BIGINT', Created_At: 'DATE', KEY_HASH: 'VARCHAR', updated_at: 'TIMESTAMP' })],
  ['a table name as long as it may be', { ...summaryWith({ a: 'BIGINT' }), mysql_table: 'T'.repeat(64) }],
  ['an event time', { ...EVENTS, mysql_table: 'evt' }],
];

describe.each(mysqlEngines)('%s takes', (engine) => {
  test.each(odd.map(([name, feed]) => [name, feed] as const))(
    '%s, and finds nothing to change afterwards',
    async (_name, feed) => {
      await using here = await place(engine);
      await setUpWarehouse(here.warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
      const table = tableOf(feed);
      expect((await setUpFactTable(here.warehouse, table, never)).length).toBe(table.latest === null ? 1 : 2);
      expect(await setUpFactTable(here.warehouse, table, never)).toEqual([]);
    },
  );

  test('the files of sql/ from a client, twice', async () => {
    await using here = await place(engine);
    const files = ['01_database', '02_governance', '03_positions', '04_snapshots', '05_dimensions'];
    const text = files.map((name) => readFileSync(join(root, `sql/${name}.sql`), 'utf8')).join('\n');
    const mine = text.replaceAll('data_warehouse', here.database.database);
    for (const _ of [1, 2]) await here.sql.query(mine);
    const done = await setUpWarehouse(here.warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
    expect(done).toEqual([]);
  });
});
