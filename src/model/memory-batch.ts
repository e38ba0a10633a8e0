// A batch of few messages, which no engine holds: rows, tombstones and dead letters as decode made them.

import type { Value } from './convert-value.ts';

/** A message that could not become a row, as stage or decode found it. */
export type DeadLetter = {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: bigint;
  /** The one that its row would carry; a stream's own. */
  readonly effectiveMs: bigint;
  readonly key: Uint8Array | null;
  /** null: a tombstone whose key is no key of the table. */
  readonly value: Uint8Array | null;
  readonly headers: string | null;
  readonly field: string | null;
  readonly reason: string;
};

export type Coordinates = Pick<DeadLetter, 'partition' | 'offset' | 'timestampMs' | 'key' | 'headers'>;

/** `timestampMs` is the one that the row carries. */
export type DecodedRow = { readonly message: Coordinates; readonly values: readonly Value[] };

export type MemoryBatch = {
  /** Names of the values of a row, in order. */
  readonly columns: readonly string[];
  readonly rows: readonly DecodedRow[];
  /** Names of the values of a tombstone: the key. */
  readonly keyColumns: readonly string[];
  readonly tombstones: readonly DecodedRow[];
  readonly deadLetters: readonly DeadLetter[];
};

/** Whether a message comes after another one of its key (DESIGN §5). */
export function isLater(one: Coordinates, other: Coordinates): boolean {
  if (one.timestampMs !== other.timestampMs) return one.timestampMs > other.timestampMs;
  if (one.partition !== other.partition) return one.partition > other.partition;
  return one.offset > other.offset;
}
