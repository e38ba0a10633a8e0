// Every trap of the hostile table, through the scan and DuckDB's fast path, through that path alone, through the exact decoder inside
// DuckDB, and through the pure one.
import { afterAll, describe, expect, test } from 'bun:test';
import { openDatabase, query } from '../../src/duckdb/connection.ts';
import { createStagedTables, decodeChunk, decodePlan } from '../../src/ingest/decode.ts';
import { appendDeadLetters } from '../../src/ingest/decode-exact.ts';
import { decodeMessage } from '../../src/model/convert.ts';
import { chunkOf, decimal, feedOf, field, list, MESSAGE_MS, outcomes, struct, varchar } from './decode-helpers.ts';
import { HOSTILE, type HostileCase } from './decode-hostile.ts';

const database = await openDatabase();
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

const options = { timezone: 'UTC', schemaVersion: 3 };
const messageOf = (one: HostileCase): string => one.message ?? `{"x":${one.x}}`;
const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

describe('hostile values', () => {
  for (const one of HOSTILE) {
    const result = 'is' in one ? `is ${JSON.stringify(one.is)}` : 'is refused';
    test(`${shorten(messageOf(one))} as ${JSON.stringify(one.type)} ${JSON.stringify(one.more ?? '')} ${result}`, async () => {
      const plan = decodePlan(feedOf([field('x', one.type, one.more)]), options);
      const chunk = chunkOf(['{"x":null}', messageOf(one), '{"x":null}']);
      const pure = decodeMessage(messageOf(one), plan.message);
      const fast = (await outcomes(connection, plan, chunk)).outcomes[1];
      const unscanned = (await outcomes(connection, { ...plan, scan: null }, chunk)).outcomes[1];
      const exact = (await outcomes(connection, { ...plan, scan: null, fast: null }, chunk)).outcomes[1];
      if ('is' in one) {
        expect(pure.kind).toBe('row');
        expect(fast && 'row' in fast ? fast.row[0] : fast).toBe(one.is);
        expect(unscanned).toEqual(fast);
        expect(exact).toEqual(fast);
      } else {
        const letter = { field: one.fieldless ? null : 'x', reason: one.refused };
        expect(pure).toEqual({ kind: 'refused', ...letter });
        expect(fast).toEqual(letter);
        expect(unscanned).toEqual(letter);
        expect(exact).toEqual(letter);
      }
    });
  }
});

const shop = feedOf(
  [
    field('id', varchar(), { required: true }),
    field('at', { kind: 'timestamp' }),
    field('amount', decimal(15, 2)),
    field('method', varchar(), { from: ['payment', 'method'] }),
    field('payment', struct({ method: varchar(), last4: varchar(4) })),
    field('products', list(struct({ sku: varchar(), quantity: { kind: 'integer' }, price: decimal(15, 2) }))),
  ],
  { eventTime: 'at', headers: true, unknownFields: 'keep' },
);
const order = {
  id: 'o1',
  at: '2025-01-28T23:30:00Z',
  amount: 12.5,
  payment: { method: 'card', last4: '1234' },
  products: [{ sku: 'a', quantity: 2, price: 1.25 }],
};

test('takes ordinary nested rows in without the exact decoder, in column order, with lineage and day', async () => {
  const plan = decodePlan(shop, { timezone: 'Europe/Berlin', schemaVersion: 3 });
  const chunk = chunkOf([JSON.stringify(order)], { keys: ['key\u00e9'], headers: new Map([[0, '{"h":"1"}']]), partitions: [7] });
  const found = await outcomes(connection, plan, chunk);
  expect(found.fastRows).toBe(1);
  expect(plan.columns.map(({ name }) => name).join(' ')).toBe(
    'id at amount method payment products extra kafka_partition kafka_offset kafka_timestamp kafka_key kafka_headers _day',
  );
  expect(found.outcomes).toEqual([
    {
      row: [
        'o1',
        '2025-01-28 23:30:00+00',
        '12.50',
        'card',
        "{'method': card, 'last4': 1234}",
        "[{'sku': a, 'quantity': 2, 'price': 1.25}]",
        null,
        '7',
        '2025-01-27 17:46:40+00',
        'key\\xC3\\xA9',
        '{"h":"1"}',
        '2025-01-29',
      ],
    },
  ]);
  expect((await outcomes(connection, { ...plan, scan: null, fast: null }, chunk)).outcomes).toEqual(found.outcomes);
});

