// What a sample says of a feed: type, key, event time, fields; and that the proposed fields take every message of the sample.
import { describe, expect, test } from 'bun:test';
import { feedToJson } from '../../src/config/feed-json.ts';
import { typeName } from '../../src/model/columns.ts';
import { decodeMessage, messagePlan } from '../../src/model/convert.ts';
import { chooseFeed, type FeedWishes } from '../../src/model/feed-choice.ts';
import { propose, type SampleText } from '../../src/model/propose.ts';
import { feedOf } from '../config/helpers.ts';

const of = (values: readonly (object | null | string)[], key?: (index: number) => string): SampleText[] =>
  values.map((value, index) => ({
    key: key ? key(index) : null,
    value: typeof value === 'string' || value === null ? value : JSON.stringify(value),
  }));
const PLAIN = { isCompacted: false };
const COMPACTED = { isCompacted: true };
const types = (sample: readonly SampleText[]) =>
  Object.fromEntries(
    propose(sample, PLAIN).fields.map(({ field }) => [
      field.name,
      field.format.kind === 'iso8601' ? typeName(field.type) : `${typeName(field.type)} ${field.format.kind}`,
    ]),
  );
const chosen = (wishes: Partial<FeedWishes>, sample: readonly SampleText[], topic = PLAIN) =>
  feedToJson(chooseFeed({ name: 'orders', ...wishes }, propose(sample, topic)));

const EVENTS = of([
  { id: 1, at: '2025-01-28T20:00:00Z', who: 'anna', price: 12.5 },
  { id: 2, at: '2025-01-29T20:00:00Z', who: 'ben', price: 3 },
  { id: 3, at: '2025-01-30T20:00:00Z', who: null, price: 1234.25 },
]);

describe('fields', () => {
  test('types with the evidence for them', () => {
    const { fields, counts } = propose(EVENTS, PLAIN);
    expect(counts).toEqual({ messages: 3, objects: 3, tombstones: 0, keyed: 0 });
    expect(
      fields.map(({ field, missing, nulls, distinct, range }) => [
        field.name,
        typeName(field.type),
        missing,
        nulls,
        distinct,
        range,
      ]),
    ).toEqual([
      ['id', 'BIGINT', 0, 0, 3, '1 – 3'],
      ['at', 'TIMESTAMP', 0, 0, 3, '2025-01-28T20:00:00Z – 2025-01-30T20:00:00Z'],
      ['who', 'VARCHAR', 0, 1, 2, '3–4 characters'],
      ['price', 'DECIMAL(21,2)', 0, 0, 3, '3 – 1234.25'],
    ]);
    expect(fields[2]?.examples).toEqual(['anna', 'ben']);
  });

  test.each([
    [
      'objects of one make',
      [
        { a: 1, b: 'x' },
        { a: 2, b: 'y' },
        { a: 3, b: null },
      ],
      'STRUCT(a BIGINT, b VARCHAR)',
    ],
    ['objects with names of their own', [{ x1: 1 }, { x2: 2 }, { x3: 3 }], 'JSON'],
    ['too few to know', [{ a: 1 }, { a: 2 }], 'JSON'],
    ['lists of texts', [['a'], ['b', 'c'], []], 'VARCHAR[]'],
    [
      'lists of objects',
      [
        [{ id: 1, n: 2 }],
        [
          { id: 2, n: 1 },
          { id: 3, n: 1 },
        ],
        [],
      ],
      'STRUCT(id BIGINT, n BIGINT)[]',
    ],
    ['lists of nothing', [[], [], []], 'JSON'],
    ['one thing and another', [{ a: 1 }, [1], { a: 2 }], 'JSON'],
    [
      'names that are one in SQL',
      [
        { a: 1, A: 2 },
        { a: 1, A: 2 },
        { a: 1, A: 2 },
      ],
      'JSON',
    ],
  ])('nested: %s', (_what, values, type) => {
    expect(types(of(values.map((value) => ({ v: value }))))).toEqual({ v: type });
  });

  test.each([
    ['updated_at', 1_738_094_400_000, 'TIMESTAMP epoch_ms'],
    ['ts', 1_738_094_400, 'TIMESTAMP epoch_s'],
    ['user_id', 1_738_094_400_000, 'BIGINT'],
    ['created_at', 17, 'BIGINT'],
  ])('a number called %s, such as %d, is %s', (name, value, type) => {
    expect(types(of([{ [name]: value }, { [name]: value + 1 }]))).toEqual({ [name]: type });
  });

  test('names in capitals, as ksqlDB writes them, become small and are read where they are', () => {
    const sample = of([
      { USER_ID: 'u', TOTAL: 1 },
      { USER_ID: 'v', TOTAL: 2 },
    ]);
    expect(chosen({}, sample)).toMatchObject({
      schema: { fields: { user_id: { type: 'VARCHAR', from: 'USER_ID' }, total: { type: 'BIGINT', from: 'TOTAL' } } },
    });
  });

  test('a name with a dot in it is no path', () => {
    expect(chosen({}, of([{ 'A.B': 1 }]))).toMatchObject({ schema: { fields: { 'a.b': { type: 'BIGINT', from: ['A.B'] } } } });
  });

  test('values that are no objects are counted, and say nothing', () => {
    const { counts, fields } = propose(of(['[]', 'nonsense', null, { id: 1 }]), PLAIN);
    expect(counts).toEqual({ messages: 4, objects: 1, tombstones: 1, keyed: 0 });
    expect(fields.map(({ field }) => field.name)).toEqual(['id']);
  });
});

