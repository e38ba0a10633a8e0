// What retention and compaction may say, by themselves and after the entries before them (PROTOCOL R4, 5). Pure.
// Invariant: retention only takes away, and nothing of an open snapshot; compaction changes neither the rows of a day nor its name.

import type { SealedSnapshot } from './entry-seal.ts';
import type { FeedState } from './feed-state.ts';
import type { LakeFile, Proposal } from './log-entry.ts';
import { isOf } from './snapshot-files.ts';

/** What is wrong with an entry of the two kinds by itself, or null. */
export const removalProblem = (entry: Proposal): string | null => {
  if (entry.kind !== 'retain' && entry.kind !== 'compact') return null;
  if (entry.ranges.length > 0 || entry.gaps.length > 0) return `is a ${entry.kind} that moves positions`;
  if (entry.removed.length === 0) return `is a ${entry.kind} that removes nothing`;
  if (entry.kind === 'retain') return entry.added.length > 0 ? 'is a retain that adds files' : null;
  if (entry.added.length === 0) return 'is a compact that adds nothing';
  return entry.added.some(({ kind }) => kind !== 'data') ? 'is a compact of other files than data' : null;
};

/** Whether it was made of other files than `state` has. */
export const removalConflict = (state: FeedState, wanted: Proposal): 'files' | 'snapshot' | null => {
  if (wanted.kind !== 'retain' && wanted.kind !== 'compact') return null;
  // Whether all of them are there is a rule for every kind.
  const live = wanted.removed.flatMap((path) => state.files.get(path) ?? []);
  if (wanted.kind === 'compact') return isSame(live, wanted.added) ? null : 'files';
  const open = state.snapshot;
  return open !== null && live.some((file) => isOf(file, open)) ? 'snapshot' : null;
};

/** The same rows under the same folders. */
const isSame = (removed: readonly LakeFile[], added: readonly LakeFile[]): boolean => {
  const placeOf = ({ kind, values }: LakeFile): string => `${kind} ${JSON.stringify(Object.entries(values).sort())}`;
  const rowsBy = (files: readonly LakeFile[]): string => {
    const rows = new Map<string, number>();
    for (const file of files) rows.set(placeOf(file), (rows.get(placeOf(file)) ?? 0) + file.rows);
    return JSON.stringify([...rows].sort());
  };
  return rowsBy(removed) === rowsBy(added);
};

/** Sealed snapshots once retention has taken files away. One that never had a file goes with the first after it that goes. */
export const sealedAfter = (sealed: readonly SealedSnapshot[], removed: readonly string[]): SealedSnapshot[] => {
  const gone = new Set(removed);
  const isGone = ({ path }: SealedSnapshot): boolean => path !== null && gone.has(path);
  const last = sealed.findLastIndex(isGone);
  return sealed.filter((one, index) => (one.path === null ? index > last : !isGone(one)));
};
