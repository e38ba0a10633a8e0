// When a table is read anew, and what the log then says of it: an entry by itself, after those before it, and the state that follows.

import { describe, expect, test } from 'bun:test';
import { parseState, stateToJson } from '../../src/model/checkpoint.ts';
import type { EntrySnapshot } from '../../src/model/entry-snapshot.ts';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { entryProblem, fold, validity } from '../../src/model/fold.ts';
import { linesOf } from '../../src/model/journal.ts';
import { canonicalJson } from '../../src/model/json-fields.ts';
import { entryToJson, type LakeFile, type LogEntry, type Proposal, parseEntry, proposal } from '../../src/model/log-entry.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { isComplete, isNoteDue, rebuildCause, type TableFacts, waysOf } from '../../src/model/rebuild.ts';
import { snapshotValues } from '../../src/model/snapshot-files.ts';
import { rangeOf } from '../helpers/lake-folder.ts';

const at = (offset: number): Offset => toOffset(BigInt(offset));
const DAY_MS = 86_400_000;
const COMPACTED = { isCompacted: true, deleteRetentionMs: DAY_MS };
const GAP = { partition: 0, start: at(5), end: at(9) };

describe('a table is read anew', () => {
  const facts = (caughtUpAtMs: number | null, gaps: TableFacts['gaps'] = [], isRewound = false): TableFacts => ({
    ...{ caughtUpAtMs, gaps, isRewound },
  });
  test.each<[string, TableFacts, typeof COMPACTED, number, string | null]>([
    ['not within delete.retention.ms', facts(0), COMPACTED, DAY_MS, null],
    ['after it', facts(0), COMPACTED, DAY_MS + 1, 'not_caught_up'],
    ['not when the topic keeps its tombstones', facts(0), { ...COMPACTED, isCompacted: false }, 9 * DAY_MS, null],
    ['not when nothing is known', facts(null), COMPACTED, 9 * DAY_MS, null],
    ['after a gap', facts(0, [GAP]), COMPACTED, 0, 'gap'],
    ['after a gap in a topic that is not compacted', facts(null, [GAP]), { ...COMPACTED, isCompacted: false }, 0, 'gap'],
    ['after a rewind, whatever else', facts(0, [GAP], true), { ...COMPACTED, isCompacted: false }, 0, 'rewind'],
  ])('%s', (_, known, settings, nowMs, cause) => {
    expect(rebuildCause(known, settings, nowMs)).toBe(cause as ReturnType<typeof rebuildCause>);
  });

  test.each([
    ['every tenth of it', false, DAY_MS / 10, true],
    ['not before', false, DAY_MS / 10 - 1, false],
    ['sooner when it stops', true, DAY_MS / 100, true],
    ['but not at every stop', true, DAY_MS / 100 - 1, false],
  ])('says that it has caught up %s', (_, isLast, nowMs, isDue) => {
    expect(isNoteDue(facts(0), COMPACTED, { nowMs, isLast })).toBe(isDue);
    expect(isNoteDue(facts(0), { ...COMPACTED, isCompacted: false }, { nowMs, isLast })).toBe(false);
  });

  test('from the low watermark to the last stable offset, and no less far than it was', () => {
    const bounds = new Map([0, 1, 2].map((partition) => [partition, { low: at(3), end: at(8) }] as const));
    const ways = waysOf(
      bounds,
      new Map([
        [0, { position: at(5) }],
        [1, { position: at(9) }],
      ]),
    );
    expect([...ways]).toEqual([
      [0, { start: at(3), end: at(8) }],
      [1, { start: at(3), end: at(9) }],
      [2, { start: at(3), end: at(8) }],
    ]);
  });

  test('when all partitions were read to their ends, and those that have nothing need not be', () => {
    const ways = new Map([
      [0, { start: at(3), end: at(8) }],
      [1, { start: at(4), end: at(4) }],
    ]);
    const taken = (end: number) => [{ partition: 0, end: at(end) }];
    expect([isComplete(ways, []), isComplete(ways, taken(7)), isComplete(ways, taken(8))]).toEqual([false, false, true]);
  });
});

