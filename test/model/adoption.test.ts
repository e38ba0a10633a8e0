// What `lake adopt` plans, and what the log lets an entry of its kind say (R4).

import { describe, expect, test } from 'bun:test';
import { adoptedSnapshots } from '../../src/model/adopted.ts';
import { type AdoptionFacts, type FoundFile, planAdoption } from '../../src/model/adoption.ts';
import { emptyState, type FeedState } from '../../src/model/feed-state.ts';
import { entryProblem, fold, validity } from '../../src/model/fold.ts';
import { type LakeFile, type LogEntry, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { rangeOf } from '../helpers/lake-folder.ts';
import { dayFile, open, sealed } from '../helpers/retention-facts.ts';

const found = (path: string, problem: string | null = null): FoundFile => ({
  ...{ path, bytes: 10, rows: 2, eventTimeMin: null, eventTimeMax: null, problem },
});
const nothing = { files: new Map(), sealed: [], snapshot: null, config: { version: 0, values: {} } };
const stream = (files: readonly FoundFile[]) =>
  planAdoption({ feed: { name: 'orders', type: 'stream' }, lake: nothing, files, warehouse: null });
const table = (more: Partial<AdoptionFacts>) =>
  planAdoption({ feed: { name: 'totals', type: 'table' }, lake: nothing, files: [], warehouse: null, ...more });
const ofTable = (name: string): FoundFile =>
  found(`tables/totals/snapshot_date=${name.replace('/', '/snapshot_version=')}/x.parquet`);
const held = (...names: readonly string[]) =>
  names.map((name) => ({ date: name.slice(0, 10), version: Number(name.slice(11)), rows: 3 }));

describe('of a stream', () => {
  test('files under days are adopted where they lie, whatever their names and however months are written', () => {
    const path = 'streams/orders/year=2025/month=1/day=28/some file.parquet';
    const { files, refused } = stream([found(path)]);
    expect(refused).toEqual([]);
    expect(files).toMatchObject([{ staged: path, path, kind: 'data', values: { year: '2025', month: '01', day: '28' } }]);
  });

  test.each([
    'streams/orders/old.parquet',
    'streams/orders/year=2025/month=13/day=01/a.parquet',
    'streams/orders/year=2025/month=02/day=30/a.parquet',
    'streams/orders/year=2025/month=01/day=28/hour=1/a.parquet',
  ])('%s is of no day, and stays', (path) => {
    expect(stream([found(path)])).toMatchObject({
      files: [],
      refused: [{ what: path, reason: 'does not lie under year=…/month=…/day=…' }],
    });
  });

  test('one with a problem stays, with it', () => {
    const path = 'streams/orders/year=2025/month=01/day=28/a.parquet';
    expect(stream([found(path, 'cannot be read')])).toMatchObject({
      files: [],
      refused: [{ what: path, reason: 'cannot be read' }],
    });
  });
});

describe('of a table', () => {
  const warehouse = { held: held('2025-01-27/1', '2025-01-28/4'), adopted: new Set<string>(), oldest: null };

  test('snapshots of both targets are taken, and the first one of lake comes after all of them', () => {
    const { files, snapshots, after } = table({ files: [ofTable('2025-01-28/2')], warehouse });
    expect({ files: files.length, snapshots: snapshots.length, after }).toEqual({
      files: 1,
      snapshots: 2,
      after: { date: '2025-01-28', version: 4 },
    });
  });

  test('a file that stays has its name taken all the same', () => {
    const broken = { ...ofTable('2025-01-29/7'), problem: 'cannot be read' };
    expect(table({ files: [broken] }).after).toEqual({ date: '2025-01-29', version: 7 });
  });

  test('what was adopted before is not taken again, and what is pinned is not pinned again', () => {
    const config = { version: 1, values: { snapshot_after: '2025-01-28/4' } };
    const again = { ...warehouse, adopted: new Set(['2025-01-27/1', '2025-01-28/4']) };
    expect(table({ lake: { ...nothing, config }, warehouse: again })).toEqual({
      files: [],
      snapshots: [],
      after: null,
      refused: [],
    });
  });

  test('one that is not older than the first of lake stays, in each target by its own', () => {
    const lake = { ...nothing, sealed: [sealed('2025-01-28/1')], snapshot: open('2025-01-29/1') };
    const plan = table({
      ...{ lake, files: [ofTable('2025-01-27/9'), ofTable('2025-01-28/1')] },
      warehouse: { ...warehouse, oldest: { date: '2025-01-28', version: 4 } },
    });
    expect(plan.files.map(({ path }) => path)).toEqual([ofTable('2025-01-27/9').path]);
    expect(plan.snapshots).toMatchObject([{ date: '2025-01-27', version: 1 }]);
    expect(plan.refused.map(({ target, what }) => `${target} ${what}`)).toEqual([
      `lake ${ofTable('2025-01-28/1').path}`,
      'warehouse 2025-01-28/4',
    ]);
    expect(plan.after).toBeNull();
  });
});

const fileOf = (path: string, staged = path, values: LakeFile['values'] = { year: '2025', month: '01', day: '28' }): LakeFile => {
  const { version: _, ...file } = dayFile('2025-01-28', { path, staged, rows: 4 });
  return { ...file, values };
};
const wanted = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'adopt', batch: 'b', epoch: 0, schemaVersion: 0, ...given });

