// Messages of one feed on their way into DuckDB: their values in one buffer, their coordinates in arrays.

export type Chunk = {
  readonly count: number; // messages here; every one has a value that is valid UTF-8, non-empty, without a raw 0x1E
  readonly values: Uint8Array; // the values joined by 0x1E
  readonly partitions: Int32Array; // first `count` entries used
  readonly offsets: BigInt64Array;
  readonly timestampsMs: BigInt64Array;
  readonly effectiveMs: BigInt64Array | null; // of a table: the partition's largest timestamp up to each message; null: a stream
  readonly keys: { readonly bytes: Uint8Array; readonly encoding: 'text' | 'hex' } | null; // joined by 0x1E, each present key prefixed by 'k', null key = empty; null: all keys null
  readonly headers: ReadonlyMap<number, string> | null; // index in the chunk -> JSON text of its headers, only messages with headers
};
