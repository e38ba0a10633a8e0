// What DuckDB's JSON reader takes but changes, found in the text before it reads: message by message in SQL, or over a whole
// chunk at once in JavaScript, which costs a third and hardly ever finds anything.

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

/** The same search in JavaScript, over all texts of a chunk at once: it costs a third of DuckDB's, and hardly ever finds anything.
 *  Reads bytes as Latin-1, and takes more for white space; a hit only makes DuckDB look message by message. */
const HOSTILE_CHUNK = /[:,[]\s*(?:-?[0-9.]{16}|-?[0-9.]+e|-0(?:\.0*)?[^.0-9]|[-+]?(?:nan|inf))|,\s*[}\]]/i;

export const mayBeHostile = (values: Uint8Array): boolean =>
  HOSTILE_CHUNK.test(Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('latin1'));