describe('the log', () => {
  test.each<[string, Partial<Proposal>, string]>([
    ['an adopt of nothing', {}, 'an adopt of nothing'],
    ['an adopt of a staged file', { added: [fileOf('a', 'staged a')] }, 'do not lie in their places'],
    ['an adopt that moves a position', { added: [fileOf('a')], ranges: [rangeOf(0, 10)] }, 'more than add files'],
    ['an adopt that removes', { added: [fileOf('a')], removed: ['b'] }, 'more than add files'],
    ['another kind with a file in its place', { kind: 'append', added: [fileOf('a')], ranges: [rangeOf(0, 4)] }, 'where it lies'],
    ['one file twice', { added: [fileOf('a'), fileOf('a')] }, 'adds a file twice'],
  ])('refuses %s', (_, given, problem) => expect(entryProblem(wanted(given))).toContain(problem));

  test('takes one whatever epoch and schema there are, but not the same file again', () => {
    const state = emptyState('orders');
    const entry: LogEntry = {
      ...wanted({ epoch: 5, schemaVersion: 3, added: [fileOf('a')] }),
      ...{ version: 1, feed: 'orders', writer: 'w', at: '2025-01-28T00:00:00.000Z' },
    };
    const after = fold(state, entry);
    expect([...after.files.keys()]).toEqual(['a']);
    expect(validity(after, 'w', wanted({ added: [fileOf('a')] }))).toMatchObject({ kind: 'conflict', reason: 'files' });
    expect(validity(after, 'w', wanted({ added: [fileOf('b')] }))).toEqual({ kind: 'valid' });
  });

  test('lets no old snapshot stand beside or after those of lake', () => {
    const state: FeedState = { ...emptyState('totals'), snapshot: open('2025-01-28/1') };
    const of = (date: string, version: string) =>
      validity(state, 'w', wanted({ added: [fileOf('t', 't', { snapshot_date: date, snapshot_version: version })] }));
    expect(of('2025-01-27', '5')).toEqual({ kind: 'valid' });
    expect(of('2025-01-28', '1')).toMatchObject({ kind: 'conflict', reason: 'snapshot' });
    expect(of('2025-01-29', '1')).toMatchObject({ kind: 'conflict', reason: 'snapshot' });
  });

  test('knows the snapshots that were adopted by their files', () => {
    const old = { ...fileOf('t', 't', { snapshot_date: '2025-01-27', snapshot_version: '5' }), version: 1 };
    const own = { ...fileOf('o', 'staged o', { snapshot_date: '2025-01-28', snapshot_version: '1' }), version: 2 };
    expect(adoptedSnapshots([own, old])).toMatchObject([{ date: '2025-01-27', version: 5, files: [{ path: 't' }] }]);
  });
});
