// What a seal may say, by itself and after the entries before it (design 4, §3; PROTOCOL R4, 11). Pure.
// Invariant: what is sealed is the state at exactly the positions of the entry, and what is opened is its copy, byte for byte, but for
// tombstones that no partition can bring an older row for.

import { type EntrySeal, namesProblem, type SealedSnapshot } from './entry-seal.ts';
import type { EntrySnapshot } from './entry-snapshot.ts';
import type { FeedState, LiveFile } from './feed-state.ts';
import { settledBeforeMs } from './forgotten.ts';
import type { LakeFile, Proposal } from './log-entry.ts';
import { publishedFiles } from './snapshot-files.ts';

/** What is wrong with a seal by itself, or null. It adds both files of the next snapshot, or neither (then none was ever written). */
export const sealProblem = (entry: Proposal, seal: EntrySeal): string | null => {
  if (entry.ranges.length > 0 || entry.gaps.length > 0) return 'is a seal that moves positions';
  const copy = publishedFiles(entry.added, seal.opens);
  if (entry.added.length !== (copy ? 2 : 0)) return 'is a seal without exactly a data and a state file of the next snapshot';
  if (entry.removed.length !== (copy ? 1 : 0))
    return `is a seal that adds ${entry.added.length} files and removes ${entry.removed.length}`;
  const rows = copy?.data.rows ?? 0;
  if (rows !== seal.rows) return `seals a snapshot of ${seal.rows} rows and has ${rows} in its copy`;
  return namesProblem(seal);
};

/** Whether it was made at other positions, or of another snapshot or other files of it, than `state` has. */
export const sealConflict = (
  state: FeedState,
  wanted: Proposal,
  seal: EntrySeal,
): { readonly reason: 'positions' | 'snapshot'; readonly partitions: readonly number[] } | null => {
  const partitions = movedPartitions(state, seal);
  if (partitions.length > 0) return { reason: 'positions', partitions };
  const { snapshot: open } = state;
  const isOpen = open?.date === seal.date && open.version === seal.version && open.endsAtMs === seal.boundaryMs;
  return isOpen && open.rows === seal.rows && isCopy(state, wanted, seal) ? null : { reason: 'snapshot', partitions: [] };
};

/** Partitions whose position is not that of the seal, or that only one of them knows. */
export const movedPartitions = ({ positions }: FeedState, seal: Pick<EntrySeal, 'positions'>): readonly number[] =>
  [...new Set([...positions.keys(), ...seal.positions.keys()])]
    .filter((partition) => positions.get(partition)?.position !== seal.positions.get(partition))
    .sort((a, b) => a - b);

const isCopy = (state: FeedState, wanted: Proposal, seal: EntrySeal): boolean => {
  const live = publishedFiles(state.files.values(), seal);
  const copy = publishedFiles(wanted.added, seal.opens);
  if (live === null || copy === null) return live === null && copy === null;
  if (wanted.removed[0] !== live.state.path) return false;
  const same = (a: LakeFile, b: LakeFile): boolean => a.rows === b.rows && a.bytes === b.bytes && a.sha256 === b.sha256;
  if (!same(live.data, copy.data)) return false;
  const { forgets } = seal;
  if (forgets === null) return same(live.state, copy.state);
  const settledMs = settledBeforeMs(state.positions, []);
  return settledMs !== null && forgets.beforeMs <= settledMs && copy.state.rows + forgets.rows === live.state.rows;
};

/** What the fold keeps, of the files before the entry. */
export const sealedBy = (files: Iterable<LiveFile>, seal: EntrySeal, entryVersion: number): SealedSnapshot => ({
  ...seal,
  path: publishedFiles(files, seal)?.data.path ?? null,
  entryVersion,
});

/** Nothing of the feed has changed but the name. */
export const openedBy = ({ opens, rows }: EntrySeal, before: EntrySnapshot | null): EntrySnapshot => ({
  ...opens,
  rows,
  caughtUpAt: before?.caughtUpAt ?? null,
});
