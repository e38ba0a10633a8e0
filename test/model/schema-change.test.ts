// Which types may take the place of which, and what is said of those that may not.

import { expect, test } from 'bun:test';
import { parseFieldType } from '../../src/config/field-type.ts';
import { typeName } from '../../src/model/columns.ts';
import type { TypedField } from '../../src/model/feed.ts';
import { isWiderOrSame, schemaProblems } from '../../src/model/schema-change.ts';

const typeOf = (text: string): TypedField['type'] => {
  const parsed = parseFieldType(text);
  if (parsed.kind === 'problem') throw new Error(parsed.message);
  return parsed.type;
};
const fields = (types: Record<string, string>): TypedField[] =>
  Object.entries(types).map(([name, type]) => ({
    ...{ name, from: [name], type: typeOf(type), required: false, format: { kind: 'iso8601' } },
    ...{ onExcess: 'dead_letter', timezone: null },
  }));

test.each([
  ['INTEGER', 'BIGINT', true],
  ['INTEGER', 'DECIMAL(10,0)', true],
  ['INTEGER', 'DECIMAL(11,2)', false],
  ['BIGINT', 'DECIMAL(19,0)', true],
  ['BIGINT', 'DECIMAL(21,2)', true],
  ['BIGINT', 'DECIMAL(20,2)', false],
  ['BIGINT', 'INTEGER', false],
  ['BIGINT', 'DOUBLE', false],
  ['DECIMAL(6,2)', 'DECIMAL(8,4)', true],
  ['DECIMAL(6,2)', 'DECIMAL(8,5)', false],
  ['DECIMAL(6,2)', 'DECIMAL(9,2)', true],
  ['DECIMAL(6,2)', 'BIGINT', false],
  ['DECIMAL(4,0)', 'BIGINT', true],
  ['VARCHAR(10)', 'VARCHAR(11)', true],
  ['VARCHAR(10)', 'VARCHAR', true],
  ['VARCHAR', 'VARCHAR(10)', false],
  ['VARCHAR', 'VARCHAR', true],
  ['VARCHAR', 'JSON', false],
  ['DATE', 'TIMESTAMP', false],
  ['BIGINT[]', 'BIGINT[]', true],
  ['INTEGER[]', 'BIGINT[]', false],
  ['STRUCT(a BIGINT)', 'STRUCT(a BIGINT, b BIGINT)', false],
])('%s to %s: %p', (from, to, may) => expect(isWiderOrSame(typeOf(from), typeOf(to))).toBe(may));

test('columns more and wider ones are no problem, and their order is none', () => {
  const before = fields({ a: 'INTEGER', b: 'VARCHAR(3)' });
  expect(schemaProblems(before, fields({ c: 'DATE', b: 'VARCHAR', a: 'BIGINT' }))).toEqual([]);
  expect(schemaProblems([], before)).toEqual([]);
});

test('a narrower type, another one, one that is gone and one by another name are all told, with the way back', () => {
  const before = fields({ a: 'BIGINT', b: 'VARCHAR', c: 'DATE', d: 'BOOLEAN' });
  expect(schemaProblems(before, fields({ a: 'INTEGER', b: 'JSON', delta: 'BOOLEAN' }))).toEqual([
    { field: 'a', what: 'field a was BIGINT and is now INTEGER, which is narrower', todo: '"a": "BIGINT"' },
    { field: 'b', what: 'field b was VARCHAR and is now JSON, which is another type', todo: '"b": "VARCHAR"' },
    { field: 'c', what: 'field c is no longer there', todo: '"c": "DATE"' },
    {
      ...{ field: 'd', what: 'field d is no longer there' },
      todo: '"d": { "type": "BOOLEAN", "from": "delta" } in the place of delta',
    },
  ]);
  expect(typeName(typeOf('varchar(3)'))).toBe('VARCHAR(3)');
});
