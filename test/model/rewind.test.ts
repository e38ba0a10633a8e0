// Where a rewind goes back to, and what its entry may say; the plan of files and counts by tables.

import { describe, expect, test } from 'bun:test';
import { parseState, stateToJson } from '../../src/model/checkpoint.ts';
import { emptyState, type FeedState, type LiveFile } from '../../src/model/feed-state.ts';
import { entryProblem, fold } from '../../src/model/fold.ts';
import { entryToJson, type LakeFile, type LogEntry, type Proposal, parseEntry, proposal } from '../../src/model/log-entry.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { createHistory, type FileCounts, planRewind, sortFiles } from '../../src/model/rewind.ts';
import { parseRewindTo, pointsOf, wantedOffsets } from '../../src/model/rewind-point.ts';
import { rangeOf } from '../helpers/lake-folder.ts';

const at = (offset: number): Offset => toOffset(BigInt(offset));
const map = (points: Readonly<Record<number, number>>): Map<number, Offset> =>
  new Map(Object.entries(points).map(([partition, offset]) => [Number(partition), at(offset)]));

describe('where to', () => {
  test.each([
    ['earliest', { kind: 'earliest' }],
    ['2025-01-28', { kind: 'timestamp', ms: Date.UTC(2025, 0, 28) }],
    ['2025-01-28T12:00:00+02:00', { kind: 'timestamp', ms: Date.UTC(2025, 0, 28, 10) }],
    [
      '0:12,3:9007199254740993',
      {
        kind: 'offsets',
        offsets: new Map([
          [0, at(12)],
          [3, toOffset('9007199254740993')],
        ]),
      },
    ],
  ])('%s', (text, to) => expect(parseRewindTo(text)).toEqual(to as ReturnType<typeof parseRewindTo>));

  test.each(['', 'latest', '12', '0:', ':5', '0:1,0:2', '0:-1', '0:1,', '2025-13-01', '2025-01-28 12:00', '0:1;1:2'])(
    'not %p',
    (text) => expect(parseRewindTo(text)).toBeNull(),
  );

  const BOUNDS = new Map([
    [0, { low: at(10), end: at(90) }],
    [1, { low: at(0), end: at(50) }],
  ]);
  test('earliest is what Kafka has first', () => {
    expect(wantedOffsets({ kind: 'earliest' }, BOUNDS, new Map())).toEqual({ kind: 'wanted', offsets: map({ 0: 10, 1: 0 }) });
  });
  test('a time is never below it, and the end where nothing is of that time', () => {
    expect(wantedOffsets({ kind: 'timestamp', ms: 5 }, BOUNDS, map({ 0: 3 }))).toEqual({
      kind: 'wanted',
      offsets: map({ 0: 10, 1: 50 }),
    });
  });
  test('an offset below it is refused, and a partition that is not there', () => {
    const to = (points: Readonly<Record<number, number>>) =>
      wantedOffsets({ kind: 'offsets', offsets: map(points) }, BOUNDS, new Map());
    expect(to({ 0: 9 })).toEqual({ kind: 'expired', partition: 0, offset: at(9), low: at(10) });
    expect(to({ 7: 0 })).toEqual({ kind: 'no_partition', partition: 7 });
    expect(to({ 0: 10 })).toEqual({ kind: 'wanted', offsets: map({ 0: 10 }) });
  });
  test('only partitions that are beyond it go back, and none below where the target began', () => {
    const positions = new Map([
      [0, { start: at(20), position: at(80) }],
      [1, { start: at(0), position: at(40) }],
      [2, { start: at(0), position: at(40) }],
    ]);
    expect(pointsOf(map({ 0: 10, 1: 40 }), positions)).toEqual(map({ 0: 20 }));
  });
});

