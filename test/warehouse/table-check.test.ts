// Tables that are there: each difference is told, with an ALTER after which there is none, and which keeps what the rows hold.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readTable } from '../../src/warehouse/found-table.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import { checkTable } from '../../src/warehouse/table-check.ts';
import { feedOf } from '../config/helpers.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { EVENTS, errorOf, NOW_MS, never, place, SUMMARY, summaryWith, tableOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const FEED = summaryWith({
  name: 'VARCHAR(100)',
  text: 'VARCHAR',
  count: 'BIGINT',
  small: 'INTEGER',
  amount: 'DECIMAL(15,2)',
  price: 'DOUBLE',
  active: 'BOOLEAN',
  born: 'DATE',
  at: 'TIMESTAMP',
  tags: 'VARCHAR[]',
  raw: 'BLOB',
});
const TABLE = tableOf(FEED);

/** Changes to a table as lake makes it, and what is said of them. */
const refused: readonly (readonly [change: string, said: RegExp])[] = [
  ['modify id int auto_increment', /column id is int(\(11\))?, narrower than BIGINT/],
  ['modify id int auto_increment, drop primary key, add primary key (id, snapshot_date)', /column id is int/],
  ['modify id bigint', /column id is not AUTO_INCREMENT/],
  ['modify id bigint, drop primary key', /id is not the primary key/],
  ['drop column id', /column id is missing/],
  ['change id fact_id int auto_increment', /column id is missing/],
  ['modify id bigint, drop primary key, add primary key (user_id)', /the primary key on \(user_id\) would make an upsert/],
  ['modify name varchar(99)', /column name is varchar\(99\), narrower than VARCHAR\(100\)/],
  ['modify name tinytext', /column name is tinytext, narrower/],
  ['modify name char(100)', /column name is char\(100\), which cuts spaces at the end/],
  ['modify name varchar(100) character set latin1', /column name has the character set latin1, not utf8mb4/],
  ['modify name varchar(100) not null', /column name is NOT NULL, but a message may lack the field/],
  ['modify user_id varchar(254)', /column user_id is varchar\(254\), narrower/],
  ['modify text varchar(255)', /column text is varchar\(255\), narrower than LONGTEXT/],
  ['modify text mediumtext', /column text is mediumtext, narrower/],
  ['modify count int', /column count is int(\(11\))?, narrower than BIGINT/],
  ['modify count bigint unsigned', /column count is bigint(\(20\))? unsigned, which cannot hold every value of BIGINT/],
  ['modify count varchar(30)', /column count is varchar\(30\), which cannot hold every value of BIGINT/],
  ['modify count decimal(18,0)', /column count is decimal\(18,0\), which cannot/],
  ['modify small mediumint', /column small is mediumint(\(9\))?, narrower than INT/],
  ['modify amount decimal(14,2)', /column amount is decimal\(14,2\), narrower than DECIMAL\(15,2\)/],
  ['modify amount decimal(15,4)', /column amount is decimal\(15,4\), narrower than DECIMAL\(17,4\)/],
  ['modify amount double', /column amount is double, which cannot/],
  ['modify price float', /column price is float, narrower than DOUBLE/],
  ['modify active char(1)', /column active is char\(1\)/],
  ['modify born datetime', /column born is datetime, which cannot/],
  ['modify at datetime(3)', /column at is datetime\(3\), narrower than DATETIME\(6\)/],
  ['modify at timestamp(6) null', /column at is timestamp\(6\), which holds the years 1970 to 2037 only/],
  ['modify tags text', /column tags is text, narrower/],
  ['modify raw blob', /column raw is blob, narrower/],
  ['modify key_hash binary(20)', /column key_hash is binary\(20\)/],
  ['modify kafka_offset int', /column kafka_offset is int(\(11\))?, narrower/],
  ['modify kafka_timestamp datetime', /column kafka_timestamp is datetime, narrower/],
  ['drop column kafka_partition', /column kafka_partition is missing/],
  ['drop column created_at', /column created_at is missing/],
  ['drop column user_id', /column user_id is missing/],
  ['drop index uk_key_snapshot', /no unique key is on \(key_hash, snapshot_date, snapshot_version\)/],
  ['drop index uk_key_snapshot, drop column key_hash', /no unique key is on \(key_hash, snapshot_date, snapshot_version\)/],
  ['drop index uk_key_snapshot, add unique key uk_key_snapshot (key_hash)', /the unique key uk_key_snapshot on \(key_hash\)/],
  [
    'drop index uk_key_snapshot, add unique key uk_key_snapshot (key_hash(16), snapshot_date, snapshot_version)',
    /no unique key is on/,
  ],
  [
    'modify user_id varchar(255) collate utf8mb4_unicode_ci not null, add unique key uk_user (user_id, snapshot_date, snapshot_version)',
    /the unique key uk_user on \(user_id, snapshot_date, snapshot_version\) compares user_id by utf8mb4_unicode_ci/,
  ],
  ['add unique key uk_count (count)', /the unique key uk_count on \(count\) would make an upsert change another row/],
  ["add column mine int not null comment 'it''s mine'", /column mine is NOT NULL without a default, and is no field of the feed/],
  ['drop column count, add column count bigint as (small + 1) virtual', /column count is generated/],
  ['drop column count, add column count bigint as (small + 1) stored', /column count is generated/],
  ['engine = MyISAM', /its engine is MyISAM, which has no transactions/],
  ['default character set latin1', /its character set is that of latin1_swedish_ci, not utf8mb4/],
];