const FIRST: EntrySnapshot = { date: '2025-01-28', version: 3, endsAtMs: 1_738_108_800_000, rows: 4, caughtUpAt: null };
const CAUGHT_UP = '2025-01-28T10:00:00.000Z';
const file = (path: string, rows: number, more: Partial<LakeFile> = {}): LakeFile => ({
  ...{ kind: 'data', staged: `staged/${path}`, path, rows, bytes: 1, sha256: '', values: snapshotValues(FIRST) },
  ...{ eventTimeMin: null, eventTimeMax: null },
  ...more,
});
const stateFile = (path: string): LakeFile => file(path, 1, { kind: 'state' });
const letters = (path: string, rows: number): LakeFile => file(path, rows, { kind: 'dead_letters', values: {} });
const from = (...positions: (readonly [number, number])[]) => ({
  from: new Map(positions.map(([partition, position]) => [partition, at(position)])),
  reason: 'gap',
});

const wanted = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'rebuild', batch: 'b', epoch: 0, schemaVersion: 0, snapshot: FIRST, ...given });
const next = (state: FeedState, given: Partial<LogEntry>): LogEntry => ({
  ...wanted(given),
  ...{ version: state.version + 1, feed: state.feed, writer: 'w1', at: '2025-01-28T00:00:00.000Z' },
  ...given,
});
const after = (...entries: Partial<LogEntry>[]): FeedState =>
  entries.reduce<FeedState>((state, given) => fold(state, next(state, given)), emptyState('totals'));

/** Partition 1 is empty by now. */
const PUBLISH = {
  kind: 'publish',
  ranges: [rangeOf(0, 10), rangeOf(0, 7, 1)],
  added: [file('d1', 4), stateFile('s1')],
} as const;
const EXPIRED = { kind: 'gap', snapshot: null, gaps: [{ ...GAP, start: at(10), end: at(12), reason: 'expired' }] } as const;
const REFUSED = { ...rangeOf(12, 20), rows: 6, deadLetters: 2 };
const REBUILD = {
  rebuild: from([0, 12], [1, 7]),
  ranges: [REFUSED],
  added: [file('d2', 3), stateFile('s2'), letters('l2', 1)],
  removed: ['d1', 's1'],
  snapshot: { ...FIRST, rows: 3, caughtUpAt: CAUGHT_UP },
};

