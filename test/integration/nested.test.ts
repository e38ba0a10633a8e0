// Structs, lists and JSON on their way into a warehouse: not a digit is lost, in a batch of few messages (in memory, decision 0014) and
// in one that goes through DuckDB, and verify reads both sides as the same.

import { expect, test } from 'bun:test';
import { testEmbedded } from '../helpers/embedded.ts';
import { drain, runLake, streamFeed } from '../helpers/ingest.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { FIRST_MS } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

const FIELDS = {
  id: 'BIGINT',
  payment: 'STRUCT(amount DECIMAL(38,10), small DECIMAL(2,2), raw JSON, at TIMESTAMP, "a ""b" VARCHAR, bytes BLOB)',
  raws: 'JSON[]',
  parts: 'STRUCT(price DECIMAL(20,2), part DOUBLE, size BIGINT)[]',
  deep: 'STRUCT(a STRUCT(b BIGINT[][]))',
  raw: 'JSON',
};

const RAW = '{"price": 1.50, "long":123456789012345678901234567890.10,"a":1,"a":2 }';
const value = (id: number): string =>
  `{"id":${id},"payment":{"amount":1234567890123456789012345678.1234567890,"small":-0.5,"raw":${RAW},"at":"2025-01-28T10:00:00.000001+01:00",
    "a \\"b":"é\\u0001\\u001f\\\\","bytes":"QUI=","unknown":1},"raws":[1.50,${RAW},null,"x",99999999999999999.370],
    "parts":[{"price":12345678901234567.80,"part":1e2,"size":9007199254740993},null,{"part":-0.0}],
    "deep":{"a":{"b":[[1,9223372036854775807],[],null]}},"raw":${RAW}}`;
const WANTED = {
  payment: `{"amount":1234567890123456789012345678.1234567890,"small":-0.50,"raw":${RAW},"at":"2025-01-28T09:00:00.000001Z","a \\"b":"é\\u0001\\u001F\\\\","bytes":"QUI="}`,
  raws: `[1.50,${RAW},null,"x",99999999999999999.370]`,
  parts: '[{"price":12345678901234567.80,"part":100.0,"size":9007199254740993},null,{"price":null,"part":-0.0,"size":null}]',
  deep: '{"a":{"b":[[1,9223372036854775807],[],null]}}',
  raw: RAW,
};

/** More than a batch in memory holds. */
const MANY = 1_200;

test.each([...mysqlEngines, 'duckdb'] as const)('%s: nothing inside a struct or a list loses a digit', async (engine) => {
  await using folder = await tempDir();
  await using database = engine === 'duckdb' ? testEmbedded() : await testMysql(engine);
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const feeds = [streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders', schema: { fields: FIELDS } })];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds });
  const send = (from: number, count: number) =>
    kafka.produce(
      topic,
      Array.from({ length: count }, (_, index) => ({ key: 'k', value: value(from + index), timestampMs: FIRST_MS })),
    );
  await send(0, 3);
  await drain(setup);
  await send(3, MANY);
  await drain(setup);
  const columns = Object.keys(WANTED).join(', ');
  const rows = await rowsOf(database, `SELECT count(*) AS n, ${columns} FROM fact_orders GROUP BY ${columns}`);
  expect(rows.map((row) => ({ ...row, n: Number(row['n']) }))).toEqual([{ n: 3 + MANY, ...WANTED }]);
  const verified = await runLake(setup, ['verify', '--deep']);
  expect([verified.code, verified.code === 0 ? '' : verified.stdout]).toEqual([0, '']);
  // A digit that is changed is a finding.
  if (database.engine === 'duckdb') return;
  const connection = await database.connect();
  await connection.query("UPDATE fact_orders SET payment = REPLACE(payment, '1.50', '1.5') WHERE id = 7");
  expect((await runLake(setup, ['verify', '--deep'])).code).toBe(3);
});
