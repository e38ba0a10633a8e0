// Single messages out of a chunk, for those that need a closer look. Bounded: groups, so that not all texts are in memory at once.
import { Buffer } from 'node:buffer';
import type { Chunk } from './chunk.ts';

export type ChunkMessage = {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: bigint;
  /** The one that its row carries; a stream's own. */
  readonly effectiveMs: bigint;
  readonly key: Uint8Array | null;
  /** null: no key, or not UTF-8. */
  readonly keyText: string | null;
  readonly value: Uint8Array;
  readonly text: string;
  readonly headers: string | null;
};

const SEPARATOR = 0x1e;
const GROUP_MESSAGES = 8192;
const GROUP_BYTES = 16 * 1024 * 1024;
const SAMPLE_MESSAGES = 100;
const SAMPLE_BYTES = 128 * 1024;

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const strictUtf8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

/** The messages at these ascending indexes, in groups. */
export function* messagesAt(chunk: Chunk, indexes: readonly number[]): Generator<ChunkMessage[]> {
  const values = walker(chunk.values);
  const keys = chunk.keys && { encoding: chunk.keys.encoding, at: walker(chunk.keys.bytes) };
  let group: ChunkMessage[] = [];
  let bytes = 0;
  for (const index of indexes) {
    const value = values(index);
    const key = keys && keyOf(keys.at(index), keys.encoding);
    group.push({
      partition: chunk.partitions[index] ?? 0,
      offset: chunk.offsets[index] ?? 0n,
      timestampMs: chunk.timestampsMs[index] ?? 0n,
      effectiveMs: (chunk.effectiveMs ?? chunk.timestampsMs)[index] ?? 0n,
      key,
      keyText: key && textOf(key),
      value,
      text: utf8.decode(value),
      headers: chunk.headers?.get(index) ?? null,
    });
    bytes += value.length;
    if (group.length < GROUP_MESSAGES && bytes < GROUP_BYTES) continue;
    yield group;
    group = [];
    bytes = 0;
  }
  if (group.length > 0) yield group;
}

/** Gives the part at an index; indexes must ascend. */
function walker(joined: Uint8Array): (index: number) => Uint8Array {
  let index = 0;
  let start = 0;
  return (wanted) => {
    while (index < wanted) {
      start = joined.indexOf(SEPARATOR, start) + 1;
      index += 1;
    }
    const end = joined.indexOf(SEPARATOR, start);
    return joined.subarray(start, end < 0 ? joined.length : end);
  };
}

function keyOf(part: Uint8Array, encoding: 'text' | 'hex'): Uint8Array | null {
  if (part.length === 0) return null;
  return encoding === 'text' ? part.subarray(1) : Buffer.from(utf8.decode(part.subarray(1)), 'hex');
}

export function textOf(key: Uint8Array): string | null {
  try {
    return strictUtf8.decode(key);
  } catch {
    return null;
  }
}

/** Top-level names that nobody reads, in a sample from the chunk's start or in all of it. */
export function unknownNames(chunk: Chunk, known: ReadonlySet<string>, where: 'sample' | 'all'): string[] {
  const found = new Set<string>();
  const at = walker(chunk.values);
  const [messagesMax, bytesMax] = where === 'all' ? [chunk.count, Number.POSITIVE_INFINITY] : [SAMPLE_MESSAGES, SAMPLE_BYTES];
  for (let index = 0, bytes = 0; index < Math.min(chunk.count, messagesMax) && bytes < bytesMax; index += 1) {
    const value = at(index);
    bytes += value.length;
    if (value.length > bytesMax) continue;
    for (const name of topNames(utf8.decode(value))) if (!known.has(name)) found.add(name);
  }
  return [...found].sort();
}

/** Loose on purpose: whether the text is sound is decided elsewhere. */
function topNames(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
  } catch {
    return [];
  }
}
