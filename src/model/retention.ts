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
  /** Before the first day that is kept, of a feed that has one. */
  readonly expired: {
    /** Of a stream. */
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
      /** What rows and dead letters in the warehouse lie before. */
      readonly expiry: Expiry | null;
    }
  | { readonly kind: 'refused'; readonly message: string };

/** Clocks of two hosts differ, and entries are made while this one looks. */
const CLOCK_MS_MAX = 5 * 60_000;
const DAY_MS = 86_400_000;

/** null: the feed has no limit in days, or it lies before the year 1. Of a table: the day of the oldest snapshot that is kept. */
export function expiryOf(facts: Omit<RetentionFacts, 'newestEntryAtMs' | 'warehouse'> & Snapshots): Expiry | null {
  const { feed, nowMs, timezone } = facts;
  const { days } = feed.retention;
  if (feed.type === 'table') return dayOf(oldestKept(facts)?.date ?? null, timezone);
  return days === null ? null : dayOf(daysBefore(dateIn(nowMs, timezone), days), timezone);
}

type Snapshots = { readonly snapshots: WarehouseHoldings['snapshots'] };

const dayOf = (date: string | null, timezone: string): Expiry | null =>
  date === null ? null : { date, ms: dayStartMs(date, timezone) };

const dateIn = (ms: number, timezone: string): string => periodOf(ms, { every: { kind: 'day' }, timezone }).date;

export function planRetention(facts: RetentionFacts): RetentionPlan {
  const { feed, nowMs, newestEntryAtMs } = facts;
  const snapshots = facts.warehouse?.snapshots ?? [];
  const expiry = expiryOf({ ...facts, snapshots });
  const due = feed.type === 'stream' ? [...dueDays(facts, expiry)] : [...dueSnapshots(facts), ...dueLetters(facts, expiry)];
  const actions = due.filter(({ kept }) => kept === null).map(({ action }) => action);
  const kept = due.flatMap(({ kept: reason, action }) => (reason === null ? [] : [{ ...action, reason }]));
  if (actions.length === 0) return { kind: 'plan', actions, kept, expiry };
  if (newestEntryAtMs !== null && nowMs < newestEntryAtMs - CLOCK_MS_MAX) {
    const [clock, newest] = [nowMs, newestEntryAtMs].map((ms) => new Date(ms).toISOString());
    return refused(`the clock shows ${clock}, before the newest entry of the log (${newest})`);
  }
  const all = expiry && feed.type === 'stream' ? wouldTakeAll(facts, expiry) : null;
  return all ? refused(`${all}: all of it would go`) : { kind: 'plan', actions, kept, expiry };
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
  const rows = warehouse?.expired?.rows ?? 0;
  const of = { ...NOTHING, feed: feed.name, target: 'warehouse', what: `before ${expiry.date}`, reason } as const;
  if (rows > 0) yield { action: { ...of, kind: 'rows', rows }, kept: off };
  yield* dueLetters({ feed, warehouse }, expiry);
}

/** Those in the warehouse, which keeps them when they are closed. */
function* dueLetters({ feed, warehouse }: Pick<RetentionFacts, 'feed' | 'warehouse'>, expiry: Expiry | null): Iterable<Due> {
  if (expiry === null) return;
  const limit = feed.type === 'stream' ? `${feed.retention.days} days` : 'its oldest snapshot that is kept';
  const off = feed.retention.autoDelete ? null : NO_AUTO_DELETE;
  const { lettersClosed = 0, lettersOpen = 0 } = warehouse?.expired ?? {};
  const reason = `older than ${limit}: before ${expiry.date}`;
  const of = { ...NOTHING, feed: feed.name, target: 'warehouse', what: `before ${expiry.date}`, reason } as const;
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

const standingOf = (snapshots: WarehouseHoldings['snapshots']): WarehouseHoldings['snapshots'] =>
  snapshots.filter(({ state }) => state === 'open' || state === 'sealed');

/** Of a table; null: none is too many. */
function oldestKept({ feed, lake, snapshots }: Pick<RetentionFacts, 'feed' | 'lake'> & Snapshots): SnapshotName | null {
  const { versions } = feed.retention;
  if (versions === null) return null;
  const names = [
    ...lake.sealed,
    ...adoptedSnapshots(lake.files.values()),
    ...(lake.snapshot ? [lake.snapshot] : []),
    ...standingOf(snapshots),
  ].sort((a, b) => compareNames(b, a));
  const distinct = names.filter((name, index) => {
    const before = names[index - 1];
    return before === undefined || compareNames(before, name) !== 0;
  });
  return distinct[versions - 1] ?? null;
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
  const standing = standingOf(inWarehouse);
  const adopted = adoptedSnapshots(lake.files.values());
  const oldest = oldestKept({ feed, lake, snapshots: inWarehouse });
  if (oldest === null) return;
  const isDue = (name: SnapshotName): boolean => compareNames(name, oldest) < 0;
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
