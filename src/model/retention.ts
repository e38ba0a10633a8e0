// What retention takes away of a feed (DESIGN §7): days of a stream beyond retention_days, snapshots of a table beyond the newest
// retention_versions. Pure; the same plan is shown by a dry run and performed by a real one.
// Invariant: nothing that is open, nothing of a feed without auto_delete, and nothing at all by a clock that cannot be right.

import { adoptedSnapshots } from './adopted.ts';
import type { Feed } from './feed.ts';
import type { FeedState, LiveFile } from './feed-state.ts';
import type { LakeFile } from './log-entry.ts';
import { compareNames, dayStartMs, daysBefore, periodOf, type SnapshotName } from './snapshot.ts';

export type RetentionAction = {
  readonly feed: string;
  readonly target: 'lake' | 'warehouse';
  readonly kind: 'day' | 'snapshot' | 'rows' | 'dead_letters';
  /** The day, the snapshot, or `before <day>`. */
  readonly what: string;
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
  readonly reason: string;
  /** Of the files in the lake. */
  readonly paths: readonly string[];
  /** Of a snapshot. */
  readonly snapshot: SnapshotName | null;
};

/** The first day that is kept, and the instant at which it begins. */
export type Expiry = { readonly date: string; readonly ms: number };

export type RetentionFacts = {
  readonly feed: Pick<Feed, 'name' | 'type' | 'retention'>;
  readonly nowMs: number;
  readonly timezone: string;
  readonly lake: Pick<FeedState, 'files' | 'sealed' | 'snapshot'>;
  /** When the newest entry of the feed's log was made; null: there is none. */
  readonly newestEntryAtMs: number | null;
  /** null: the feed has none, or it is out of reach. */
  readonly warehouse: WarehouseHoldings | null;
};

export type WarehouseHoldings = {
  readonly snapshots: readonly (SnapshotName & { readonly state: string; readonly rows: number })[];
  /** Of a stream with a limit in days, in rows before its first day that is kept. */
  readonly expired: {
    readonly rows: number;
    /** Whether there is a row of a day that is kept, and not of the future. */
    readonly keepsSome: boolean;
    readonly lettersClosed: number;
    readonly lettersOpen: number;
  } | null;
};

export type RetentionPlan =
  | {
      readonly kind: 'plan';
      readonly actions: readonly RetentionAction[];
      /** Due, and not deleted, with the reason. */
      readonly kept: readonly RetentionAction[];
    }
  | { readonly kind: 'refused'; readonly message: string };

/** Clocks of two hosts differ, and entries are made while this one looks. */
const CLOCK_MS_MAX = 5 * 60_000;
const DAY_MS = 86_400_000;

/** null: the feed has no limit in days, or it lies before the year 1. */
export function expiryOf({ feed, nowMs, timezone }: Pick<RetentionFacts, 'feed' | 'nowMs' | 'timezone'>): Expiry | null {
  const { days } = feed.retention;
  if (feed.type !== 'stream' || days === null) return null;
  const date = daysBefore(dateIn(nowMs, timezone), days);
  return date === null ? null : { date, ms: dayStartMs(date, timezone) };
}

const dateIn = (ms: number, timezone: string): string => periodOf(ms, { every: { kind: 'day' }, timezone }).date;

export function planRetention(facts: RetentionFacts): RetentionPlan {
  const { feed, nowMs, newestEntryAtMs } = facts;
  const expiry = expiryOf(facts);
  const due = [...(feed.type === 'stream' ? dueDays(facts, expiry) : dueSnapshots(facts))];
  const actions = due.filter(({ kept }) => kept === null).map(({ action }) => action);
  const kept = due.flatMap(({ kept: reason, action }) => (reason === null ? [] : [{ ...action, reason }]));
  if (actions.length === 0) return { kind: 'plan', actions, kept };
  if (newestEntryAtMs !== null && nowMs < newestEntryAtMs - CLOCK_MS_MAX) {
    const [clock, newest] = [nowMs, newestEntryAtMs].map((ms) => new Date(ms).toISOString());
    return refused(`the clock shows ${clock}, before the newest entry of the log (${newest})`);
  }
  const all = expiry && wouldTakeAll(facts, expiry);
  return all ? refused(`${all}: all of it would go`) : { kind: 'plan', actions, kept };
}

const refused = (message: string): RetentionPlan => ({ kind: 'refused', message });

type Due = { readonly action: RetentionAction; readonly kept: string | null };

const NOTHING = { rows: 0, files: 0, bytes: 0, paths: [], snapshot: null };
const NO_AUTO_DELETE = 'auto_delete is off';
const OPEN_LETTERS = 'dead letters that are not closed are never deleted';

