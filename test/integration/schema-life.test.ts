// A schema that changes in feeds.json: columns more and wider types are taken up by files and fact tables, what would not hold the
// rows that are kept is refused, and two processes that know different schemas lose and double nothing.

import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, type FeedSpec, runLake, startLake, streamFeed } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { message, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

const NARROW = { id: 'INTEGER', name: 'VARCHAR(10)', amount: 'DECIMAL(6,2)', count: 'BIGINT' };
const WIDE = { count: 'DECIMAL(21,2)', id: 'BIGINT', name: 'VARCHAR(20)', amount: 'DECIMAL(12,3)', note: 'VARCHAR' };

const json = (id: number, value: Record<string, unknown>) =>
  message(id, { value: JSON.stringify({ id, ...value }), partition: id % 2 });

test.each(mysqlEngines)(
  'columns more and wider types reach files and fact table of %s; narrower ones are refused',
  async (engine) => {
    await using folder = await tempDir();
    await using database = await testMysql(engine);
    const kafka = await testKafka();
    const topic = await kafka.createTopic({ partitions: 2 });
    await using sent = await record(kafka, topic);
    const groupId = uniqueName('group');
    const write = (fields: Record<string, unknown>, more = {}) => {
      const feed: FeedSpec = { ...streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' }), ...more };
      const shared = { folder: folder.path, kafka, database, groupId };
      return warehouseSetup({ ...shared, feeds: [{ ...feed, schema: { fields } }] });
    };
    const narrow = { name: 'n123456789', amount: 1234.56, count: 7 };
    await sent.send(Array.from({ length: 50 }, (_, id) => json(id, narrow)));
    await drain(write(NARROW));

    const wide = { id: 2 ** 40, name: 'n1234567890123456789', amount: 123456789.125, count: 0.25, note: 'new' };
    await sent.send(Array.from({ length: 50 }, (_, id) => json(50 + id, { ...wide, id: wide.id + id })));
    const setup = write(WIDE);
    await drain(setup);
    const columns = await rowsOf(
      database,
      "select column_name as name, column_type as type from information_schema.columns where table_schema = database() and table_name = 'fact_orders'",
    );
    const typeOf = (name: string) =>
      String(columns.find((column) => column['name'] === name)?.['type']).replace(/^bigint\(\d+\)/, 'bigint');
    expect(['id', 'name', 'amount', 'count', 'note'].map((name) => (name === 'id' ? typeOf('id') : typeOf(name)))).toEqual([
      'bigint',
      'varchar(20)',
      'decimal(12,3)',
      'decimal(21,2)',
      'longtext',
    ]);
    const audited = await rowsOf(
      database,
      "select resource from audit_log where action in ('column_widened', 'column_added') order by 1",
    );
    expect(audited.map(({ resource }) => resource)).toEqual(
      ['amount', 'count', 'id', 'name', 'note'].map((name) => `fact_orders.${name}`),
    );
    const query =
      'SELECT count(*) AS n, count(note) AS notes, min(id) AS low, max(id) AS high, max(amount) AS amount FROM orders';
    const { stdout } = await runLake(setup, ['query', query, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      rows: [{ n: '100', notes: '50', low: '0', high: String(wide.id + 49), amount: '123456789.125' }],
    });
    const verified = await runLake(setup, ['verify', '--json']);
    expect([verified.code, verified.stdout]).toEqual([0, expect.any(String)]);

    const before = (await stateOf(setup.lakePath, 'orders')).version;
    const refused = await runLake(write({ ...WIDE, id: 'INTEGER', note: 'JSON', amount: undefined, sum: 'DECIMAL(12,3)' }), [
      'ingest',
      '--until-caught-up',
    ]);
    expect(refused.code).toBe(1);
    for (const said of [
      'field id was BIGINT and is now INTEGER, which is narrower',
      'field note was VARCHAR and is now JSON',
      '"from": "sum"',
    ])
      expect(refused.stderr).toContain(said);
    expect((await stateOf(setup.lakePath, 'orders')).version).toBe(before);

    // What feeds.json does not name is kept beside, in both.
    await sent.send([json(200, { ...narrow, plus: { deep: [1] }, more: '1' })]);
    const keeping = write(WIDE, { unknown_fields: 'keep' });
    await drain(keeping);
    const shown = JSON.parse((await runLake(keeping, ['feeds', 'show', 'orders', '--json'])).stdout);
    expect(shown.fields_unknown.map(({ field }: { field: string }) => field).sort()).toEqual(['more', 'plus']);
    const extra = '{"plus":{"deep":[1]},"more":"1"}';
    const [fact] = await rowsOf(database, 'select extra from fact_orders where extra is not null');
    const [row] = JSON.parse(
      (await runLake(keeping, ['query', 'SELECT extra::VARCHAR AS extra FROM orders WHERE extra IS NOT NULL', '--json'])).stdout,
    ).rows;
    expect([JSON.parse(String(fact?.['extra'])), JSON.parse(row.extra)]).toEqual([JSON.parse(extra), JSON.parse(extra)]);
    const kept = await runLake(keeping, ['verify', '--deep', '--json']);
    expect([kept.code, kept.stdout]).toEqual([0, expect.any(String)]);
  },
);

test('a table that lake made and that has no rows yet grows as well', async () => {
  await using folder = await tempDir();
  await using database = await testMysql('mysql');
  const kafka = await testKafka();
  const [topic, groupId] = [await kafka.createTopic(), uniqueName('group')];
  const write = (id: string) =>
    warehouseSetup({
      ...{ folder: folder.path, kafka, database, groupId },
      feeds: [
        { ...streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' }), schema: { fields: { id } } },
      ],
    });
  await drain(write('INTEGER'));
  await drain(write('BIGINT'));
  const widened = "select resource from audit_log where action = 'column_widened'";
  expect((await rowsOf(database, widened)).map(({ resource }) => resource)).toEqual(['fact_orders.id']);
});

test('a process that knows the older schema decodes again by the newer one, and an older feeds.json is refused', async () => {
  await using folder = await tempDir();
  await using database = await testMysql('mysql');
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  await using sent = await record(kafka, topic);
  const groupId = uniqueName('group');
  const write = (name: string, fields: Record<string, unknown>) =>
    warehouseSetup({
      ...{ folder: folder.path, kafka, database, groupId, name, batch: { batch_size: 500 } },
      feeds: [{ ...streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' }), schema: { fields } }],
    });
  const old = write('old.json', { id: 'INTEGER', text: 'VARCHAR(20)' });
  const newer = write('new.json', { id: 'BIGINT', text: 'VARCHAR', note: 'VARCHAR' });
  let next = 0;
  const send = (count: number) =>
    sent.send(Array.from({ length: count }, () => json(next, { text: `t${next}`, note: `n${next++}` })));
  await send(1_000);
  const first = startLake(old, ['ingest']);
  await first.event('batch_committed');
  await send(1_000);
  const second = startLake(newer, ['ingest']);
  // The warehouse takes it up when its pipeline has come as far.
  const taken = 'select count(*) as n, min(schema_version) as version from lake_positions';
  await until(async () => Number((await rowsOf(database, taken))[0]?.['version']) === 2, { timeoutMs: 180_000 });
  for (let round = 0; round < 5; round++) await send(400);
  const done = async () =>
    [...(await stateOf(old.lakePath, 'orders')).positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) ===
    next;
  await until(done, { timeoutMs: 180_000, what: 'all is in' });
  for (const lake of [first, second]) lake.kill('SIGTERM');
  expect([(await first.ended).code, (await second.ended).code]).toEqual([0, 0]);
  await drain(newer);
  const values = ({ value }: { value: string | Buffer | null }) => {
    const { id, text } = JSON.parse(String(value)) as { id: number; text: string };
    return { id: String(id), text };
  };
  await expectExactlyOnce(sent.messages, old.lakePath, 'orders', { kafka, topic, values });
  const [counts] = await rowsOf(database, 'select count(*) as n, count(distinct id) as ids from fact_orders');
  expect([Number(counts?.['n']), Number(counts?.['ids'])]).toEqual([next, next]);
  // Whoever took them: what was sent after the newer schema was pinned has its column.
  const late = 'count(*) AS n FROM orders WHERE id >= 2000 AND note IS NULL';
  expect(JSON.parse((await runLake(newer, ['query', `SELECT ${late}`, '--json'])).stdout)).toMatchObject({ rows: [{ n: '0' }] });
  const [without] = await rowsOf(database, `select ${late.replace('FROM orders', 'from fact_orders')}`);
  expect(Number(without?.['n'])).toBe(0);
  expect((await runLake(newer, ['verify', '--json'])).code).toBe(0);
  const { code, stderr } = await runLake(old, ['ingest', '--until-caught-up']);
  expect([code, stderr]).toEqual([1, expect.stringContaining('field id was BIGINT and is now INTEGER, which is narrower')]);
  expect(join(old.lakePath)).toBe(newer.lakePath);
});
