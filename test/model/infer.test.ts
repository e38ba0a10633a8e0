import { describe, expect, test } from 'bun:test';
import { typeName } from '../../src/model/columns.ts';
import { decodeMessage, messagePlan } from '../../src/model/convert.ts';
import type { Field, FieldType } from '../../src/model/feed.ts';
import { inferFields, inferTypes, widen } from '../../src/model/infer.ts';
import { feedOf, field } from '../ingest/decode-helpers.ts';

const typeOfValues = (...values: string[]): string | null => {
  const [first] = inferFields(values.map((value) => `{"x":${value}}`));
  return first?.type ? typeName(first.type) : null;
};

describe('an inferred type', () => {
  const cases: [string[], string | null][] = [
    [['1', '-2', 'null'], 'BIGINT'],
    [['9223372036854775807'], 'BIGINT'],
    [['9223372036854775808'], 'DECIMAL(19,0)'],
    [['1', '12.5'], 'DECIMAL(21,2)'],
    [['0.1234'], 'DECIMAL(23,4)'],
    [['12345678901234567890123456789012345678'], 'DECIMAL(38,0)'],
    [['123456789012345678901234567890123456789'], 'VARCHAR'],
    [['1e3'], 'BIGINT'],
    [['1e300', '1.5'], 'DOUBLE'],
    [['1e300', '12345678901234567.5'], 'VARCHAR'],
    [['true', 'false'], 'BOOLEAN'],
    [['true', '1'], 'VARCHAR'],
    [['"2025-01-28T10:00:00Z"', '"2025-01-28 10:00:00.5"'], 'TIMESTAMP'],
    [['"2025-01-28"'], 'DATE'],
    [['"2025-02-30"'], 'VARCHAR'],
    [['"2025-01-28"', '"2025-01-28T10:00:00Z"'], 'VARCHAR'],
    [['"12"'], 'VARCHAR'],
    [['{"a":1}', '"text"'], 'JSON'],
    [['[1]'], 'JSON'],
    [['null'], null],
  ];
  for (const [values, type] of cases) {
    test(`of ${values.join(', ')} is ${type}, and holds them`, () => {
      expect(typeOfValues(...values)).toBe(type);
      const texts = values.map((value) => `{"x":${value}}`);
      const plan = messagePlan(feedOf(inferFields(texts)));
      for (const text of texts) expect(decodeMessage(text, plan).kind).toBe('row');
    });
  }
});

test('fields come in order of appearance; reserved and equal names get another, and still read the same JSON name', () => {
  const fields = inferFields(['{"b":1,"a":null}', 'no json', '[1]', '{"a":"x","Day":1,"B":2,"":3,"lake_b":4}']);
  expect(fields.map(({ name, from }) => [name, ...from])).toEqual([
    ['b', 'b'],
    ['a', 'a'],
    ['lake_Day', 'Day'],
    ['lake_B', 'B'],
    ['unnamed', ''],
    ['lake_lake_b', 'lake_b'],
  ]);
});

test('fields declared by name alone get types; declared types stay', () => {
  const declared: Field[] = [field('n', { kind: 'integer' }), { ...field('t', { kind: 'json' }), type: null }];
  const gone: Field = { ...field('gone', { kind: 'json' }), type: null };
  const types = inferTypes([...declared, gone], ['{"n":"text","t":"2025-01-28T10:00:00Z"}']).map(({ type }) => type?.kind);
  expect(types).toEqual(['integer', 'timestamp', 'varchar']);
});

describe('widening', () => {
  const cases: [FieldType, string, string][] = [
    [{ kind: 'integer' }, '7', 'INTEGER'],
    [{ kind: 'integer' }, '2147483648', 'BIGINT'],
    [{ kind: 'integer' }, '-2147483648', 'INTEGER'],
    [{ kind: 'bigint' }, '9223372036854775808', 'DECIMAL(19,0)'],
    [{ kind: 'bigint' }, '"1.25"', 'DECIMAL(21,2)'],
    [{ kind: 'bigint' }, '1e300', 'BIGINT'],
    [{ kind: 'bigint' }, '"abc"', 'BIGINT'],
    [{ kind: 'decimal', precision: 15, scale: 2 }, '1.234', 'DECIMAL(16,3)'],
    [{ kind: 'decimal', precision: 38, scale: 2 }, '1.234', 'DECIMAL(38,2)'],
    [{ kind: 'varchar', charsMax: 3 }, '"abcd"', 'VARCHAR'],
    [{ kind: 'varchar', charsMax: 3 }, '"abc"', 'VARCHAR(3)'],
    [{ kind: 'boolean' }, '1', 'BOOLEAN'],
    [{ kind: 'timestamp' }, '"soon"', 'TIMESTAMP'],
  ];
  for (const [type, value, wider] of cases) {
    test(`${typeName(type)} that meets ${value} is ${wider}`, () => {
      const { fields, changes } = widen([field('x', type)], [`{"x":${value}}`], { addColumns: true });
      expect(fields.map((one) => one.type && typeName(one.type))).toEqual([wider]);
      expect(changes).toEqual(wider === typeName(type) ? [] : [{ field: 'x', from: typeName(type), to: wider }]);
    });
  }

  test('adds columns only when asked', () => {
    const known = [field('x', { kind: 'bigint' })];
    expect(widen(known, ['{"y":1}'], { addColumns: false }).changes).toEqual([]);
    expect(widen(known, ['{"y":1}'], { addColumns: true })).toMatchObject({
      fields: [{ name: 'x' }, { name: 'y' }],
      changes: [{ field: 'y', from: null, to: 'BIGINT' }],
    });
  });
});
