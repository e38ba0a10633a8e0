// What DuckDB's errors mean for the work in hand: each is provoked, and none of their words quotes a value.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Connection, type Database, execute, openDatabase } from '../../src/duckdb/connection.ts';
import { classifyEmbedded, isInvalidated } from '../../src/warehouse/duckdb-error.ts';

let database: Database;
let connection: Connection;
beforeAll(async () => {
  database = await openDatabase({ memoryBytesMax: 8 * 1024 * 1024 });
  connection = await database.connect();
  await execute(connection, {
    text: 'CREATE TABLE t (id INTEGER PRIMARY KEY, n DECIMAL(4,2) NOT NULL, j JSON, b BLOB, CHECK (id < 900))',
    values: [],
  });
  await execute(connection, { text: "INSERT INTO t VALUES (1, 1.5, '{}', NULL)", values: [] });
});
afterAll(() => database[Symbol.asyncDispose]());

const failureOf = async (text: string) =>
  classifyEmbedded(
    await execute(connection, { text, values: [] }).then(
      () => 'it succeeded',
      (error: unknown) => error,
    ),
  );

test.each([
  ["INSERT INTO t VALUES (1, 2, '{}', NULL)", 'duplicate', 'a row with this key is there already'],
  ["INSERT INTO t VALUES (2, 777.5, '{}', NULL)", 'row', 'a value does not fit DECIMAL(4,2)'],
  ["INSERT INTO t VALUES (2, 'secret', '{}', NULL)", 'row', 'a value does not fit DECIMAL(4,2)'],
  ["INSERT INTO t VALUES (2, NULL, '{}', NULL)", 'row', 'NOT NULL constraint failed: t.n'],
  ["INSERT INTO t VALUES (901, 1, '{}', NULL)", 'row', 'CHECK constraint failed on table t'],
  ["INSERT INTO t VALUES (2, 1, 'secret', NULL)", 'row', 'a value does not fit its column'],
  ["INSERT INTO t VALUES (2147483648, 1, '{}', NULL)", 'row', 'a value does not fit INT32'],
  ['SELECT * FROM no_table', 'missing', 'Catalog Error: Table with name no_table does not exist!'],
  ['SELECT nothing FROM t', 'missing', 'Binder Error: Referenced column "nothing" not found in FROM clause!'],
  ['CREATE TABLE t (id INTEGER)', 'exists', 'Catalog Error: Table with name "t" already exists!'],
  ['ALTER TABLE t ADD COLUMN j VARCHAR', 'exists', 'Catalog Error: Column with name j already exists!'],
  ['SELEC 1', 'stop', 'Parser Error: syntax error at or near "SELEC"'],
])('%s', async (text, failureClass, words) => {
  const failure = await failureOf(text);
  expect([failure.class, failure.message]).toEqual([failureClass as typeof failure.class, words]);
  expect(String(failure.cause ?? '')).not.toContain('secret');
});

test('memory that is full is waited for, and what to do is said', async () => {
  const failure = await failureOf('SELECT list(i || repeat(i::VARCHAR, 100)) FROM range(10000000) r(i)');
  expect([failure.class, failure.todo]).toEqual(['wait', expect.stringContaining('memory')]);
  expect(isInvalidated(failure)).toBe(false);
});

test('a full disk, and a database that DuckDB gave up, are waited for', () => {
  const wordsOf: [string, boolean][] = [
    ['IO Error: Could not write all bytes to file "x": wanted=262144 wrote=4096: No space left on device', false],
    ['FATAL Error: Failed: database has been invalidated because of a previous fatal error.', true],
  ];
  for (const [words, isLost] of wordsOf) {
    const failure = classifyEmbedded(new Error(words));
    expect([failure.class, isInvalidated(failure)]).toEqual(['wait', isLost]);
  }
});
