// Each rule about feeds: a table of what passes and a table of what is refused, in the words a person reads.
import { describe, expect, test } from 'bun:test';
import { feedOf, feedProblems, type Json, problems, STREAM, TABLE } from './helpers.ts';

const stream = (more: Json): Json => ({ ...STREAM, ...more });
const table = (more: Json): Json => ({ ...TABLE, ...more });
const fields = (declared: unknown, more: Json = {}): Json => ({
  ...STREAM,
  event_time: null,
  schema: { fields: declared },
  ...more,
});
const key = (key_field: unknown, declared: unknown = { a: 'VARCHAR', b: 'BIGINT', c: 'JSON', d: 'BIGINT[]' }): Json =>
  table({ schema: { key_field, fields: declared } });

const passes: readonly (readonly [string, Json])[] = [
  ['a name of 48 characters', stream({ feed_name: 'a'.repeat(48) })],
  ['a stream by date in append mode', stream({ partitioning: 'date', storage_mode: 'append' })],
  ['a table by version in overwrite mode', table({ partitioning: 'version', storage_mode: 'overwrite' })],
  ['a stream without a schema', { feed_name: 'raw', feed_type: 'stream' }],
  ['a table whose fields are inferred', table({ schema: { key_field: 'anything' } })],
  ['an event time of inferred type', stream({ schema: { fields: ['at'] } })],
  ['an event time that is a date', stream({ schema: { fields: { at: 'DATE' } } })],
  ['a key of two fields', key(['a', 'b'])],
  ['the largest decimal', fields({ a: 'DECIMAL(38,38)' })],
  ['a start at a day', stream({ start: '2025-01-28' })],
  ['a table that starts at the earliest', table({ start: 'earliest' })],
  ['snapshots every quarter of an hour', table({ snapshot_every: '15m' })],
  ['days for a stream', stream({ retention: { retention_days: 1, auto_delete: true } })],
  ['versions for a table', table({ retention: { retention_versions: 1, auto_delete: true } })],
  ['an epoch format on a date', fields({ a: { type: 'DATE', format: 'epoch_s' } })],
  ['a strptime pattern', fields({ a: { type: 'TIMESTAMP', format: '%d.%m.%Y %H:%M:%S.%f' } })],
  [
    'a dimension of a warehouse feed',
    table({ destination: 'both', dimensions: [{ table: 'dim_users', key: 'user_id', attributes: ['total'] }] }),
  ],
  ['permissions', stream({ permissions: { mysql_readers: ['bi'], lake_group: 'data', lake_mode: '0750' } })],
  ['a switch given as text', stream({ enabled: 'false' })],
];

