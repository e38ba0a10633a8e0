// Keys from the value and from the Kafka key, of one part and of several, in lake and warehouse alike; and a message that can be
// SELECTed as soon as it is there, however long a batch may take to fill.

import { describe, expect, test } from 'bun:test';
import { testEmbedded } from '../helpers/embedded.ts';
import { drain, runLake, startLake } from '../helpers/ingest.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { testMysql } from '../helpers/mysql.ts';
import { FIRST_MS, messages } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { factFeed, rowsOf, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

type Row = { readonly store: string; readonly sku: string; readonly n: number };
type Engine = 'mysql' | 'mariadb' | 'duckdb';
type Way = {
  readonly name: string;
  readonly engines: readonly Engine[];
  readonly schema: Record<string, unknown>;
  readonly columns: string;
  readonly messageOf: (row: Row, isDeleted: boolean) => Pick<TestMessage, 'key' | 'value'>;
  /** Messages without a whole key. */
  readonly broken: readonly Pick<TestMessage, 'key' | 'value'>[];
};

const FIELDS = { n: 'BIGINT' };
const gone = (isDeleted: boolean, value: object): string | null => (isDeleted ? null : JSON.stringify(value));
const WAYS: readonly Way[] = [
  {
    name: 'one part, from the Kafka key: bare, quoted or an object',
    engines: ['mysql', 'mariadb'],
    schema: {
      key_field: 'sku',
      key_from: 'message_key',
      fields: { sku: { type: 'VARCHAR(20)', from: 'SKU', required: true }, ...FIELDS },
    },
    columns: "'-' AS store, sku, n",
    messageOf: ({ sku, n }, isDeleted) => ({
      key: n % 3 === 0 ? sku : n % 3 === 1 ? JSON.stringify(sku) : JSON.stringify({ SKU: sku }),
      value: gone(isDeleted, { n }),
    }),
    broken: [
      { key: null, value: '{"n":1}' },
      { key: '{"sku":"a"}', value: null },
    ],
  },
  {
    name: 'two parts, from the Kafka key',
    engines: ['mariadb', 'duckdb'],
    schema: {
      key_field: ['store', 'sku'],
      key_from: 'message_key',
      fields: { store: 'VARCHAR(9)', sku: 'VARCHAR(20)', ...FIELDS },
    },
    columns: 'store, sku, n',
    messageOf: ({ store, sku, n }, isDeleted) => ({ key: JSON.stringify({ sku, store }), value: gone(isDeleted, { n }) }),
    broken: [
      { key: 'a', value: '{"n":1}' },
      { key: '{"store":"s"}', value: null },
    ],
  },
  {
    name: 'two parts, from the value; a tombstone names them in the Kafka key',
    engines: ['mysql', 'duckdb'],
    schema: { key_field: ['store', 'sku'], fields: { store: 'VARCHAR(9)', sku: 'VARCHAR(20)', ...FIELDS } },
    columns: 'store, sku, n',
    messageOf: ({ store, sku, n }, isDeleted) => ({
      key: isDeleted ? JSON.stringify({ store, sku }) : 'whatever',
      value: gone(isDeleted, { store, sku, n }),
    }),
    broken: [
      { key: 'x', value: '{"store":"s","n":1}' },
      { key: '{"sku":"a"}', value: null },
    ],
  },
];

describe.each(WAYS)('$name', ({ engines, schema, columns, messageOf, broken }) => {
  test.each([...engines])('in the lake and %s', async (engine) => {
    await using folder = await tempDir();
    await using database = engine === 'duckdb' ? testEmbedded() : await testMysql(engine);
    const kafka = await testKafka();
    const topic = await kafka.createTopic({ partitions: 2 });
    const setup = warehouseSetup({
      folder: folder.path,
      kafka,
      database,
      feeds: [factFeed('stock', topic, { destination: 'both', schema })],
    });
    // Stores and parts whose texts together are the same; cases and blanks that a collation equates.
    const keys = [
      ['s', '1a'],
      ['s1', 'a'],
      ['s', 'A'],
      ['s', 'a '],
      ['s', 'é"\\'],
      ['S', 'e'],
    ] as const;
    const wanted = new Map<string, string>();
    const isOne = schema['key_field'] === 'sku';
    let n = 0;
    for (let round = 0; round < 2; round++) {
      const list: TestMessage[] = [];
      for (const [index, [store, sku]] of [...keys, ...keys].entries()) {
        const isDeleted = index % 5 === 3 + round;
        const row = { store: isOne ? '-' : store, sku, n: n++ };
        // A key in both partitions: the time decides.
        list.push({ ...messageOf(row, isDeleted), partition: n % 2, timestampMs: FIRST_MS + n * 1_000 });
        const key = JSON.stringify([row.store, row.sku]);
        if (isDeleted) wanted.delete(key);
        else wanted.set(key, `${row.store}|${row.sku}|${row.n}`);
      }
      for (const one of broken) list.push({ ...one, partition: 0, timestampMs: FIRST_MS });
      await kafka.produce(topic, list);
      await drain(setup);
      const should = [...wanted.values()].sort();
      const shown = (rows: readonly Record<string, unknown>[]) =>
        rows.map(({ store, sku, n: number }) => `${store}|${sku}|${number}`).sort();
      const inLake = await runLake(setup, ['query', `SELECT ${columns} FROM stock`, '--format', 'json']);
      expect(shown(JSON.parse(inLake.stdout).rows ?? JSON.parse(inLake.stdout))).toEqual(should);
      expect(shown(await rowsOf(database, `SELECT ${columns} FROM fact_stock_latest`))).toEqual(should);
      const letters = (round + 1) * broken.length;
      expect((await rowsOf(database, 'SELECT 1 AS one FROM lake_dead_letters')).length).toBe(letters);
    }
    const verified = await runLake(setup, ['verify', '--deep']);
    expect([verified.code, verified.code === 0 ? '' : verified.stdout]).toEqual([0, '']);
  });
});

test.each(['mysql', 'mariadb', 'duckdb'] as const)('%s: a batch waits neither for its size nor for its time', async (engine) => {
  await using folder = await tempDir();
  await using database = engine === 'duckdb' ? testEmbedded() : await testMysql(engine);
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const batch = { batch_timeout_seconds: 3_600 };
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds: [factFeed('totals', topic)], batch });
  const lake = startLake(setup, ['ingest', ...toWarehouse.args]);
  for (let count = 1; count <= 3; count++) {
    await kafka.produce(topic, messages(count, 1));
    await until(() => lake.events('batch_committed').length >= count, { what: `message ${count} is committed` });
    // The copy of the embedded one is made at the pace of batch_timeout: what counts is the commit.
    if (engine !== 'duckdb') expect((await rowsOf(database, 'SELECT id FROM fact_totals_latest')).length).toBe(count);
  }
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  expect((await rowsOf(database, 'SELECT id FROM fact_totals_latest')).length).toBe(3);
});
