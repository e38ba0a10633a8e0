// Which changes of a table's key would make what is kept mean something else.
import { expect, test } from 'bun:test';
import type { Field, FieldType } from '../../src/model/feed.ts';
import { keyFieldProblem, keyToText } from '../../src/model/table-key.ts';

const field = (type: FieldType, more: Partial<Field> = {}): Field => ({
  name: 'id',
  from: ['id'],
  type,
  required: true,
  format: { kind: 'iso8601' },
  onExcess: 'dead_letter',
  timezone: null,
  ...more,
});
const TEXT: FieldType = { kind: 'varchar', charsMax: 20 };

test.each<[string, Field, Field, RegExp | null]>([
  ['none', field(TEXT), field(TEXT), null],
  ['a longer text', field(TEXT), field({ kind: 'varchar', charsMax: 255 }), null],
  ['a wider number', field({ kind: 'integer' }), field({ kind: 'decimal', precision: 19, scale: 0 }), null],
  ['another field of the message', field(TEXT), field(TEXT, { from: ['user', 'id'] }), /was read from id and now from user\.id/],
  ['a number instead of a text', field(TEXT), field({ kind: 'bigint' }), /was a text and is now a number/],
  ['times read another way', field({ kind: 'timestamp' }), field({ kind: 'timestamp' }, { timezone: 'Asia/Tokyo' }), /times/],
])('%s', (_, before, after, wanted) => {
  const problem = keyFieldProblem(['id'], [before], [after]);
  if (wanted === null) expect(problem).toBeNull();
  else expect(problem).toMatch(wanted);
});

test('order and source of the key are part of it', () => {
  const texts = [
    keyToText({ keyFields: ['a', 'b'], keyFrom: 'value' }),
    keyToText({ keyFields: ['b', 'a'], keyFrom: 'value' }),
    keyToText({ keyFields: ['a', 'b'], keyFrom: 'message_key' }),
  ];
  expect(new Set(texts).size).toBe(3);
});
