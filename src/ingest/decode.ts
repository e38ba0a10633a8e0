// Messages become rows, exactly. DuckDB decodes the common rows; whatever it is not sure about is decided by model/convert.
// Invariant: every message of a chunk ends as exactly one staged row or exactly one dead letter.
import type { Connection } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import type { Chunk } from './chunk.ts';

export type DecodePlan = {
  readonly feed: string;
  /** Columns of the staged rows, in order, with their DuckDB types; lineage and _day included. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly timezone: string;
  readonly schemaVersion: number;
};

/** The two tables of a batch, as quoted SQL names. */
export type StagedTables = { readonly rows: string; readonly deadLetters: string };

/** A message that could not become a row, as stage or decode found it. */
export type DeadLetter = {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: bigint;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array;
  readonly headers: string | null;
  readonly field: string | null;
  readonly reason: string;
};

export type Decoded = {
  readonly rows: number;
  /** Dead letters per partition; partitions without any are absent. */
  readonly deadLetters: ReadonlyMap<number, number>;
  /** Top-level names seen that no field reads (looked for in the first 1,000 messages of a chunk). */
  readonly drift: readonly string[];
};

/** Prepares a feed whose field types are all known. `timezone` gives the day. Throws config_invalid. */
export function decodePlan(_feed: Feed, _options: { timezone: string; schemaVersion: number }): DecodePlan {
  throw new LakeError('bug', 'decodePlan is not there yet');
}

/** Makes empty tables `<name>_rows` and `<name>_dead_letters`; the caller drops them. */
export async function createStagedTables(_connection: Connection, _plan: DecodePlan, _name: string): Promise<StagedTables> {
  throw new LakeError('bug', 'createStagedTables is not there yet');
}

/** Decodes a chunk into the two tables. */
export async function decodeChunk(
  _connection: Connection,
  _plan: DecodePlan,
  _chunk: Chunk,
  _tables: StagedTables,
): Promise<Decoded> {
  throw new LakeError('bug', 'decodeChunk is not there yet');
}

/** Writes dead letters that were found before decoding (empty, not UTF-8, raw 0x1E). */
export async function appendDeadLetters(
  _connection: Connection,
  _plan: DecodePlan,
  _tables: StagedTables,
  _letters: readonly DeadLetter[],
): Promise<void> {
  throw new LakeError('bug', 'appendDeadLetters is not there yet');
}
