// Which files of a feed belong to which snapshot of a table. Pure.

import type { LakeFile } from './log-entry.ts';
import type { SnapshotName } from './snapshot.ts';

/** The values of files that belong to a snapshot, as its folders have them. */
export const snapshotValues = ({ date, version }: SnapshotName): Readonly<Record<string, string>> => ({
  snapshot_date: date,
  snapshot_version: String(version),
});

export const isOf = ({ kind, values }: LakeFile, name: SnapshotName): boolean =>
  kind !== 'dead_letters' && values['snapshot_date'] === name.date && values['snapshot_version'] === String(name.version);

/** The files of a snapshot that is open; null: there are none (yet). */
export const publishedFiles = <T extends LakeFile>(
  files: Iterable<T>,
  name: SnapshotName | null,
): { readonly data: T; readonly state: T } | null => {
  const mine = name === null ? [] : [...files].filter((file) => isOf(file, name));
  const [data, state] = [mine.find(({ kind }) => kind === 'data'), mine.find(({ kind }) => kind === 'state')];
  return data && state ? { data, state } : null;
};
