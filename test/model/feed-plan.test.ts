// The plan of a new feed, its diffs, and what is told where feeds.json says otherwise already.
import { expect, test } from 'bun:test';
import { decodeMessage, messagePlan } from '../../src/model/convert.ts';
import { contradictions } from '../../src/model/feed-choice.ts';
import { type AddFacts, exampleMessage, planFeed } from '../../src/model/feed-plan.ts';
import { unifiedDiff } from '../../src/model/unified-diff.ts';
import { feedOf } from '../config/helpers.ts';

const ORDERS = feedOf({
  ...{ feed_name: 'orders', feed_type: 'table', destination: 'both' },
  schema: { key_field: 'id', fields: { id: 'VARCHAR(255)', price: 'DECIMAL(15,2)' } },
  retention: { retention_versions: 30, auto_delete: true },
});
const NOTHING: AddFacts = {
  feed: ORDERS,
  topic: { shape: null, wanted: { partitions: 3, replicationFactor: 1, settings: new Map([['retention.ms', '1']]) } },
  configuration: { name: 'feeds.json', before: '{ "feeds": [] }\n', after: '{ "feeds": [1] }\n' },
  sql: { name: 'sql/06_create_orders_table.sql', before: null, after: 'CREATE TABLE x;\n' },
  registry: { place: 'database d', rows: [{ table: 'feed_registry', before: null, after: 'feed_name=orders\n' }] },
  table: { name: 'fact_orders', columnsKnown: true, missing: ['table created: fact_orders'] },
  permissions: { wanted: ['ana@%', 'group x'], missing: ['ana@%'] },
  isAudited: false,
};
const ALL: AddFacts = {
  ...NOTHING,
  topic: { ...NOTHING.topic, shape: { partitions: 3, replicationFactor: 1 } },
  configuration: { ...NOTHING.configuration, before: '{ "feeds": [1] }\n' },
  sql: { name: 'sql/06_create_orders_table.sql', before: 'CREATE TABLE x;\n', after: 'CREATE TABLE x;\n' },
  registry: { place: 'database d', rows: [{ table: 'feed_registry', before: 'a=1\n', after: 'a=1\n' }] },
  table: { name: 'fact_orders', columnsKnown: true, missing: [] },
  permissions: { wanted: ['ana@%'], missing: [] },
  isAudited: true,
};
const states = (facts: AddFacts) => planFeed(facts).map(({ step, state }) => `${step} ${state}`);

test('everything in order, the topic before the feed that looks for it', () => {
  const wanted = ['topic', 'configuration', 'sql', 'registry', 'table', 'permissions', 'audit'];
  expect(states(NOTHING)).toEqual(wanted.map((step) => `${step} to_do`));
  expect(states(ALL)).toEqual(wanted.map((step) => `${step} there`));
});

test('what is there is never changed', () => {
  const other = { ...ALL, sql: { name: 'sql/06_create_orders_table.sql', before: 'mine', after: 'CREATE TABLE x;\n' } };
  expect(planFeed(other).find(({ step }) => step === 'sql')).toMatchObject({
    state: 'there',
    diff: '',
    note: 'it was changed since, and stays as it is',
  });
  const [topic] = planFeed({ ...ALL, topic: { ...ALL.topic, shape: { partitions: 1, replicationFactor: 1 } } });
  expect(topic).toMatchObject({ state: 'there', note: '1 partitions: it was there before, and stays as it is' });
});

test('columns that come with the first messages are left to ingest', () => {
  const later: AddFacts = {
    ...NOTHING,
    permissions: null,
    sql: null,
    table: { name: 'fact_orders', columnsKnown: false, missing: [] },
  };
  expect(states(later)).toContain('table left');
  expect(states({ ...NOTHING, permissions: null, sql: null, registry: null, table: null })).toEqual([
    'topic to_do',
    'configuration to_do',
    'audit to_do',
  ]);
});

test('a diff is what diff -u says', () => {
  const [before, after] = ['a\nb\nc\nd\ne\nf\ng\nh\n', 'a\nb\nc\nd\nX\nY\nf\ng\nh\n'];
  expect(unifiedDiff('f', before, after)).toBe('--- f\n+++ f\n@@ -2,7 +2,8 @@\n b\n c\n d\n-e\n+X\n+Y\n f\n g\n h\n');
  expect(unifiedDiff('f', null, 'a\n')).toBe('--- /dev/null\n+++ f\n@@ -0,0 +1,1 @@\n+a\n');
  expect(unifiedDiff('f', 'a\n', null)).toBe('--- f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n');
  expect(unifiedDiff('f', 'a', 'a\nb')).toBe(
    '--- f\n+++ f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n',
  );
  expect(unifiedDiff('f', 'a', 'a')).toBe('');
});

test('a test message is one that the feed takes', () => {
  const feeds = [
    ORDERS,
    feedOf({
      ...{ feed_name: 'x', feed_type: 'table', destination: 'both' },
      schema: {
        key_field: ['a', 'b'],
        key_from: 'message_key',
        fields: {
          a: { type: 'VARCHAR(3)', from: 'A' },
          b: 'BIGINT',
          ms: { type: 'TIMESTAMP', format: 'epoch_ms' },
          on_day: { type: 'DATE', from: 'nested.date' },
          list: 'STRUCT(n INTEGER, ok BOOLEAN)[]',
          one: 'STRUCT(n DECIMAL(3,0), at TIMESTAMP)',
          raw: 'BLOB',
          any: 'JSON',
          x: 'DOUBLE',
        },
      },
    }),
  ];
  for (const feed of feeds) {
    const { key, value } = exampleMessage(feed);
    expect(decodeMessage(value, messagePlan(feed), key)).toMatchObject({ kind: 'row' });
  }
});

test('what contradicts the file is told, and what agrees is not', () => {
  const agreed = {
    name: 'orders',
    type: 'table',
    key: ['id'],
    retentionVersions: 30,
    topic: 'orders',
    mysqlTable: 'fact_orders',
  } as const;
  expect(contradictions(ORDERS, agreed)).toEqual([]);
  const fields = [
    { name: 'id', type: null },
    { name: 'price', type: { kind: 'decimal', precision: 15, scale: 2 } as const },
  ];
  expect(contradictions(ORDERS, { ...agreed, fields })).toEqual([]);
  expect(contradictions(ORDERS, { name: 'orders', type: 'stream', retentionDays: 3, fields: fields.slice(1) })).toEqual([
    'feed_type is table there, not stream',
    'fields is id:VARCHAR(255),price:DECIMAL(15,2) there, not price:DECIMAL(15,2)',
    'retention_days is not set there, not 3',
  ]);
});
