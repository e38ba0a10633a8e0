// A chunk into its batch: rows, dead letters and tombstones into DuckDB's tables, or, of a batch that is small, into memory. DuckDB
// takes 10 to 20 ms for the statements of a batch however few its messages are (docs/performance.md); model/convert takes 10 µs a
// message, and is what DuckDB must agree with anyway.
// Invariant: both ways make the same rows and dead letters (held by a fuzz test), and a batch goes one of the two ways as a whole.

import type { Connection } from '../duckdb/connection.ts';
import type { DeadLetter, MemoryBatch } from '../model/memory-batch.ts';
import type { BuiltChunk } from './chunk-builder.ts';
import { messagesAt, unknownNames } from './chunk-read.ts';
import { allOf, type DecodePlan, decodeChunk, decodeExactly, type StagedTables } from './decode.ts';
import { appendDeadLetters } from './decode-exact.ts';
import { appendTombstones, decodeTombstones } from './tombstones.ts';

/** JavaScript stands still for some 10 ms while it decodes as many; only from about four times as many on DuckDB is the faster one. */
export const MEMORY_MESSAGES_MAX = 1_000;
const MEMORY_BYTES_MAX = 256 * 1024;

/** What a chunk came to; messages that stage refused are among the dead letters. */
export type DecodedChunk = {
  readonly rows: number;
  /** By partition, here and below. */
  readonly deadLetters: ReadonlyMap<number, number>;
  /** Those of them that were tombstones. */
  readonly deadTombstones: ReadonlyMap<number, number>;
  /** Whether there is something to learn for the schema: a value was refused. */
  readonly anyRefused: boolean;
  readonly drift: readonly string[];
  readonly fastError: string | null;
};

export function fitsMemory({ chunk, refused, tombstones, bytes }: BuiltChunk): boolean {
  const messages = (chunk?.count ?? 0) + refused.length + tombstones.length;
  return messages <= MEMORY_MESSAGES_MAX && bytes <= MEMORY_BYTES_MAX;
}

/** `built` is all of a batch. */
export function decodeToMemory(plan: DecodePlan, built: BuiltChunk): { memory: MemoryBatch; decoded: DecodedChunk } {
  const { chunk, refused } = built;
  const groups = chunk ? [...messagesAt(chunk, allOf(chunk))].map((group) => decodeExactly(plan, group)) : [];
  const letters = groups.flatMap((group) => group.letters);
  const gone = decodeTombstones(plan, built.tombstones);
  const memory = {
    columns: plan.shape.values.map(({ column }) => column),
    rows: groups.flatMap(({ decoded }) => decoded),
    keyColumns: plan.tombstones?.keyFields ?? [],
    tombstones: gone.decoded,
    deadLetters: [...refused, ...gone.letters, ...letters].map(owned),
  };
  const decoded = {
    rows: memory.rows.length,
    deadLetters: countByPartition(memory.deadLetters),
    deadTombstones: countByPartition(gone.letters),
    anyRefused: letters.length > 0,
    drift: chunk ? unknownNames(chunk, plan.message.known, plan.names) : [],
    fastError: null,
  };
  return { memory, decoded };
}

/** The chunk's bytes are used again for the next one, while a batch may wait for its server. */
const owned = (letter: DeadLetter): DeadLetter => ({
  ...letter,
  key: letter.key && Buffer.from(letter.key),
  value: letter.value && Buffer.from(letter.value),
});

/** One chunk at a time on a connection. Throws engine_failed. */
export async function decodeToTables(
  connection: Connection,
  plan: DecodePlan,
  { chunk, refused, tombstones }: BuiltChunk,
  tables: StagedTables,
): Promise<DecodedChunk> {
  await appendDeadLetters(connection, plan, tables, refused);
  const deadTombstones = await appendTombstones(connection, plan, tables, tombstones);
  const counts = [countByPartition(refused), deadTombstones];
  if (!chunk) return { rows: 0, deadLetters: added(counts), deadTombstones, anyRefused: false, drift: [], fastError: null };
  const { rows, deadLetters, drift, fastError } = await decodeChunk(connection, plan, chunk, tables);
  return {
    rows,
    deadLetters: added([...counts, deadLetters]),
    deadTombstones,
    anyRefused: deadLetters.size > 0,
    drift,
    fastError,
  };
}

function countByPartition(messages: readonly { readonly partition: number }[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { partition } of messages) counts.set(partition, (counts.get(partition) ?? 0) + 1);
  return counts;
}

function added(all: readonly ReadonlyMap<number, number>[]): ReadonlyMap<number, number> {
  const sums = new Map<number, number>();
  for (const [partition, count] of all.flatMap((counts) => [...counts])) sums.set(partition, (sums.get(partition) ?? 0) + count);
  return sums;
}