test('long numbers take the slower path only where a digit could be lost', async () => {
  const place = [
    field('id', varchar()),
    field('lat', { kind: 'double' }),
    field('n', { kind: 'bigint' }),
    field('paid', decimal(9, 2)),
  ];
  const plan = decodePlan(feedOf(place), options);
  const message = '{"id":"a","lat":13.404953999999998,"n":1234567890123456,"paid":';
  const found = await outcomes(
    connection,
    plan,
    chunkOf([`${message}12}`, `${message}12.5}`, `${message}12.500000000000000001}`]),
  );
  expect(found.scannedRows).toBe(2);
  const unscanned = await outcomes(
    connection,
    { ...plan, scan: null },
    chunkOf([`${message}12}`, `${message}12.5}`, `${message}12.500000000000000001}`]),
  );
  expect(unscanned.fastRows).toBe(1);
  expect(unscanned.outcomes).toEqual(found.outcomes);
  expect(found.outcomes).toMatchObject([
    { row: { 1: '13.404953999999998', 2: '1234567890123456', 3: '12.00' } },
    { row: { 1: '13.404953999999998', 2: '1234567890123456', 3: '12.50' } },
    { reason: 'paid: 12.500000000000000001 has 18 fraction digits, DECIMAL(9,2) holds 2' },
  ]);
});

test('keeps unknown fields with the text they were sent in, and reports their names', async () => {
  const plan = decodePlan(shop, options);
  const text = `{"id":"o1","new": 1.50,"id2":{"a" :[ ]},"new":2}`;
  const found = await outcomes(connection, plan, chunkOf([text]));
  expect(found.outcomes[0]).toMatchObject({ row: { 6: '{"new":1.50,"id2":{"a" :[ ]}}' } });
  const staged = await createStagedTables(connection, plan, 'drift');
  const { drift, rows } = await decodeChunk(connection, plan, chunkOf([text, 'no json', '[]']), staged);
  expect({ drift, rows }).toEqual({ drift: ['id2', 'new'], rows: 1 });
});

test('reads the key of a table from the Kafka key: bare, quoted, as an object; a missing one is refused', async () => {
  const users = feedOf([field('user_id', varchar(8)), field('n', { kind: 'bigint' })], {
    type: 'table',
    keyFields: ['user_id'],
    keyFrom: 'message_key',
  });
  const plan = decodePlan(users, options);
  const keys = ['u1', '"u2"', '{"user_id":"u3"}', null, '{"other":1}', '', 'much too long', '00'];
  const found = await outcomes(
    connection,
    plan,
    chunkOf(
      keys.map(() => '{"n":1}'),
      { keys },
    ),
  );
  expect(found.outcomes.map((one) => ('row' in one ? one.row[0] : one.reason))).toEqual([
    'u1',
    'u2',
    'u3',
    'user_id: the Kafka key is missing or not UTF-8',
    'user_id: required, and missing or null',
    '',
    'user_id: "much too long" has 13 characters, VARCHAR(8) holds 8',
    '00',
  ]);
  expect(
    (
      await outcomes(
        connection,
        { ...plan, scan: null, fast: null },
        chunkOf(
          keys.map(() => '{"n":1}'),
          { keys },
        ),
      )
    ).outcomes,
  ).toEqual(found.outcomes);
});

test('keeps keys that are not text, byte for byte', async () => {
  const plan = decodePlan(feedOf([field('n', { kind: 'bigint' })]), options);
  const chunk = chunkOf(['{"n":1}', '{"n":1e0}', '{"n":"x"}']);
  const keys = { bytes: Buffer.from('kff00\x1ek1e\x1e'), encoding: 'hex' } as const;
  const staged = await createStagedTables(connection, plan, 'hex');
  const decoded = await decodeChunk(connection, plan, { ...chunk, keys }, staged);
  expect(decoded).toMatchObject({ rows: 2, scannedRows: 1, deadLetters: new Map([[0, 1]]) });
  const rows = await query(connection, `SELECT hex(kafka_key) AS key FROM ${staged.rows} ORDER BY kafka_offset`);
  expect(rows).toEqual([{ key: 'FF00' }, { key: '1E' }]);
});

