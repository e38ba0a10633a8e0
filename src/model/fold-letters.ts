// What a retry or a drop of dead letters may say, by itself and after the entries before it (PROTOCOL R4, M3), and the counts after it.
// Invariant: a letter leaves its file in the entry that makes its row; positions stay, and messages = rows + dead letters + tombstones.

import { countClosings, type EntryLetters } from './entry-letters.ts';
import type { FeedState, PositionState } from './feed-state.ts';
import type { LakeFile, Proposal } from './log-entry.ts';
import { isOf } from './snapshot-files.ts';

const rowsOf = (files: readonly LakeFile[], kind: LakeFile['kind']): number =>
  files.reduce((sum, file) => sum + (file.kind === kind ? file.rows : 0), 0);

const totalOf = (letters: EntryLetters, which: readonly (keyof typeof NO_CLOSINGS)[]): number =>
  [...countClosings(letters).values()].reduce((sum, counts) => sum + which.reduce((all, as) => all + counts[as], 0), 0);

const NO_CLOSINGS = { row: 0, superseded: 0, tombstone: 0, dropped: 0 };

/** What is wrong with an entry of the two kinds by itself, or null. */
export function lettersProblem(entry: Proposal): string | null {
  const { kind, letters, added, snapshot } = entry;
  if (kind !== 'retry' && kind !== 'drop') return letters ? `is a ${kind} with dead letters in it` : null;
  if (letters === null) return `is a ${kind} without dead letters`;
  if (entry.ranges.length > 0 || entry.gaps.length > 0) return `is a ${kind} that moves positions`;
  if (totalOf(letters, ['row', 'superseded', 'tombstone', 'dropped']) === 0) return `is a ${kind} of no dead letter`;
  const seen = letters.closed.flatMap(({ partition, offsets }) => offsets.map((offset) => `${partition}:${offset}`));
  if (new Set(seen).size !== seen.length) return `is a ${kind} of one dead letter twice`;
  const dropped = totalOf(letters, ['dropped']);
  if (kind === 'drop') {
    if (dropped !== seen.length) return 'is a drop that makes rows';
    return snapshot || added.some((file) => file.kind !== 'dead_letters') ? 'is a drop with other files than dead letters' : null;
  }
  if (dropped > 0) return 'is a retry that drops';
  const [data, state] = (['data', 'state'] as const).map((of) => added.filter((file) => file.kind === of));
  if (snapshot === null) {
    const rows = totalOf(letters, ['row']);
    if (state?.length || rows !== rowsOf(added, 'data'))
      return `has ${rows} rows of dead letters and ${rowsOf(added, 'data')} in its files`;
    return totalOf(letters, ['superseded', 'tombstone']) > 0 ? 'has keys, and is no table' : null;
  }
  if (data?.length !== state?.length || (data?.length ?? 0) > 1) return 'publishes a data file without a state file, or several';
  if ([...(data ?? []), ...(state ?? [])].some((file) => !isOf(file, snapshot)))
    return 'publishes files of another snapshot than it names';
  const rows = data?.[0]?.rows ?? snapshot.rows;
  return rows === snapshot.rows ? null : `has a snapshot of ${snapshot.rows} rows and ${rows} in its data file`;
}

/** Whether it was made of other files, or of another snapshot, than `state` has. That all are live is a rule for every kind. */
export function lettersConflict(state: FeedState, wanted: Proposal): 'files' | 'snapshot' | 'positions' | null {
  const { letters, snapshot, added } = wanted;
  if (letters === null) return null;
  const live = wanted.removed.flatMap((path) => state.files.get(path) ?? []);
  const closed = totalOf(letters, ['row', 'superseded', 'tombstone', 'dropped']);
  if (rowsOf(live, 'dead_letters') - rowsOf(added, 'dead_letters') !== closed) return 'files';
  if (letters.closed.some(({ partition }) => !state.positions.has(partition))) return 'positions';
  const taken = live.filter(({ kind }) => kind !== 'dead_letters');
  if (wanted.kind === 'drop') return taken.length === 0 ? null : 'files';
  const open = state.snapshot;
  if (snapshot === null || open === null) return snapshot === open && taken.length === 0 ? null : 'snapshot';
  if (open.date !== snapshot.date || open.version !== snapshot.version || open.endsAtMs !== snapshot.endsAtMs) return 'snapshot';
  const ofOpen = [...state.files.values()].filter((file) => isOf(file, open));
  if (!added.some(({ kind }) => kind === 'data')) return taken.length === 0 && snapshot.rows === open.rows ? null : 'snapshot';
  const isSame = ofOpen.length === taken.length && ofOpen.every((file) => taken.includes(file));
  return isSame ? null : 'snapshot';
}

/** The positions with what became of the letters in their counts; dropped ones stay what they were. */
export function positionsAfter(positions: ReadonlyMap<number, PositionState>, letters: EntryLetters): Map<number, PositionState> {
  const after = new Map(positions);
  for (const [partition, { row, superseded, tombstone }] of countClosings(letters)) {
    const at = after.get(partition);
    if (!at) continue;
    const { messages, rows, deadLetters, tombstones } = at.totals;
    // A rebuild counts only the letters that it found again, and leaves the others in their files.
    const gone = Math.min(deadLetters, row + superseded + tombstone);
    const asTombstones = Math.min(gone, tombstone);
    const totals = {
      messages,
      rows: rows + gone - asTombstones,
      deadLetters: deadLetters - gone,
      tombstones: tombstones + asTombstones,
    };
    after.set(partition, { ...at, totals });
  }
  return after;
}