function* dueDays({ feed, lake, warehouse }: RetentionFacts, expiry: Expiry | null): Iterable<Due> {
  if (expiry === null) return;
  const reason = `older than ${feed.retention.days} days: before ${expiry.date}`;
  const off = feed.retention.autoDelete ? null : NO_AUTO_DELETE;
  const old = [...lake.files.values()].filter((file) => dateOf(file) !== null && (dateOf(file) ?? '') < expiry.date);
  for (const kind of ['data', 'dead_letters'] as const) {
    const days = Map.groupBy(
      old.filter((file) => file.kind === kind),
      (file) => dateOf(file) ?? '',
    );
    for (const [what, files] of [...days].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const of = { feed: feed.name, target: 'lake', what, reason, snapshot: null, ...sumOf(files) } as const;
      if (kind === 'data') yield { action: { ...of, kind: 'day' }, kept: off };
      // Closing a letter takes it out of its file: what is left is open.
      else yield { action: { ...of, kind }, kept: off ?? OPEN_LETTERS };
    }
  }
  const { rows = 0, lettersClosed = 0, lettersOpen = 0 } = warehouse?.expired ?? {};
  const of = { ...NOTHING, feed: feed.name, target: 'warehouse', what: `before ${expiry.date}`, reason } as const;
  if (rows > 0) yield { action: { ...of, kind: 'rows', rows }, kept: off };
  if (lettersClosed > 0) yield { action: { ...of, kind: 'dead_letters', rows: lettersClosed }, kept: off };
  if (lettersOpen > 0) yield { action: { ...of, kind: 'dead_letters', rows: lettersOpen }, kept: off ?? OPEN_LETTERS };
}

/** The day of a stream's file; null: it is of a snapshot. */
export function dateOf({ values }: Pick<LakeFile, 'values'>): string | null {
  const { year, month, day } = values;
  return year === undefined ? null : `${year}-${month}-${day}`;
}

const sumOf = (files: readonly LiveFile[]) => ({
  rows: files.reduce((sum, { rows }) => sum + rows, 0),
  files: files.length,
  bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  paths: files.map(({ path }) => path).sort(),
});

/** What would go is all there is, but for what claims to be of the future; or null. */
function wouldTakeAll({ feed, nowMs, timezone, lake, warehouse }: RetentionFacts, { date }: Expiry): string | null {
  const tomorrow = dateIn(nowMs + DAY_MS, timezone);
  const dates = [...lake.files.values()].flatMap((file) => (file.kind === 'data' ? (dateOf(file) ?? []) : []));
  const newest = dates.filter((one) => one <= tomorrow).reduce((most, one) => (one > most ? one : most), '');
  const limit = `the limit of ${feed.retention.days} days`;
  if (newest !== '' && newest < date) return `the newest data in the lake is of ${newest}, beyond ${limit} (${date})`;
  const expired = warehouse?.expired;
  return expired && expired.rows > 0 && !expired.keepsSome ? `no row in the warehouse is within ${limit} (${date})` : null;
}

/** By name, alike in both: a target that is behind does not keep others than the one that is ahead. */
function* dueSnapshots({ feed, lake, warehouse }: RetentionFacts): Iterable<Due> {
  const { versions, autoDelete } = feed.retention;
  const inWarehouse = warehouse?.snapshots ?? [];
  for (const { date, version, rows } of inWarehouse.filter(({ state }) => state === 'expiring')) {
    const action = snapshotAction(feed.name, 'warehouse', { date, version }, 'begun by an earlier run');
    yield { action: { ...action, rows }, kept: null };
  }
  if (versions === null) return;
  const standing = inWarehouse.filter(({ state }) => state === 'open' || state === 'sealed');
  const adopted = adoptedSnapshots(lake.files.values());
  const names = [...lake.sealed, ...adopted, ...(lake.snapshot ? [lake.snapshot] : []), ...standing].sort((a, b) =>
    compareNames(b, a),
  );
  const distinct = names.filter((name, index) => {
    const before = names[index - 1];
    return before === undefined || compareNames(before, name) !== 0;
  });
  const oldestKept = distinct[versions - 1];
  if (oldestKept === undefined) return;
  const isDue = (name: SnapshotName): boolean => compareNames(name, oldestKept) < 0;
  const reason = versions === 1 ? 'not the newest snapshot' : `not among the newest ${versions} snapshots`;
  const kept = autoDelete ? null : NO_AUTO_DELETE;
  for (const { date, version, path } of lake.sealed.filter(isDue)) {
    const action = snapshotAction(feed.name, 'lake', { date, version }, reason);
    const file = path === null ? undefined : lake.files.get(path);
    // Without a file there is nothing to delete: the log forgets it with the next one that has one.
    if (file) yield { action: { ...action, ...sumOf([file]) }, kept };
  }
  for (const { date, version, files } of adopted.filter(isDue))
    yield { action: { ...snapshotAction(feed.name, 'lake', { date, version }, reason), ...sumOf(files) }, kept };
  for (const { date, version, rows } of standing.filter(({ state }) => state === 'sealed').filter(isDue))
    yield { action: { ...snapshotAction(feed.name, 'warehouse', { date, version }, reason), rows }, kept };
}

function snapshotAction(feed: string, target: 'lake' | 'warehouse', name: SnapshotName, reason: string): RetentionAction {
  return { ...NOTHING, feed, target, kind: 'snapshot', what: `${name.date}/${name.version}`, reason, snapshot: name };
}
