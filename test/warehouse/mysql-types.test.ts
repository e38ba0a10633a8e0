// Field types as columns of MySQL, and indexes that the server takes.
import { describe, expect, test } from 'bun:test';
import { parseFieldType } from '../../src/config/field-type.ts';
import type { FieldType } from '../../src/model/feed.ts';
import { indexParts, mysqlName, mysqlText, mysqlType } from '../../src/warehouse/mysql-types.ts';

const typeOf = (text: string): FieldType => {
  const parsed = parseFieldType(text);
  if (parsed.kind === 'problem') throw new Error(parsed.message);
  return parsed.type;
};
const EXACT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';

test.each([
  ['VARCHAR', 'LONGTEXT', `VARCHAR(255) ${EXACT}`],
  ['VARCHAR(20)', 'VARCHAR(20)', `VARCHAR(20) ${EXACT}`],
  ['BOOLEAN', 'TINYINT(1)', 'TINYINT(1)'],
  ['INTEGER', 'INT', 'INT'],
  ['BIGINT', 'BIGINT', 'BIGINT'],
  ['DOUBLE', 'DOUBLE', 'DOUBLE'],
  ['DECIMAL(38,10)', 'DECIMAL(38,10)', 'DECIMAL(38,10)'],
  ['DATE', 'DATE', 'DATE'],
  ['TIMESTAMP', 'DATETIME(6)', 'DATETIME(6)'],
  ['BLOB', 'LONGBLOB', 'LONGBLOB'],
  ['JSON', `LONGTEXT ${EXACT}`, `LONGTEXT ${EXACT}`],
  ['STRUCT(a BIGINT)', `LONGTEXT ${EXACT}`, `LONGTEXT ${EXACT}`],
  ['BIGINT[]', `LONGTEXT ${EXACT}`, `LONGTEXT ${EXACT}`],
])('%s is %s, and %s as a key', (text, column, key) => {
  expect(mysqlType(typeOf(text), { key: false })).toBe(column);
  expect(mysqlType(typeOf(text), { key: true })).toBe(key);
});

describe('an index', () => {
  const parts = (...types: string[]) => indexParts(types.map((text, index) => ({ name: `c${index}`, type: typeOf(text) })));
  test.each([
    [
      ['BIGINT', 'VARCHAR', 'DECIMAL(38,2)'],
      [null, null, null],
    ],
    [['VARCHAR(700)'], [null]],
    [['VARCHAR(800)'], [750]],
    [
      ['VARCHAR(255)', 'VARCHAR(768)'],
      [null, 375],
    ],
    [
      ['VARCHAR(400)', 'VARCHAR(400)'],
      [375, 375],
    ],
    [['BLOB'], [3000]],
    [
      ['BIGINT', 'BLOB', 'VARCHAR(10)'],
      [null, 1496, null],
    ],
  ])('on %p has the lengths %p', (types, lengths) => {
    expect(parts(...types).map(({ length }) => length)).toEqual(lengths);
  });

  test('has 16 parts at most', () => {
    expect(parts(...Array.from({ length: 20 }, () => 'BIGINT')).length).toBe(16);
  });
});

test('names and texts cannot end their quotes', () => {
  expect(mysqlName('a`; drop')).toBe('`a``; drop`');
  expect(mysqlText("a\\'; drop")).toBe("'a\\\\''; drop'");
});
