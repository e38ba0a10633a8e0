// Instants and days from their text. Invariant: a result is the moment the text names, to the microsecond, in years 1–9999.

export const MICROS_MIN = -62_135_596_800_000_000n; // 0001-01-01T00:00:00Z
export const MICROS_MAX = 253_402_300_799_999_999n; // 9999-12-31T23:59:59.999999Z

/** A wall clock reading; `fraction` are the digits behind the second, `offsetMinutes` null when the text names no zone. */
export type ClockReading = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly fraction: string;
  readonly offsetMinutes: number | null;
};

const ISO =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?(?: ?([Zz]|[-+][0-9]{2}(?::?[0-9]{2})?))?)?$/;
const OFFSET = /^([-+])([0-9]{2}):?([0-9]{2})?$/;

/** ISO 8601: a date, or a date and a time to the minute or second, with or without an offset. null: another shape. */
export function parseIso(text: string): ClockReading | null {
  const match = ISO.exec(text);
  if (!match) return null;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone] = match;
  const offsetMinutes = zone === undefined ? null : parseOffset(zone);
  if (offsetMinutes === undefined) return null;
  return {
    year: Number(year),
    month: Number(month),
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    fraction,
    offsetMinutes,
  };
}

/** Minutes east of UTC; undefined when it is none (beyond 18 hours there is no zone). */
export function parseOffset(text: string): number | undefined {
  if (text === 'Z' || text === 'z') return 0;
  const match = OFFSET.exec(text);
  if (!match) return undefined;
  const hours = Number(match[2]);
  const minutes = Number(match[3] ?? 0);
  if (minutes > 59 || hours * 60 + minutes > 18 * 60) return undefined;
  return (match[1] === '-' ? -1 : 1) * (hours * 60 + minutes);
}

/** What is wrong with a reading as a date and time of day; null: nothing. */
export function clockProblem(reading: ClockReading): string | null {
  const { year, month, day, hour, minute, second } = reading;
  if (year < 1) return 'lies before year 1';
  if (month < 1 || month > 12) return `has month ${month}`;
  if (day < 1 || day > daysInMonth(year, month)) return `has day ${day}, and that month has ${daysInMonth(year, month)}`;
  if (hour > 23) return `has hour ${hour}`;
  if (minute > 59) return `has minute ${minute}`;
  if (second === 60) return 'is a leap second, which no column holds';
  if (second > 59) return `has second ${second}`;
  return null;
}

/** Days since 1970-01-01 of a date that clockProblem has accepted. */
export function dayNumber(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

/** Microseconds since 1970 as if the reading were in UTC; fraction digits beyond six are not looked at. */
export function microsAsUtc(reading: ClockReading): bigint {
  const days = dayNumber(reading.year, reading.month, reading.day);
  const seconds = days * 86_400 + reading.hour * 3600 + reading.minute * 60 + reading.second;
  return BigInt(seconds) * 1_000_000n + BigInt(reading.fraction.slice(0, 6).padEnd(6, '0'));
}

export type LocalMoment = { readonly kind: 'one'; readonly micros: bigint } | { readonly kind: 'gap' | 'overlap' };

/** The instant at which clocks in `zone` show a reading. Around a change of the clocks there may be none or two. */
export function localMoment(reading: ClockReading, zone: string): LocalMoment {
  const local = microsAsUtc(reading);
  const day = 86_400_000_000n;
  const found = new Set<bigint>();
  for (const near of [local - day, local + day]) {
    const offset = zoneOffsetMicros(zone, near);
    if (zoneOffsetMicros(zone, local - offset) === offset) found.add(local - offset);
  }
  const [first, second] = found;
  if (first === undefined) return { kind: 'gap' };
  return second === undefined ? { kind: 'one', micros: first } : { kind: 'overlap' };
}

export function isZone(zone: string): boolean {
  try {
    formatOf(zone);
    return true;
  } catch {
    return false;
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Making one costs more than a thousand uses; there are as many as zones in the configuration. */
function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-US-u-ca-gregory', {
    timeZone: zone,
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
    hourCycle: 'h23',
  });
  formats.set(zone, made);
  return made;
}

/** How far clocks in `zone` are ahead of UTC at an instant, to the second. */
export function zoneOffsetMicros(zone: string, micros: bigint): bigint {
  const second = (micros - (((micros % 1_000_000n) + 1_000_000n) % 1_000_000n)) / 1_000_000n;
  const parts = new Map(
    formatOf(zone)
      .formatToParts(Number(second) * 1000)
      .map((part) => [part.type, part.value]),
  );
  const number = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type) ?? 0);
  const year = parts.get('era')?.startsWith('B') ? 1 - number('year') : number('year');
  const days = dayNumber(year, number('month'), number('day'));
  const shown = days * 86_400 + number('hour') * 3600 + number('minute') * 60 + number('second');
  return (BigInt(shown) - second) * 1_000_000n;
}

function daysInMonth(year: number, month: number): number {
  if (month !== 2) return [4, 6, 9, 11].includes(month) ? 30 : 31;
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
}