// A log of two partitions: versions 1 and 2 are appends of both, 3 compacts them, 4 is of partition 0 alone.
const fileOf = (name: string, rows: number, kind: LakeFile['kind'] = 'data'): LakeFile => ({
  ...{ kind, staged: `s/${name}`, path: name, rows, bytes: 1, sha256: '', values: { year: '2025', month: '01', day: '28' } },
  ...{ eventTimeMin: null, eventTimeMax: null },
});
const entryOf = (version: number, given: Partial<Proposal> & Pick<Proposal, 'kind'>): LogEntry => ({
  ...proposal({ batch: `b${version}`, epoch: 0, schemaVersion: 0, ...given }),
  ...{ version, feed: 'orders', writer: 'w', at: '2025-01-28T00:00:00.000Z' },
});
const LOG = [
  entryOf(1, { kind: 'append', ranges: [rangeOf(0, 10), rangeOf(0, 4, 1)], added: [fileOf('a', 14)] }),
  entryOf(2, { kind: 'append', ranges: [rangeOf(10, 20), rangeOf(4, 8, 1)], added: [fileOf('b', 14)] }),
  entryOf(3, { kind: 'compact', removed: ['a', 'b'], added: [fileOf('ab', 28)] }),
  entryOf(4, { kind: 'append', ranges: [rangeOf(20, 30)], added: [fileOf('c', 10)] }),
];
const stateAt = (entries: readonly LogEntry[]): FeedState => entries.reduce(fold, emptyState('orders'));
const historyOf = (entries: readonly LogEntry[]) => {
  const history = createHistory();
  for (const entry of entries) history.count(entry);
  return history;
};
const planOf = (
  points: Readonly<Record<number, number>>,
  counts: Readonly<Record<string, readonly [beyond: number, near: Readonly<Record<number, number>>]>> = {},
  entries: readonly LogEntry[] = LOG,
) => {
  const [state, history] = [stateAt(entries), historyOf(entries)];
  const { out, unsure } = sortFiles(state.files.values(), history, map(points));
  const counted = unsure.map((file): [LiveFile, FileCounts] => {
    const [beyond, near] = counts[file.path] ?? [0, {}];
    return [file, { beyond, near: new Map(Object.entries(near).map(([partition, rows]) => [Number(partition), rows])) }];
  });
  return planRewind({ state, history, points: map(points), out, counts: new Map(counted), tombstones: new Map() });
};
const totals = (rows: number) => ({ messages: rows, rows, deadLetters: 0, tombstones: 0 });

