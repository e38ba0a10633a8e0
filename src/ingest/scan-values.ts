// Numbers and times from the bytes of their text. Invariant: a result is exactly what model/convert gives for that text; whatever has
// another form than the usual one, or more digits than a double keeps, is NaN, and model/convert decides.

import { dayNumber } from '../model/convert-time.ts';
import { MINUS, NINE, PLUS, POINT, ZERO } from './json-bytes.ts';

type Bytes = Uint8Array;

const [CAPITAL_T, CAPITAL_Z, SPACE, COLON] = [0x54, 0x5a, 0x20, 0x3a];

/** Where a number's digits begin, behind its sign; NaN when it has none, or zeros before them. */
function digitsStart(bytes: Bytes, from: number, to: number): number {
  const at = bytes[from] === MINUS ? from + 1 : from;
  if (at >= to) return Number.NaN;
  return bytes[at] === ZERO && at + 1 < to && bytes[at + 1] !== POINT ? Number.NaN : at;
}

/** A number times ten to the power of `scale`: a whole number that a double keeps. Minus zero is not sure. */
export function scaledNumber(bytes: Bytes, from: number, to: number, scale: number): number {
  const start = digitsStart(bytes, from, to);
  let value = 0;
  let at = start;
  for (; at < to; at++) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (!(at > start)) return Number.NaN;
  let places = scale;
  if (at < to) {
    if (bytes[at] !== POINT || ++at >= to) return Number.NaN;
    for (; at < to; at++) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9 || (places === 0 && digit > 0)) return Number.NaN;
      if (places === 0) continue;
      value = value * 10 + digit;
      places--;
    }
  }
  for (; places > 0; places--) value *= 10;
  return signed(value, bytes[from] === MINUS);
}

/** Once beyond what a double keeps, a value only grows. */
function signed(value: number, isNegative: boolean): number {
  if (!(value <= Number.MAX_SAFE_INTEGER) || (isNegative && value === 0)) return Number.NaN;
  return isNegative ? -value : value;
}

/** Ten to these powers, and no others, a double keeps. */
const POWERS = Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));

/** The nearest double: of two numbers that a double keeps, their quotient is. */
export function doubleOf(bytes: Bytes, from: number, to: number): number {
  const point = bytes.subarray(from, to).indexOf(POINT);
  const fraction = point < 0 ? 0 : to - from - point - 1;
  const power = POWERS[fraction];
  return power === undefined ? Number.NaN : scaledNumber(bytes, from, to, fraction) / power;
}

const LONG_INTEGER_CHARS = 19;

/** A whole number of up to 18 digits; null: not sure. */
export function bigintOf(bytes: Bytes, from: number, to: number): bigint | null {
  const start = digitsStart(bytes, from, to);
  if (Number.isNaN(start) || to - from > LONG_INTEGER_CHARS || to - start >= LONG_INTEGER_CHARS) return null;
  const split = Math.max(start, to - 9);
  const [high, low] = [wholeNumber(bytes, start, split), wholeNumber(bytes, split, to)];
  if (Number.isNaN(high + low) || high + low === 0) return null;
  const value = BigInt(high) * 1_000_000_000n + BigInt(low);
  return bytes[from] === MINUS ? -value : value;
}

function wholeNumber(bytes: Bytes, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < ZERO || byte > NINE) return Number.NaN;
    value = value * 10 + byte - ZERO;
  }
  return value;
}

const twoDigits = (bytes: Bytes, at: number): number => wholeNumber(bytes, at, at + 2);

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAY_CHARS = 10;
const SECOND_CHARS = 19;

/** Days since 1970 of `YYYY-MM-DD`, in the years 1900 to 2199: all others are decided by model/convert. */
export function dayOfText(bytes: Bytes, from: number, to: number): number {
  if (to - from < DAY_CHARS || bytes[from + 4] !== MINUS || bytes[from + 7] !== MINUS) return Number.NaN;
  const year = wholeNumber(bytes, from, from + 4);
  const month = twoDigits(bytes, from + 5);
  const day = twoDigits(bytes, from + 8);
  if (!(year >= 1900 && year < 2200 && month >= 1 && month <= 12 && day >= 1)) return Number.NaN;
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = month === 2 && isLeap ? 29 : (MONTH_DAYS[month - 1] ?? 0);
  return day <= days ? dayNumber(year, month, day) : Number.NaN;
}

/** Microseconds since 1970 of `YYYY-MM-DD[T ]HH:MM:SS`, up to six digits behind a point, and `Z`, an offset, or, with
 *  `isUtcWithout`, nothing behind it. */
export function microsOfText(bytes: Bytes, from: number, to: number, isUtcWithout: boolean): number {
  const day = dayOfText(bytes, from, to);
  const mark = bytes[from + DAY_CHARS];
  if (Number.isNaN(day) || to - from < SECOND_CHARS || (mark !== CAPITAL_T && mark !== SPACE)) return Number.NaN;
  if (bytes[from + 13] !== COLON || bytes[from + 16] !== COLON) return Number.NaN;
  const [hour, minute, second] = [twoDigits(bytes, from + 11), twoDigits(bytes, from + 14), twoDigits(bytes, from + 17)];
  if (!(hour <= 23 && minute <= 59 && second <= 59)) return Number.NaN;
  let at = from + SECOND_CHARS;
  let fraction = 0;
  if (bytes[at] === POINT && at < to) {
    let unit = 100_000;
    for (at++; at < to; at++) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      if (unit < 1) return Number.NaN;
      fraction += digit * unit;
      unit = unit === 1 ? 0 : unit / 10;
    }
    if (unit === 100_000) return Number.NaN;
  }
  const offset = at === to ? (isUtcWithout ? 0 : Number.NaN) : offsetMinutes(bytes, at, to);
  return (day * 86_400 + hour * 3600 + (minute - offset) * 60 + second) * 1_000_000 + fraction;
}

function offsetMinutes(bytes: Bytes, at: number, to: number): number {
  const sign = bytes[at];
  if (sign === CAPITAL_Z) return to === at + 1 ? 0 : Number.NaN;
  if ((sign !== PLUS && sign !== MINUS) || to !== at + 6 || bytes[at + 3] !== COLON) return Number.NaN;
  const [hours, minutes] = [twoDigits(bytes, at + 1), twoDigits(bytes, at + 4)];
  if (!(hours <= 14 && minutes <= 59)) return Number.NaN;
  return (sign === MINUS ? -1 : 1) * (hours * 60 + minutes);
}
