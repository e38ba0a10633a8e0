// What `lake adopt` takes into the log (DESIGN §7): Parquet files that lie in a feed's folders and are nobody's, and snapshots of fact rows
// that were there before lake. Pure; a dry run shows the plan that a real one performs.
// Invariant: nothing is moved or rewritten; what is not certain to be read as it is stays as it was, with the reason.

import { adoptedSnapshots, nameOfText, nameText, oldestOwn, SNAPSHOT_AFTER } from './adopted.ts';
import type { Feed } from './feed.ts';
import type { FeedState } from './feed-state.ts';
import type { LakeFile } from './log-entry.ts';
import { streamFolder, tableFolder } from './paths.ts';
import { compareNames, type SnapshotName } from './snapshot.ts';

export type AdoptionFacts = {
  readonly feed: Pick<Feed, 'name' | 'type'>;
  readonly lake: Pick<FeedState, 'files' | 'sealed' | 'snapshot' | 'config'>;
  /** Parquet files in the feed's folders that no entry names. */
  readonly files: readonly FoundFile[];
  /** Of a table in a server; null: there is nothing. */
  readonly warehouse: {
    /** Rows that lake did not write, by snapshot. */
    readonly held: readonly (SnapshotName & { readonly rows: number })[];
    /** Names in lake_snapshots that were adopted before. */
    readonly adopted: ReadonlySet<string>;
    /** The oldest snapshot that lake made itself. */
    readonly oldest: SnapshotName | null;
  } | null;
};

/** `problem`: why it cannot be read as the feed is; then the rest says nothing. */
export type FoundFile = Pick<LakeFile, 'path' | 'bytes' | 'rows' | 'eventTimeMin' | 'eventTimeMax'> & {
  readonly problem: string | null;
};

export type Adoption = {
  readonly files: readonly Omit<LakeFile, 'sha256'>[];
  readonly snapshots: readonly (SnapshotName & { readonly rows: number })[];
  /** To pin: what the first snapshot of lake's own comes after; null: nothing to change. */
  readonly after: SnapshotName | null;
  readonly refused: readonly { readonly target: 'lake' | 'warehouse'; readonly what: string; readonly reason: string }[];
};

export function planAdoption(facts: AdoptionFacts): Adoption {
  const { feed, lake, warehouse } = facts;
  const [files, refused]: [Omit<LakeFile, 'sha256'>[], Adoption['refused'][number][]] = [[], []];
  const oldest = oldestOwn(lake);
  const names: SnapshotName[] = [];
  for (const { problem, ...file } of facts.files) {
    const place = placeOf(feed, file.path);
    if (place?.name) names.push(place.name);
    const reason = place === null ? misplaced(feed) : (problem ?? (place.name && tooNew(place.name, oldest)));
    if (place === null || reason !== null) refused.push({ target: 'lake', what: file.path, reason: reason ?? '' });
    else files.push({ ...file, kind: 'data', staged: file.path, values: place.values });
  }
  const snapshots: (SnapshotName & { readonly rows: number })[] = [];
  for (const held of warehouse?.held ?? []) {
    names.push(held);
    if (warehouse === null || warehouse.adopted.has(nameText(held))) continue;
    const reason = tooNew(held, warehouse.oldest);
    if (reason === null) snapshots.push(held);
    else refused.push({ target: 'warehouse', what: nameText(held), reason });
  }
  // A target that has no snapshot of its own yet opens its first one behind all that are there.
  const begins = oldest === null || (warehouse !== null && warehouse.oldest === null);
  const newest = begins ? newestOf([...names, ...adoptedSnapshots(lake.files.values())]) : null;
  const pinned = nameOfText(lake.config.values[SNAPSHOT_AFTER]);
  const isNews = newest !== null && (pinned === null || compareNames(newest, pinned) > 0);
  return { files, snapshots, after: isNews ? { date: newest.date, version: newest.version } : null, refused };
}

const newestOf = (names: readonly SnapshotName[]): SnapshotName | null => [...names].sort(compareNames).at(-1) ?? null;

const tooNew = (name: SnapshotName, oldest: SnapshotName | null): string | null =>
  oldest === null || compareNames(name, oldest) < 0
    ? null
    : `snapshot ${nameText(name)} is not older than ${nameText(oldest)}, the first one of lake: take what was there out, or drop the rows`;

const misplaced = ({ type }: Pick<Feed, 'type'>): string =>
  type === 'stream' ? 'does not lie under year=…/month=…/day=…' : 'does not lie under snapshot_date=…/snapshot_version=…';

type Place = { readonly values: LakeFile['values']; readonly name: SnapshotName | null };

/** By its folders; null: they are none of the feed's. */
function placeOf({ name: feed, type }: AdoptionFacts['feed'], path: string): Place | null {
  if (type === 'stream') {
    const inside = path.slice(streamFolder(feed).length + 1);
    const match = /^year=(\d{4})\/month=(\d{1,2})\/day=(\d{1,2})\/[^/]+$/.exec(inside);
    if (!match) return null;
    const [, year = '', month = '', day = ''] = match;
    const values = { year, month: month.padStart(2, '0'), day: day.padStart(2, '0') };
    return isDate(`${values.year}-${values.month}-${values.day}`) ? { values, name: null } : null;
  }
  const inside = path.slice(tableFolder(feed).length + 1);
  const match = /^snapshot_date=(\d{4}-\d\d-\d\d)\/snapshot_version=([1-9]\d{0,8})\/[^/]+$/.exec(inside);
  const [, date = '', version = ''] = match ?? [];
  if (!match || !isDate(date)) return null;
  return { values: { snapshot_date: date, snapshot_version: version }, name: { date, version: Number(version) } };
}

const isDate = (text: string): boolean => {
  const at = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
};
