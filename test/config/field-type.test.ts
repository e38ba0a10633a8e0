// The small readers of configuration: SQL types, paths, sizes, durations, mistyped words.
import { describe, expect, test } from 'bun:test';
import { parseFieldType } from '../../src/config/field-type.ts';
import { formatJsonPath, parseJsonPath } from '../../src/config/json-path.ts';
import { nearest } from '../../src/config/suggest.ts';
import { parseBytes, parseSeconds } from '../../src/config/units.ts';
import { typeName } from '../../src/model/columns.ts';

describe('a type is read and written back', () => {
  test.each([
    ['varchar', 'VARCHAR'],
    [' VARCHAR ( 255 ) ', 'VARCHAR(255)'],
    ['decimal(15, 2)', 'DECIMAL(15,2)'],
    ['DECIMAL(10)', 'DECIMAL(10,0)'],
    ['Bigint[]', 'BIGINT[]'],
    ['VARCHAR(3)[][]', 'VARCHAR(3)[][]'],
    ['STRUCT(a BIGINT, "b c" STRUCT(d DATE)[])', 'STRUCT(a BIGINT, "b c" STRUCT(d DATE)[])'],
    ['STRUCT("a""b" BLOB)[]', 'STRUCT("a""b" BLOB)[]'],
    ...['INTEGER', 'DOUBLE', 'BOOLEAN', 'DATE', 'TIMESTAMP', 'JSON', 'BLOB'].map((name) => [name, name] as const),
  ] as const)('%s', (text, canonical) => {
    const parsed = parseFieldType(text);
    if (parsed.kind === 'problem') throw new Error(parsed.message);
    expect(typeName(parsed.type)).toBe(canonical);
    expect(parseFieldType(canonical)).toEqual(parsed);
  });
});

describe('a type is refused', () => {
  test.each([
    ['', 'a type is missing'],
    ['TEXT', 'did you mean VARCHAR?'],
    ['INT', 'did you mean INTEGER?'],
    ['FLOAT', 'did you mean DOUBLE?'],
    ['DATETIME', 'did you mean TIMESTAMP?'],
    ['TIMESTMP', 'did you mean TIMESTAMP?'],
    ['constructor', 'the types are'],
    ['BIGINT(20)', 'BIGINT takes no length'],
    ['VARCHAR(0)', 'at least 1'],
    ['VARCHAR(x)', '"x" is no number'],
    ['VARCHAR(3', 'takes one number'],
    ['DECIMAL', 'needs its digits'],
    ['DECIMAL(0,0)', 'the digits are 1 to 38'],
    ['DECIMAL(1,2,3)', 'takes two numbers'],
    ['BIGINT BIGINT', '"BIGINT" is not expected after the type'],
    ['BIGINT; DROP TABLE x', '";" is not expected'],
    ['BIGINT[3]', 'a list is written BIGINT[]'],
    ['STRUCT', 'STRUCT needs its fields'],
    ['STRUCT()', 'is not a field name'],
    ['STRUCT(a BIGINT', 'is not closed'],
    ['STRUCT(a BIGINT, A DATE)', 'one name in SQL'],
    [`${'STRUCT(a '.repeat(20)}DATE${')'.repeat(20)}`, 'nested at most 16 deep'],
  ])('%s', (text, message) => {
    const parsed = parseFieldType(text);
    expect(parsed.kind === 'problem' ? parsed.message : 'accepted').toContain(message);
  });
});

test.each([
  ['64MB', 64_000_000],
  ['64 mib', 67_108_864],
  ['1.5kB', 1500],
  ['100', 100],
  [100, 100],
  ['64XB', null],
  ['', null],
  ['-1MB', null],
  ['toString', null],
  [Number.NaN, null],
])('%p is %p bytes', (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test.each([
  ['30s', 30],
  ['500ms', 0.5],
  ['2m', 120],
  ['1h', 3600],
  [0.25, 0.25],
  ['soon', null],
  [Number.POSITIVE_INFINITY, null],
])('%p is %p seconds', (text, seconds) => {
  expect(parseSeconds(text)).toBe(seconds);
});

test('a path is written back in its shortest form', () => {
  expect(formatJsonPath(['payment', 'method'])).toBe('payment.method');
  expect(formatJsonPath(['a.b', 'c'])).toEqual(['a.b', 'c']);
  expect(formatJsonPath(['$x'])).toEqual(['$x']);
  expect(parseJsonPath('$')).toMatchObject({ kind: 'problem' });
  expect(parseJsonPath([])).toMatchObject({ kind: 'problem' });
});

test.each([
  ['timestmp', 'timestamp'],
  ['retention', 'retention_days'],
  ['AutoDelete', 'auto_delete'],
  ['xyz', null],
])('near %s is %p', (word, found) => {
  expect(nearest(word, ['timestamp', 'retention_days', 'auto_delete'])).toBe(found);
});
