import { expect, test } from 'bun:test';
import { canonicalJson } from '../../src/model/json-fields.ts';
import { ENTRY_KINDS, entryToJson, type LogEntry, parseEntry, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';

const FULL: LogEntry = {
  ...proposal({ kind: 'append', batch: 'b1', epoch: 2, schemaVersion: 3 }),
  version: 7,
  feed: 'orders',
  writer: 'w1',
  at: '2025-01-28T10:00:00.000Z',
  clusterId: 'c',
  topic: 't',
  ranges: [
    {
      partition: 1,
      start: toOffset('9007199254740993'),
      end: toOffset('9007199254740999'),
      messages: 4,
      rows: 2,
      deadLetters: 1,
      tombstones: 1,
      last: { offset: toOffset('9007199254740998'), timestampMs: -1, hash: 'h' },
      timestampMsMax: 5,
    },
  ],
  gaps: [{ partition: 2, start: toOffset(0n), end: toOffset(5n), reason: 'takeover' }],
  added: [
    {
      kind: 'dead_letters',
      staged: 's',
      path: 'p',
      rows: 1,
      bytes: 2,
      sha256: 'x',
      values: { year: '2025', month: '01' },
      eventTimeMin: null,
      eventTimeMax: '2025-01-28T00:00:00Z',
    },
  ],
  removed: ['q'],
  schema: { version: 4, fields: [{ name: 'a', type: { kind: 'list', item: ['x', 1, null, true] } }] },
  fence: { writer: 'w0' },
  stop: { reason: null },
  config: { replaces: 3, values: { timezone: 'Europe/Berlin' } },
};

const parsedAgain = (entry: LogEntry) => parseEntry(JSON.parse(canonicalJson(entryToJson(entry))));

test('an entry survives its JSON, offsets above 2^53 to the digit', () => {
  expect(parsedAgain(FULL)).toEqual(FULL);
  for (const kind of ENTRY_KINDS) expect(parsedAgain({ ...FULL, ...proposal({ ...FULL, kind }) }).kind).toBe(kind);
});

test('offsets are texts and names are snake_case in the JSON', () => {
  expect(entryToJson(FULL)).toMatchObject({
    format: 1,
    schema_version: 3,
    cluster_id: 'c',
    ranges: [{ start: '9007199254740993', dead_letters: 1, timestamp_ms_max: 5, last: { timestamp_ms: -1 } }],
    added: [{ event_time_max: '2025-01-28T00:00:00Z' }],
  });
});

test('canonical JSON does not depend on the order of names', () => {
  expect(canonicalJson({ b: [1, { d: 1, c: 2 }], a: null })).toBe(canonicalJson({ a: null, b: [1, { c: 2, d: 1 }] }));
  expect(canonicalJson({ b: 'é"', a: [] })).toBe('{"a":[],"b":"é\\""}');
});

const json = () => JSON.parse(canonicalJson(entryToJson(FULL)));
test.each<[string, (entry: ReturnType<typeof json>) => void, string]>([
  ['a number for an offset', (e) => (e.ranges[0].start = 5), 'ranges[0].start'],
  ['a negative offset', (e) => (e.ranges[0].end = '-1'), 'ranges[0].end'],
  ['a fraction', (e) => (e.ranges[0].rows = 1.5), 'ranges[0].rows'],
  ['a negative count', (e) => (e.ranges[0].rows = -1), 'ranges[0].rows'],
  ['a missing field', (e) => delete e.epoch, 'epoch'],
  ['a missing list', (e) => delete e.added, 'added'],
  ['version 0', (e) => (e.version = 0), 'version'],
  ['another kind of file', (e) => (e.added[0].kind = 'log'), 'added[0].kind'],
  ['a number as a partition value', (e) => (e.added[0].values.year = 2025), 'added[0].values.year'],
  ['a list for an object', (e) => (e.fence = []), 'fence'],
])('%s is damage, named by field', (_, change, field) => {
  const entry = json();
  change(entry);
  expect(() => parseEntry(entry)).toThrow(field);
});

test('a newer format and an unknown kind are foreign, not damaged', () => {
  expect(() => parseEntry({ ...json(), format: 2 })).toThrow(expect.objectContaining({ code: 'lake_foreign_format' }));
  expect(() => parseEntry({ ...json(), kind: 'x' })).toThrow(expect.objectContaining({ code: 'lake_foreign_format' }));
});
