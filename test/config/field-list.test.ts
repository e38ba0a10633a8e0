// --fields and --topic-config: commas inside a type belong to it, and what is wrong is named.
import { expect, test } from 'bun:test';
import { parseFieldList, parseSettings } from '../../src/config/field-list.ts';
import { typeName } from '../../src/model/columns.ts';

const listed = (text: string) => parseFieldList(text).map(({ name, type }) => `${name} ${type === null ? '?' : typeName(type)}`);

test.each([
  ['customer_id:VARCHAR,event:VARCHAR,timestamp:TIMESTAMP', ['customer_id VARCHAR', 'event VARCHAR', 'timestamp TIMESTAMP']],
  ['a:VARCHAR(10), b:DECIMAL(15,2) ,c', ['a VARCHAR(10)', 'b DECIMAL(15,2)', 'c ?']],
  ['p:STRUCT(x BIGINT, y DECIMAL(3,1))[],q:varchar', ['p STRUCT(x BIGINT, y DECIMAL(3,1))[]', 'q VARCHAR']],
  ['s:STRUCT("a,b" BIGINT),', ['s STRUCT("a,b" BIGINT)']],
])('%s', (text, fields) => {
  expect(listed(text)).toEqual(fields);
});

test.each([
  ['a:TEXT', 'field "a": "TEXT" is not a type; did you mean VARCHAR?'],
  [':BIGINT', 'a field is name:TYPE'],
  [' , ', '--fields is empty'],
  ['a:DECIMAL(15', 'field "a"'],
])('%j is refused', (text, words) => {
  expect(() => parseFieldList(text)).toThrow(words);
});

test('settings of a topic', () => {
  expect([...parseSettings('retention.ms=604800000,compression.type=snappy', '--topic-config')]).toEqual([
    ['retention.ms', '604800000'],
    ['compression.type', 'snappy'],
  ]);
  expect([...parseSettings('cleanup.policy=compact,delete,retention.ms=1', '--topic-config')]).toEqual([
    ['cleanup.policy', 'compact,delete'],
    ['retention.ms', '1'],
  ]);
  expect(() => parseSettings('compact', '--topic-config')).toThrow('it takes name=value');
});