describe('a rebuild', () => {
  test('begins the counts and positions anew, takes the files’ place, raises the epoch and is over with gaps', () => {
    const state = after(PUBLISH, EXPIRED, REBUILD);
    const nothing = { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };
    expect([...state.positions]).toEqual([
      [1, { start: at(7), position: at(7), last: null, timestampMsMax: null, totals: nothing }],
      [
        0,
        {
          start: at(12),
          position: at(20),
          last: REFUSED.last,
          timestampMsMax: REFUSED.timestampMsMax,
          totals: { messages: 8, rows: 6, deadLetters: 2, tombstones: 0 },
        },
      ],
    ]);
    expect([...state.files.keys()]).toEqual(['d2', 's2', 'l2']);
    expect([...state.removed.values()].map(({ superseded }) => superseded)).toEqual([true, true]);
    expect([state.epoch, state.rebuiltVersion, state.gaps.length]).toEqual([1, 3, 1]);
    expect(state.snapshot).toEqual({ ...FIRST, rows: 3, caughtUpAt: CAUGHT_UP });
    expect(parseState(JSON.parse(canonicalJson(stateToJson(state))))).toEqual({
      ...state,
      positions: new Map([...state.positions].sort(([a], [b]) => a - b)),
    });
  });

  test.each<[string, Partial<LogEntry>[], Partial<Proposal>, object]>([
    ['may follow', [PUBLISH, EXPIRED], REBUILD, { kind: 'valid' }],
    ['may follow a publish of its epoch', [PUBLISH, EXPIRED, REBUILD], again(REBUILD), { kind: 'valid' }],
    ['not when a position has moved', [PUBLISH], REBUILD, { reason: 'positions', partitions: [0] }],
    ['not when it does not know a partition', [PUBLISH, EXPIRED], { ...REBUILD, rebuild: from([0, 12]) }, { partitions: [1] }],
    ['not in another epoch', [PUBLISH, EXPIRED], { ...REBUILD, epoch: 1 }, { reason: 'epoch' }],
    ['not by another schema', [PUBLISH, EXPIRED], { ...REBUILD, schemaVersion: 1 }, { reason: 'schema' }],
    ['not when it leaves a file', [PUBLISH, EXPIRED], { ...REBUILD, removed: ['d1'] }, { reason: 'snapshot' }],
    [
      'not without files over those of a table',
      [PUBLISH, EXPIRED],
      { ...REBUILD, added: [], removed: [], ranges: [], snapshot: { ...FIRST, rows: 0 } },
      { reason: 'snapshot' },
    ],
    ['not of another snapshot', [PUBLISH, EXPIRED], of(4), { reason: 'snapshot' }],
  ])('%s', (_, entries, given, verdict) => {
    expect(validity(after(...entries), 'w1', wanted(given))).toMatchObject(verdict);
  });

  test('voids what was made before it', () => {
    const publish = { ...PUBLISH, ranges: [rangeOf(20, 21)], added: [file('d3', 4), stateFile('s3')], removed: ['d2', 's2'] };
    expect(validity(after(PUBLISH, EXPIRED, REBUILD), 'w1', wanted(publish))).toMatchObject({ reason: 'epoch' });
  });

  test('is told in the journal', () => {
    expect(linesOf(next(after(PUBLISH, EXPIRED), REBUILD), 'a test')).toMatchObject([
      {
        action: 'table_rebuilt',
        resource: '2025-01-28/3',
        rows: 3,
        details: { reason: 'gap', from: { 0: '12', 1: '7' }, read: '0:12-20' },
      },
    ]);
  });

  test.each<[string, Partial<Proposal>, string]>([
    ['nothing is wrong with one that files less than it refuses', REBUILD, 'null'],
    ['it files no more', { ...REBUILD, added: [...REBUILD.added, letters('l3', 2)] }, '2 dead letters in its ranges and 3'],
    ['it has a snapshot', { ...REBUILD, snapshot: null }, 'rebuild without a snapshot'],
    ['it says what it replaces', { ...REBUILD, rebuild: null }, 'rebuild without a rebuild'],
    ['nothing else does', { ...PUBLISH, rebuild: REBUILD.rebuild }, 'publish with a rebuild'],
    ['it leads no way back', { ...REBUILD, rebuild: from([0, 21]) }, 'leads partition 0 back to 20'],
    ['it moves over no gap', { ...REBUILD, gaps: EXPIRED.gaps }, 'rebuild with gaps'],
  ])('by itself: %s', (_, given, problem) => {
    expect(String(entryProblem(wanted(given)))).toContain(problem);
  });

  test('survives JSON, and damage is named by field', () => {
    const entry = next(after(PUBLISH, EXPIRED), REBUILD);
    const json = () => JSON.parse(canonicalJson(entryToJson(entry)));
    expect(parseEntry(json())).toEqual(entry);
    expect(json()).toMatchObject({ rebuild: { from: { 0: '12', 1: '7' }, reason: 'gap' } });
    expect(() => parseEntry({ ...json(), rebuild: null })).toThrow('rebuild');
    expect(() => parseEntry({ ...json(), rebuild: { from: { 0: 12 }, reason: 'gap' } })).toThrow('rebuild.from');
  });
});

function again(rebuild: typeof REBUILD): Partial<Proposal> {
  const added = [file('d3', 3), stateFile('s3')];
  return { ...rebuild, epoch: 1, rebuild: from([0, 20], [1, 7]), ranges: [rangeOf(15, 20)], added, removed: ['d2', 's2'] };
}

function of(version: number): Partial<Proposal> {
  const values = { values: snapshotValues({ ...FIRST, version }) };
  const added = [file('d2', 3, values), { ...stateFile('s2'), ...values }];
  return { ...REBUILD, ranges: [], added, snapshot: { ...REBUILD.snapshot, version } };
}