const refused: readonly (readonly [string, Json, string])[] = [
  ['an upper-case name', stream({ feed_name: 'Events' }), 'feed_name must match [a-z][a-z0-9_]{0,47}'],
  ['a path as a name', stream({ feed_name: '../x' }), 'feed_name must match'],
  ['a name of 49 characters', stream({ feed_name: 'a'.repeat(49) }), 'feed_name must match'],
  ['a topic Kafka cannot have', stream({ topic: 'a b' }), 'topic must be letters'],
  ['another type', stream({ feed_type: 'tabel' }), 'must be one of "stream", "table", not "tabel"; did you mean "table"?'],
  ['another destination', stream({ destination: 'lake' }), 'destination must be one of'],
  ['a stream by version', stream({ partitioning: 'version' }), 'a stream cannot be partitioned by version; say "date"'],
  ['a stream that is overwritten', stream({ storage_mode: 'overwrite' }), 'a stream cannot be overwritten'],
  ['a stream with a key', stream({ schema: { key_field: 'a', fields: ['a', 'at'] } }), 'key_field has no meaning for a stream'],
  ['a stream with snapshots', stream({ snapshot_every: 'day' }), 'snapshot_every has no meaning for a stream'],
  ['a table by date', table({ partitioning: 'date' }), 'a table cannot be partitioned by date'],
  ['a table in append mode', table({ storage_mode: 'append' }), 'a table cannot be in append mode; say "overwrite"'],
  ['a table without a key', table({ schema: { fields: { a: 'VARCHAR' } } }), 'schema.key_field is missing'],
  ['a table without a schema', table({ schema: null }), 'schema.key_field is missing'],
  ['a key that is not declared', key('aa'), 'field "aa" in key_field is not declared; did you mean "a"?'],
  ['a key of two, one not declared', key(['a', 'zz']), 'field "zz" in key_field is not declared'],
  ['a key twice', key(['a', 'a']), '"a" is twice in key_field'],
  ['a JSON key', key('c'), 'key_field "c" is a JSON, which cannot be compared'],
  ['a list as a key', key('d'), 'key_field "d" is a LIST'],
  ['an event time not declared', stream({ event_time: 'att' }), 'field "att" in event_time is not declared; did you mean "at"?'],
  [
    'an event time that is text',
    stream({ event_time: 'id' }),
    'field "id" in event_time is a VARCHAR; it must be a TIMESTAMP or a DATE',
  ],
  ['a lineage name', fields({ KAFKA_Offset: 'BIGINT' }), 'field name "KAFKA_Offset" is reserved'],
  ['a partition name', fields({ Year: 'BIGINT' }), 'field name "Year" is reserved'],
  ['fields equal but for case', fields({ a: 'BIGINT', A: 'BIGINT' }), 'fields "a" and "A" are one name in SQL'],
  ['a name twice in a list', fields(['a', 'a']), 'field "a" is given twice'],
  ['a field named extra beside the extra column', fields(['Extra'], { unknown_fields: 'keep' }), 'taken by unknown_fields'],
  ['a field named like a renamed column of ours', fields(['id', 'lake_id']), 'needed for our own column'],
  ['a name of 65 characters', fields(['a'.repeat(65)]), 'more than 64 characters'],
  ['a name with a space at its end', fields(['a ']), 'begins or ends with a space'],
  ['a name with a line break', fields(['a\nb']), 'control character'],
  ['a name objects cannot hold', fields({ a: 'DATE', constructor: 'BIGINT' }), '"constructor" cannot be used as a name'],
  ['no fields', fields({}), 'fields are empty'],
  ['fields of objects in a list', fields([{ a: 'BIGINT' }]), 'schema.fields[0] must be a text, not an object'],
  ['39 digits', fields({ a: 'DECIMAL(39,2)' }), 'field "a": DECIMAL(39,2): the digits are 1 to 38'],
  ['more fraction digits than digits', fields({ a: 'DECIMAL(5,6)' }), 'more fraction digits (6) than digits (5)'],
  ['a mistyped type', fields({ a: 'VARCAHR(3)' }), '"VARCAHR" is not a type; did you mean VARCHAR?'],
  ['a path with an empty key', fields({ a: { from: 'x..y' } }), 'has an empty key'],
  ['a path into a list', fields({ a: { from: 'x[0]' } }), 'elements of a list cannot be picked'],
  ['a format of no time', fields({ a: { type: 'BIGINT', format: 'epoch_ms' } }), 'format has no meaning for a BIGINT'],
  ['a mistyped format', fields({ a: { type: 'DATE', format: 'epoch' } }), 'did you mean "epoch_'],
  ['a strptime letter there is not', fields({ a: { type: 'DATE', format: '%Q' } }), '%Q is not known'],
  ['a zone that is not there', fields({ a: { type: 'TIMESTAMP', timezone: 'Europe/Berln' } }), 'did you mean "Europe/Berlin"?'],
  ['a zone on a number', fields({ a: { type: 'BIGINT', timezone: 'UTC' } }), 'timezone has no meaning for a BIGINT'],
  ['a table from the group', table({ start: 'group' }), 'a table cannot start at "group"'],
  ['a table from the latest', table({ start: 'latest' }), 'a table cannot start at "latest"'],
  ['a mistyped start', stream({ start: 'earlist' }), 'did you mean "earliest"?'],
  ['a day that is not in the calendar', stream({ start: '2025-02-30' }), 'start "2025-02-30" must be'],
  [
    'a snapshot period of another form',
    table({ snapshot_every: 'dayly' }),
    'must be "day", "hour" or minutes from "1m" to "1440m"; did you mean "day"?',
  ],
  ['snapshots every 0 minutes', table({ snapshot_every: '0m' }), 'snapshot_every "0m" must be'],
  [
    'versions for a stream',
    stream({ retention: { retention_versions: 3 } }),
    'retention_versions has no meaning for a stream; say retention_days',
  ],
  [
    'days for a table',
    table({ retention: { retention_days: 3 } }),
    'retention_days has no meaning for a table; say retention_versions',
  ],
  ['deletion without a limit', stream({ retention: { auto_delete: true } }), 'auto_delete needs retention_days'],
  ['half a day', stream({ retention: { retention_days: 0.5 } }), 'retention.retention_days must be a whole number'],
  ['a ratio above 1', stream({ dead_letters_max_ratio: 1.5 }), 'dead_letters_max_ratio must be a number from 0 to 1'],
  [
    'a dimension without a warehouse',
    table({ dimensions: [{ table: 'dim_users', key: 'user_id' }] }),
    'dimension "dim_users" needs destination',
  ],
  [
    'a dimension key that is not declared',
    table({ destination: 'both', dimensions: [{ table: 'dim_users', key: 'userid' }] }),
    'field "userid" in the key of dimension "dim_users" is not declared; did you mean "user_id"?',
  ],
  ['a mysql_table that is SQL', table({ mysql_table: 'a; drop' }), 'mysql_table must be letters'],
  ['a mysql_table of our own', table({ mysql_table: 'Lake_Positions' }), 'is a table of lake itself'],
  ['a mode that is not octal', stream({ permissions: { lake_mode: '888' } }), 'permissions.lake_mode must be an octal mode'],
];

describe('a feed passes with', () => {
  test.each(passes)('%s', (_, feed) => {
    expect(feedProblems(feed)).toEqual([]);
  });
});

describe('a feed is refused for', () => {
  test.each(refused)('%s', (_, feed, message) => {
    const found = feedProblems(feed);
    expect(found.length).toBe(1);
    expect(found[0]).toContain(message);
  });
});

