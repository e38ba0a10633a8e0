// A seal in the log: what an entry may say by itself, what it may say after those before it, what the state is then, and its JSON.

import { describe, expect, test } from 'bun:test';
import { parseState, stateToJson } from '../../src/model/checkpoint.ts';
import type { EntrySeal } from '../../src/model/entry-seal.ts';
import type { EntrySnapshot } from '../../src/model/entry-snapshot.ts';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { entryProblem, fold, validity } from '../../src/model/fold.ts';
import { canonicalJson } from '../../src/model/json-fields.ts';
import { entryToJson, type LakeFile, type LogEntry, type Proposal, parseEntry, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import type { SnapshotName } from '../../src/model/snapshot.ts';
import { publishedFiles, snapshotValues } from '../../src/model/snapshot-files.ts';
import { rangeOf } from '../helpers/lake-folder.ts';

const BOUNDARY_MS = Date.UTC(2025, 0, 29);
const FIRST: EntrySnapshot = {
  date: '2025-01-28',
  version: 3,
  endsAtMs: BOUNDARY_MS,
  rows: 4,
  caughtUpAt: '2025-01-28T10:00:00.000Z',
};
const OPENS = { date: '2025-01-29', version: 2, endsAtMs: BOUNDARY_MS + 2 * 3_600_000 };
const MISSED = [
  { date: '2025-01-28', versionFirst: 4, versionLast: 7 },
  { date: '2025-01-29', versionFirst: 1, versionLast: 1 },
];

const file = (path: string, of: SnapshotName, more: Partial<LakeFile> = {}): LakeFile => ({
  kind: 'data',
  staged: `staged/${path}`,
  path,
  rows: 4,
  bytes: 100,
  sha256: 'd',
  values: snapshotValues(of),
  eventTimeMin: null,
  eventTimeMax: null,
  ...more,
});
const stateFile = (path: string, of: SnapshotName, more: Partial<LakeFile> = {}): LakeFile =>
  file(path, of, { kind: 'state', rows: 1, bytes: 50, sha256: 's', ...more });

const positions = (offsets: Record<number, bigint>): EntrySeal['positions'] =>
  new Map(Object.entries(offsets).map(([partition, offset]) => [Number(partition), toOffset(offset)]));
const SEAL: EntrySeal = {
  date: '2025-01-28',
  version: 3,
  boundaryMs: BOUNDARY_MS,
  cut: 'at_cut',
  positions: positions({ 0: 10n, 3: 7n }),
  opens: OPENS,
  missed: MISSED,
  rows: 4,
  checksum: '18446744073709551615',
  forgets: null,
};

const next = (state: FeedState, given: Partial<LogEntry>): LogEntry => ({
  ...proposal({ kind: 'publish', batch: 'b', epoch: 0, schemaVersion: 0, ...given }),
  version: state.version + 1,
  feed: state.feed,
  writer: 'w1',
  at: '2025-01-29T00:00:00.000Z',
  ...given,
});
const after = (...entries: Partial<LogEntry>[]): FeedState =>
  entries.reduce<FeedState>((state, given) => fold(state, next(state, given)), emptyState('totals'));

const PUBLISHED = {
  ranges: [rangeOf(0, 10), rangeOf(2, 7, 3)],
  added: [file('d1', FIRST), stateFile('s1', FIRST)],
  snapshot: FIRST,
};
const COPY = [file('d2', OPENS), stateFile('s2', OPENS)];
const SEALED = { kind: 'seal', seal: SEAL, added: COPY, removed: ['s1'] } satisfies Partial<LogEntry>;
const wanted = (given: Partial<Proposal> = {}): Proposal =>
  proposal({ kind: 'seal', batch: 'b', epoch: 0, schemaVersion: 0, seal: SEAL, added: COPY, removed: ['s1'], ...given });
const sealWith = (given: Partial<EntrySeal>): Partial<Proposal> => ({ seal: { ...SEAL, ...given } });

describe('the fold', () => {
  test('keeps the sealed snapshot with its data file, and has the next one with the copies', () => {
    const state = after(PUBLISHED, SEALED);
    expect(state.sealed).toEqual([{ ...SEAL, path: 'd1', entryVersion: 2 }]);
    expect(state.snapshot).toEqual({ ...OPENS, rows: 4, caughtUpAt: FIRST.caughtUpAt });
    expect([...state.files.keys()]).toEqual(['d1', 'd2', 's2']);
    expect(publishedFiles(state.files.values(), state.snapshot)).toMatchObject({ data: { path: 'd2' }, state: { path: 's2' } });
    expect([...state.removed.values()]).toEqual([{ path: 's1', staged: 'staged/s1', version: 2, superseded: true }]);
    expect(state.positions).toEqual(after(PUBLISHED).positions);
  });

  test('a publish then goes into the next one, and the sealed file stays', () => {
    const state = after(PUBLISHED, SEALED, {
      ranges: [rangeOf(10, 20)],
      added: [file('d3', OPENS, { rows: 6 }), stateFile('s3', OPENS)],
      removed: ['d2', 's2'],
      snapshot: { ...OPENS, rows: 6, caughtUpAt: null },
    });
    expect([...state.files.keys()]).toEqual(['d1', 'd3', 's3']);
    expect([state.sealed.length, state.sealed[0]?.path, state.snapshot?.rows]).toEqual([1, 'd1', 6]);
  });

  test('a snapshot that no file was ever written of is sealed without one', () => {
    const empty = { ...PUBLISHED, added: [], snapshot: { ...FIRST, rows: 0 } };
    const state = after(empty, { kind: 'seal', seal: { ...SEAL, rows: 0, checksum: '0' } });
    expect([state.sealed[0]?.path, state.sealed[0]?.rows, state.snapshot?.rows, state.files.size]).toEqual([null, 0, 0, 0]);
  });

  test('a checkpoint keeps what was sealed', () => {
    const state = after(PUBLISHED, SEALED);
    const kept = JSON.parse(canonicalJson(stateToJson(state)));
    expect(parseState(kept)).toEqual(state);
    expect(canonicalJson(stateToJson(parseState(kept) ?? emptyState('')))).toBe(canonicalJson(kept));
    expect(() => parseState({ ...kept, sealed: undefined })).toThrow('sealed');
    const { sealed, snapshot, ...before } = JSON.parse(canonicalJson(stateToJson(emptyState('totals'))));
    expect(parseState({ ...before, version: 1, format: 1 })?.sealed).toEqual([]);
  });
});

/** Of the two partitions of PUBLISHED, the one that is behind. */
const SETTLED_MS = rangeOf(2, 7).timestampMsMax ?? 0;
const EMPTY_RANGE = { ...rangeOf(2, 7), messages: 0, rows: 0, last: null, timestampMsMax: null };
const forgetting = (beforeMs: number, state: Partial<LakeFile> = {}, data: Partial<LakeFile> = {}): Partial<Proposal> => ({
  ...sealWith({ forgets: { rows: 1, beforeMs } }),
  added: [file('d2', OPENS, data), stateFile('s2', OPENS, { rows: 0, bytes: 40, sha256: 't', ...state })],
});

describe('a seal may follow', () => {
  const stop = { kind: 'stop', stop: { reason: 'r' } } satisfies Partial<LogEntry>;
  const fence = { kind: 'fence', writer: 'w0', fence: { writer: 'w1' } } satisfies Partial<LogEntry>;
  test.each<[string, Partial<LogEntry>[], Partial<Proposal>, object]>([
    ['its publish', [PUBLISHED], {}, { kind: 'valid' }],
    [
      'no other position',
      [PUBLISHED],
      sealWith({ positions: positions({ 0: 11n, 3: 6n }) }),
      { reason: 'positions', partitions: [0, 3] },
    ],
    [
      'no partition that it does not name',
      [PUBLISHED],
      sealWith({ positions: positions({ 0: 10n }) }),
      { reason: 'positions', partitions: [3] },
    ],
    [
      'no partition that was never read',
      [PUBLISHED],
      sealWith({ positions: positions({ 0: 10n, 3: 7n, 4: 0n }) }),
      { reason: 'positions', partitions: [4] },
    ],
    [
      'no gap that it has not seen',
      [PUBLISHED, { kind: 'gap', gaps: [{ partition: 0, start: toOffset(10n), end: toOffset(12n), reason: 'r' }] }],
      {},
      { reason: 'positions' },
    ],
    ['nothing, where nothing is open', [], sealWith({ positions: new Map() }), { reason: 'snapshot' }],
    ['no other date', [PUBLISHED], sealWith({ date: '2025-01-27' }), { reason: 'snapshot' }],
    ['no other version', [PUBLISHED], sealWith({ version: 2 }), { reason: 'snapshot' }],
    ['no other end', [PUBLISHED], sealWith({ boundaryMs: BOUNDARY_MS - 1 }), { reason: 'snapshot' }],
    ['no seal of the same', [PUBLISHED, SEALED], {}, { reason: 'snapshot' }],
    [
      'no other rows',
      [PUBLISHED],
      { ...sealWith({ rows: 5 }), added: [file('d2', OPENS, { rows: 5 }), stateFile('s2', OPENS)] },
      { reason: 'snapshot' },
    ],
    [
      'no data file that is no copy',
      [PUBLISHED],
      { added: [file('d2', OPENS, { sha256: 'x' }), stateFile('s2', OPENS)] },
      { reason: 'snapshot' },
    ],
    [
      'no state file that is no copy',
      [PUBLISHED],
      { added: [file('d2', OPENS), stateFile('s2', OPENS, { bytes: 51 })] },
      { reason: 'snapshot' },
    ],
    ['no other state file than the one it removes', [PUBLISHED], { removed: ['s0'] }, { reason: 'snapshot' }],
    ['no data file that it removes', [PUBLISHED], { removed: ['d1'] }, { reason: 'snapshot' }],
    [
      'no files where it has none',
      [{ ...PUBLISHED, added: [], snapshot: { ...FIRST, rows: 4 - 4 } }],
      sealWith({ rows: 0 }),
      { reason: 'snapshot' },
    ],
    ['a shorter state file, without what no partition needs', [PUBLISHED], forgetting(SETTLED_MS), { kind: 'valid' }],
    ['none without what one of them may need', [PUBLISHED], forgetting(SETTLED_MS + 1), { reason: 'snapshot' }],
    ['none that forgets less than is gone', [PUBLISHED], forgetting(SETTLED_MS, { rows: 1 }), { reason: 'snapshot' }],
    ['none whose data is not the same', [PUBLISHED], forgetting(SETTLED_MS, {}, { sha256: 'x' }), { reason: 'snapshot' }],
    [
      'none as long as a partition has had no message',
      [{ ...PUBLISHED, ranges: [rangeOf(0, 10), { ...EMPTY_RANGE, partition: 3 }] }],
      forgetting(SETTLED_MS),
      { reason: 'snapshot' },
    ],
    ['no other epoch', [PUBLISHED], { epoch: 1 }, { reason: 'epoch' }],
    ['no other schema', [PUBLISHED], { schemaVersion: 1 }, { reason: 'schema' }],
    ['no stop', [PUBLISHED, stop], {}, { reason: 'stopped' }],
    ['no fence', [PUBLISHED, fence], {}, { kind: 'fenced' }],
  ])('%s', (_, entries, given, verdict) => {
    expect(validity(after(...entries), 'w1', wanted(given))).toMatchObject(verdict);
  });

  test('and no publish into what is sealed: 11, a zombie whose position is still the position', () => {
    const late = {
      ranges: [rangeOf(10, 11)],
      added: [file('d9', FIRST, { rows: 5 }), stateFile('s9', FIRST)],
      snapshot: { ...FIRST, rows: 5 },
    };
    const zombie = proposal({ kind: 'publish', batch: 'z', epoch: 0, schemaVersion: 0, removed: ['d1', 's1'], ...late });
    expect(validity(after(PUBLISHED), 'w0', zombie)).toEqual({ kind: 'valid' });
    expect(validity(after(PUBLISHED, SEALED), 'w0', zombie)).toMatchObject({ reason: 'snapshot' });
  });

  test('and nothing else is folded', () => {
    const state = after(PUBLISHED);
    expect(() => fold(state, next(state, { ...SEALED, seal: { ...SEAL, positions: positions({ 0: 10n }) } }))).toThrow(
      'log entry 2',
    );
  });
});

describe('an entry is refused before it is written', () => {
  const run = { date: '2025-01-28', versionFirst: 4, versionLast: 4 };
  test.each<[string, Partial<Proposal>, string]>([
    ['a seal without its part', { seal: null }, 'without a seal'],
    ['a seal with a snapshot', { snapshot: FIRST }, 'seal with a snapshot'],
    ['a publish with a seal', { kind: 'publish', snapshot: FIRST }, 'publish with a seal'],
    ['an append with a seal', { kind: 'append', ranges: [rangeOf(0, 1)] }, 'append with a seal'],
    ['ranges', { ranges: [rangeOf(10, 11)] }, 'moves positions'],
    ['gaps', { gaps: [{ partition: 0, start: toOffset(0n), end: toOffset(1n), reason: 'r' }] }, 'moves positions'],
    ['a data file alone', { added: [file('d2', OPENS)] }, 'exactly a data and a state file'],
    ['a state file alone', { added: [stateFile('s2', OPENS)] }, 'exactly a data and a state file'],
    ['a third file', { added: [...COPY, file('d3', OPENS)] }, 'exactly a data and a state file'],
    ['files of the sealed one', { added: [file('d2', FIRST), stateFile('s2', FIRST)] }, 'exactly a data and a state file'],
    ['no removal', { removed: [] }, 'adds 2 files and removes 0'],
    ['two removals', { removed: ['s1', 'd1'] }, 'adds 2 files and removes 2'],
    ['a removal without files', { ...sealWith({ rows: 0 }), added: [] }, 'adds 0 files and removes 1'],
    ['rows that the copy has not', sealWith({ rows: 5 }), '5 rows and has 4'],
    ['rows without a file', { added: [], removed: [] }, '4 rows and has 0'],
    [
      'a next one that is the same',
      { ...sealWith({ opens: { ...OPENS, date: FIRST.date, version: 3 } }), added: [file('d2', FIRST), stateFile('s2', FIRST)] },
      'not after the sealed one',
    ],
    ['a next one that ends with it', sealWith({ opens: { ...OPENS, endsAtMs: BOUNDARY_MS } }), 'ends with the sealed one'],
    ['missed ones that were sealed', sealWith({ missed: [{ ...run, versionFirst: 3 }] }), 'not after the sealed one'],
    ['missed ones out of order', sealWith({ missed: [...MISSED].reverse() }), 'not before what follows'],
    [
      'missed ones that overlap',
      sealWith({ missed: [MISSED[0] ?? run, { ...run, versionFirst: 7, versionLast: 9 }] }),
      'not before what follows',
    ],
    [
      'missed ones that are opened',
      sealWith({ missed: [{ date: OPENS.date, versionFirst: 1, versionLast: 2 }] }),
      'not before what follows',
    ],
  ])('%s', (_, given, problem) => {
    expect(entryProblem(wanted(given))).toContain(problem);
  });

  test('a whole one has no problem, nor has an empty one', () => {
    const empty = wanted({ ...sealWith({ rows: 0, missed: [] }), added: [], removed: [] });
    expect([entryProblem(wanted()), entryProblem(empty)]).toEqual([null, null]);
  });
});

describe('JSON', () => {
  const entry = next(emptyState('totals'), SEALED);
  const json = () => JSON.parse(canonicalJson(entryToJson(entry)));

  test('a seal survives it', () => {
    expect(parseEntry(json())).toEqual(entry);
    expect(json().seal).toEqual({
      date: '2025-01-28',
      version: 3,
      boundary_ms: BOUNDARY_MS,
      cut: 'at_cut',
      positions: { 0: '10', 3: '7' },
      opens: { date: '2025-01-29', version: 2, ends_at_ms: OPENS.endsAtMs },
      missed: [
        { date: '2025-01-28', version_first: 4, version_last: 7 },
        { date: '2025-01-29', version_first: 1, version_last: 1 },
      ],
      rows: 4,
      checksum: '18446744073709551615',
    });
  });

  test('what it forgets survives it, and is not there when it is nothing', () => {
    const forgets = { rows: 3, beforeMs: 5 };
    const forgetful = { ...entry, seal: { ...SEAL, forgets } };
    const text = canonicalJson(entryToJson(forgetful));
    expect(JSON.parse(text).seal.forgets).toEqual({ rows: 3, before_ms: 5 });
    expect(parseEntry(JSON.parse(text))).toEqual(forgetful);
  });

  test('no other entry has the part, and absent reads as none', () => {
    const publish = next(emptyState('totals'), PUBLISHED);
    expect('seal' in entryToJson(publish)).toBe(false);
    expect(parseEntry(JSON.parse(canonicalJson(entryToJson(publish)))).seal).toBeNull();
  });

  test.each<[string, (one: ReturnType<typeof json>) => void, string]>([
    ['a null part', (one) => (one.seal = null), 'seal'],
    ['a day that no calendar has', (one) => (one.seal.date = '2025-02-30'), 'seal.date'],
    ['no boundary', (one) => delete one.seal.boundary_ms, 'seal.boundary_ms'],
    ['another kind of cut', (one) => (one.seal.cut = 'at'), 'seal.cut'],
    ['a number as an offset', (one) => (one.seal.positions['0'] = 10), 'seal.positions.0'],
    ['a partition that is none', (one) => (one.seal.positions['01'] = '1'), 'seal.positions'],
    ['no end of the next one', (one) => delete one.seal.opens.ends_at_ms, 'seal.opens.ends_at_ms'],
    ['a run that ends before it begins', (one) => (one.seal.missed[0].version_last = 3), 'seal.missed[0].version_last'],
    ['a negative count', (one) => (one.seal.rows = -1), 'seal.rows'],
    ['a checksum in hex', (one) => (one.seal.checksum = 'ff'), 'seal.checksum'],
    ['a number as a checksum', (one) => (one.seal.checksum = 5), 'seal.checksum'],
  ])('%s is damage, named by field', (_, change, field) => {
    const one = json();
    change(one);
    expect(() => parseEntry(one)).toThrow(
      expect.objectContaining({ code: 'lake_damaged', message: expect.stringContaining(field) }),
    );
  });
});
