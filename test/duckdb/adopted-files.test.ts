// Whether a column that others wrote reads as a type of ours without any change, by value; and which files are alike.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { alikeFiles, lookAtFile } from '../../src/duckdb/adopted-files.ts';
import { type Connection, type Database, openDatabase, run } from '../../src/duckdb/connection.ts';
import { tempDir } from '../helpers/services.ts';

let [folder, database, connection]: [Awaited<ReturnType<typeof tempDir>>, Database, Connection] = [] as never;
beforeAll(async () => {
  folder = await tempDir();
  database = await openDatabase();
  connection = await database.connect();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

let count = 0;
async function written(select: string): Promise<string> {
  count += 1;
  const path = join(folder.path, `f${count}.parquet`);
  await run(connection, `COPY (${select}) TO '${path}' (FORMAT parquet)`);
  return path;
}

describe('a value', () => {
  test.each([
    ["'12'", 'BIGINT', true],
    ["'12.0'", 'BIGINT', true],
    ["'12.5'", 'BIGINT', false],
    ["'1e3'", 'BIGINT', false],
    ["'0x10'", 'BIGINT', false],
    ["' 12'", 'BIGINT', false],
    ["'9223372036854775808'", 'BIGINT', false],
    ['2.0::DOUBLE', 'BIGINT', true],
    ['1.5::DOUBLE', 'BIGINT', false],
    ['9007199254740993::BIGINT', 'DOUBLE', false],
    ['9007199254740992::BIGINT', 'DOUBLE', true],
    ['300::BIGINT', 'INTEGER', true],
    ['3000000000::BIGINT', 'INTEGER', false],
    ['19.99::DOUBLE', 'DECIMAL(15,2)', true],
    ['0.1::DOUBLE + 0.2::DOUBLE', 'DECIMAL(15,2)', false],
    ["'nan'::DOUBLE", 'DECIMAL(15,2)', false],
    ["'19.990'", 'DECIMAL(15,2)', true],
    ["'19.999'", 'DECIMAL(15,2)', false],
    ['19.999::DECIMAL(10,3)', 'DECIMAL(15,2)', false],
    ["'1.5'", 'DOUBLE', true],
    ["'1e400'", 'DOUBLE', false],
    ["'true'", 'BOOLEAN', true],
    ["'yes'", 'BOOLEAN', false],
    ['5::INTEGER', 'VARCHAR', true],
    ["'2025-01-28T20:00:00Z'", 'TIMESTAMPTZ', true],
    ["'2025-01-28 20:00:00.123456+02:00'", 'TIMESTAMPTZ', true],
    ["'2025-01-28T20:00:00.1234567Z'", 'TIMESTAMPTZ', false],
    ["'2025-02-30T20:00:00Z'", 'TIMESTAMPTZ', false],
    ["'yesterday'", 'TIMESTAMPTZ', false],
    ["'2025-01-28 20:00:00.123456'::TIMESTAMP_NS", 'TIMESTAMPTZ', true],
    ["'2025-01-28 20:00:00.123456789'::TIMESTAMP_NS", 'TIMESTAMPTZ', false],
    ["'2025-01-28'::DATE", 'TIMESTAMPTZ', true],
    ["'2025-01-28 00:00:00'::TIMESTAMP", 'DATE', true],
    ["'2025-01-28 10:00:00'::TIMESTAMP", 'DATE', false],
    ["'2025-01-28'", 'DATE', true],
    ["'28.01.2025'", 'DATE', false],
    [`'{"a": 1}'`, 'JSON', true],
    ["'{'", 'JSON', false],
    ["{'a': 1}", 'STRUCT("a" BIGINT)', true],
    ["{'a': 1}", 'STRUCT("a" BIGINT, "b" BIGINT)', true],
    ["{'a': 1, 'c': 2}", 'STRUCT("a" BIGINT)', false],
    ['[1, 2]', 'BIGINT[]', true],
    ['[1.5, 2]', 'BIGINT[]', false],
    ["'[1]'", 'BIGINT[]', false],
    ['NULL::VARCHAR', 'BIGINT', true],
  ])('%s as %s: %p', async (value, type, fits) => {
    const path = await written(`SELECT ${value} AS x`);
    const { unfit } = await lookAtFile(connection, { path, wanted: [{ name: 'x', type }], time: null });
    expect(unfit.length === 0).toBe(fits);
  });

  test('is counted with others, and times are found in whatever type they have', async () => {
    const path = await written(
      "SELECT i AS n, '2025-01-28T10:0' || i || ':00+01:00' AS at FROM range(3) t(i) UNION ALL SELECT 1e10, NULL",
    );
    const wanted = [
      { name: 'n', type: 'INTEGER' },
      { name: 'at', type: 'TIMESTAMPTZ' },
      { name: 'absent', type: 'BIGINT' },
    ];
    expect(await lookAtFile(connection, { path, wanted, time: 'at' })).toEqual({
      rows: 4,
      timeMin: '2025-01-28T09:00:00.000000Z',
      timeMax: '2025-01-28T09:02:00.000000Z',
      unfit: [{ name: 'n', type: 'DOUBLE', wanted: 'INTEGER', values: 1 }],
    });
  });
});

test('files are alike by the names and types of their columns, in whatever order', async () => {
  const [a, b, c] = [
    await written('SELECT 1::BIGINT AS a, 2 AS b'),
    await written('SELECT 2 AS b, 1::BIGINT AS a'),
    await written('SELECT 1.5::DOUBLE AS a, 2 AS b'),
  ];
  expect(await alikeFiles(connection, [a, b, c])).toEqual([[a, b], [c]]);
  expect(await alikeFiles(connection, [a])).toEqual([[a]]);
  expect(await alikeFiles(connection, [])).toEqual([]);
});