const mysql = { warehouse: { engine: 'mysql' } };

test.each([
  ['VARCHAR(16384)', 'at most VARCHAR(16383)'],
  ['DECIMAL(38,31)', 'at most 30 fraction digits'],
])('%s is refused only where MySQL must hold it', (type, message) => {
  const feed = { ...TABLE, destination: 'both', schema: { key_field: 'a', fields: { a: 'BIGINT', b: type } } };
  expect(feedProblems(feed, mysql)[0]).toContain(message);
  expect(feedProblems(feed)).toEqual([]);
  expect(feedProblems({ ...feed, destination: 'data_lake' }, mysql)).toEqual([]);
});

describe('feeds together', () => {
  const both = (first: Json, second: Json) => problems({ feeds: [first, second] });

  test('have different names', () => {
    expect(both(STREAM, { ...STREAM, topic: 'other' })).toEqual(['feed events: feed_name "events" is given twice']);
  });

  test('share a topic only when at most one is enabled', () => {
    const other = { ...STREAM, feed_name: 'again', topic: 'events' };
    expect(both(STREAM, other)).toEqual(['feed again: topic "events" is already read by feed events; one enabled feed a topic']);
    expect(both({ ...STREAM, enabled: false }, other)).toEqual([]);
  });

  test('have different tables in the warehouse, without regard to case', () => {
    const one = { ...TABLE, destination: 'both' };
    expect(both(one, { ...one, feed_name: 'more', mysql_table: 'FACT_totals' })).toEqual([
      'feed more: mysql_table "FACT_totals" is already the table of feed totals',
    ]);
  });

  test('share a dimension only with one key', () => {
    const one = { ...TABLE, destination: 'both', dimensions: [{ table: 'dim_users', key: 'user_id' }] };
    expect(both(one, { ...one, feed_name: 'more' })).toEqual([]);
    expect(both(one, { ...one, feed_name: 'more', dimensions: [{ table: 'dim_users', key: 'total' }] })[0]).toContain(
      'has the key "user_id" in feed totals',
    );
  });
});

describe('what is not said is', () => {
  test('by date, appended, from the earliest, to the lake, for a stream', () => {
    expect(feedOf({ feed_name: 'events', feed_type: 'stream' })).toEqual({
      name: 'events',
      topic: 'events',
      type: 'stream',
      destination: 'data_lake',
      enabled: true,
      partitioning: 'date',
      storageMode: 'append',
      start: { kind: 'earliest' },
      eventTime: null,
      fields: null,
      keyFields: [],
      keyFrom: 'value',
      unknownFields: 'ignore',
      headers: false,
      deadLettersMaxRatio: 0.5,
      snapshotEvery: 'day',
      mysqlTable: null,
      dimensions: [],
      retention: { days: null, versions: null, autoDelete: false },
      permissions: { mysqlReaders: [], lakeGroup: null, lakeMode: null },
      createdBy: 1,
    });
  });

  test('by version and overwritten for a table, with a fact table where it goes to the warehouse', () => {
    const feed = feedOf({ ...TABLE, destination: 'data_warehouse' });
    expect([feed.partitioning, feed.storageMode, feed.mysqlTable, feed.keyFields]).toEqual([
      'version',
      'overwrite',
      'fact_totals',
      ['user_id'],
    ]);
  });
});

test.each([
  ['2025-01-28', '2025-01-28T00:00:00Z'],
  ['2025-01-28T10:30', '2025-01-28T10:30:00Z'],
  ['2025-01-28 10:30:00.5', '2025-01-28T10:30:00.5Z'],
  ['2025-01-28T10:30:00+05:00', '2025-01-28T05:30:00Z'],
])('start %s is %s', (start, instant) => {
  expect(feedOf(stream({ start })).start).toEqual({ kind: 'timestamp', ms: Date.parse(instant) });
});

test('a field takes its path from its name, a dotted text or a list of keys', () => {
  const feed = feedOf(
    fields({ a: 'BIGINT', b: { from: 'USER_ID' }, c: { from: '$.payment.method' }, d: { from: ['x.y', 'z'] }, 'e.f': 'BIGINT' }),
  );
  expect(feed.fields?.map((field) => field.from)).toEqual([['a'], ['USER_ID'], ['payment', 'method'], ['x.y', 'z'], ['e.f']]);
});

test('a field says how its text is read and what is done with an excess', () => {
  const feed = feedOf(
    fields({ a: { type: 'TIMESTAMP', format: '%Y', on_excess: 'round', required: true, timezone: 'europe/berlin' }, b: {} }),
  );
  expect(feed.fields).toEqual([
    {
      name: 'a',
      from: ['a'],
      type: { kind: 'timestamp' },
      required: true,
      format: { kind: 'pattern', pattern: '%Y' },
      onExcess: 'round',
      timezone: 'Europe/Berlin',
    },
    { name: 'b', from: ['b'], type: null, required: false, format: { kind: 'iso8601' }, onExcess: 'dead_letter', timezone: null },
  ]);
});
