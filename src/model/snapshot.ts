// Which period an instant lies in, and what the snapshot of that period is called (DESIGN §5).
// Invariant: the periods of a rule tile time without gap or overlap, and later periods have greater names.
import { assert } from '../errors.ts';
import { zoneOffsetMicros } from './convert-time.ts';

/** `date` is YYYY-MM-DD; versions count from 1. */
export type SnapshotName = { readonly date: string; readonly version: number };
/** A snapshot that still takes in rows; its period is over at `endsAtMs`. */
export type OpenSnapshot = SnapshotName & { readonly endsAtMs: number };
export type Period = OpenSnapshot & { readonly startsAtMs: number };
/** Snapshots of one day that there is nothing for, both ends included. Runs, because a week of minutes has ten thousand names. */
export type MissedSnapshots = { readonly date: string; readonly versionFirst: number; readonly versionLast: number };

export type SnapshotEvery = { readonly kind: 'day' } | { readonly kind: 'minutes'; readonly minutes: number };
export type SnapshotRule = { readonly every: SnapshotEvery; readonly timezone: string };

const MINUTES_MAX = 1440;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** No zone is, or ever was, further from UTC. */
const OFFSET_MS_MAX = 16 * HOUR_MS;
/** Clocks of one zone are not changed twice within this time. */
const PROBE_MS = 4 * HOUR_MS;

/** `day`, `hour`, or minutes from `1m` to `1440m`; null: another text. */
export function parseSnapshotEvery(text: string): SnapshotEvery | null {
  if (text === 'day') return { kind: 'day' };
  if (text === 'hour') return { kind: 'minutes', minutes: 60 };
  const minutes = Number(/^([1-9]\d{0,3})m$/.exec(text)?.[1] ?? 0);
  return minutes >= 1 && minutes <= MINUTES_MAX ? { kind: 'minutes', minutes } : null;
}

/** Lengths are elapsed time from the day's first instant, so a night of 25 hours has 25 hourly periods. A day ends where the next one
 *  begins: its last period is shorter when the length does not divide it. `every: day` is one period, however long the day is. */
export function periodOf(instantMs: number, { every, timezone }: SnapshotRule): Period {
  const day = dayAt(instantMs, timezone);
  const lengthMs = every.kind === 'day' ? day.endsAtMs - day.startsAtMs : every.minutes * 60_000;
  const before = Math.floor((instantMs - day.startsAtMs) / lengthMs);
  const startsAtMs = day.startsAtMs + before * lengthMs;
  return { date: day.date, version: before + 1, startsAtMs, endsAtMs: Math.min(startsAtMs + lengthMs, day.endsAtMs) };
}

/** Negative, 0, positive: `a` is older than, the same as, newer than `b`. */
export function compareNames(a: SnapshotName, b: SnapshotName): number {
  if (a.date !== b.date) return a.date < b.date ? -1 : 1;
  return a.version - b.version;
}

/** Names only grow: after a change of zone or length the wanted one may be taken or passed, and the next number follows instead. */
export function nextName(newest: SnapshotName | null, wanted: SnapshotName): SnapshotName {
  const isNewer = newest === null || compareNames(wanted, newest) > 0;
  return isNewer ? { date: wanted.date, version: wanted.version } : { date: newest.date, version: newest.version + 1 };
}

/** The periods in [fromMs, toMs), which must begin and end with one, as far as their names lie between two snapshots' names. */
export function missedBetween(
  span: { readonly fromMs: number; readonly toMs: number; readonly after: SnapshotName; readonly before: SnapshotName },
  rule: SnapshotRule,
): readonly MissedSnapshots[] {
  const runs: MissedSnapshots[] = [];
  let cursorMs = span.fromMs;
  while (cursorMs < span.toMs) {
    const day = dayAt(cursorMs, rule.timezone);
    const first = periodOf(cursorMs, rule);
    const last = periodOf(Math.min(span.toMs, day.endsAtMs) - 1, rule);
    const versionFirst = Math.max(first.version, day.date === span.after.date ? span.after.version + 1 : 1);
    const versionLast = Math.min(last.version, day.date === span.before.date ? span.before.version - 1 : last.version);
    const isInside = day.date >= span.after.date && day.date <= span.before.date;
    if (isInside && versionFirst <= versionLast) runs.push({ date: day.date, versionFirst, versionLast });
    cursorMs = day.endsAtMs;
  }
  return runs;
}

type Day = { readonly date: string; readonly startsAtMs: number; readonly endsAtMs: number };

/** The day of an instant is the latest date that clocks have shown until then: where they are put back over midnight the new day has
 *  already begun, and a date that a zone leaves out has no instant. */
function dayAt(instantMs: number, timezone: string): Day {
  assert(Number.isSafeInteger(instantMs), `instant ${instantMs}`);
  const shown = Math.floor((instantMs + offsetMs(timezone, instantMs)) / DAY_MS);
  const next = firstInstant(shown + 1, timezone);
  if (next > instantMs) return { date: dateText(shown), startsAtMs: firstInstant(shown, timezone), endsAtMs: next };
  return { date: dateText(shown + 1), startsAtMs: next, endsAtMs: firstInstant(shown + 2, timezone) };
}

/** The first instant of a day, `YYYY-MM-DD`. */
export const dayStartMs = (date: string, timezone: string): number => firstInstant(dayNumber(date), timezone);

/** The date so many days before another, or null: it lies before the year 1. */
export function daysBefore(date: string, days: number): string | null {
  const day = dayNumber(date) - days;
  return day < FIRST_DAY ? null : dateText(day);
}

const FIRST_DAY = Date.parse('0001-01-01T00:00:00Z') / DAY_MS;
const dayNumber = (date: string): number => Date.parse(`${date}T00:00:00Z`) / DAY_MS;

/** The first instant at which clocks show this day (as a number since 1970-01-01) or a later one. */
function firstInstant(day: number, timezone: string): number {
  const midnightMs = day * DAY_MS;
  let startMs = midnightMs - OFFSET_MS_MAX;
  for (const endMs of [...changesWithin(startMs, midnightMs + OFFSET_MS_MAX, timezone), midnightMs + OFFSET_MS_MAX]) {
    const reachedMs = Math.max(startMs, midnightMs - offsetMs(timezone, startMs));
    if (reachedMs < endMs) return reachedMs;
    startMs = endMs;
  }
  return startMs;
}

/** Instants, in order, from which on clocks in `timezone` are another time away from UTC than before. */
function changesWithin(fromMs: number, toMs: number, timezone: string): number[] {
  const changes: number[] = [];
  for (let probeMs = fromMs; probeMs < toMs; probeMs += PROBE_MS) {
    const offset = offsetMs(timezone, probeMs);
    let [before, after] = [probeMs, probeMs + PROBE_MS];
    if (offsetMs(timezone, after) === offset) continue;
    // Clocks are changed at whole seconds, and both ends are whole seconds.
    while (after - before > 1000) {
      const middle = before + Math.floor((after - before) / 2000) * 1000;
      if (offsetMs(timezone, middle) === offset) before = middle;
      else after = middle;
    }
    changes.push(after);
  }
  return changes;
}

const offsetMs = (timezone: string, instantMs: number): number =>
  Number(zoneOffsetMicros(timezone, BigInt(instantMs) * 1000n) / 1000n);

function dateText(day: number): string {
  const text = new Date(day * DAY_MS).toISOString().slice(0, 10);
  assert(/^\d{4}-/.test(text) && !text.startsWith('0000'), `day ${day} lies outside the years 1 to 9999`);
  return text;
}
