// What DuckDB's JSON reader takes but changes, found in the text before it reads: message by message in SQL, or over a whole
// chunk in JavaScript, which costs a tenth and hardly ever finds anything.

import { Buffer } from 'node:buffer';
import { quoteText } from '../duckdb/sql.ts';

/** Wherever DuckDB's JSON reader could differ from the text: exponents, minus zero, NaN and infinities, trailing commas. Looks at
 *  the whole text, so it also hits inside strings; such a message only takes the slower path. */
const HOSTILE = String.raw`[:,\[]\s*(?:-?[0-9.]+[eE]|-0(?:\.0*)?[^.0-9]|[-+]?(?i:nan|inf))|,\s*[}\]]`;
/** Numbers whose digits may not survive a double. For a DOUBLE, and for what is still written without a point, they do. */
const LONG_NUMBER = String.raw`[:,\[]\s*-?[0-9.]{16}`;

/** `_long`: whether a message holds a long number; NULL when DuckDB must not read it at all. Whether it
 *  is JSON is seen when it is read. Without `search` neither that nor
 *  anything hostile is in any of the messages. */
export function judged(search: boolean): string {
  const found = `WHEN NOT regexp_matches(_v, ${quoteText(`${LONG_NUMBER}|${HOSTILE}`)}) THEN false
    WHEN regexp_matches(_v, ${quoteText(HOSTILE)}) THEN NULL ELSE true`;
  return `CASE WHEN NOT starts_with(_v, '{') THEN NULL ${search ? found : 'ELSE false'} END AS _long`;
}

const [QUOTE, COMMA, MINUS, POINT, ZERO, NINE, BACKSLASH, SEPARATOR] = [0x22, 0x2c, 0x2d, 0x2e, 0x30, 0x39, 0x5c, 0x1e];
/** The names that JSON has begin with n, t and f; all others that a reader could know begin with one of these. */
const [CAPITAL_I, CAPITAL_N, SMALL_I, SMALL_N, SMALL_U] = [0x49, 0x4e, 0x69, 0x6e, 0x75];
/** As many characters as LONG_NUMBER's. */
const LONG_NUMBER_CHARS = 16;
/** Short strings are passed over byte by byte, the rest of long ones by a native search. */
const SHORT_STRING_BYTES = 32;

/** The same search in JavaScript, over all messages of a chunk (joined by 0x1E) and outside of strings only: it costs a tenth of
 *  DuckDB's, and hardly ever finds anything. True only makes DuckDB look message by message. Text that is no JSON may be passed: DuckDB does not take it. */
export function mayBeHostile(values: Uint8Array): boolean {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  for (let start = 0, end = 0; start < bytes.length; start = end + 1) {
    end = bytes.indexOf(SEPARATOR, start);
    if (end < 0) end = bytes.length;
    if (isHostile(bytes, start, end)) return true;
  }
  return false;
}

function isHostile(bytes: Buffer, start: number, end: number): boolean {
  let afterComma = false;
  for (let at = start; at < end; ) {
    const byte = bytes[at++] ?? 0;
    if (byte <= 0x20) continue;
    if (byte === QUOTE) {
      at = afterString(bytes, at, end);
    } else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
      at = afterNumber(bytes, byte === MINUS ? at : at - 1, end, byte === MINUS);
      if (at < 0) return true;
    } else if (byte === SMALL_N ? bytes[at] !== SMALL_U : byte === CAPITAL_N || byte === SMALL_I || byte === CAPITAL_I) {
      return true;
    } else if (afterComma && (byte === 0x5d || byte === 0x7d)) {
      return true;
    }
    afterComma = byte === COMMA;
  }
  return false;
}

/** Where the string ends whose first byte is at `from`; a string that does not end, ends with its message. */
function afterString(bytes: Buffer, from: number, end: number): number {
  let at = from;
  for (const near = Math.min(end, from + SHORT_STRING_BYTES); at < near; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at++;
  }
  while (at < end) {
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0 || quote >= end) return end;
    let escapes = 0;
    while (quote - escapes > at && bytes[quote - escapes - 1] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
  return end;
}

/** Where the number ends whose digits begin at `from`, or -1: it is long, has an exponent, or is minus zero. */
function afterNumber(bytes: Buffer, from: number, end: number, isNegative: boolean): number {
  let at = from;
  let isZero = true;
  for (; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte !== POINT && (byte < ZERO || byte > NINE)) {
      if (byte === 0x65 || byte === 0x45) return -1;
      break;
    }
    if (byte > ZERO) isZero = false;
  }
  return at - from >= LONG_NUMBER_CHARS || (isNegative && isZero) ? -1 : at;
}