const accepted: readonly string[] = [
  'modify id bigint unsigned auto_increment',
  'drop primary key, add primary key (id, snapshot_date)',
  'modify user_id varchar(300) collate utf8mb4_unicode_ci not null',
  'modify name varchar(200)',
  'modify name text',
  'modify name longtext',
  'modify small bigint',
  'modify small decimal(12,2)',
  'modify count decimal(19,0)',
  'modify amount decimal(20,4)',
  'modify active int',
  'modify created_at timestamp null, modify updated_at timestamp null',
  'modify key_hash binary(32) null, modify kafka_partition int null',
  'add column mine int',
  "add column mine varchar(9) not null default ''",
  'add column mine bigint as (count + 1) virtual',
  'add unique key uk_mine (count, id)',
  'drop index uk_key_snapshot, add unique key other_name (snapshot_version, snapshot_date, key_hash)',
  'drop index idx_user_id',
  'add column after_all timestamp not null default current_timestamp',
];

describe.each(mysqlEngines)('%s', (engine) => {
  test('each difference is told, and the ALTER takes it away', async () => {
    await using here = await place(engine);
    const { warehouse, sql } = here;
    const read = async () => {
      const found = await readTable(warehouse, TABLE.name, never);
      if (found === null) throw new Error('no table');
      return checkTable(TABLE, found);
    };
    await setUpWarehouse(warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
    const onlyMysql = [['add unique key uk_lower ((lower(user_id)))', /the unique key uk_lower on \(an expression\)/]] as const;
    for (const [change, said] of [...refused, ...(engine === 'mysql' ? onlyMysql : [])]) {
      await sql.query(`drop table if exists ${TABLE.name}`);
      await setUpFactTable(warehouse, TABLE, never);
      if (change === 'engine = MyISAM') await sql.query(`alter table ${TABLE.name} drop index idx_user_id`);
      await sql.query(`alter table ${TABLE.name} ${change}`).catch((error: Error) => {
        throw new Error(`${change}: ${error.message}`);
      });
      const verdict = await read();
      if (verdict.kind !== 'differs') throw new Error(`not refused: ${change}`);
      expect(`${change}: ${verdict.problems.join('\n')}`).toMatch(said);
      await sql.query(verdict.alter ?? '').catch((error: Error) => {
        throw new Error(`${change}: ${verdict.alter}: ${error.message}`);
      });
      expect([change, await read()]).toEqual([change, { kind: 'usable', missing: [] }]);
    }
  });

  test('what is wider, or the user’s own and harmless, is left alone', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
    for (const change of accepted) {
      await here.sql.query(`drop table if exists ${TABLE.name}`);
      await setUpFactTable(here.warehouse, TABLE, never);
      await here.sql.query(`alter table ${TABLE.name} ${change}`);
      expect([change, await setUpFactTable(here.warehouse, TABLE, never)]).toEqual([change, []]);
    }
  });

  test('a table as people made it for the Python programs becomes one, with its rows, by one ALTER', async () => {
    await using here = await place(engine);
    const { sql, warehouse, rows } = here;
    await setUpWarehouse(warehouse, { lakeId: 'l', feeds: [feedOf(SUMMARY)], nowMs: NOW_MS }, never);
    await sql.query(`create table fact_summary (
      id int auto_increment primary key, user_id varchar(255) not null, transaction_count int, total_amount decimal(12,4),
      updated_at timestamp null, snapshot_date date not null, snapshot_version int not null,
      created_at timestamp default current_timestamp,
      unique key unique_user (user_id, snapshot_date, snapshot_version), index idx_user_id (user_id)
    ) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_unicode_ci`);
    await sql.query("set time_zone = '+00:00'");
    await sql.query(
      "insert into fact_summary (user_id, transaction_count, total_amount, updated_at, snapshot_date, snapshot_version) values ('u1', 7, 1.2345, '2024-05-05 10:00:00', '2024-05-05', 1)",
    );
    await sql.query("set time_zone = '+03:00'");
    const error = await errorOf(setUpFactTable(warehouse, tableOf(SUMMARY), never));
    expect(error.code).toBe('warehouse_table_differs');
    expect(error.message.split('\n').length).toBeGreaterThan(8);
    expect(error.message).toContain("to which 'user1', 'USER1' and 'usér1' are one");
    expect(await rows("show tables like 'dim_users'")).toEqual([]);
    await sql.query(error.todo.slice(error.todo.indexOf('\n')));
    const done = await setUpFactTable(warehouse, tableOf(SUMMARY), never);
    expect(done.map(({ action, resource }) => `${action} ${resource}`)).toEqual([
      'table_created dim_users',
      'view_created fact_summary_latest',
    ]);
    const [row] = await rows(
      'select id, transaction_count, total_amount, cast(updated_at as char) as at, key_hash from fact_summary',
    );
    expect(row).toMatchObject({
      id: 1,
      transaction_count: 7,
      total_amount: '1.2345',
      at: '2024-05-05 10:00:00.000000',
      key_hash: null,
    });
  });

  test('a view or a table in the way is told at once with all other problems, and nothing is made', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
    await here.sql.query('create view dim_users as select 1 as a');
    await here.sql.query('create table fact_summary_latest (a int)');
    const error = await errorOf(setUpFactTable(here.warehouse, tableOf(SUMMARY), never));
    expect(error.message).toContain('table dim_users: is a view');
    expect(error.message).toContain('table fact_summary_latest: is a table');
    expect(await here.rows("show tables like 'fact_summary'")).toEqual([]);
  });

  test("a stream's table is one by coordinates", async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, { lakeId: 'l', feeds: [], nowMs: NOW_MS }, never);
    await setUpFactTable(here.warehouse, tableOf(EVENTS), never);
    await here.sql.query('alter table fact_events drop index uk_kafka, add unique key mine (at)');
    const error = await errorOf(setUpFactTable(here.warehouse, tableOf(EVENTS), never));
    expect(error.message).toContain('no unique key is on (kafka_partition, kafka_offset)');
    expect(error.message).toContain('the unique key mine on (at)');
    await here.sql.query(error.todo.slice(error.todo.indexOf('\n')));
    expect(await setUpFactTable(here.warehouse, tableOf(EVENTS), never)).toEqual([]);
    const [row] = await here.rows(
      "select count(*) as n from information_schema.statistics where table_schema = database() and index_name = 'mine'",
    );
    expect(row?.['n']).toBe(1);
  });
});
