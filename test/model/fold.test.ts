import { expect, test } from 'bun:test';
import { parseState, stateToJson } from '../../src/model/checkpoint.ts';
import { emptyState, type FeedState, liveFiles } from '../../src/model/feed-state.ts';
import { entryProblem, fold, foldAll, REMOVED_KEPT_VERSIONS, validity } from '../../src/model/fold.ts';
import { canonicalJson } from '../../src/model/json-fields.ts';
import { type LakeFile, type LogEntry, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { rangeOf } from '../helpers/lake-folder.ts';

const file = (path: string, rows: number, kind: LakeFile['kind'] = 'data'): LakeFile => ({
  kind,
  staged: `staged/${path}`,
  path,
  rows,
  bytes: 1,
  sha256: '',
  values: {},
  eventTimeMin: null,
  eventTimeMax: null,
});
const wanted = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'append', batch: 'b', epoch: 0, schemaVersion: 0, ...given });
const next = (state: FeedState, given: Partial<LogEntry>): LogEntry => ({
  ...wanted(given),
  version: state.version + 1,
  feed: state.feed,
  writer: 'w1',
  at: '2025-01-28T00:00:00.000Z',
  ...given,
});
const after = (...entries: Partial<LogEntry>[]): FeedState =>
  entries.reduce<FeedState>((state, given) => fold(state, next(state, given)), emptyState('orders'));

const FIRST = { ranges: [rangeOf(0, 10)], added: [file('p1', 10)], clusterId: 'c', topic: 't' };

test('ranges move positions, add counts and keep the newest message and the greatest timestamp', () => {
  const second = { ...rangeOf(10, 15), messages: 3, rows: 1, deadLetters: 1, tombstones: 1, timestampMsMax: 5 };
  const state = after(FIRST, { ranges: [second], added: [file('p2', 1), file('d2', 1, 'dead_letters')] });
  expect(state.positions.get(0)).toEqual({
    start: toOffset(0n),
    position: toOffset(15n),
    last: second.last,
    timestampMsMax: rangeOf(0, 10).timestampMsMax,
    totals: { messages: 13, rows: 11, deadLetters: 1, tombstones: 1 },
  });
  expect(liveFiles(state).map(({ path, version }) => [path, version])).toEqual([
    ['d2', 2],
    ['p1', 1],
    ['p2', 2],
  ]);
});

test('a range without messages moves the position and keeps the last message', () => {
  const empty = { ...rangeOf(10, 20), messages: 0, rows: 0, last: null, timestampMsMax: null };
  const state = after(FIRST, { kind: 'hole', ranges: [empty] });
  expect(state.positions.get(0)).toMatchObject({ position: toOffset(20n), last: rangeOf(0, 10).last });
});

test('a gap moves the position, is recorded, and lets a range follow in the same entry', () => {
  const gap = { partition: 0, start: toOffset(10n), end: toOffset(40n), reason: 'expired' };
  const state = after(FIRST, { kind: 'gap', gaps: [gap], ranges: [rangeOf(40, 50)] });
  expect(state.positions.get(0)).toMatchObject({ start: toOffset(0n), position: toOffset(50n) });
  expect(state.gaps).toEqual([{ ...gap, version: 2, at: '2025-01-28T00:00:00.000Z' }]);
});

test('folding changes no earlier state', () => {
  const state = after(FIRST);
  const before = canonicalJson(stateToJson(state));
  fold(state, next(state, { kind: 'retain', removed: ['p1'] }));
  fold(state, next(state, { kind: 'fence', fence: { writer: 'w0' } }));
  expect(canonicalJson(stateToJson(state))).toBe(before);
});

const SCHEMA = { kind: 'schema', schema: { version: 1, fields: ['a'] } } as const;
const STOP = { kind: 'stop', stop: { reason: 'too many dead letters' } } as const;
const CONFIG = { kind: 'config', config: { replaces: 0, values: { timezone: 'UTC' } } } as const;

test.each<[string, Partial<LogEntry>[], Partial<Proposal>, object]>([
  ['the next range', [FIRST], { ranges: [rangeOf(10, 20)] }, { kind: 'valid' }],
  ['a new partition anywhere', [FIRST], { ranges: [rangeOf(77, 80, 5)] }, { kind: 'valid' }],
  ['an overlap', [FIRST], { ranges: [rangeOf(9, 20)] }, { reason: 'positions', partitions: [0] }],
  ['an offset gap', [FIRST], { ranges: [rangeOf(11, 20), rangeOf(0, 1, 1)] }, { reason: 'positions', partitions: [0] }],
  ['an old epoch', [SCHEMA], { ranges: [rangeOf(0, 1)], schemaVersion: 1 }, { reason: 'epoch' }],
  ['an old schema', [SCHEMA], { ranges: [rangeOf(0, 1)], epoch: 1 }, { reason: 'schema' }],
  ['the pinned schema', [SCHEMA], { ranges: [rangeOf(0, 1)], epoch: 1, schemaVersion: 1 }, { kind: 'valid' }],
  ['a schema that skips a version', [], { ...SCHEMA, schema: { version: 2, fields: [] } }, { reason: 'schema' }],
  ['another cluster', [FIRST], { ranges: [rangeOf(10, 20)], clusterId: 'd', topic: 't' }, { reason: 'topic' }],
  ['another topic', [FIRST], { ranges: [rangeOf(10, 20)], clusterId: 'c', topic: 'u' }, { reason: 'topic' }],
  ['data of a stopped feed', [STOP], { ranges: [rangeOf(0, 1)] }, { reason: 'stopped' }],
  ['enabling a stopped feed', [STOP], { kind: 'stop', stop: { reason: null } }, { kind: 'valid' }],
  ['data of an enabled feed', [STOP, { kind: 'stop', stop: { reason: null } }], { ranges: [rangeOf(0, 1)] }, { kind: 'valid' }],
  ['removing a live file', [FIRST], { kind: 'retain', removed: ['p1'] }, { kind: 'valid' }],
  [
    'removing a file twice',
    [FIRST, { kind: 'retain', removed: ['p1'] }],
    { kind: 'compact', removed: ['p1'] },
    { reason: 'files' },
  ],
  ['adding a live path again', [FIRST], { kind: 'compact', added: [file('p1', 10)] }, { reason: 'files' }],
  ['pins over newer pins', [CONFIG], CONFIG, { reason: 'config' }],
  ['pins over the newest', [CONFIG], { ...CONFIG, config: { replaces: 1, values: {} } }, { kind: 'valid' }],
  [
    'a fenced writer',
    [{ kind: 'fence', writer: 'w0', fence: { writer: 'w1' } }],
    { ranges: [rangeOf(0, 1)] },
    { kind: 'fenced' },
  ],
  ['a fence under an old epoch', [SCHEMA], { kind: 'fence', fence: { writer: 'w0' } }, { kind: 'valid' }],
])('%s', (_, entries, given, verdict) => {
  expect(validity(after(...entries), 'w1', wanted(given))).toMatchObject(verdict);
});

