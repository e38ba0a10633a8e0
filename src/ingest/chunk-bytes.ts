// The byte work of chunks that is not done for every message: growing, keys that are no text, values that are not UTF-8.

import { isUtf8 } from 'node:buffer';
import type { DeadLetter } from '../model/memory-batch.ts';
import type { Chunk } from './chunk.ts';

export const SEPARATOR = 0x1e;
/** 'k' before a key that is there, so that an empty key and no key differ. */
export const KEY_PRESENT = 0x6b;

/** A copy with room for `more` bytes after `end`, at least twice as large. */
export function grown(from: Buffer, end: number, more: number): Buffer {
  const to = Buffer.allocUnsafeSlow(Math.max(from.length * 2, end + more));
  from.copy(to, 0, 0, end);
  return to;
}

/** Header values as UTF-8 text, or {"base64": …} where they are none; names may repeat, so a list of pairs. */
export function headersJson(headers: readonly [string, Buffer | null][]): string {
  const headerValue = (value: Buffer | null): unknown => {
    if (value === null) return null;
    return isUtf8(value) ? value.toString('utf8') : { base64: value.toString('base64') };
  };
  return JSON.stringify(headers.map(([name, value]) => [name, headerValue(value)]));
}

/** Joined keys stay text when they are UTF-8 and hold no separator of their own, else become hexadecimal. */
export function encodedKeys(joined: Buffer, lengths: Int32Array): NonNullable<Chunk['keys']> {
  let separators = 0;
  for (let at = joined.indexOf(SEPARATOR); at >= 0; at = joined.indexOf(SEPARATOR, at + 1)) separators++;
  if (separators === lengths.length - 1 && isUtf8(joined)) return { bytes: joined, encoding: 'text' };
  const texts = keysOf(joined, lengths).map((key) => (key === null ? '' : `k${key.toString('hex')}`));
  return { bytes: Buffer.from(texts.join('\x1e'), 'latin1'), encoding: 'hex' };
}

function keysOf(joined: Buffer, lengths: Int32Array): (Buffer | null)[] {
  const keys: (Buffer | null)[] = [];
  let at = 0;
  for (const length of lengths) {
    if (length < 0) keys.push(null);
    else keys.push(joined.subarray(at + 1, at + 1 + length));
    at += length < 0 ? 1 : length + 2;
  }
  return keys;
}

/** Takes the values that are not UTF-8 out of a chunk; the rest keeps its order. */
export function splitByUtf8(chunk: Chunk): { valid: Chunk | null; invalid: DeadLetter[] } {
  const values = Buffer.from(chunk.values.buffer, chunk.values.byteOffset, chunk.values.byteLength);
  const keyTexts = chunk.keys ? splitBytes(Buffer.from(chunk.keys.bytes)) : null;
  const kept: number[] = [];
  const keptValues: Buffer[] = [];
  const invalid: DeadLetter[] = [];
  splitBytes(values).forEach((value, index) => {
    if (isUtf8(value)) {
      kept.push(index);
      keptValues.push(value);
      return;
    }
    const keyText = keyTexts?.[index];
    const key = !keyText || keyText.length === 0 ? null : keyText.subarray(1);
    invalid.push({
      partition: chunk.partitions[index] ?? 0,
      offset: chunk.offsets[index] ?? 0n,
      timestampMs: chunk.timestampsMs[index] ?? 0n,
      effectiveMs: (chunk.effectiveMs ?? chunk.timestampsMs)[index] ?? 0n,
      key: key && chunk.keys?.encoding === 'hex' ? Buffer.from(key.toString('latin1'), 'hex') : key && Buffer.from(key),
      value: Buffer.from(value),
      headers: chunk.headers?.get(index) ?? null,
      field: null,
      reason: 'the value is not valid UTF-8',
    });
  });
  return { valid: kept.length === 0 ? null : pick(chunk, kept, keptValues, keyTexts), invalid };
}

/** The messages at these ascending indexes, in their order. */
export function pickMessages(chunk: Chunk, kept: readonly number[]): Chunk {
  const values = Buffer.from(chunk.values.buffer, chunk.values.byteOffset, chunk.values.byteLength);
  const texts = splitBytes(values);
  const keptValues = kept.map((index) => texts[index] ?? Buffer.alloc(0));
  return pick(chunk, kept, keptValues, chunk.keys ? splitBytes(Buffer.from(chunk.keys.bytes)) : null);
}

function pick(chunk: Chunk, kept: readonly number[], values: readonly Buffer[], keyTexts: readonly Buffer[] | null): Chunk {
  const headers = new Map<number, string>();
  kept.forEach((index, to) => {
    const header = chunk.headers?.get(index);
    if (header !== undefined) headers.set(to, header);
  });
  const keys = keyTexts ? kept.map((index) => keyTexts[index] ?? Buffer.alloc(0)) : null;
  return {
    count: kept.length,
    values: joinBytes(values),
    partitions: Int32Array.from(kept, (index) => chunk.partitions[index] ?? 0),
    offsets: BigInt64Array.from(kept, (index) => chunk.offsets[index] ?? 0n),
    timestampsMs: BigInt64Array.from(kept, (index) => chunk.timestampsMs[index] ?? 0n),
    effectiveMs: chunk.effectiveMs && BigInt64Array.from(kept, (index) => chunk.effectiveMs?.[index] ?? 0n),
    keys: keys && chunk.keys ? { bytes: joinBytes(keys), encoding: chunk.keys.encoding } : null,
    headers: headers.size > 0 ? headers : null,
  };
}

function splitBytes(joined: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let end = joined.indexOf(SEPARATOR); end >= 0; end = joined.indexOf(SEPARATOR, start)) {
    parts.push(joined.subarray(start, end));
    start = end + 1;
  }
  parts.push(joined.subarray(start));
  return parts;
}

function joinBytes(parts: readonly Buffer[]): Buffer {
  const mark = Buffer.from([SEPARATOR]);
  return Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [mark, part])));
}
