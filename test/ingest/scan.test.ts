// What a scan must leave to the exact decoder, and what it must take: at every place in a text, and with coordinates and keys.
import { afterAll, expect, test } from 'bun:test';
import { openDatabase, query, run } from '../../src/duckdb/connection.ts';
import { runOverMemory } from '../../src/duckdb/memory-scan.ts';
import { createStagedTables, decodeChunk, decodePlan } from '../../src/ingest/decode.ts';
import { until } from '../helpers/until.ts';
import { chunkOf, decimal, feedOf, field, list, outcomes, varchar } from './decode-helpers.ts';

const database = await openDatabase();
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

const COLUMNS = [
  {
    name: 'n',
    type: { kind: 'integer' },
    data: new ArrayBuffer(8192),
    rowBytes: 4,
    validity: new Uint32Array(64),
    anyNull: false,
  },
] as const;

const options = { timezone: 'UTC', schemaVersion: 1 };
const texts = decodePlan(feedOf([field('x', varchar())]), options);

test('a control character anywhere in a string of any length is found', async () => {
  const control = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)).filter((char) => char !== '\x1e');
  const messages: string[] = [];
  for (let length = 1; length <= 90; length += 1) {
    // Messages of other lengths before it put the string at every place in a word.
    for (const at of [0, length >> 1, length - 1, (length * 7) % length, ((length * 5) % 31) % length]) {
      const char = control[(length * 3 + at) % control.length] ?? '';
      messages.push(`{"x":"${'é~'.repeat(45).slice(0, at)}${char}${'y'.repeat(length - at - 1)}"}`);
    }
  }
  messages.push(...control.map((char) => `{"x":"${'y'.repeat(700)}${char}${'y'.repeat(41)}"}`));
  const found = await outcomes(connection, texts, chunkOf(messages));
  expect(found.scannedRows).toBe(0);
  for (const outcome of found.outcomes) expect(outcome).toMatchObject({ reason: expect.stringContaining('control character') });
});

test('an escape anywhere in a string of any length is left to the others, and read', async () => {
  const places = Array.from({ length: 90 }, (_, length) => [0, length >> 1, length].map((at) => ({ length, at }))).flat();
  for (const [written, text] of [
    ['\\n', '\n'],
    ['\\"', '"'],
    ['\\\\', '\\'],
  ] as const) {
    const plain = ({ length, at }: { length: number; at: number }, middle: string): string =>
      `${'é~'.repeat(45).slice(0, at)}${middle}${'y'.repeat(length - at)}`;
    const found = await outcomes(connection, texts, chunkOf(places.map((place) => `{"x":"${plain(place, written)}"}`)));
    expect(found.scannedRows).toBe(0);
    expect(found.outcomes.map((one) => ('row' in one ? one.row[0] : one))).toEqual(places.map((place) => plain(place, text)));
  }
});

test('a string that does not end does not run on into the next message, wherever the next quote is', async () => {
  const messages = [
    '{"x":"a',
    '{"x":"b"}',
    `{"x":"${'c'.repeat(100)}`,
    `${'d'.repeat(100)}"}`,
    '{"x":"e"}',
    `{"x":"${'f'.repeat(64)}`,
  ];
  const { outcomes: found, scannedRows } = await outcomes(connection, texts, chunkOf(messages));
  expect(scannedRows).toBe(2);
  expect(found.map((one) => 'row' in one)).toEqual([false, true, false, false, true, false]);
});

test('rows keep their coordinates, keys and NULLs beside messages that are left, in every block of rows', async () => {
  const feed = feedOf([field('n', { kind: 'bigint' }), field('d', decimal(20, 3)), field('t', varchar())]);
  const plan = decodePlan(feed, options);
  const count = 7_000;
  const kind = (index: number): number => (index * 7919) % 11;
  const messages = Array.from({ length: count }, (_, index) => {
    if (kind(index) === 0) return `{"n":${index}e0,"t":"a\\nb"}`;
    if (kind(index) === 1) return `{"t":null,"n":null} x`;
    if (kind(index) === 2) return `{"n":null,"t":"text of message ${index}"}`;
    return `{"t":"${'é'.repeat(kind(index))}", "d": -${index}.25,"n":${index}}`;
  });
  const keys = Array.from({ length: count }, (_, index) => (index % 5 === 0 ? null : `key ${index}`.padEnd(index % 30, '_')));
  const chunk = chunkOf(messages, { keys, partitions: messages.map((_, index) => index % 3) });
  const quick = await outcomes(connection, plan, chunk);
  const exact = await outcomes(connection, { ...plan, scan: null, fast: null }, chunk);
  expect(quick.outcomes).toEqual(exact.outcomes);
  expect(quick.scannedRows).toBe(messages.filter((_, index) => kind(index) > 1).length);
});

test('a feed with a list, a field inside an object, or a name that needs escapes is not scanned', () => {
  const isScanned = (...fields: Parameters<typeof field>[]): boolean =>
    decodePlan(feedOf(fields.map((given) => field(...given))), options).scan !== null;
  expect(isScanned(['x', varchar()], ['y', { kind: 'json' }])).toBe(true);
  expect(isScanned(['x', varchar()], ['y', list(varchar())])).toBe(false);
  expect(isScanned(['x', varchar(), { from: ['a', 'b'] }])).toBe(false);
  for (const name of ['a"b', 'a\\', 'a\n', '\ud800']) expect(isScanned(['x', varchar(), { from: [name] }])).toBe(false);
});

test('when DuckDB cannot take a scan in, all messages go the other ways, and it is said', async () => {
  const plan = decodePlan(feedOf([field('x', { kind: 'json' })]), options);
  const tables = await createStagedTables(connection, plan, 'not_json');
  // The texts of the strings, which are no JSON.
  const decoded = await decodeChunk(connection, { ...plan, scan: texts.scan }, chunkOf(['{"x":"a"}', '{"x":"b"}']), tables);
  expect(decoded).toMatchObject({ rows: 2, scannedRows: 0, fastError: expect.stringContaining('JSON') });
  expect(await query(connection, `SELECT x::VARCHAR AS x FROM ${tables.rows} ORDER BY x`)).toEqual([{ x: '"a"' }, { x: '"b"' }]);
});

test('nothing of a chunk is held when it is decoded: one large message does not stay for as long as its feed is quiet', async () => {
  const large = 48 * 1024 * 1024;
  const decoded = async (): Promise<number> => {
    const { scannedRows } = await outcomes(connection, texts, chunkOf([`{"y":"${'z'.repeat(large)}","x":"a"}`]));
    return scannedRows;
  };
  const held = (): number => {
    Bun.gc(true);
    return process.memoryUsage().arrayBuffers;
  };
  const before = held();
  expect(await decoded()).toBe(1);
  await until(() => held() - before < large / 2, { timeoutMs: 20_000, what: 'its bytes are free' });
});

test('a connection that had no memory when it was first asked can be asked again', async () => {
  await using small = await openDatabase();
  const other = await small.connect();
  const asked = () =>
    runOverMemory(other, { columns: COLUMNS, fill: () => 0 }, (from) => `CREATE OR REPLACE TEMP TABLE t AS FROM ${from}`);
  await run(other, "SET memory_limit = '1KB'");
  await expect(asked()).rejects.toThrow('DuckDB refused');
  await run(other, "SET memory_limit = '100MB'");
  await asked();
});
