// Facts for the plans of retention and compaction: files of a stream's days, snapshots of a table.

import type { SealedSnapshot } from '../../src/model/entry-seal.ts';
import type { EntrySnapshot } from '../../src/model/entry-snapshot.ts';
import type { LiveFile } from '../../src/model/feed-state.ts';
import { batchIdOf, streamFilePath } from '../../src/model/paths.ts';

let count = 0;
/** `day`: YYYY-MM-DD. The batch id in its name says when it was added. */
export function dayFile(day: string, more: Partial<LiveFile> & { readonly addedAtMs?: number } = {}): LiveFile {
  const { addedAtMs = Date.UTC(2025, 0, 1), ...given } = more;
  const [year = '', month = '', dayOfMonth = ''] = day.split('-');
  count += 1;
  const batch = batchIdOf({ ms: addedAtMs, count, random: new Uint8Array(6) });
  const path = streamFilePath('events', { year, month, day: dayOfMonth }, batch, 0);
  return {
    kind: 'data',
    staged: `staged/${path}`,
    path: given.kind === 'dead_letters' ? path.replace('streams', 'dead_letters') : path,
    rows: 10,
    bytes: 1_000,
    sha256: '',
    values: { year, month, day: dayOfMonth },
    eventTimeMin: `${day}T00:00:00.000000Z`,
    eventTimeMax: `${day}T23:00:00.000000Z`,
    version: 1,
    ...given,
  };
}

export const byPath = (files: readonly LiveFile[]): ReadonlyMap<string, LiveFile> =>
  new Map(files.map((file) => [file.path, file]));

/** `2025-01-28/2`; its data file is at `file <name>`. */
export function sealed(name: string, more: Partial<SealedSnapshot> = {}): SealedSnapshot {
  const [date = '', version = ''] = name.split('/');
  return {
    ...{ date, version: Number(version), boundaryMs: 0, cut: 'at_cut', rows: 5, checksum: '0', forgets: null },
    ...{ positions: new Map(), opens: { date, version: Number(version) + 1, endsAtMs: 1 }, missed: [] },
    ...{ path: `file ${name}`, entryVersion: 1 },
    ...more,
  };
}

export function open(name: string): EntrySnapshot {
  const [date = '', version = ''] = name.split('/');
  return { date, version: Number(version), endsAtMs: 0, rows: 5, caughtUpAt: null };
}

export const sealedFile = (name: string): LiveFile => {
  const [date = '', version = ''] = name.split('/');
  return { ...dayFile('2025-01-01'), path: `file ${name}`, rows: 5, values: { snapshot_date: date, snapshot_version: version } };
};
