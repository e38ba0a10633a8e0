// What a retry or a drop may say, what the positions count afterwards, which schema decoded which offset, and where a fault lies.

import { describe, expect, test } from 'bun:test';
import { refusalsOf } from '../../src/model/dead-letters.ts';
import { closedLetters, type EntryLetters, lettersToJson, parseLetters } from '../../src/model/entry-letters.ts';
import { emptyState } from '../../src/model/feed-state.ts';
import { foldAll, validity } from '../../src/model/fold.ts';
import { heldByLetters } from '../../src/model/forgotten.ts';
import { faultIn, pointedAt } from '../../src/model/letter-fault.ts';
import { type LakeFile, type LogEntry, type Proposal, proposal } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { withRedecoded } from '../../src/model/stretches.ts';

const file = (kind: LakeFile['kind'], path: string, rows: number): LakeFile => ({
  ...{ kind, path, staged: `staging/${path}`, rows, bytes: 1, sha256: 'a', values: {}, eventTimeMin: null, eventTimeMax: null },
});
const entry = (version: number, given: Proposal): LogEntry => ({
  ...given,
  version,
  feed: 'f',
  writer: 'w',
  at: '2025-01-28T00:00:00Z',
});
const append = proposal({
  ...{ kind: 'append', batch: 'b1', epoch: 0, schemaVersion: 0 },
  added: [file('data', 'd1', 7), file('dead_letters', 'l1', 3)],
  ranges: [
    {
      ...{ partition: 0, start: toOffset(0n), end: toOffset(10n), messages: 10, rows: 7, deadLetters: 3, tombstones: 0 },
      ...{ last: { offset: toOffset(9n), timestampMs: 1, hash: 'h' }, timestampMsMax: 1 },
    },
  ],
});
const state = foldAll(emptyState('f'), [entry(1, append)]);
const lettersOf = (...offsets: readonly number[]): EntryLetters => ({
  closed: closedLetters(offsets.map((offset) => ({ partition: 0, offset: BigInt(offset), as: 'row' as const }))),
});
const retry = (given: Partial<Proposal>): Proposal =>
  proposal({ kind: 'retry', batch: 'b2', epoch: 0, schemaVersion: 0, removed: ['l1'], letters: lettersOf(1, 2), ...given });
const [rows, left] = [file('data', 'd2', 2), file('dead_letters', 'l2', 1)];

describe('an entry that closes dead letters', () => {
  test('moves them from one count to the other, and no position', () => {
    const after = foldAll(state, [entry(2, retry({ added: [rows, left] }))]);
    expect(after.positions.get(0)).toMatchObject({
      position: 10n,
      totals: { messages: 10, rows: 9, deadLetters: 1, tombstones: 0 },
    });
    expect([...after.files.keys()].sort()).toEqual(['d1', 'd2', 'l2']);
    const dropped = { closed: closedLetters([{ partition: 0, offset: 1n, as: 'dropped' }]) };
    const drop = proposal({ ...retry({ letters: dropped, added: [file('dead_letters', 'l2', 2)] }), kind: 'drop' });
    expect(foldAll(state, [entry(2, drop)]).positions.get(0)?.totals).toMatchObject({ rows: 7, deadLetters: 3 });
  });

  test.each<[string, Partial<Proposal>, string]>([
    ['whose file another one has taken', { removed: ['gone'], added: [rows, left] }, 'files'],
    ['that leaves another number of letters than it says', { added: [rows, file('dead_letters', 'l2', 2)] }, 'files'],
    ['by another schema', { schemaVersion: 1, added: [rows, left] }, 'schema'],
    ['by another epoch', { epoch: 1, added: [rows, left] }, 'epoch'],
    ['that takes a data file away', { removed: ['l1', 'd1'], added: [rows, left] }, 'snapshot'],
    [
      'of a partition that is not known',
      { letters: { closed: [{ partition: 5, as: 'row', offsets: [toOffset(1n), toOffset(2n)] }] }, added: [rows, left] },
      'positions',
    ],
  ])('%s is a conflict', (_, given, reason) => {
    expect(validity(state, 'w', retry(given))).toMatchObject({ kind: 'conflict', reason });
  });

  test.each<[string, Partial<Proposal>]>([
    ['without letters', { letters: null }],
    ['with other rows than letters', { added: [file('data', 'd2', 1), left] }],
    ['with a letter twice', { letters: lettersOf(1, 1), added: [rows, left] }],
    ['that moves positions', { ranges: append.ranges, added: [rows, left] }],
    ['with keys, of a stream', { letters: { closed: [{ partition: 0, as: 'superseded', offsets: [toOffset(1n)] }] } }],
  ])('%s is no entry', (_, given) => {
    expect(() => foldAll(state, [entry(2, retry(given))])).toThrow();
  });

  test('says offsets in runs', () => {
    const letters = lettersOf(3, 1, 2, 9, 4);
    expect(lettersToJson(letters)).toEqual({ closed: [{ partition: 0, as: 'row', offsets: ['1-4', '9'] }] });
    expect(parseLetters(lettersToJson(letters), 'letters')).toEqual(letters);
    expect(() => parseLetters({ closed: [{ partition: 0, as: 'row', offsets: ['4-1'] }] }, 'letters')).toThrow(
      'a run of offsets',
    );
  });
});

