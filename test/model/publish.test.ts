// A publish in the log: what an entry may say by itself, what it may say after those before it, what the state is then, and how old
// entries and checkpoints read.

import { describe, expect, test } from 'bun:test';
import { joinRanges } from '../../src/model/applied.ts';
import { parseState, stateToJson } from '../../src/model/checkpoint.ts';
import type { EntrySnapshot } from '../../src/model/entry-snapshot.ts';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { entryProblem, fold, validity } from '../../src/model/fold.ts';
import { canonicalJson } from '../../src/model/json-fields.ts';
import {
  type CommittedRange,
  entryToJson,
  type LakeFile,
  type LogEntry,
  type Proposal,
  parseEntry,
  proposal,
} from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { publishedFiles, snapshotValues } from '../../src/model/snapshot-files.ts';
import { rangeOf } from '../helpers/lake-folder.ts';

const FIRST: EntrySnapshot = { date: '2025-01-28', version: 3, endsAtMs: 1_738_108_800_000, rows: 4, caughtUpAt: null };
const OTHER: EntrySnapshot = { ...FIRST, version: 4 };
const CAUGHT_UP = '2025-01-28T10:00:00.000Z';

const file = (path: string, rows: number, more: Partial<LakeFile> = {}): LakeFile => ({
  kind: 'data',
  staged: `staged/${path}`,
  path,
  rows,
  bytes: 1,
  sha256: '',
  values: snapshotValues(FIRST),
  eventTimeMin: null,
  eventTimeMax: null,
  ...more,
});
const stateFile = (path: string, more: Partial<LakeFile> = {}): LakeFile => file(path, 1, { kind: 'state', ...more });
const letters = (path: string, rows: number): LakeFile => file(path, rows, { kind: 'dead_letters', values: {} });
const refused = (start: number, end: number): CommittedRange => ({ ...rangeOf(start, end), rows: 0, deadLetters: end - start });

const wanted = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'publish', batch: 'b', epoch: 0, schemaVersion: 0, snapshot: FIRST, ...given });
const next = (state: FeedState, given: Partial<LogEntry>): LogEntry => ({
  ...wanted(given),
  version: state.version + 1,
  feed: state.feed,
  writer: 'w1',
  at: '2025-01-28T00:00:00.000Z',
  ...given,
});
const after = (...entries: Partial<LogEntry>[]): FeedState =>
  entries.reduce<FeedState>((state, given) => fold(state, next(state, given)), emptyState('totals'));

const ONE = { ranges: [rangeOf(0, 10)], added: [file('d1', 4), stateFile('s1')] };
const TWO = {
  ranges: [rangeOf(10, 20)],
  added: [file('d2', 6), stateFile('s2')],
  removed: ['d1', 's1'],
  snapshot: { ...FIRST, rows: 6, caughtUpAt: CAUGHT_UP },
};

describe('the fold', () => {
  test('has the snapshot of the newest publish and its two files; those before are superseded', () => {
    const state = after(ONE, TWO);
    expect(state.snapshot).toEqual({ ...FIRST, rows: 6, caughtUpAt: CAUGHT_UP });
    expect([...state.files.keys()]).toEqual(['d2', 's2']);
    expect([...state.removed.values()]).toEqual([
      { path: 'd1', staged: 'staged/d1', version: 2, superseded: true },
      { path: 's1', staged: 'staged/s1', version: 2, superseded: true },
    ]);
    expect(state.positions.get(0)).toMatchObject({ position: toOffset(20n), totals: { messages: 20, rows: 20 } });
    expect(publishedFiles(state.files.values(), state.snapshot)).toMatchObject({ data: { path: 'd2' }, state: { path: 's2' } });
    expect(publishedFiles(state.files.values(), OTHER)).toBeNull();
    expect(publishedFiles(state.files.values(), null)).toBeNull();
  });

  test('a publish without files keeps those that are there, and adds dead letters', () => {
    const state = after(ONE, { ranges: [refused(10, 12)], added: [letters('l1', 2)] });
    expect([...state.files.keys()]).toEqual(['d1', 's1', 'l1']);
    expect(state.positions.get(0)?.totals).toMatchObject({ rows: 10, deadLetters: 2 });
  });

  test('a first publish without files opens an empty snapshot, which the next one fills', () => {
    const empty = { ranges: [refused(0, 1)], added: [letters('l1', 1)], snapshot: { ...FIRST, rows: 0 } };
    const filled = after(empty, { ...ONE, ranges: [rangeOf(1, 10)] });
    expect([filled.snapshot?.rows, [...filled.files.keys()]]).toEqual([4, ['l1', 'd1', 's1']]);
  });

  test('what retention or compact removes is no superseded publish', () => {
    const state = after(
      { ...ONE, added: [...ONE.added, letters('l1', 1)], ranges: [{ ...rangeOf(0, 10), rows: 9, deadLetters: 1 }] },
      {
        kind: 'retain',
        snapshot: null,
        removed: ['l1'],
      },
    );
    expect(state.removed.get('l1')?.superseded).toBe(false);
  });
});

