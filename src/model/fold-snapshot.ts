// What a publish or a rebuild may say, by itself and after the entries before it (design 4, §3; PROTOCOL R4). Pure.
// Invariant: the live data and state files of an open snapshot are one of each, or none; its rows are those of the data file.

import { rebuildProblem } from './entry-rebuild.ts';
import { rewindProblem } from './entry-rewind.ts';
import type { EntrySnapshot } from './entry-snapshot.ts';
import type { FeedState } from './feed-state.ts';
import { sealProblem } from './fold-seal.ts';
import type { LakeFile, Proposal } from './log-entry.ts';
import { isOf } from './snapshot-files.ts';

/** What is wrong with the parts of an entry that concern snapshots, by themselves; or null. */
export const snapshotProblem = (entry: Proposal): string | null => {
  if ((entry.kind === 'rebuild') !== (entry.rebuild !== null))
    return `is a ${entry.kind} ${entry.rebuild ? 'with' : 'without'} a rebuild in it`;
  if ((entry.kind === 'rewind') !== (entry.rewind !== null))
    return `is a ${entry.kind} ${entry.rewind ? 'with' : 'without'} a rewind in it`;
  if (entry.rewind) return rewindProblem(entry, entry.rewind);
  if (entry.kind === 'seal') {
    if (entry.snapshot) return 'is a seal with a snapshot in it';
    return entry.seal ? sealProblem(entry, entry.seal) : 'is a seal without a seal in it';
  }
  if (entry.seal) return `is a ${entry.kind} with a seal in it`;
  if (entry.kind === 'publish' || entry.kind === 'rebuild') {
    const problem = entry.rebuild && rebuildProblem(entry, entry.rebuild);
    if (problem) return problem;
    return entry.snapshot ? publishProblem(entry, entry.snapshot) : `is a ${entry.kind} without a snapshot`;
  }
  if (entry.kind === 'retry') return null;
  if (entry.snapshot) return `is a ${entry.kind} with a snapshot in it`;
  return entry.added.some(({ kind }) => kind === 'state') ? `is a ${entry.kind} with a state file` : null;
};

const publishProblem = (entry: Proposal, snapshot: EntrySnapshot): string | null => {
  const of = (wanted: LakeFile['kind']): readonly LakeFile[] => entry.added.filter(({ kind }) => kind === wanted);
  const [data, state] = [of('data'), of('state')];
  if (data.length > 1 || data.length !== state.length)
    return `publishes ${data.length} data files and ${state.length} state files`;
  if ([...data, ...state].some((file) => !isOf(file, snapshot))) return 'publishes files of another snapshot than it names';
  const rows = data[0]?.rows ?? snapshot.rows;
  if (rows !== snapshot.rows) return `has a snapshot of ${snapshot.rows} rows and ${rows} in its data file`;
  if (data.length === 0 && entry.removed.length > 0) return 'removes files and publishes none';
  const deadLetters = entry.ranges.reduce((sum, range) => sum + range.deadLetters, 0);
  const filed = of('dead_letters').reduce((sum, file) => sum + file.rows, 0);
  // Those that a rebuild finds again are in their files already.
  const isRight = entry.rebuild ? filed <= deadLetters : filed === deadLetters;
  return isRight ? null : `has ${deadLetters} dead letters in its ranges and ${filed} in its files`;
};

/** Whether it was made of another snapshot, or of other files of it, than `state` has. */
export const publishConflicts = (state: FeedState, wanted: Proposal, snapshot: EntrySnapshot): boolean => {
  const open = state.snapshot;
  const isSame = open?.date === snapshot.date && open.version === snapshot.version && open.endsAtMs === snapshot.endsAtMs;
  if (open !== null && !isSame) return true;
  // A publish without files leaves those that are there; a rebuild leaves none.
  if (!wanted.rebuild && !wanted.added.some(({ kind }) => kind === 'data')) return snapshot.rows !== (open?.rows ?? 0);
  // Also of a first one: files that were adopted may have its name.
  const live = [...state.files.values()].filter((file) => isOf(file, snapshot)).map(({ path }) => path);
  return live.length !== wanted.removed.length || live.some((path) => !wanted.removed.includes(path));
};