test('offsets that were decoded again count by that schema', () => {
  const stretch = (start: number, end: number, schemaVersion: number) => ({
    ...{ start: toOffset(BigInt(start)), end: toOffset(BigInt(end)), schemaVersion },
  });
  const again = (offset: number, schemaVersion = 2) => ({ partition: 0, offset: BigInt(offset), schemaVersion });
  const split = (...points: ReturnType<typeof again>[]) =>
    withRedecoded(new Map([[0, [stretch(0, 5, 1), stretch(7, 9, 2)]]]), points).get(0);
  expect(split(again(3), again(2))).toEqual([stretch(0, 2, 1), stretch(2, 4, 2), stretch(4, 5, 1), stretch(7, 9, 2)]);
  expect(split(again(0), again(4, 3), again(8, 3))).toEqual([
    ...[stretch(0, 1, 2), stretch(1, 4, 1), stretch(4, 5, 3), stretch(7, 8, 2), stretch(8, 9, 3)],
  ]);
  // In no stretch: a gap, or beyond the position.
  expect(split(again(6), again(20))).toEqual([stretch(0, 5, 1), stretch(7, 9, 2)]);
});

test('no tombstone after the oldest dead letter is forgotten', () => {
  expect([heldByLetters(100, []), heldByLetters(100, [50, 70]), heldByLetters(40, [50]), heldByLetters(null, [50])]).toEqual([
    ...[100, 50, 40, null],
  ]);
});

test('refusals of one kind are told together', () => {
  const at = (offset: number, field: string | null, reason: string) => ({ partition: 0, offset: BigInt(offset), field, reason });
  const found = refusalsOf([
    at(1, 'n', 'n: 1.5 has a fraction'),
    at(2, null, 'the value is empty'),
    at(3, 'n', 'n: 22.75 has a fraction'),
  ]);
  expect(found.map(({ letters, reason, first }) => [letters, reason, Number(first.offset)])).toEqual([
    [2, 'n: 1.5 has a fraction', 1],
    [1, 'the value is empty', 2],
  ]);
});

describe('the place of a fault', () => {
  const pointed = (text: string, from: readonly string[] | null, reason = ''): readonly string[] =>
    pointedAt(text, faultIn({ text, from, reason }));
  test.each<[string, string, readonly string[] | null, string, readonly string[]]>([
    ['a value', '{"a":1,"n":1.5}', ['n'], 'n: 1.5 has a fraction', ['{"a":1,"n":1.5}', '           ^^^']],
    ['a value inside', '{"p":{"n":"x"}}', ['p', 'n'], 'n: no number', ['{"p":{"n":"x"}}', '          ^^^']],
    [
      'an item',
      '{"l":[{"n":1},{"n":true}]}',
      ['l'],
      'l[1].n: true is no number',
      ['{"l":[{"n":1},{"n":true}]}', '                   ^^^^'],
    ],
    ['what is missing', '{"a":1}', ['n'], 'n: required, and missing or null', ['{"a":1}', '      ^']],
    ['no JSON', '{"a":tru}', null, 'the value is not JSON', ['{"a":tru}', '     ^']],
    ['a text that ends', '{"a":', null, 'the value is not JSON', ['{"a":', '     ^']],
    ['another kind', ' [1]', null, 'the value is an array', [' [1]', ' ^^^']],
    ['a line of several', '{\n "n":1.5\n}', ['n'], 'n: 1.5', ['{', ' "n":1.5', '     ^^^', '}']],
  ])('%s', (_, text, from, reason, lines) => {
    expect(pointed(text, from, reason)).toEqual(lines);
  });

  test('of a long line what is near it is shown', () => {
    const text = `{"a":"${'x'.repeat(500)}","n":1.5,"b":"${'y'.repeat(500)}"}`;
    const [line = '', mark = ''] = pointed(text, ['n'], 'n: 1.5');
    expect([line.length <= 102, line.slice(mark.indexOf('^'), mark.length)]).toEqual([true, '1.5']);
  });
});