describe('a publish may follow', () => {
  test.each<[string, Partial<LogEntry>[], Partial<Proposal>, object]>([
    ['nothing', [], ONE, { kind: 'valid' }],
    ['the one before, whose files it removes', [ONE], TWO, { kind: 'valid' }],
    ['the one before with no key changed', [ONE], { ranges: [rangeOf(10, 11)] }, { kind: 'valid' }],
    ['no other snapshot', [ONE], { ...TWO, snapshot: OTHER }, { reason: 'snapshot' }],
    ['no snapshot with another end', [ONE], { ...TWO, snapshot: { ...TWO.snapshot, endsAtMs: 1 } }, { reason: 'snapshot' }],
    ['no files that it leaves', [ONE], { ...TWO, removed: ['d1'] }, { reason: 'snapshot' }],
    ['no files that it does not know', [ONE], { ...TWO, removed: [] }, { reason: 'snapshot' }],
    ['no files that are gone', [ONE, TWO], { ...TWO, ranges: [rangeOf(20, 30)] }, { reason: 'snapshot' }],
    ['no publish of other rows, when it has no file', [ONE, TWO], { ranges: [rangeOf(20, 21)] }, { reason: 'snapshot' }],
    ['no first one that removes files', [], { ...TWO, ranges: [rangeOf(0, 10)] }, { reason: 'snapshot' }],
    ['no other positions', [ONE], { ...TWO, ranges: [rangeOf(9, 20)] }, { reason: 'positions' }],
    ['no other epoch', [ONE], { ...TWO, epoch: 1 }, { reason: 'epoch' }],
    ['no other schema', [ONE], { ...TWO, schemaVersion: 1 }, { reason: 'schema' }],
    ['no stop', [ONE, { kind: 'stop', snapshot: null, stop: { reason: 'r' } }], TWO, { reason: 'stopped' }],
    ['no fence', [ONE, { kind: 'fence', writer: 'w0', snapshot: null, fence: { writer: 'w1' } }], TWO, { kind: 'fenced' }],
  ])('%s', (_, entries, given, verdict) => {
    expect(validity(after(...entries), 'w1', wanted(given))).toMatchObject(verdict);
  });

  test('and nothing else is folded', () => {
    const state = after(ONE);
    expect(() => fold(state, next(state, { ...TWO, snapshot: { ...TWO.snapshot, version: 4 } }))).toThrow('log entry 2');
    expect(() => fold(state, next(state, { ...TWO, removed: ['s1'] }))).toThrow('snapshot');
  });
});

describe('an entry is refused before it is written', () => {
  test.each<[string, Partial<Proposal>, string]>([
    ['a publish without a snapshot', { ...ONE, snapshot: null }, 'without a snapshot'],
    ['an append with a snapshot', { ...ONE, kind: 'append' }, 'append with a snapshot'],
    [
      'an append with a state file',
      { kind: 'append', ranges: [rangeOf(0, 1)], added: [file('d', 1), stateFile('s')], snapshot: null },
      'append with a state file',
    ],
    ['two data files', { ...ONE, added: [...ONE.added, file('d2', 4)] }, '2 data files and 1 state files'],
    ['two of each', { ...ONE, added: [...ONE.added, file('d2', 4), stateFile('s2')] }, '2 data files and 2 state files'],
    ['a data file alone', { ...ONE, added: [file('d1', 4)] }, '1 data files and 0 state files'],
    ['a state file alone', { ...ONE, added: [stateFile('s1')] }, '0 data files and 1 state files'],
    ['rows that the data file has not', { ...ONE, added: [file('d1', 5), stateFile('s1')] }, '4 rows and 5 in its data file'],
    [
      'a data file of another snapshot',
      { ...ONE, added: [file('d1', 4, { values: snapshotValues(OTHER) }), stateFile('s1')] },
      'another snapshot',
    ],
    ['a state file of no snapshot', { ...ONE, added: [file('d1', 4), stateFile('s1', { values: {} })] }, 'another snapshot'],
    ['removals without files', { ranges: [rangeOf(10, 11)], removed: ['d1', 's1'] }, 'publishes none'],
    [
      'dead letters that no file has',
      { ranges: [refused(0, 2)], added: [letters('l', 1)] },
      '2 dead letters in its ranges and 1',
    ],
    ['dead letters of no range', { ...ONE, added: [...ONE.added, letters('l', 1)] }, '0 dead letters in its ranges and 1'],
  ])('%s', (_, given, problem) => {
    expect(entryProblem(wanted(given))).toContain(problem);
  });

  test('a whole one has no problem, nor has one that only moves positions', () => {
    expect([entryProblem(wanted(ONE)), entryProblem(wanted({ ranges: [rangeOf(0, 1)] }))]).toEqual([null, null]);
  });
});

