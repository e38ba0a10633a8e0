// A database is made ready once, by whoever comes first; what is there is left, and whose lake it is counts.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { currentActor } from '../../src/config/actor.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import { feedOf } from '../config/helpers.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { contents, EVENTS, errorOf, NOW_MS, never, place, SUMMARY, summaryWith, tableOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const feeds = [feedOf(SUMMARY), feedOf(EVENTS)];
const setup = { lakeId: 'lake-1', feeds, nowMs: NOW_MS };
const actions = (list: readonly { action: string }[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { action } of list) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
};

describe.each(mysqlEngines)('%s', (engine) => {
  test('an empty database gets all tables, rows and views, each audited; a second run changes nothing', async () => {
    await using here = await place(engine);
    const { warehouse, rows } = here;
    const run = async () => [
      ...(await setUpWarehouse(warehouse, setup, never)),
      ...(await setUpFactTable(warehouse, tableOf(SUMMARY), never)),
      ...(await setUpFactTable(warehouse, tableOf(EVENTS), never)),
    ];
    const done = await run();
    expect(actions(done)).toEqual({ table_created: 10 + 3, feed_registered: 2, policy_registered: 2, view_created: 1 });
    const audited = await rows('select action, resource, performed_by, actor from audit_log order by audit_id');
    expect(audited.map(({ action, resource }) => `${action} ${resource}`).sort()).toEqual(
      done.map(({ action, resource }) => `${action} ${resource}`).sort(),
    );
    expect(audited[0]).toMatchObject({ performed_by: 1 });
    expect(audited[0]?.['actor']).toBe(currentActor());
    const tables = await rows('select table_name as name from information_schema.tables where table_schema = database()');
    expect(tables.map(({ name }) => name).sort()).toEqual(
      [
        ...['lake_identity', 'feed_registry', 'data_retention_policies', 'audit_log', 'feed_permissions', 'lake_positions'],
        ...['lake_gaps', 'lake_snapshots', 'lake_tombstones', 'lake_dead_letters'],
        ...['fact_summary', 'fact_summary_latest', 'dim_users', 'fact_events'],
      ].sort(),
    );
    const [registered] = await rows("select * from feed_registry where feed_name = 'summary'");
    expect(registered).toMatchObject({ feed_type: 'table', kafka_topic: 'summary', mysql_table: 'fact_summary', created_by: 1 });
    const before = await contents(here);
    expect(await run()).toEqual([]);
    expect(await contents(here)).toBe(before);
  });

  test('a feed that comes later is registered; a row that differs is left as it is', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, { ...setup, feeds: [feedOf(SUMMARY)] }, never);
    await here.sql.query("update feed_registry set kafka_topic = 'mine'");
    const done = await setUpWarehouse(here.warehouse, setup, never);
    expect(actions(done)).toEqual({ feed_registered: 1, policy_registered: 1 });
    const topics = await here.rows('select feed_name, kafka_topic from feed_registry order by 1');
    expect(topics.map(({ kafka_topic }) => kafka_topic)).toEqual(['events', 'mine']);
  });

  test('a database of another lake is refused before anything is touched', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, setup, never);
    await here.sql.query('drop table lake_gaps');
    const before = await contents(here);
    const error = await errorOf(setUpWarehouse(here.warehouse, { ...setup, lakeId: 'lake-2' }, never));
    expect([error.code, error.message]).toEqual([
      'warehouse_other_lake',
      'the database belongs to the lake lake-1, not to this one (lake-2)',
    ]);
    expect(await contents(here)).toBe(before);
  });

  test('two set-ups at once make everything once, and audit it once', async () => {
    await using here = await place(engine);
    const both = [here.warehouse, await here.open()].map(async (warehouse) => [
      ...(await setUpWarehouse(warehouse, setup, never)),
      ...(await setUpFactTable(warehouse, tableOf(SUMMARY), never)),
    ]);
    const done = (await Promise.all(both)).flat();
    expect(actions(done)).toEqual({ table_created: 10 + 2, feed_registered: 2, policy_registered: 2, view_created: 1 });
    expect(await here.rows('select count(*) as n from audit_log')).toEqual([{ n: done.length }] as never);
    const wider = summaryWith({ a: 'BIGINT', b: 'VARCHAR' });
    const open = [here.warehouse, await here.open()];
    const added = (await Promise.all(open.map((warehouse) => setUpFactTable(warehouse, tableOf(wider), never)))).flat();
    expect(actions(added)).toMatchObject({ column_added: 2 });
  });

  test('a new field is added at the end, audited with its type, and seen in the view', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, setup, never);
    const narrow = summaryWith({ a: 'BIGINT' });
    await setUpFactTable(here.warehouse, tableOf(narrow), never);
    await here.sql.query(
      "insert into fact_summary (user_id, a, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp) values ('u', 1, '2025-01-28', 1, repeat('h', 32), 0, 0, '2025-01-28')",
    );
    await here.sql.query(
      "insert into lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms) values ('summary', '2025-01-28', 1, 'open', 0)",
    );
    const wide = summaryWith({ a: 'BIGINT', b: 'DECIMAL(15,2)' }, { dimensions: [{ table: 'dim_users', key: 'user_id' }] });
    const done = await setUpFactTable(here.warehouse, tableOf(wide), never);
    expect(done.map(({ action, resource }) => `${action} ${resource}`)).toEqual([
      'column_added fact_summary.b',
      'table_created dim_users',
      'view_replaced fact_summary_latest',
    ]);
    const [audited] = await here.rows("select * from audit_log where action = 'column_added'");
    expect(audited).toMatchObject({ feed_name: 'summary', resource: 'fact_summary.b' });
    expect(JSON.stringify(audited?.['details'])).toContain('DECIMAL(15,2)');
    expect(await here.rows('select user_id, a, b from fact_summary_latest')).toEqual([{ user_id: 'u', a: 1, b: null }] as never);
    expect(await setUpFactTable(here.warehouse, tableOf(wide), never)).toEqual([]);
  });

  test('two feeds share a dimension: each adds the attributes it brings, and leaves those of the other', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, setup, never);
    const feed = (name: string, attribute: string) =>
      tableOf({
        ...summaryWith(
          { a: 'BIGINT', b: 'VARCHAR' },
          { dimensions: [{ table: 'dim_users', key: 'user_id', attributes: [attribute] }] },
        ),
        feed_name: name,
      });
    await setUpFactTable(here.warehouse, feed('one', 'a'), never);
    const done = await setUpFactTable(here.warehouse, feed('two', 'b'), never);
    expect(done.map(({ action, resource }) => `${action} ${resource}`)).toContain('column_added dim_users.b');
    expect(await setUpFactTable(here.warehouse, feed('one', 'a'), never)).toEqual([]);
  });

  test('times from the year 1 to the year 9999 fit, to the microsecond', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, setup, never);
    await setUpFactTable(here.warehouse, tableOf(EVENTS), never);
    const times = ['0001-01-01 00:00:00.000000', '1969-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999'];
    for (const [offset, at] of times.entries()) {
      const text = 'INSERT INTO fact_events (at, kafka_partition, kafka_offset, kafka_timestamp) VALUES (?, 0, ?, ?)';
      await here.warehouse.run({ text, values: [at, offset, at] }, never);
    }
    const rows = await here.warehouse.run(
      { text: 'SELECT at, kafka_timestamp FROM fact_events ORDER BY kafka_offset', values: [] },
      never,
    );
    expect(rows.map((row) => [row['at'], row['kafka_timestamp']])).toEqual(times.map((at) => [at, at]));
  });

  test('the view shows the snapshot that is named as open, whatever rows there are', async () => {
    await using here = await place(engine);
    await setUpWarehouse(here.warehouse, setup, never);
    await setUpFactTable(here.warehouse, tableOf(summaryWith({ a: 'BIGINT' })), never);
    for (const version of [1, 2, 3]) {
      await here.sql.query(
        `insert into fact_summary (user_id, a, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp) values ('u', ${version}, '2025-01-28', ${version}, repeat('h', 32), 0, 0, '2025-01-28')`,
      );
      const state = ['', 'sealed', 'open', 'opening'][version];
      await here.sql.query(
        `insert into lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms) values ('summary', '2025-01-28', ${version}, '${state}', 0)`,
      );
    }
    expect(await here.rows('select a from fact_summary_latest')).toEqual([{ a: 2 }] as never);
    const second = here.sql.query("update lake_snapshots set state = 'open' where snapshot_version = 3");
    expect(
      await second.then(
        () => 'two open',
        (error: { errno: number }) => error.errno,
      ),
    ).toBe(1062);
  });

  test('the schema of an inferred feed is copied to the registry when it is known, once', async () => {
    await using here = await place(engine);
    const inferred = feedOf({ ...EVENTS, event_time: null, schema: null });
    await setUpWarehouse(here.warehouse, { ...setup, feeds: [inferred] }, never);
    const pinned = tableOf(EVENTS);
    const done = await setUpFactTable(here.warehouse, pinned, never);
    expect(actions(done)).toEqual({ table_created: 1, schema_pinned: 1 });
    const [row] = await here.rows('select cast(schema_definition as char) as text from feed_registry');
    expect(row?.['text']).toContain('STRUCT(a VARCHAR)');
    expect(await setUpFactTable(here.warehouse, pinned, never)).toEqual([]);
  });

  test("the users' own registry gets the columns it lacks, and keeps its own", async () => {
    await using here = await place(engine);
    await here.sql.query(
      'create table feed_registry (id int auto_increment primary key, feed_name varchar(255) not null, feed_type varchar(50), owner varchar(50))',
    );
    await here.sql.query("insert into feed_registry (feed_name, owner) values ('events', 'ann')");
    const done = await setUpWarehouse(here.warehouse, setup, never);
    expect(actions(done)).toMatchObject({ table_created: 9, feed_registered: 1, policy_registered: 2 });
    expect(done.some(({ resource }) => resource === 'feed_registry.kafka_topic')).toBe(true);
    expect(await here.rows('select feed_name, owner from feed_registry order by 1')).toEqual([
      { feed_name: 'events', owner: 'ann' },
      { feed_name: 'summary', owner: null },
    ] as never);
    expect(await setUpWarehouse(here.warehouse, setup, never)).toEqual([]);
  });

  test('a missing grant is told with the GRANT to run, which is enough', async () => {
    await using here = await place(engine);
    const user = `lake_${here.database.database.slice(-12)}`;
    await here.sql.query(`create user '${user}'@'%' identified by 'secret'`);
    await here.sql.query(`grant select, insert on ${here.database.database}.* to '${user}'@'%'`);
    try {
      const warehouse = await here.open(user, 'secret');
      const error = await errorOf(setUpWarehouse(warehouse, setup, never));
      expect(error.code).toBe('warehouse_refused');
      expect(error.message).toMatch(/a grant is missing: CREATE command denied .*\(1142\)/);
      const grant = error.todo.slice(error.todo.indexOf('GRANT'));
      expect(grant).toContain(`TO '${user}'@'%';`);
      await here.sql.query(grant);
      const again = await here.open(user, 'secret');
      await setUpWarehouse(again, setup, never);
      await setUpFactTable(again, tableOf(SUMMARY), never);
      await setUpFactTable(again, tableOf({ ...SUMMARY, ...summaryWith({ more: 'BIGINT', updated_at: 'TIMESTAMP' }) }), never);
    } finally {
      await here.sql.query(`drop user '${user}'@'%'`);
    }
  });
});
