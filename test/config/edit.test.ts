// Edits of feeds.json: what was asked for changes, and every other character stays.
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addFeed, removeFeed, setInFeed } from '../../src/config/edit.ts';

const SHIPPED = readFileSync(join(import.meta.dir, '../../feeds.json'), 'utf8');
const FEED = { feed_name: 'orders', feed_type: 'stream', schema: { fields: { id: 'BIGINT' } } } as const;

/** Lines that are in one text only, in order. */
const lost = (from: string, to: string): string[] => {
  const rest = to.split('\n');
  return from.split('\n').filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
};

describe('a feed is added at the end', () => {
  test('of the file that comes with lake: nothing but a comma changes in what was there', () => {
    const after = addFeed(SHIPPED, FEED);
    expect(lost(SHIPPED, after)).toEqual([]);
    expect(lost(after, SHIPPED)).toEqual([
      '    },',
      '    {',
      '      "feed_name": "orders",',
      '      "feed_type": "stream",',
      '      "schema": { "fields": { "id": "BIGINT" } }',
    ]);
  });

  test.each([
    [
      'an empty list',
      '{\n  "feeds": []\n}\n',
      '{\n  "feeds": [\n    {\n      "feed_name": "orders",\n      "feed_type": "stream",\n      "schema": { "fields": { "id": "BIGINT" } }\n    }\n  ]\n}\n',
    ],
    [
      'a list of comments',
      '{\n  "feeds": [\n    // none yet\n  ]\n}\n',
      '{\n  "feeds": [\n    // none yet\n    {\n      "feed_name": "orders",\n      "feed_type": "stream",\n      "schema": { "fields": { "id": "BIGINT" } }\n    }\n  ]\n}\n',
    ],
    [
      'no list',
      '{ "kafka": {} }',
      '{ "kafka": {}, "feeds": [\n  {\n    "feed_name": "orders",\n    "feed_type": "stream",\n    "schema": { "fields": { "id": "BIGINT" } }\n  }\n] }',
    ],
    [
      'an empty object',
      '{}\n',
      '{\n  "feeds": [\n    {\n      "feed_name": "orders",\n      "feed_type": "stream",\n      "schema": { "fields": { "id": "BIGINT" } }\n    }\n  ]\n}\n',
    ],
    [
      'all on one line',
      '{"feeds":[{"feed_name":"a"}]}',
      '{"feeds":[{"feed_name":"a"}, {"feed_name":"orders","feed_type":"stream","schema":{"fields":{"id":"BIGINT"}}}]}',
    ],
    [
      'a trailing comma and comments behind and below',
      '{\n\t"feeds": [\n\t\t{ "feed_name": "a" }, // the first\n\t\t// more here\n\t],\n}',
      '{\n\t"feeds": [\n\t\t{ "feed_name": "a" }, // the first\n\t\t{\n\t\t\t"feed_name": "orders",\n\t\t\t"feed_type": "stream",\n\t\t\t"schema": { "fields": { "id": "BIGINT" } }\n\t\t},\n\t\t// more here\n\t],\n}',
    ],
    [
      'a comment behind the last',
      '{\n  "feeds": [\n    { "feed_name": "a" } // b\n  ] }',
      '{\n  "feeds": [\n    { "feed_name": "a" }, // b\n    {\n      "feed_name": "orders",\n      "feed_type": "stream",\n      "schema": { "fields": { "id": "BIGINT" } }\n    }\n  ] }',
    ],
    [
      'line ends of Windows',
      '{\r\n  "feeds": [\r\n    { "feed_name": "a" }\r\n  ]\r\n}\r\n',
      '{\r\n  "feeds": [\r\n    { "feed_name": "a" },\r\n    {\r\n      "feed_name": "orders",\r\n      "feed_type": "stream",\r\n      "schema": { "fields": { "id": "BIGINT" } }\r\n    }\r\n  ]\r\n}\r\n',
    ],
  ])('%s', (_what, before, after) => {
    expect(addFeed(before, FEED)).toBe(after);
  });

  test('and taken out again every text is as it was', () => {
    for (const text of [SHIPPED, SHIPPED.replaceAll('\n', '\r\n'), '{\n  "feeds": [\n    { "feed_name": "a" }\n  ]\n}\n'])
      expect(removeFeed(addFeed(text, FEED), 'orders')).toBe(text);
  });
});