test('what is not valid cannot be folded; the error names version and file', () => {
  const state = after(FIRST);
  const damaged = (entry: LogEntry) =>
    expect(() => fold(state, entry)).toThrow(expect.objectContaining({ code: 'lake_damaged' }));
  damaged(next(state, { ranges: [rangeOf(9, 12)], added: [file('x', 3)] }));
  damaged(next(state, { kind: 'retain', removed: ['nothing'] }));
  damaged({ ...next(state, { kind: 'fence', fence: { writer: 'w0' } }), version: 3 });
  damaged({ ...next(state, { kind: 'fence', fence: { writer: 'w0' } }), feed: 'other' });
  expect(() => fold(state, next(state, { ranges: [rangeOf(9, 12)], added: [file('x', 3)] }))).toThrow(
    expect.objectContaining({ where: { feed: 'orders', version: 2, file: expect.stringContaining('/log/') } }),
  );
});

test('entries of a writer after its fence are void', () => {
  const fence = { kind: 'fence', writer: 'w0', fence: { writer: 'w1' } } as const;
  const state = after(FIRST, fence, { ranges: [rangeOf(10, 20)], added: [file('p2', 10)] });
  expect(state.version).toBe(3);
  expect(state.positions.get(0)?.position).toBe(toOffset(10n));
  expect([...state.files.keys()]).toEqual(['p1']);
});

test.each<[string, Partial<Proposal>, string]>([
  ['messages that are not rows, dead letters and tombstones', { ranges: [{ ...rangeOf(0, 3), rows: 2 }] }, 'do not add up'],
  ['more messages than offsets', { ranges: [{ ...rangeOf(0, 3), messages: 4, rows: 4 }] }, 'more messages'],
  ['a range of nothing', { ranges: [rangeOf(3, 3)] }, 'empty range'],
  ['two ranges of a partition', { ranges: [rangeOf(0, 3), rangeOf(3, 4)], added: [file('a', 4)] }, 'two ranges'],
  ['rows that no file has', { ranges: [rangeOf(0, 3)], added: [file('a', 2)] }, '3 rows in its ranges and 2 in its files'],
  ['a last message outside', { ranges: [{ ...rangeOf(0, 3), last: rangeOf(0, 4).last }] }, 'last message outside'],
  ['messages without a last one', { ranges: [{ ...rangeOf(0, 3), last: null }] }, 'no last message'],
  ['an append of nothing', {}, 'no ranges'],
  ['a fence of nobody', { kind: 'fence' }, 'without a fence'],
  ['a file twice', { ranges: [rangeOf(0, 4)], added: [file('a', 2), file('a', 2)] }, 'adds a file twice'],
  ['a removal twice', { kind: 'retain', removed: ['a', 'a'] }, 'twice'],
])('%s is refused before it is written', (_, given, problem) => {
  expect(entryProblem(wanted(given))).toContain(problem);
});

test('a state survives its checkpoint', () => {
  const state = after(
    FIRST,
    SCHEMA,
    { ranges: [rangeOf(10, 12)], added: [file('p2', 2)], epoch: 1, schemaVersion: 1 },
    { kind: 'retain', removed: ['p1'] },
    { kind: 'gap', epoch: 1, gaps: [{ partition: 3, start: toOffset(0n), end: toOffset(9n), reason: 'takeover' }] },
    CONFIG,
    STOP,
    { kind: 'fence', fence: { writer: 'w0' } },
  );
  const json = JSON.parse(canonicalJson(stateToJson(state)));
  expect(parseState(json)).toEqual(state);
  expect(parseState({ ...json, format: 99 })).toBeNull();
});

test('a removal is remembered for a bounded number of versions', () => {
  let state = after(FIRST, { kind: 'retain', removed: ['p1'] });
  const fences = (count: number) =>
    foldAll(
      state,
      Array.from({ length: count }, (_, i) => ({
        ...next(state, { kind: 'fence', fence: { writer: `x${state.version + i}` } }),
        version: state.version + 1 + i,
      })),
    );
  state = fences(REMOVED_KEPT_VERSIONS - 1);
  expect([...state.removed.keys()]).toEqual(['p1']);
  expect([...fences(1).removed.keys()]).toEqual([]);
});
