// Rows of our own memory in statements of DuckDB: values, texts that point into held bytes, failures, and two connections at once.
import { afterAll, expect, test } from 'bun:test';
import { type Connection, openDatabase, query, run } from '../../src/duckdb/connection.ts';
import { holdBytes, runOverMemory, SCAN_ROWS, type ScanColumn, TEXT_BYTES, writeText } from '../../src/duckdb/memory-scan.ts';

const database = await openDatabase({ threads: 2 });
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

const LENGTHS = [0, 1, 3, 4, 5, 8, 9, 11, 12, 13, 14, 100, 5_000];

/** `count` texts of all lengths, every seventh NULL, into a table of this name. */
async function fillTable(on: Connection, table: string, count: number): Promise<(string | null)[]> {
  const texts = Array.from({ length: count }, (_, row) =>
    row % 7 === 6 ? null : `${row} é`.padEnd(LENGTHS[row % LENGTHS.length] ?? 0, 'xyz').slice(0, LENGTHS[row % LENGTHS.length]),
  );
  const parts = texts.map((text) => Buffer.from(text ?? ''));
  const source = Buffer.concat(parts);
  const held = await holdBytes(on, source);
  const words = new Uint32Array((SCAN_ROWS * TEXT_BYTES) / 4);
  const validity = new Uint32Array(SCAN_ROWS / 32);
  const column: ScanColumn = {
    name: 't',
    type: { kind: 'varchar' },
    data: words.buffer,
    rowBytes: TEXT_BYTES,
    validity,
    anyNull: true,
  };
  let [row, from] = [0, 0];
  const fill = (): number => {
    Bun.gc(true);
    validity.fill(0);
    const start = row;
    for (; row < count && row - start < SCAN_ROWS; row++) {
      const to = from + (parts[row]?.length ?? 0);
      writeText(words, row - start, { source, held }, from, to);
      const index = (row - start) >>> 5;
      if (texts[row] !== null) validity[index] = (validity[index] ?? 0) | (1 << (row & 31));
      from = to;
    }
    return row - start;
  };
  await run(on, `CREATE TABLE ${table} (t VARCHAR)`);
  expect(await runOverMemory(on, { columns: [column], fill }, (rows) => `INSERT INTO ${table} SELECT t FROM ${rows}`)).toBe(
    count,
  );
  held.release();
  return texts;
}

const textsIn = async (table: string): Promise<unknown[]> =>
  (await query(connection, `SELECT t FROM ${table}`)).map(({ t }) => t);

test('texts of all lengths and NULLs arrive as they are, and stay when what they pointed to is gone', async () => {
  const expected = await fillTable(connection, 'once', 5_000);
  for (let round = 0; round < 20; round++) (await holdBytes(connection, Buffer.alloc(3_000_000, 0x78))).release();
  expect(await textsIn('once')).toEqual(expected);
});

test('an address is right on either side of 4 GiB', () => {
  const source = Buffer.from('0123456789abcdefghij');
  const words = new Uint32Array(8);
  const held = { low: 0xffff_fffc, high: 7, release: () => undefined };
  writeText(words, 0, { source, held }, 3, 20);
  writeText(words, 1, { source, held }, 4, 20);
  expect([...words]).toEqual([17, 0x36353433, 0xffff_ffff, 7, 16, 0x37363534, 0, 8]);
});

test('two connections read theirs at the same time', async () => {
  const other = await database.connect();
  const [left, right] = await Promise.all([fillTable(connection, 'lefts', 9_000), fillTable(other, 'rights', 7_000)]);
  expect(await textsIn('lefts')).toEqual(left);
  expect(await textsIn('rights')).toEqual(right);
});

test('what fill throws comes back as it was thrown, nothing is taken in, and the next statement is like any other', async () => {
  await run(connection, 'CREATE TABLE few (n BIGINT)');
  const column = { name: 'n', type: { kind: 'bigint' }, data: new ArrayBuffer(SCAN_ROWS * 8), rowBytes: 8 } as const;
  const columns: ScanColumn[] = [{ ...column, validity: new Uint32Array(SCAN_ROWS / 32), anyNull: false }];
  const counts = [SCAN_ROWS, 3];
  const insert = (rows: string): string => `INSERT INTO few SELECT n FROM ${rows}`;
  const broken = new Error('not this one');
  const fill = (): number => {
    const rows = counts.shift();
    if (rows === undefined) throw broken;
    return rows;
  };
  expect(await runOverMemory(connection, { columns, fill }, insert).catch((error: unknown) => error)).toBe(broken);
  expect(await query(connection, 'SELECT count(*) AS n FROM few')).toEqual([{ n: 0n }]);
  expect(await runOverMemory(connection, { columns, fill: () => counts.push(0) && 0 }, insert)).toBe(0);
  expect(runOverMemory(connection, { columns, fill: () => 1 }, () => 'SELECT no_such()')).rejects.toMatchObject({
    code: 'engine_failed',
  });
});