describe('JSON', () => {
  const entry = next(emptyState('totals'), { ...ONE, snapshot: { ...FIRST, caughtUpAt: CAUGHT_UP } });
  const json = () => JSON.parse(canonicalJson(entryToJson(entry)));

  test('a publish survives it', () => {
    expect(parseEntry(json())).toEqual(entry);
    expect(json()).toMatchObject({
      added: [{ kind: 'data' }, { kind: 'state' }],
      snapshot: { date: '2025-01-28', version: 3, ends_at_ms: 1_738_108_800_000, rows: 4, caught_up_at: CAUGHT_UP },
    });
  });

  test('an entry without a snapshot has the bytes it had before there were any, and absent reads as none', () => {
    const append = next(emptyState('orders'), { kind: 'append', snapshot: null, ranges: [rangeOf(0, 1)] });
    expect(Object.keys(entryToJson(append))).toEqual([
      ...['format', 'version', 'feed', 'kind', 'writer', 'batch', 'at', 'epoch', 'schema_version', 'cluster_id', 'topic'],
      ...['ranges', 'gaps', 'added', 'removed', 'schema', 'fence', 'stop', 'config'],
    ]);
    expect(parseEntry(JSON.parse(canonicalJson(entryToJson(append)))).snapshot).toBeNull();
  });

  test.each<[string, (one: ReturnType<typeof json>) => void, string]>([
    ['a null snapshot', (one) => (one.snapshot = null), 'snapshot'],
    ['a day that no calendar has', (one) => (one.snapshot.date = '2025-02-30'), 'snapshot.date'],
    ['version 0', (one) => (one.snapshot.version = 0), 'snapshot.version'],
    ['no end', (one) => delete one.snapshot.ends_at_ms, 'snapshot.ends_at_ms'],
    ['a negative count', (one) => (one.snapshot.rows = -1), 'snapshot.rows'],
    ['a number as a time', (one) => (one.snapshot.caught_up_at = 5), 'snapshot.caught_up_at'],
  ])('%s is damage, named by field', (_, change, field) => {
    const one = json();
    change(one);
    expect(() => parseEntry(one)).toThrow(
      expect.objectContaining({ code: 'lake_damaged', message: expect.stringContaining(field) }),
    );
  });

  test('a checkpoint keeps the snapshot and what was superseded', () => {
    const state = after(ONE, TWO);
    const kept = JSON.parse(canonicalJson(stateToJson(state)));
    expect(kept.format).toBe(2);
    expect(parseState(kept)).toEqual(state);
  });

  test('a checkpoint of the format before tables is read: no snapshot, nothing superseded', () => {
    const state = after(
      { kind: 'append', snapshot: null, ranges: [rangeOf(0, 2)], added: [file('d1', 2, { values: {} })] },
      {
        kind: 'retain',
        snapshot: null,
        removed: ['d1'],
      },
    );
    const { snapshot, removed, ...rest } = JSON.parse(canonicalJson(stateToJson(state)));
    expect(snapshot).toBeNull();
    const before = {
      ...rest,
      format: 1,
      removed: removed.map(({ superseded, ...one }: { superseded: boolean }) => (superseded ? null : one)),
    };
    expect(parseState(before)).toEqual(state);
  });
});

describe('ranges of batches join', () => {
  const positions = new Map([[0, { position: toOffset(10n) }]]);
  const none = { ...rangeOf(20, 25), messages: 0, rows: 0, last: null, timestampMsMax: null };

  test('of one partition to one, with all counts, the newest message and the greatest timestamp', () => {
    const late = { ...rangeOf(10, 20), timestampMsMax: 9e12, rows: 7, tombstones: 2, deadLetters: 1 };
    const one = joinRanges([], [late, rangeOf(5, 6, 1)], positions) ?? [];
    const two = joinRanges(one, [none], positions) ?? [];
    expect(two).toEqual([{ ...late, end: toOffset(25n) }, rangeOf(5, 6, 1)]);
    expect(joinRanges(two, [rangeOf(25, 27)], positions)?.[0]).toEqual({
      ...rangeOf(25, 27),
      start: toOffset(10n),
      messages: 12,
      rows: 9,
      tombstones: 2,
      deadLetters: 1,
      timestampMsMax: 9e12,
    });
  });

  test('only where the one before, or the position, ends', () => {
    expect(joinRanges([], [rangeOf(11, 20)], positions)).toBeNull();
    expect(joinRanges([], [rangeOf(9, 20)], positions)).toBeNull();
    expect(joinRanges([rangeOf(10, 20)], [rangeOf(21, 22)], positions)).toBeNull();
    expect(joinRanges([rangeOf(10, 20)], [rangeOf(10, 22)], positions)).toBeNull();
  });
});
