// How far a target is behind a partition, and how long Kafka will keep what it has not read yet (DESIGN §7). Pure.
// Invariant: `lag` counts offsets and is 0 exactly when the position is at the last stable offset; where it is 0, so is lagSeconds.

import { later, type Offset } from './offsets.ts';

/** `end` is the last stable offset; `high` counts messages of open transactions as well. */
export type LagBounds = { readonly low: Offset; readonly end: Offset; readonly high: Offset };

/** A target's position: `away` when it cannot be asked, `none` when it never committed this partition. */
export type LagPosition = Offset | 'away' | 'none';

/** Timestamp of the first message that is not read yet; `none`: only markers, aborted messages and holes; null: not known. */
export type OldestUnread = number | 'none' | null;

export type LagFacts = {
  readonly position: LagPosition;
  readonly bounds: LagBounds;
  readonly oldestMs: OldestUnread;
  /** Topic retention by age; null: without limit, or not known. */
  readonly retentionMs: number | null;
  readonly nowMs: number;
};

export type LagStanding =
  | 'caught_up'
  | 'behind'
  /** Nothing was committed yet: counted from the low watermark. */
  | 'not_started'
  /** Kafka has deleted what comes next. */
  | 'expired'
  /** Kafka ends before the position: messages that were committed are gone from it, or it is another topic. */
  | 'beyond_end'
  | 'away';

export type Lag = {
  readonly standing: LagStanding;
  readonly position: Offset | null;
  /** null: not known. */
  readonly lag: bigint | null;
  readonly lagSeconds: number | null;
  /** Until topic retention may delete the oldest unread message; null: never, or nothing is unread, or not known. */
  readonly secondsToLoss: number | null;
};

/** [from, end) holds the first unread message; null: nothing is to be read. */
export function unreadOf(position: LagPosition, { low, end }: LagBounds): { readonly from: Offset; readonly end: Offset } | null {
  if (position === 'away') return null;
  const from = position === 'none' ? low : later(position, low);
  return from < end ? { from, end } : null;
}

export function lagOf({ position, bounds, oldestMs, retentionMs, nowMs }: LagFacts): Lag {
  if (position === 'away') return { standing: 'away', position: null, lag: null, lagSeconds: null, secondsToLoss: null };
  const from = position === 'none' ? bounds.low : position;
  const lag = from < bounds.end ? bounds.end - from : 0n;
  const standing = standingOf(position, bounds);
  const shown = { standing, position: position === 'none' ? null : position, lag };
  if (lag === 0n) return { ...shown, lagSeconds: 0, secondsToLoss: null };
  const isAged = typeof oldestMs === 'number' && oldestMs >= 0;
  const lagSeconds = oldestMs === 'none' ? 0 : isAged ? seconds(nowMs - oldestMs) : null;
  const leftSeconds = isAged && retentionMs !== null ? seconds(oldestMs + retentionMs - nowMs) : null;
  return { ...shown, lagSeconds, secondsToLoss: standing === 'expired' ? 0 : leftSeconds };
}

function standingOf(position: Offset | 'none', { low, end }: LagBounds): LagStanding {
  if (position === 'none') return 'not_started';
  if (position < low) return 'expired';
  if (position > end) return 'beyond_end';
  return position === end ? 'caught_up' : 'behind';
}

const seconds = (ms: number): number => Math.max(0, Math.round(ms) / 1000);

export type FeedStandingFacts = {
  readonly positions: ReadonlyMap<number, Offset> | 'away';
  /** null: Kafka cannot be asked. */
  readonly bounds: ReadonlyMap<number, LagBounds> | null;
  /** Why the feed was stopped, until `feeds enable`. */
  readonly stopped: string | null;
};

/** `ready`: all that is stable is in. `unknown`: Kafka cannot be asked. `away`: the target cannot. */
export type FeedStanding = {
  readonly state: 'ready' | 'behind' | 'stopped' | 'never_started' | 'unknown' | 'away';
  /** Over all partitions; null: not known. */
  readonly lag: bigint | null;
  /** Why it is stopped, or why it will not go on. */
  readonly reason: string | null;
};

/** A feed and target as a whole. */
export function feedStanding({ positions, bounds, stopped }: FeedStandingFacts): FeedStanding {
  if (positions === 'away') return { state: 'away', lag: null, reason: stopped };
  const nothing = { oldestMs: null, retentionMs: null, nowMs: 0 };
  const partitions =
    bounds && [...bounds].map(([id, at]) => lagOf({ ...nothing, position: positions.get(id) ?? 'none', bounds: at }));
  const lag = partitions?.reduce((sum, one) => sum + (one.lag ?? 0n), 0n) ?? null;
  const is = (standing: LagStanding): boolean => partitions?.some((one) => one.standing === standing) ?? false;
  if (stopped !== null) return { state: 'stopped', lag, reason: stopped };
  if (positions.size === 0) return { state: 'never_started', lag, reason: null };
  if (lag === null) return { state: 'unknown', lag, reason: null };
  if (is('expired')) return { state: 'behind', lag, reason: 'Kafka has deleted messages that were not read yet' };
  if (is('beyond_end')) return { state: 'behind', lag, reason: 'Kafka ends before what was committed' };
  return { state: lag === 0n ? 'ready' : 'behind', lag, reason: null };
}
