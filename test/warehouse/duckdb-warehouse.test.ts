// The embedded warehouse beyond what all warehouses promise: the copy for readers and when it is made, what a kill leaves, what its
// tables may become.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { LakeError } from '../../src/errors.ts';
import type { Log } from '../../src/log.ts';
import type { FieldType } from '../../src/model/feed.ts';
import { openDuckdbCopy } from '../../src/warehouse/duckdb-copy.ts';
import { duckdbDialect } from '../../src/warehouse/duckdb-dialect.ts';
import { openDuckdbWarehouse } from '../../src/warehouse/duckdb-warehouse.ts';
import { factTable } from '../../src/warehouse/fact-table.ts';
import { IDENTITY_TABLES, OTHER_TABLES } from '../../src/warehouse/own-tables.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import { type Warehouse, WarehouseFailure } from '../../src/warehouse/warehouse.ts';
import { feedOf } from '../config/helpers.ts';
import { embeddedRows } from '../helpers/embedded.ts';
import { tempDir } from '../helpers/services.ts';
import { isRoot, smallDisk } from '../helpers/small-disk.ts';
import { until } from '../helpers/until.ts';
import { errorOf, never, SUMMARY, summaryWith, typed } from './setup-helpers.ts';

setDefaultTimeout(300_000);

type Options = { readonly everyMs?: number; readonly nowMs?: () => number };