describe('type and key', () => {
  const rows = [
    { user: 'u1', n: 1 },
    { user: 'u2', n: 2 },
  ];
  const keyed = of(rows, (index) => `u${index + 1}`);

  test('a table is keyed and compacted; its key is the field that says the same', () => {
    const { type, key } = propose(keyed, COMPACTED);
    expect({ type, fields: key?.fields, from: key?.from }).toEqual({ type: 'table', fields: ['user'], from: 'value' });
    expect(propose(keyed, PLAIN).type).toBe('stream');
    expect(propose(of(rows), COMPACTED).type).toBe('stream');
    expect(propose([...keyed, { key: null, value: '{}' }], COMPACTED).type).toBe('stream');
  });

  test('a tombstone has a key, and no word in what the fields are', () => {
    expect(propose([...keyed, { key: 'u9', value: null }], COMPACTED)).toMatchObject({
      type: 'table',
      counts: { tombstones: 1 },
    });
  });

  test('a key that only Kafka has', () => {
    const sample = of([{ N: 1 }, { N: 2 }], (index) => `user${index}`);
    expect(chosen({ key: ['user_id'] }, sample, COMPACTED)).toMatchObject({
      feed_type: 'table',
      schema: { key_field: 'user_id', key_from: 'message_key', fields: { user_id: { type: 'VARCHAR(255)', required: true } } },
    });
    expect(chosen({}, sample, COMPACTED)).toMatchObject({ schema: { key_field: 'message_key', key_from: 'message_key' } });
  });

  test('a key that is an object, in the message or not', () => {
    const sample = of(
      [
        { a: 'x', b: 1 },
        { a: 'y', b: 2 },
      ],
      (index) => JSON.stringify({ a: 'xy'[index], b: index + 1 }),
    );
    expect(propose(sample, COMPACTED).key).toMatchObject({ fields: ['a', 'b'], from: 'value' });
    const apart = of([{ N: 1 }, { N: 2 }], (index) => JSON.stringify({ USER_ID: `u${index}` }));
    expect(chosen({}, apart, COMPACTED)).toMatchObject({
      schema: { key_field: 'user_id', key_from: 'message_key', fields: { user_id: { from: 'USER_ID', required: true } } },
    });
  });

  test('a table without any key is left to be told', () => {
    expect(chooseFeed({ name: 'orders', type: 'table' }, propose(EVENTS, PLAIN)).keyFields).toEqual([]);
  });
});

test.each([
  [[{ a: '2025-01-01T00:00:00Z', event_time: '2025-01-01T00:00:00Z' }], 'event_time'],
  [[{ seen: '2025-01-01T00:00:00Z' }], 'seen'],
  [[{ seen: '2025-01-01T00:00:00Z' }, { seen: null }], null],
  [[{ n: 1 }], null],
])('event time of %j is %p', (values, name) => {
  expect(propose(of(values), PLAIN).eventTime).toBe(name);
});

test('what was said goes before what was seen', () => {
  expect(
    chosen({ destination: 'both', fields: [{ name: 'id', type: { kind: 'varchar', charsMax: 9 } }], mysqlTable: 'mine' }, EVENTS),
  ).toMatchObject({
    ...{ feed_type: 'stream', destination: 'both', mysql_table: 'mine' },
    schema: { fields: { id: 'VARCHAR(9)' } },
  });
  expect(chosen({ eventTime: null }, EVENTS)).not.toHaveProperty('event_time');
  expect(chosen({}, EVENTS)).toMatchObject({ event_time: 'at' });
});

test('short texts get a length in a warehouse, and none in a lake', () => {
  const fields = (destination: 'both' | 'data_lake') => chosen({ destination }, EVENTS)['schema'];
  expect(fields('both')).toMatchObject({ fields: { who: 'VARCHAR(255)' } });
  expect(fields('data_lake')).toMatchObject({ fields: { who: 'VARCHAR' } });
});

test('every proposed feed is valid as it is written, and takes every message that it was made from', () => {
  const hostile = of([
    {
      id: 9_007_199_254_740_993n.toString(),
      n: 1e20,
      deep: { a: [{ b: 1 }, { b: 2.5 }] },
      t: '2025-01-28',
      x: true,
      kafka_offset: 1,
      ID: 2,
    },
    { id: 'x'.repeat(300), n: 1.5, deep: { a: [] }, t: '2025-01-29', x: null, kafka_offset: 2, ID: 3 },
    { id: '', n: -3, deep: { a: [{ b: null }] }, t: '2025-01-30', kafka_offset: 3, ID: 4 },
  ]);
  for (const [sample, wishes] of [
    [EVENTS, {}],
    [EVENTS, { destination: 'both' }],
    [hostile, {}],
    [hostile, { destination: 'both' }],
  ] as const) {
    const feed = feedOf(chosen(wishes, sample));
    const plan = messagePlan(feed);
    const decoded = sample.map(({ value }) => decodeMessage(value ?? '', plan));
    expect(decoded.filter(({ kind }) => kind !== 'row')).toEqual([]);
  }
});