describe('a feed is taken out', () => {
  test('with its own comment, and the others keep theirs', () => {
    const after = removeFeed(SHIPPED, 'transaction_flattened');
    const gone = lost(SHIPPED, after);
    expect(gone[0]).toContain('// From ksqlDB: one message a product');
    expect(gone.filter((line) => line.includes('//'))).toHaveLength(1);
    expect(lost(after, SHIPPED)).toEqual([]);
    expect(after).not.toContain('\n\n\n');
    expect(after).toContain('// As the shop sends them');
    expect(after).toContain('// Without the person');
  });

  test('the last one leaves no comma', () => {
    const after = removeFeed(SHIPPED, 'product_purchase_counts');
    expect(() => JSON.parse(after.replaceAll(/^\s*\/\/.*$/gm, ''))).not.toThrow();
  });

  test('the only one, and one of a line', () => {
    expect(JSON.parse(removeFeed('{ "feeds": [ { "feed_name": "a" } ] }', 'a'))).toEqual({ feeds: [] });
    expect(removeFeed('{"feeds":[{"feed_name":"a"},{"feed_name":"b"}]}', 'a')).toBe('{"feeds":[{"feed_name":"b"}]}');
    expect(removeFeed('{"feeds":[{"feed_name":"a"},{"feed_name":"b"}]}', 'b')).toBe('{"feeds":[{"feed_name":"a"}]}');
  });

  test('one that is not there is named', () => {
    expect(() => removeFeed(SHIPPED, 'nope')).toThrow('there is no feed nope');
  });
});

describe('a key of a feed is set', () => {
  test('where it stands', () => {
    const after = setInFeed(SHIPPED, 'customer_events', 'enabled', false);
    expect(lost(SHIPPED, after)).toEqual(['      "enabled": true,']);
    expect(lost(after, SHIPPED)).toEqual(['      "enabled": false,']);
    expect(setInFeed(after, 'customer_events', 'enabled', true)).toBe(SHIPPED);
  });

  test('and at the end of the feed where it is new', () => {
    expect(setInFeed('{ "feeds": [ { "feed_name": "a" } ] }', 'a', 'enabled', false)).toBe(
      '{ "feeds": [ { "feed_name": "a", "enabled": false } ] }',
    );
    expect(setInFeed('{ "feeds": [\n  {\n    "feed_name": "a" // why\n  }\n] }', 'a', 'enabled', false)).toBe(
      '{ "feeds": [\n  {\n    "feed_name": "a", // why\n    "enabled": false\n  }\n] }',
    );
  });
});

test('a comment up to the end of the line swallows nothing that is added behind it', () => {
  const feed = { feed_name: 'z' };
  expect(addFeed('{ "feeds": [{ "feed_name": "a" } // note\n] }', feed)).toBe(
    '{ "feeds": [{ "feed_name": "a" }, // note\n{"feed_name":"z"}\n] }',
  );
  expect(addFeed('{ "feeds": [{\n  "feed_name": "a"\n}, // note\n] }', feed)).toBe(
    '{ "feeds": [{\n  "feed_name": "a"\n}, // note\n{"feed_name":"z"},\n] }',
  );
  expect(setInFeed('{ "feeds": [\n  { "feed_name": "a" // note\n  }\n] }', 'a', 'enabled', false)).toBe(
    '{ "feeds": [\n  { "feed_name": "a", // note\n  "enabled": false\n  }\n] }',
  );
});

test('a feed between two comments on a line is no comment of the next feed', () => {
  const one = '/* first */ { "feed_name": "a" }';
  expect(removeFeed(`{ "feeds": [\n  ${one}, /* of a */\n  { "feed_name": "b" }\n] }`, 'b')).toBe(
    `{ "feeds": [\n  ${one} /* of a */\n] }`,
  );
});