describe('the plan', () => {
  test('takes whole files by what their entries say, and looks into those that may lie on both sides', () => {
    const files = stateAt(LOG).files;
    const sorted = (points: Readonly<Record<number, number>>) => {
      const { out, unsure } = sortFiles(files.values(), historyOf(LOG), map(points));
      return [out, unsure].map((list) => list.map(({ path }) => path));
    };
    expect(sorted({ 0: 20 })).toEqual([['c'], ['ab']]);
    expect(sorted({ 0: 25 })).toEqual([[], ['ab', 'c']]);
    expect(sorted({ 1: 4 })).toEqual([[], ['ab']]);
  });

  test('counts what is left from the nearest end of an entry on', () => {
    const plan = planOf({ 0: 15, 1: 4 }, { ab: [9, { 0: 5 }] });
    expect(plan).toMatchObject({ retainedRows: 0, taken: totals(19), rewritten: [{ rowsKept: 19 }] });
    expect(plan?.removed.map(({ path }) => path).sort()).toEqual(['ab', 'c']);
    expect(plan?.partitions).toMatchObject([
      { partition: 0, from: at(30), position: at(15), totals: totals(15), last: { offset: at(9) } },
      { partition: 1, from: at(8), position: at(4), totals: totals(4), last: { offset: at(3) } },
    ]);
  });

  test('is none when files hold other rows than the log says', () => {
    expect(planOf({ 0: 15 }, { ab: [4, { 0: 5 }] })).toBeNull();
    expect(planOf({ 0: 15 }, { ab: [6, { 0: 5 }] })).toBeNull();
  });

  test('knows rows that retention had taken', () => {
    const log = [...LOG, entryOf(5, { kind: 'retain', removed: ['ab'] })];
    expect(planOf({ 0: 10 }, {}, log)).toMatchObject({ retainedRows: 10, taken: totals(20), rewritten: [] });
  });

  test('becomes an entry that follows, and none that follows twice', () => {
    const [plan, state] = [planOf({ 0: 20 }), stateAt(LOG)];
    if (!plan) throw new Error('no plan');
    const { partitions, retainedRows } = plan;
    const rewind = { to: '0:20', partitions, retainedRows };
    const entry = entryOf(5, { kind: 'rewind', removed: ['c'], rewind });
    expect(entryProblem(entry)).toBeNull();
    expect(parseEntry(JSON.parse(JSON.stringify(entryToJson(entry))))).toEqual(entry);
    const after = fold(state, entry);
    expect([after.epoch, after.rewoundVersion, after.positions.get(0)?.position]).toEqual([1, 5, at(20)]);
    expect(parseState(JSON.parse(JSON.stringify(stateToJson(after))))).toEqual(after);
    expect(() => fold(after, { ...entry, version: 6, epoch: 1 })).toThrow('positions');
    // A second one, farther back than the first.
    const log = [...LOG, entry];
    expect(planOf({ 0: 10 }, { ab: [10, {}] }, log)).toMatchObject({ taken: totals(10) });
  });

  test('knows what a retry made of dead letters, and those that were dropped', () => {
    // Offsets 0 to 9: 2, 5 and 8 were refused; a retry made rows of 2 and 8, and 5 was dropped.
    const range = { ...rangeOf(0, 10), rows: 7, deadLetters: 3 };
    const closed = (as: 'row' | 'dropped', ...offsets: number[]) => ({
      closed: [{ partition: 0, as, offsets: offsets.map(at) }],
    });
    const log = [
      entryOf(1, { kind: 'append', ranges: [range], added: [fileOf('a', 7), fileOf('l', 3, 'dead_letters')] }),
      entryOf(2, { kind: 'append', ranges: [rangeOf(10, 20)], added: [fileOf('b', 10)] }),
      entryOf(3, {
        kind: 'retry',
        removed: ['l'],
        added: [fileOf('r', 2), fileOf('m', 1, 'dead_letters')],
        letters: closed('row', 2, 8),
      }),
      entryOf(4, { kind: 'drop', removed: ['m'], letters: closed('dropped', 5) }),
    ];
    const counted = { messages: 10, rows: 9, deadLetters: 1, tombstones: 0 };
    expect(planOf({ 0: 10 }, {}, log)).toMatchObject({ retainedRows: 0, taken: totals(10), partitions: [{ totals: counted }] });
    // Within the range: rows of 0, 1, 3, 4, 6 and the retried 2 are before it, and so is the dropped letter.
    const plan = planOf({ 0: 7 }, { a: [2, { 0: 5 }], r: [1, { 0: 1 }] }, log);
    expect(plan?.partitions).toMatchObject([{ totals: { messages: 7, rows: 6, deadLetters: 1, tombstones: 0 } }]);
    expect(plan).toMatchObject({ retainedRows: 0, taken: totals(13) });
  });

  test('cuts gaps off at the point', () => {
    const gap = { partition: 0, reason: 'expired' };
    const log = [
      entryOf(1, { kind: 'append', ranges: [rangeOf(0, 10)], added: [fileOf('a', 10)] }),
      entryOf(2, { kind: 'gap', gaps: [{ ...gap, start: at(10), end: at(20) }] }),
      entryOf(3, { kind: 'gap', gaps: [{ ...gap, start: at(20), end: at(30) }] }),
    ];
    const plan = planOf({ 0: 15 }, {}, log);
    const rewind = { to: '0:15', partitions: plan?.partitions ?? [], retainedRows: 0 };
    const { gaps, positions } = fold(stateAt(log), entryOf(4, { kind: 'rewind', rewind }));
    expect(gaps.map(({ start, end }) => [start, end])).toEqual([[at(10), at(15)]]);
    expect(positions.get(0)).toMatchObject({ position: at(15), totals: totals(10) });
  });
});

describe('an entry is refused', () => {
  const one = { partition: 0, from: at(9), position: at(5), last: null, timestampMsMax: null, totals: totals(5) };
  test.each<[string, Partial<Proposal>]>([
    ['without a rewind in it', { rewind: null }],
    ['takes something in', { ranges: [rangeOf(0, 1)] }],
    ['on to', { rewind: { to: '', retainedRows: 0, partitions: [{ ...one, position: at(9) }] } }],
    ['do not add up', { rewind: { to: '', retainedRows: 0, partitions: [{ ...one, totals: { ...totals(5), rows: 4 } }] } }],
    ['a partition twice', { rewind: { to: '', retainedRows: 0, partitions: [one, one] } }],
    ['more files than', { added: [fileOf('x', 1)] }],
  ])('%s', (words, more) => {
    const rewind = { to: '', partitions: [one], retainedRows: 0 };
    expect(entryProblem(entryOf(1, { kind: 'rewind', rewind, ...more }))).toContain(words);
  });
});
