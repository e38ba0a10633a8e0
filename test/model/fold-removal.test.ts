// What entries of retention and compaction may say (R4), and what the fold forgets with them.

import { describe, expect, test } from 'bun:test';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { entryProblem, fold, validity } from '../../src/model/fold.ts';
import { sealedAfter } from '../../src/model/fold-removal.ts';
import { type LakeFile, type LogEntry, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { rangeOf } from '../helpers/lake-folder.ts';
import { dayFile, open, sealed } from '../helpers/retention-facts.ts';

const fileOf = (path: string, rows: number, day = '2025-01-28'): LakeFile => {
  const { version: _, ...file } = dayFile(day, { path, staged: `staged ${path}`, rows });
  return file;
};
const wanted = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'compact', batch: 'b', epoch: 0, schemaVersion: 0, ...given });
const next = (state: FeedState, given: Partial<LogEntry>): LogEntry => ({
  ...wanted(given),
  ...{ version: state.version + 1, feed: 'orders', writer: 'w1', at: '2025-01-28T00:00:00.000Z' },
  ...given,
});
const TWO = fold(
  emptyState('orders'),
  next(emptyState('orders'), { kind: 'append', ranges: [rangeOf(0, 10)], added: [fileOf('a', 4), fileOf('b', 6)] }),
);

describe('by itself', () => {
  test.each<[string, Partial<Proposal>, string]>([
    ['retention that removes nothing', { kind: 'retain' }, 'removes nothing'],
    ['retention that adds', { kind: 'retain', removed: ['a'], added: [fileOf('c', 1)] }, 'adds files'],
    ['retention that moves positions', { kind: 'retain', removed: ['a'], ranges: [rangeOf(10, 11)] }, 'moves positions'],
    ['compaction of nothing', { added: [fileOf('c', 1)] }, 'removes nothing'],
    ['compaction into nothing', { removed: ['a'] }, 'adds nothing'],
    [
      'compaction of dead letters',
      { removed: ['a'], added: [{ ...fileOf('c', 4), kind: 'dead_letters' }] },
      'other files than data',
    ],
  ])('%s is refused', (_, given, problem) => expect(entryProblem(wanted(given))).toContain(problem));
});

describe('after the entries before', () => {
  test.each<[string, Partial<Proposal>, object]>([
    ['a compaction of the same rows', { removed: ['a', 'b'], added: [fileOf('c', 10)] }, { kind: 'valid' }],
    ['one that lost a row', { removed: ['a', 'b'], added: [fileOf('c', 9)] }, { reason: 'files' }],
    ['one that doubled a row', { removed: ['a'], added: [fileOf('c', 5)] }, { reason: 'files' }],
    ['one that moved them to another day', { removed: ['a'], added: [fileOf('c', 4, '2025-01-29')] }, { reason: 'files' }],
    ['one of a file that is gone', { removed: ['a', 'gone'], added: [fileOf('c', 4)] }, { reason: 'files' }],
    ['one under another epoch', { epoch: 1, removed: ['a'], added: [fileOf('c', 4)] }, { reason: 'epoch' }],
    ['one under another schema', { schemaVersion: 1, removed: ['a'], added: [fileOf('c', 4)] }, { reason: 'schema' }],
    ['retention under any epoch', { kind: 'retain', epoch: 7, removed: ['a'] }, { kind: 'valid' }],
  ])('%s', (_, given, verdict) => expect(validity(TWO, 'w1', wanted(given))).toMatchObject(verdict));

  test('retention takes nothing of the open snapshot', () => {
    const values = { snapshot_date: '2025-01-28', snapshot_version: '1' };
    const file = { ...dayFile('2025-01-28'), path: 'a', values };
    const state: FeedState = { ...TWO, files: new Map([['a', file]]), snapshot: open('2025-01-28/1') };
    const verdict = (of: FeedState) => validity(of, 'w1', wanted({ kind: 'retain', removed: ['a'] }));
    expect(verdict(state)).toMatchObject({ reason: 'snapshot' });
    expect(verdict({ ...state, snapshot: open('2025-01-29/1') })).toEqual({ kind: 'valid' });
  });
});

describe('sealed snapshots', () => {
  const names = (removed: readonly string[], list = ['1', '2', '3'].map((n) => sealed(`2025-01-28/${n}`))): number[] =>
    sealedAfter(list, removed).map(({ version }) => version);

  test('go with their files', () => {
    expect(names(['file 2025-01-28/1'])).toEqual([2, 3]);
    expect(names(['another'])).toEqual([1, 2, 3]);
  });

  test('that have no file go with the first after them that has', () => {
    const list = [sealed('2025-01-28/1', { path: null }), sealed('2025-01-28/2'), sealed('2025-01-28/3', { path: null })];
    expect(names(['file 2025-01-28/2'], list)).toEqual([3]);
  });

  test('are forgotten by the fold', () => {
    const state: FeedState = { ...TWO, sealed: [sealed('2025-01-28/1', { path: 'a' }), sealed('2025-01-28/2', { path: 'b' })] };
    const after = fold(state, next(state, { kind: 'retain', removed: ['a'] }));
    expect(after.sealed.map(({ path }) => path)).toEqual(['b']);
    expect(after.removed.get('a')?.superseded).toBe(false);
  });
});