async function place() {
  const folder = await tempDir();
  const [statePath, path] = [join(folder.path, 'engine/state.duckdb'), join(folder.path, 'readers/warehouse.duckdb')];
  const events: string[] = [];
  const tell = (event: string): void => void events.push(event);
  const log: Log = { error: tell, warn: tell, info: tell, debug: tell };
  return {
    ...{ statePath, path, folder: folder.path, events },
    publishedCount: () => events.filter((event) => event === 'warehouse_published').length,
    open: ({ everyMs = 3_600_000, nowMs = Date.now }: Options = {}) =>
      openDuckdbWarehouse({ statePath, path, publishEveryMs: everyMs, nowMs, log }),
    rows: (text: string) => embeddedRows(path, text),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const run = (warehouse: Warehouse, text: string) => warehouse.run({ text, values: [] }, never);
const change = (warehouse: Warehouse, text: string) => warehouse.transaction((tx) => tx.change({ text, values: [] }), never);

test('the copy has what was committed, its views, and nothing that is under way', async () => {
  await using at = await place();
  await using warehouse = await at.open({ everyMs: 1 });
  await run(warehouse, 'CREATE TABLE t (id INTEGER UNIQUE, v VARCHAR)');
  await run(warehouse, 'CREATE VIEW t_latest AS SELECT v FROM t');
  await change(warehouse, `INSERT INTO t VALUES (1, 'one')`);
  await until(() => at.publishedCount() > 0);
  await warehouse.transaction(async (tx) => {
    await tx.change({ text: `INSERT INTO t VALUES (2, 'two')`, values: [] });
    expect(await at.rows('SELECT * FROM t_latest')).toEqual([{ v: 'one' }]);
  }, never);
  await until(async () => (await at.rows('SELECT * FROM t')).length === 2);
});

test('a copy is made at once, then no sooner than asked for, and at the end', async () => {
  await using at = await place();
  // By this clock copies take no time, so that only the interval counts.
  const warehouse = await at.open({ nowMs: () => 0 });
  await run(warehouse, 'CREATE TABLE t (id INTEGER)');
  await change(warehouse, 'INSERT INTO t VALUES (0)');
  await until(() => at.publishedCount() === 1);
  for (let id = 1; id < 50; id++) await change(warehouse, `INSERT INTO t VALUES (${id})`);
  expect(at.publishedCount()).toBe(1);
  await warehouse[Symbol.asyncDispose]();
  expect(at.publishedCount()).toBe(2);
  expect(await at.rows('SELECT count(*) AS n FROM t')).toEqual([{ n: '50' }]);
});

test('no more than a tenth of the time goes into copies', async () => {
  await using at = await place();
  let clockMs = 0;
  // By this clock a copy takes a second, and what is between two copies takes none.
  const nowMs = (): number => {
    if (at.events.at(-1) === 'copying') clockMs += 1_000;
    return clockMs;
  };
  const warehouse = await at.open({ everyMs: 0, nowMs });
  await run(warehouse, 'CREATE TABLE t (id INTEGER)');
  at.events.push('copying');
  await change(warehouse, 'INSERT INTO t VALUES (0)');
  await until(() => at.publishedCount() === 1);
  for (let id = 1; id < 50; id++) await change(warehouse, `INSERT INTO t VALUES (${id})`);
  expect(at.publishedCount()).toBe(1);
  await warehouse[Symbol.asyncDispose]();
});

test('between the steps of a set-up no copy is made', async () => {
  await using at = await place();
  await using warehouse = await at.open({ everyMs: 0 });
  for (let id = 0; id < 20; id++) await run(warehouse, `CREATE TABLE t${id} (id INTEGER)`);
  expect(at.publishedCount()).toBe(0);
  await warehouse.transaction((tx) => tx.rows({ text: 'SELECT * FROM t0', values: [] }), never);
  await until(() => at.publishedCount() === 1);
  expect((await at.rows('SELECT table_name FROM information_schema.tables')).length).toBe(20);
});

test('a run that changes nothing leaves the copy as it is; one that is gone or old is made again', async () => {
  await using at = await place();
  const again = async (): Promise<number> => {
    await using warehouse = await at.open();
    await run(warehouse, 'SELECT 1');
    return at.publishedCount();
  };
  const warehouse = await at.open();
  await run(warehouse, 'CREATE TABLE t (id INTEGER)');
  await warehouse[Symbol.asyncDispose]();
  expect(at.publishedCount()).toBe(1);
  await again();
  expect(at.publishedCount()).toBe(1);
  await rm(at.path);
  await again();
  expect(at.publishedCount()).toBe(2);
  // As after a kill between a commit and its copy.
  await utimes(at.path, new Date(0), new Date(0));
  await again();
  expect([at.publishedCount(), await at.rows('SELECT * FROM t')]).toEqual([3, []]);
});

test('what a kill left of a copy is taken away, and nothing is left beside one', async () => {
  await using at = await place();
  await mkdir(join(at.folder, 'readers'));
  writeFileSync(`${at.path}.partial`, 'half a copy');
  writeFileSync(`${at.path}.partial.wal`, 'and its log');
  await using warehouse = await at.open({ everyMs: 0 });
  expect([existsSync(`${at.path}.partial`), existsSync(`${at.path}.partial.wal`)]).toEqual([false, false]);
  await change(warehouse, 'CREATE TABLE t AS SELECT 1 AS one');
  await until(() => at.publishedCount() === 1);
  expect([existsSync(`${at.path}.partial`), existsSync(`${at.path}.wal`)]).toEqual([false, false]);
  expect(statSync(at.path).mode & 0o777).toBe(0o444);
});

test('a copy that cannot be written is told, tried again, and stops no commit; at the end it is an error', async () => {
  await using at = await place();
  const warehouse = await at.open({ everyMs: 0 });
  await mkdir(at.path);
  writeFileSync(join(at.path, 'in the way'), '');
  await change(warehouse, 'CREATE TABLE t AS SELECT 1 AS one');
  await until(() => at.events.filter((event) => event === 'warehouse_not_published').length > 1);
  await change(warehouse, 'INSERT INTO t VALUES (2)');
  const error = await errorOf(Promise.resolve(warehouse[Symbol.asyncDispose]()));
  expect([error.code, error.where.path]).toEqual(['warehouse_failed', at.path]);
  await rm(at.path, { recursive: true });
  await (await at.open())[Symbol.asyncDispose]();
  expect(await at.rows('SELECT count(*) AS n FROM t')).toEqual([{ n: '2' }]);
});

test('a database that DuckDB gave up is opened again, with what was committed', async () => {
  await using at = await place();
  await using warehouse = await at.open();
  await run(warehouse, 'CREATE TABLE t (id INTEGER)');
  await change(warehouse, 'INSERT INTO t VALUES (1)');
  // DuckDB's own switch for its tests: the next checkpoint ends as by a power failure, and so does the COMMIT that begins it.
  await run(warehouse, "SET debug_checkpoint_abort = 'before_header'");
  await run(warehouse, "SET checkpoint_threshold = '1KB'");
  const failure = await change(warehouse, 'INSERT INTO t FROM range(2, 5000)').catch((error: unknown) => error);
  expect(failure instanceof WarehouseFailure && failure.class).toBe('in_doubt');
  const there = await run(warehouse, 'SELECT max(id) AS id FROM t');
  expect([1, 4_999]).toContain(Number(there[0]?.['id']));
  await change(warehouse, 'INSERT INTO t VALUES (5000)');
  expect(await run(warehouse, 'SELECT max(id) AS id FROM t')).toEqual([{ id: 5_000 }]);
  await run(warehouse, "SET debug_checkpoint_abort = 'before_header'");
  const outside = await run(warehouse, 'CHECKPOINT').catch((error: unknown) => error);
  expect(outside instanceof WarehouseFailure && outside.class).toBe('wait');
  await change(warehouse, 'INSERT INTO t VALUES (5001)');
  expect(await run(warehouse, 'SELECT max(id) AS id FROM t')).toEqual([{ id: 5_001 }]);
});

test('one that a read finds given up is opened again, and reads that waited for their turn meanwhile fail as what passes', async () => {
  await using at = await place();
  await using warehouse = await at.open();
  await run(warehouse, 'CREATE TABLE t (id INTEGER)');
  await run(warehouse, "SET debug_checkpoint_abort = 'before_header'");
  await run(warehouse, "SET checkpoint_threshold = '1KB'");
  // Goes to the connection of the reads, and is no read: its COMMIT begins the checkpoint.
  const first = run(warehouse, 'WITH r AS (FROM range(5000)) INSERT INTO t FROM r').catch((error: unknown) => error);
  const waiting = run(warehouse, 'SELECT 1 AS one').catch((error: unknown) => error);
  for (const failure of [await first, await waiting]) expect(failure instanceof WarehouseFailure && failure.class).toBe('wait');
  expect(await run(warehouse, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

// A limit on the size of files, which others meet, would end the test itself.
if (isRoot)
  test('a full disk is waited out: what was answered as committed is there, and what was not is not', async () => {
    await using folder = await tempDir();
    const disk = join(folder.path, 'disk');
    using space = smallDisk(disk, 24 * 1024 * 1024);
    const [statePath, path] = [join(disk, 'engine/state.duckdb'), join(folder.path, 'warehouse.duckdb')];
    const log: Log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
    const warehouse = await openDuckdbWarehouse({ statePath, path, publishEveryMs: 0, nowMs: Date.now, log });
    await run(warehouse, 'CREATE TABLE t (batch INTEGER, v VARCHAR)');
    const rows = `FROM range(4000) r(i)`;
    const insert = (batch: number) => change(warehouse, `INSERT INTO t SELECT ${batch}, sha256(i || '/${batch}') ${rows}`);
    const batches = async () =>
      (await run(warehouse, 'SELECT batch, CAST(count(*) AS INTEGER) AS n FROM t GROUP BY 1 ORDER BY 1')).map((row) => row['n']);
    let batch = 0;
    for (; batch < 3; batch++) await insert(batch);
    for (const spare of [0, 4_096, 100_000, 300_000]) {
      space.fill(spare);
      let failure: WarehouseFailure | null = null;
      for (; failure === null; batch++) {
        failure = await insert(batch).then(
          () => null,
          (error: unknown) => (error instanceof WarehouseFailure ? error : expect.unreachable(String(error))),
        );
        if (failure) break;
      }
      expect(['wait', 'in_doubt']).toContain(failure?.class ?? '');
      // What waits is tried again: sooner or later nothing of it is there, and then all of it.
      await insert(batch).catch(() => undefined);
      space.empty();
      const there = (await run(warehouse, `SELECT 1 AS one FROM t WHERE batch = ${batch} LIMIT 1`)).length === 1;
      if (!there) await insert(batch);
      batch++;
      expect(await batches()).toEqual(Array(batch).fill(4_000));
    }
    await warehouse[Symbol.asyncDispose]();
    expect(await embeddedRows(path, 'SELECT CAST(count(*) AS INTEGER) AS n FROM t')).toEqual([{ n: batch * 4_000 }]);
  });

test('a file that is no database is refused by name and left alone', async () => {
  await using at = await place();
  await mkdir(join(at.folder, 'engine'));
  writeFileSync(at.statePath, 'x'.repeat(100_000));
  const error: LakeError = await errorOf(at.open());
  expect([error.code, error.where.path]).toEqual(['warehouse_failed', at.statePath]);
  expect(readFileSync(at.statePath, 'utf8')).toBe('x'.repeat(100_000));
});

test('its own tables have the columns of those in MySQL, but for the one that keeps two from being open', () => {
  const shape = (tables: typeof OTHER_TABLES) =>
    Object.fromEntries(tables.map(({ name, columns }) => [name, columns.map((column) => column.name)]));
  const embedded = shape([...duckdbDialect.identityTables, ...duckdbDialect.otherTables]);
  const mysql = shape([...IDENTITY_TABLES, ...OTHER_TABLES]);
  mysql['lake_snapshots'] = (mysql['lake_snapshots'] ?? []).filter((name) => name !== 'open_feed');
  expect(embedded).toEqual(mysql);
});

const withFields = (fields: Record<string, string>) => {
  const feed = feedOf(summaryWith(fields));
  return factTable(feed, typed(feed), duckdbDialect);
};

test('a set-up done twice changes nothing more; columns are added and numbers widened with all rows kept, anything else is refused', async () => {
  await using at = await place();
  await using warehouse = await at.open();
  const setup = { lakeId: 'l1', feeds: [feedOf(SUMMARY)], nowMs: 0 };
  expect((await setUpWarehouse(warehouse, setup, never)).length).toBeGreaterThan(8);
  expect(await setUpWarehouse(warehouse, setup, never)).toEqual([]);
  const first = withFields({ n: 'INTEGER', m: 'BIGINT', d: 'DECIMAL(5,2)', t: 'VARCHAR' });
  const made = await setUpFactTable(warehouse, first, never);
  expect(made.map(({ action }) => action)).toEqual(['table_created', 'view_created']);
  expect(await setUpFactTable(warehouse, first, never)).toEqual([]);
  await change(
    warehouse,
    `INSERT INTO fact_summary (user_id, n, m, d, key_hash, snapshot_date, snapshot_version, kafka_partition, kafka_offset, kafka_timestamp)
      VALUES ('u', 2147483647, 9223372036854775807, 999.99, 'h', '2025-01-28', 1, 0, 0, '2025-01-28 00:00:00')`,
  );
  const wider = withFields({ n: 'BIGINT', m: 'DECIMAL(21,2)', d: 'DECIMAL(9,3)', t: 'VARCHAR', more: 'JSON' });
  const steps = await setUpFactTable(warehouse, wider, never);
  expect(steps.map(({ action, resource }) => `${action} ${resource}`)).toEqual([
    'column_added fact_summary.more',
    'column_widened fact_summary.n',
    'column_widened fact_summary.m',
    'column_widened fact_summary.d',
    'view_replaced fact_summary_latest',
  ]);
  expect(await setUpFactTable(warehouse, wider, never)).toEqual([]);
  expect(await run(warehouse, 'SELECT n, m, d, more FROM fact_summary')).toEqual([
    { n: '2147483647', m: '9223372036854775807.00', d: '999.990', more: null },
  ]);
  const refused: [Record<string, string>, RegExp][] = [
    [{ n: 'INTEGER' }, /column n is BIGINT, and cannot become INTEGER/],
    [{ m: 'DECIMAL(20,2)' }, /column m is DECIMAL\(21,2\), and cannot become DECIMAL\(20,2\)/],
    [{ d: 'DECIMAL(9,2)' }, /column d is DECIMAL\(9,3\), and cannot become DECIMAL\(9,2\)/],
    [{ d: 'DECIMAL(9,4)' }, /column d is DECIMAL\(9,3\), and cannot become DECIMAL\(9,4\)/],
    [{ t: 'BIGINT' }, /column t is VARCHAR, and cannot become BIGINT/],
  ];
  for (const [fields, words] of refused) {
    const error = await errorOf(setUpFactTable(warehouse, withFields(fields), never));
    expect([error.code, error.message]).toEqual(['warehouse_table_differs', expect.stringMatching(words)]);
  }
});

test('a newer row takes the place of an older one and the time of its change, an older one changes nothing', async () => {
  await using at = await place();
  await using warehouse = await at.open();
  const own = 'DEFAULT make_timestamp(0)';
  await run(
    warehouse,
    `CREATE TABLE t (k VARCHAR, v VARCHAR, p INTEGER, o BIGINT, created TIMESTAMP ${own}, updated TIMESTAMP ${own})`,
  );
  const parts = { table: 't', key: ['k'], fields: ['v'], order: ['p', 'o'], touch: ['updated'] };
  const insert = (...rows: string[][]) =>
    warehouse.transaction(
      (tx) => tx.insert({ table: 't', columns: ['k', 'v', 'p', 'o'], rows, tail: duckdbDialect.latestWins(parts) }),
      never,
    );
  const shown = async () =>
    (await run(warehouse, 'SELECT k, v, updated > created AS touched FROM t ORDER BY k')).map((row) =>
      Object.values(row).join(' '),
    );
  await insert(['a', 'first', '1', '5'], ['b', 'first', '1', '5']);
  await insert(['a', 'older', '0', '9'], ['b', 'same', '1', '5'], ['c', 'first', '0', '0']);
  expect(await shown()).toEqual(['a first 0', 'b first 0', 'c first 0']);
  await insert(['a', 'newer', '1', '6'], ['b', 'newer', '2', '0']);
  expect(await shown()).toEqual(['a newer 1', 'b newer 1', 'c first 0']);
});

test('every field type has a column that holds its values', async () => {
  await using at = await place();
  await using warehouse = await at.open();
  const cases: [FieldType, string][] = [
    [{ kind: 'varchar', charsMax: 3 }, 'longer than it says'],
    [{ kind: 'boolean' }, '1'],
    [{ kind: 'decimal', precision: 38, scale: 38 }, `0.${'9'.repeat(38)}`],
    [{ kind: 'timestamp' }, '9999-12-31 23:59:59.999999'],
    [{ kind: 'date' }, '0001-01-01'],
    [{ kind: 'double' }, '-0.1'],
    [{ kind: 'json' }, '{"b": 1e400,  "a":1, "a":2}'],
    [{ kind: 'list', item: { kind: 'bigint' } }, '[1,2]'],
  ];
  for (const [index, [type, value]] of cases.entries()) {
    await run(warehouse, `CREATE TABLE t${index} (v ${duckdbDialect.type(type, { key: false })})`);
    const insert = { table: `t${index}`, columns: ['v'], rows: [[value]], tail: '' };
    await warehouse.transaction((tx) => tx.insert(insert), never);
    const [row] = await run(warehouse, `SELECT v FROM t${index}`);
    expect(String(row?.['v'])).toBe(value);
  }
});

test('a look at the copy waits for nothing, changes nothing, and says when there is none', async () => {
  await using at = await place();
  expect((await errorOf(openDuckdbCopy(at.path))).code).toBe('warehouse_unreachable');
  const warehouse = await at.open();
  await change(warehouse, 'CREATE TABLE t AS SELECT 1 AS one');
  await warehouse[Symbol.asyncDispose]();
  await using copy = await openDuckdbCopy(at.path);
  expect(await run(copy, 'SELECT one FROM t')).toEqual([{ one: 1 }]);
  const refused = await run(copy, 'DELETE FROM t').catch((error: unknown) => String(error));
  expect(refused).toContain('read-only');
});