test('refuses a Kafka timestamp that no column holds, and keeps the message', async () => {
  const plan = decodePlan(feedOf([field('n', { kind: 'bigint' })]), options);
  const found = await outcomes(
    connection,
    plan,
    chunkOf(['{"n":1}', '{"n":2}'], { ms: [1_738_000_000_000_000_000n, MESSAGE_MS] }),
  );
  expect(found.outcomes[0]).toEqual({
    field: null,
    reason: 'the Kafka timestamp 1738000000000000000 ms lies outside the years 1 to 9999',
  });
  expect(found.outcomes[1]).toMatchObject({ row: { 0: '2' } });
});

test('keeps a dead letter whole: bytes, key, headers, reason, schema version, day', async () => {
  const plan = decodePlan(feedOf([field('n', { kind: 'bigint' })]), { timezone: 'Asia/Tokyo', schemaVersion: 3 });
  const staged = await createStagedTables(connection, plan, 'letters');
  await decodeChunk(connection, plan, chunkOf(['{"n":1.5}'], { keys: ['k'], headers: new Map([[0, '{}']]) }), staged);
  await appendDeadLetters(connection, plan, staged, [
    {
      partition: 4,
      offset: 9n,
      timestampMs: MESSAGE_MS,
      effectiveMs: MESSAGE_MS,
      key: null,
      value: Buffer.from([0xff, 0, 0x1e]),
      headers: null,
      field: null,
      reason: 'the value is not UTF-8',
    },
  ]);
  const letters = await query(
    connection,
    `SELECT * REPLACE (hex(value) AS value, hex(kafka_key) AS kafka_key, kafka_timestamp::VARCHAR AS kafka_timestamp, _day::VARCHAR AS _day,
       effective_timestamp::VARCHAR AS effective_timestamp)
     FROM ${staged.deadLetters} ORDER BY kafka_offset`,
  );
  const at = '2025-01-27 17:46:40+00';
  const shared = { kafka_timestamp: at, effective_timestamp: at, schema_version: 3, _day: '2025-01-28' };
  expect(letters).toEqual([
    {
      ...shared,
      kafka_partition: 0,
      kafka_offset: 0n,
      kafka_key: '6B',
      value: Buffer.from('{"n":1.5}').toString('hex').toUpperCase(),
      headers: '{}',
      field: 'n',
      reason: 'n: 1.5 has a fraction, BIGINT holds none',
    },
    {
      ...shared,
      kafka_partition: 4,
      kafka_offset: 9n,
      kafka_key: null,
      value: 'FF001E',
      headers: null,
      field: null,
      reason: 'the value is not UTF-8',
    },
  ]);
});

test('refuses a zone, a pattern and an event_time that cannot be used', () => {
  const at = (more: object) => () => decodePlan(feedOf([field('at', { kind: 'timestamp' }, more)]), options);
  expect(at({ timezone: 'Mars/Base' })).toThrow('there is no time zone "Mars/Base"');
  expect(at({ format: { kind: 'pattern', pattern: '%Q' } })).toThrow('%Q is not known');
  expect(at({ format: { kind: 'pattern', pattern: '%H:%M' } })).toThrow('it needs a year, a month and a day');
  expect(() => decodePlan(feedOf([field('n', { kind: 'bigint' })], { eventTime: 'n' }), options)).toThrow('no TIMESTAMP or DATE');
});

test('refuses a chunk whose values and coordinates do not match, before anything is staged', async () => {
  const plan = decodePlan(feedOf([field('n', { kind: 'bigint' })]), options);
  const staged = await createStagedTables(connection, plan, 'mismatch');
  const chunk = { ...chunkOf(['{"n":1}', '{"n":2}']), values: Buffer.from('{"n":1}\x1e{"n":\x1e2}') };
  expect(decodeChunk(connection, plan, chunk, staged)).rejects.toThrow('2 messages hold other values');
  expect(await decodeChunk(connection, plan, chunkOf([]), staged)).toMatchObject({ rows: 0, drift: [] });
});

test('a 10 MB message becomes a row', async () => {
  const plan = decodePlan(feedOf([field('x', varchar())]), options);
  const long = 'ab"\\é'.repeat(2_000_000);
  const staged = await createStagedTables(connection, plan, 'large');
  await decodeChunk(connection, plan, chunkOf([JSON.stringify({ x: long })]), staged);
  const [row] = await query(connection, `SELECT md5(x) AS hash, length(x) AS chars FROM ${staged.rows}`);
  expect(row).toEqual({ hash: new Bun.CryptoHasher('md5').update(long).digest('hex'), chars: 10_000_000n });
});
