// Which fields of a sample are times: numbers since 1970 under a name that says so, and the one that gives a row its day. Pure.

import type { Field, FieldType } from './feed.ts';

const TIME_NAME = /(^|_)(time|timestamp|ts|at|date|datetime|epoch|millis|ms|when)$|(Time|Timestamp|At|Date|Millis)$/;
/** 2000 to 2100: an id in this range under the name of a time is less likely than the time. */
const YEAR_2000_S = 946_684_800;
const YEAR_2100_S = 4_102_444_800;

/** null: it is no number of seconds or milliseconds since 1970, or not called so. */
export function epochFormat(name: string, type: FieldType, texts: readonly string[]): 'epoch_ms' | 'epoch_s' | null {
  if (type.kind !== 'bigint' || texts.length === 0 || !TIME_NAME.test(name)) return null;
  const all = (from: number, to: number): boolean => texts.every((text) => Number(text) >= from && Number(text) < to);
  if (all(YEAR_2000_S * 1000, YEAR_2100_S * 1000)) return 'epoch_ms';
  return all(YEAR_2000_S, YEAR_2100_S) ? 'epoch_s' : null;
}

/** What happened comes before what was written down. */
const PREFERRED = [
  'event_time',
  'event_timestamp',
  'timestamp',
  'occurred_at',
  'event_at',
  'ts',
  'time',
  'date',
  'created_at',
  'updated_at',
];

type Seen = { readonly field: Pick<Field, 'name' | 'type'>; readonly missing: number; readonly nulls: number };

/** A time that every message has, by its name; null: none has. */
export function eventTimeOf(fields: readonly Seen[]): string | null {
  const whole = fields.filter(
    ({ field, missing, nulls }) => missing + nulls === 0 && (field.type?.kind === 'timestamp' || field.type?.kind === 'date'),
  );
  const rank = (name: string): number => {
    const at = PREFERRED.indexOf(name.toLowerCase());
    return at < 0 ? PREFERRED.length : at;
  };
  const [best] = whole.toSorted((a, b) => rank(a.field.name) - rank(b.field.name));
  return best?.field.name ?? null;
}
