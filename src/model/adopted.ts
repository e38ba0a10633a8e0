// Files that were there before lake and were taken into its log (`lake adopt`): they stay where they lie, under the names they have,
// and know nothing of Kafka. Pure.
// Invariant: a file is adopted exactly if its staged key is its final one; a snapshot that was adopted is older than all of lake's own.

import type { FeedState, LiveFile } from './feed-state.ts';
import type { LakeFile, Proposal } from './log-entry.ts';
import { compareNames, type SnapshotName } from './snapshot.ts';

/** A pin (`date/version`): the first snapshot that lake opens has a greater name than those that were there. */
export const SNAPSHOT_AFTER = 'snapshot_after';

export const isAdopted = ({ staged, path }: Pick<LakeFile, 'staged' | 'path'>): boolean => staged === path;

/** What is wrong with an entry about files that lie in their places already, by itself; or null. */
export const adoptProblem = (entry: Proposal): string | null => {
  if (entry.kind !== 'adopt') return entry.added.some(isAdopted) ? `is a ${entry.kind} that adds a file where it lies` : null;
  if (entry.ranges.length + entry.gaps.length + entry.removed.length > 0) return 'is an adopt that does more than add files';
  if (entry.added.length === 0) return 'is an adopt of nothing';
  const isRight = entry.added.every((file) => file.kind === 'data' && isAdopted(file));
  return isRight ? null : 'is an adopt of files that do not lie in their places';
};

/** Whether a snapshot in it is not older than those that lake made. */
export const adoptConflict = (state: Pick<FeedState, 'sealed' | 'snapshot'>, wanted: Proposal): 'snapshot' | null => {
  if (wanted.kind !== 'adopt') return null;
  const oldest = oldestOwn(state);
  const names = wanted.added.flatMap((file) => snapshotOf(file) ?? []);
  return oldest !== null && names.some((name) => compareNames(name, oldest) >= 0) ? 'snapshot' : null;
};

/** The oldest snapshot that lake made itself; null: there is none yet. */
export const oldestOwn = ({ sealed, snapshot }: Pick<FeedState, 'sealed' | 'snapshot'>): SnapshotName | null =>
  sealed[0] ?? snapshot;

/** The snapshot that a table's file is of. */
export const snapshotOf = ({ values }: Pick<LakeFile, 'values'>): SnapshotName | null => {
  const [date, version] = [values['snapshot_date'], values['snapshot_version']];
  return date === undefined || version === undefined ? null : { date, version: Number(version) };
};

export type AdoptedSnapshot = SnapshotName & { readonly files: readonly LiveFile[] };

/** Oldest first. */
export function adoptedSnapshots(files: Iterable<LiveFile>): readonly AdoptedSnapshot[] {
  const snapshots = new Map<string, SnapshotName & { readonly files: LiveFile[] }>();
  for (const file of files) {
    const name = isAdopted(file) ? snapshotOf(file) : null;
    if (name === null) continue;
    const text = nameText(name);
    const known = snapshots.get(text) ?? { ...name, files: [] };
    known.files.push(file);
    snapshots.set(text, known);
  }
  return [...snapshots.values()].sort(compareNames);
}

export const nameText = ({ date, version }: SnapshotName): string => `${date}/${version}`;

/** null: nothing is pinned. */
export const nameOfText = (text: string | undefined): SnapshotName | null => {
  const match = /^(\d{4}-\d\d-\d\d)\/(\d+)$/.exec(text ?? '');
  return match?.[1] === undefined ? null : { date: match[1], version: Number(match[2]) };
};
