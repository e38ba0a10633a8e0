// biome-ignore-all lint/suspicious/noTemplateCurlyInString: what the file says, to be filled in by the program
// The way from text to Config: defaults, what is filled in, flags, lines, and all problems in one run.
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { feedsJsonSchema } from '../../src/config/json-schema.ts';
import { findConfigIssues, loadConfig } from '../../src/config/load.ts';
import { LakeError } from '../../src/errors.ts';
import { load, problems, STREAM, TABLE, texts } from './helpers.ts';

const root = join(import.meta.dirname, '..', '..');
const failure = (run: () => unknown): LakeError => {
  try {
    run();
  } catch (error) {
    if (error instanceof LakeError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('the shipped feeds.json', () => {
  test('has the nine feeds and no problem, with an empty environment', () => {
    const config = loadConfig({ path: join(root, 'feeds.json'), env: {} });
    expect(config.feeds.map((feed) => `${feed.type} ${feed.name} ${feed.destination} ${feed.mysqlTable}`)).toEqual([
      'stream transaction_stream data_lake null',
      'stream transaction_flattened data_lake null',
      'stream transaction_stream_anonymized data_lake null',
      'stream transaction_stream_blacklisted data_lake null',
      'stream customer_events data_lake null',
      'table user_transaction_summary both fact_user_transaction_summary',
      'table user_transaction_summary_eur both fact_user_transaction_summary_eur',
      'table payment_method_totals both fact_payment_method_totals',
      'table product_purchase_counts both fact_product_purchase_counts',
    ]);
    expect(config.feeds.flatMap((feed) => feed.dimensions.map(({ table }) => table))).toEqual([
      'dim_users',
      'dim_users',
      'dim_payment_methods',
    ]);
    expect(config.kafka.bootstrapServers).toEqual(['localhost:9092']);
    expect(config.warehouse).toMatchObject({ engine: 'mysql', host: 'localhost', port: 3306, password: '' });
  });

  test('takes servers and password from the environment', () => {
    const env = { KAFKA_BOOTSTRAP_SERVERS: 'a:1, b:2', MYSQL_PASSWORD: 'p', MYSQL_PORT: '3307' };
    const config = loadConfig({ path: join(root, 'feeds.json'), env });
    expect(config.kafka.bootstrapServers).toEqual(['a:1', 'b:2']);
    expect(config.warehouse).toMatchObject({ port: 3307, password: 'p' });
  });
});

test('the committed feeds.schema.json is the one the schema gives (scripts/feeds-schema.ts)', () => {
  expect(JSON.parse(readFileSync(join(root, 'feeds.schema.json'), 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(feedsJsonSchema())),
  );
});

test('an empty object is a configuration: no feeds, an embedded warehouse inside the lake', () => {
  expect(load({})).toEqual({
    path: '/etc/lake/feeds.json',
    kafka: {
      bootstrapServers: ['localhost:9092'],
      groupId: 'data_lake_consumers',
      warehouseGroupId: 'data_warehouse_consumers',
      ssl: false,
      sasl: null,
      sessionTimeoutSeconds: 10,
    },
    lake: { path: '/etc/lake/data_lake', compression: 'snappy', timezone: 'UTC' },
    warehouse: { engine: 'duckdb', path: '/etc/lake/data_lake/warehouse.duckdb' },
    batch: { batchSize: 100_000, batchBytes: 32_000_000, batchTimeoutSeconds: 30 },
    feeds: [],
  });
  expect(load({ feeds: [], warehouse: null, governance: { created_by: 7 } }).feeds).toEqual([]);
});

test('every section is read', () => {
  const config = load(
    {
      kafka: {
        bootstrap_servers: 'k1:9092,[::1]:9093',
        group_id: 'g',
        warehouse_group_id: 'w',
        ssl: { ca: '${file:ca.pem}', reject_unauthorized: false },
        sasl: { mechanism: 'scram-sha-512', username: 'u', password: 'p' },
        session_timeout_seconds: 1,
      },
      lake: { path: '/data', compression: 'zstd', timezone: 'europe/berlin' },
      warehouse: { engine: 'duckdb', path: 'w.duckdb' },
      batch: { batch_size: '10', batch_bytes: '1MiB', batch_timeout_seconds: '500ms' },
      governance: { created_by: 7 },
      feeds: [STREAM],
    },
    { files: { '/etc/lake/ca.pem': 'PEM\n' } },
  );
  expect(config.kafka).toEqual({
    bootstrapServers: ['k1:9092', '[::1]:9093'],
    groupId: 'g',
    warehouseGroupId: 'w',
    ssl: { ca: 'PEM', rejectUnauthorized: false },
    sasl: { mechanism: 'scram-sha-512', username: 'u', password: 'p' },
    sessionTimeoutSeconds: 1,
  });
  expect(config.lake).toEqual({ path: '/data', compression: 'zstd', timezone: 'Europe/Berlin' });
  expect(config.warehouse).toEqual({ engine: 'duckdb', path: '/etc/lake/w.duckdb' });
  expect(config.batch).toEqual({ batchSize: 10, batchBytes: 1_048_576, batchTimeoutSeconds: 0.5 });
  expect(config.feeds[0]?.createdBy).toBe(7);
});

test('a lake on an object store keeps its address', () => {
  const config = load({ lake: { path: 's3://bucket/lake' } });
  expect([config.lake.path, config.warehouse]).toEqual([
    's3://bucket/lake',
    { engine: 'duckdb', path: '/etc/lake/warehouse.duckdb' },
  ]);
});

test('the configuration is frozen to its leaves', () => {
  const config = load({ feeds: [TABLE] });
  expect(Object.isFrozen(config)).toBe(true);
  expect(Object.isFrozen(config.feeds[0]?.keyFields)).toBe(true);
  expect(Object.isFrozen(config.feeds[0]?.fields?.[0]?.type)).toBe(true);
});

describe('${…}', () => {
  const group = (text: string, env: Record<string, string> = {}, files: Record<string, string> = {}) => {
    const content = { kafka: { group_id: text } };
    const found = problems(content, { env, files });
    return found.length > 0 ? found.join('\n') : load(content, { env, files }).kafka.groupId;
  };

  test.each([
    ['a variable', 'x-${A}-y', 'x-1-y'],
    ['two variables', '${A}${B}', '12'],
    ['a default that is not needed', '${A:-z}', '1'],
    ['a default for a missing variable', '${Z:-z}', 'z'],
    ['a default for an empty variable', '${EMPTY:-z}', 'z'],
    ['a default with a colon', '${Z:-a:b:-c}', 'a:b:-c'],
    ['a file, its last line end cut', '${file:/run/secrets/x}', 'secret\n'],
    ['a file beside feeds.json', '${file:near}', 'near'],
    ['an escape', '$${A}', '${A}'],
    ['a dollar alone', 'a$b', 'a$b'],
  ])('fills in %s', (_, text, filled) => {
    expect(group(text, { A: '1', B: '2', EMPTY: '' }, { '/run/secrets/x': 'secret\n\n', '/etc/lake/near': 'near' })).toBe(filled);
  });

  test.each([
    ['a variable that is not set', '${Z}', 'kafka.group_id: the environment variable Z is not set'],
    ['a variable that is empty', '${EMPTY}', 'the environment variable EMPTY is empty'],
    ['a name objects have', '${toString}', 'the environment variable toString is not set'],
    ['a file that is not there', '${file:/nope}', 'kafka.group_id: the file /nope cannot be read (ENOENT)'],
    ['a name with a space', '${A B}', 'is not understood'],
    ['an open brace', '${A', 'is not closed with }'],
  ])('is a problem for %s', (_, text, message) => {
    expect(group(text, { EMPTY: '' })).toContain(message);
  });

  test('what came from outside is in no error text', () => {
    const content = {
      lake: { timezone: '${ZONE}', compression: '${file:/c}' },
      warehouse: { engine: 'mysql', password: '${PW}', database: '${PW}' },
      feeds: [{ ...STREAM, event_time: '${PW}', start: '${PW}', schema: { fields: { at: 'STRUCT(a ${PW})' } } }],
    };
    const found = texts(content, { env: { PW: 'hunter2', ZONE: 'no' }, files: { '/c': 'top-secret\n' } }).join('\n');
    expect(found).not.toMatch(/hunter2|top-secret|"no"/);
    expect(found).toContain('field "${PW}" in event_time is not declared');
    expect(found).toContain('"${ZONE}" is not a time zone');
  });

  test('a value that could not be filled in is reported once', () => {
    expect(problems({ warehouse: { engine: 'mysql', port: '${PORT}' } }).length).toBe(1);
  });
});

describe('flags', () => {
  test('win over the file, and over a variable the file wants and nobody set', () => {
    const content = {
      kafka: { bootstrap_servers: ['${NOPE}'] },
      warehouse: { engine: 'mysql', password: '${NOPE}' },
      lake: { path: 'x' },
    };
    const overrides = {
      bootstrapServers: 'a:1,b:2',
      mysqlPassword: '${literal}',
      lakePath: 'here',
      groupId: 'g',
      batchBytes: '1KB',
      mysqlPort: '3307',
    };
    const config = load(content, { overrides });
    expect(config.kafka).toMatchObject({ bootstrapServers: ['a:1', 'b:2'], groupId: 'g' });
    expect(config.warehouse).toMatchObject({ password: '${literal}', port: 3307 });
    expect(config.batch.batchBytes).toBe(1000);
    // As a shell means it, not from the folder of the file.
    expect(config.lake.path).toBe(resolve('here'));
  });

  test('for MySQL ask for MySQL when no warehouse is configured', () => {
    expect(load({}, { overrides: { mysqlHost: 'db' } }).warehouse).toMatchObject({ engine: 'mysql', host: 'db', port: 3306 });
  });

  test('are named in the problem they cause', () => {
    const overrides = { mysqlPort: '99999', bootstrapServers: 'nope', mysqlPassword: 'hunter2' };
    expect(texts({ warehouse: { engine: 'mysql' } }, { overrides })).toEqual([
      '--bootstrap-servers: kafka.bootstrap_servers must be host:port, or several with commas between',
      '--mysql-port: warehouse.port must be a whole number from 1 to 65535',
    ]);
    expect(texts({ warehouse: { engine: 'duckdb' } }, { overrides: { mysqlHost: 'x' } })[0]).toStartWith('--mysql-host: ');
  });
});

const BROKEN = `{
  // a comment
  "kafka": { "group_idd": "x", "bootstrap_servers": 5 },
  "lake": { "timezone": "Mars/Base" },
  "feeds": [
    { "feed_name": "customer_events", "feed_type": "stream",
      "event_time": "timestmp",
      "retention": {
        "retention_versions": 3,
        "auto_delete": "perhaps",
      },
      "schema": { "fields": {
        "timestamp": "TIMESTAMP",
        "timestamp": "DATE",
        "n": { "type": "INT", "requred": true },
      } },
    },
    { "feed_type": "table", "feed_name": "t" },
  ],
}`;

test('every problem is told in one run, in the order of the file, by line and feed', () => {
  expect(texts(BROKEN).map((text) => text.replace('/etc/lake/', ''))).toEqual([
    'feeds.json:3: kafka.bootstrap_servers must be a text or a list, not a number',
    'feeds.json:3: kafka: "group_idd" is not a known key; did you mean "group_id"?',
    'feeds.json:4: lake.timezone "Mars/Base" is not a time zone; write one like "Europe/Berlin"',
    'feeds.json:7 feed customer_events: field "timestmp" in event_time is not declared; did you mean "timestamp"?',
    'feeds.json:9 feed customer_events: retention_versions has no meaning for a stream; say retention_days',
    'feeds.json:10 feed customer_events: retention.auto_delete must be true or false',
    'feeds.json:14 feed customer_events: "timestamp" is given twice',
    'feeds.json:15 feed customer_events: schema.fields.n: "requred" is not a known key; did you mean "required"?',
    'feeds.json:15 feed customer_events: field "n": "INT" is not a type; did you mean INTEGER?',
    'feeds.json:18 feed t: a table needs a key: schema.key_field is missing',
  ]);
});

test('loadConfig throws one config_invalid with all of them, an issue is data for a program', () => {
  const error = failure(() => load(BROKEN));
  expect([error.code, error.exit]).toEqual(['config_invalid', 2]);
  expect(error.message.split('\n').length).toBe(11);
  expect(error.message).toStartWith('/etc/lake/feeds.json has 10 problems\n  /etc/lake/feeds.json:3: ');
  const { issues } = findConfigIssues({ path: '/x.json', env: {}, readText: () => BROKEN });
  expect(issues[3]).toMatchObject({ file: '/x.json', line: 7, feed: 'customer_events', path: 'feeds[0].event_time' });
});

test('the two pipelines cannot share a consumer group, be it by default', () => {
  expect(problems({ kafka: { group_id: 'data_warehouse_consumers' } })).toEqual([
    'kafka.warehouse_group_id and kafka.group_id are both "data_warehouse_consumers"; they must differ',
  ]);
});

test('every unknown key of an object is told', () => {
  expect(problems({ a: 1, b: 2, kafka: { c: 3, d: 4 } }).length).toBe(4);
});

test.each([
  ['', 1, 'empty'],
  ['{\n "feeds": [\n', 3, 'a closing ] is missing'],
  ['{\n "a": 1\n "b": 2 }', 3, 'a comma is expected'],
  ["{ 'a': 1 }", 1, 'keys and texts stand in double quotes'],
  ['{ "kafka": {} } {}', 1, 'nothing may follow'],
])('%p is no JSON, told by line', (text, line, message) => {
  const [first] = texts(text);
  expect(first).toStartWith(`/etc/lake/feeds.json:${line}`);
  expect(first).toContain(message);
});

test.each([
  '[]',
  '5',
  'null',
  '{"feeds":{}}',
  '{"feeds":[null]}',
  '{"lake":5}',
  '{"lake":[]}',
  '{"warehouse":[]}',
  '{"feeds":[[]]}',
  '{"warehouse":{"engine":"oracle"}}',
  '{"warehouse":{}}',
])('%s is refused and does not crash, with flags too', (text) => {
  expect(texts(text).length).toBeGreaterThan(0);
  expect(texts(text, { overrides: { lakePath: '/x', mysqlHost: 'h' } }).length).toBeGreaterThan(0);
});

test('a file that is not there is config_missing', () => {
  const error = failure(() => loadConfig({ path: 'nowhere/feeds.json', env: {} }));
  expect([error.code, error.message, error.exit]).toEqual(['config_missing', 'nowhere/feeds.json is not there', 2]);
});

test('a byte order mark and Windows line ends are taken', () => {
  expect(load('\uFEFF{\r\n"feeds": [],\r\n}').feeds).toEqual([]);
  expect(texts('{\r\n\r\n"x": 1}')[0]).toStartWith('/etc/lake/feeds.json:3');
});
