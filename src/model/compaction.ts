// Which small files of a stream become a few large ones (DESIGN §7). Pure; a dry run shows the plan that a real run performs.
// Invariant: only days that are over and left alone for a while; a file that is large enough stays as it is.

import type { Feed } from './feed.ts';
import type { LiveFile } from './feed-state.ts';
import { madeAtMs } from './paths.ts';
import { dateOf } from './retention.ts';
import { periodOf } from './snapshot.ts';

/** Files of one day that become one, in the order of their times. */
export type CompactionGroup = {
  readonly feed: string;
  readonly day: string;
  readonly files: readonly LiveFile[];
  readonly rows: number;
  readonly bytes: number;
};

export type CompactionFacts = {
  readonly feed: Pick<Feed, 'name' | 'type'>;
  readonly nowMs: number;
  readonly timezone: string;
  /** A day that got a file within this time is left alone. */
  readonly olderThanMs: number;
  readonly files: Iterable<LiveFile>;
  /** Paths of young files that a compaction made: what it left of a day is gone on with at once. */
  readonly compacted: ReadonlySet<string>;
};

/** Large enough that a reader's time goes into rows and not into files. */
export const COMPACTED_BYTES = 128 * 1024 * 1024;
const SMALL_BYTES = COMPACTED_BYTES / 2;
/** All are open at once, and the entry names each. */
const FILES_MAX = 5_000;

export function planCompaction(facts: CompactionFacts): readonly CompactionGroup[] {
  if (facts.feed.type !== 'stream') return [];
  const days = Map.groupBy(
    [...facts.files].filter(({ kind }) => kind === 'data'),
    (file) => dateOf(file) ?? '',
  );
  return [...days]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .filter(([day, files]) => day !== '' && isDue(facts, day, files))
    .flatMap(([day, files]) => groupsOf(facts.feed.name, day, files));
}

/** Files so young that the day they are in may still be filled. */
export const youngFiles = ({ files, nowMs, olderThanMs }: Pick<CompactionFacts, 'files' | 'nowMs' | 'olderThanMs'>): LiveFile[] =>
  [...files].filter(({ path }) => madeAtMs(path) > nowMs - olderThanMs);

function isDue(facts: CompactionFacts, day: string, files: readonly LiveFile[]): boolean {
  const { nowMs, timezone, compacted } = facts;
  const isOver = day < periodOf(nowMs, { every: { kind: 'day' }, timezone }).date;
  const isQuiet = youngFiles({ ...facts, files }).every(({ path }) => compacted.has(path));
  const meanBytes = files.reduce((sum, { bytes }) => sum + bytes, 0) / files.length;
  return isOver && isQuiet && files.length > 1 && meanBytes < SMALL_BYTES;
}

function groupsOf(feed: string, day: string, files: readonly LiveFile[]): CompactionGroup[] {
  const small = files.filter(({ bytes }) => bytes < SMALL_BYTES).sort(byTime);
  const groups: LiveFile[][] = [];
  let bytes = 0;
  for (const file of small) {
    const last = groups.at(-1);
    if (last && bytes + file.bytes <= COMPACTED_BYTES && last.length < FILES_MAX) {
      last.push(file);
      bytes += file.bytes;
    } else {
      groups.push([file]);
      bytes = file.bytes;
    }
  }
  const sum = (of: readonly LiveFile[], name: 'rows' | 'bytes'): number => of.reduce((all, file) => all + file[name], 0);
  return groups
    .filter((of) => of.length > 1)
    .map((of) => ({ feed, day, files: of, rows: sum(of, 'rows'), bytes: sum(of, 'bytes') }));
}

const byTime = (a: LiveFile, b: LiveFile): number => {
  const [left, right] = [a, b].map(({ eventTimeMin, path }) => `${eventTimeMin ?? ''} ${path}`);
  return (left ?? '') < (right ?? '') ? -1 : 1;
};
