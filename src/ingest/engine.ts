// The DuckDB of one pipeline: bounded by what may be staged, with queues of connections to work on.

import { type Database, openDatabase } from '../duckdb/connection.ts';
import { assert } from '../errors.ts';
import { serial } from './changes.ts';
import type { WorkQueue } from './stage.ts';

/** DuckDB's own work beside the staged batches: sorting into days, Parquet row groups. */
const ENGINE_BYTES = 64 * 1024 * 1024;
/** Two, so that one decodes while the other waits for JavaScript to give it its next statement. */
export const DECODERS = 2;
/** Small batches need that work too: one chunk of 4 MiB takes up to 53 MB while it is decoded. */
const ENGINE_BYTES_MIN = 128 * 1024 * 1024;
/** The collector is called after this many bytes of chunks. */
export const GARBAGE_BYTES = 36 * 1024 * 1024;
/** Decoding and flushing run beside each other anyway; a chunk and a batch are too small for DuckDB to share out, and trying to
 *  costs half as much again (docs/performance.md). */
const ENGINE_THREADS = 1;

/** Unfolded record sets are garbage soon, but the collector sees only the small objects that hold them. */
export function collectEvery(bytes: number, collect: (() => void) | null): (sealed: number) => void {
  let since = 0;
  return (sealed) => {
    since += sealed;
    if (since < bytes) return;
    since = 0;
    collect?.();
  };
}

/** In memory, with a place in the lake to spill to when a batch is wider than expected. */
export async function openEngine(tempFolder: string, stagedBytesMax: number): Promise<Database> {
  return openDatabase({
    memoryBytesMax: Math.max(ENGINE_BYTES_MIN, stagedBytesMax + ENGINE_BYTES),
    threads: ENGINE_THREADS,
    tempFolder,
  });
}

/** Up to `size` pieces of work at a time, each on a connection, and so with temporary tables, of its own. */
export async function workPool(database: Database, size: number): Promise<WorkQueue> {
  const queues: WorkQueue[] = [];
  for (let index = 0; index < size; index++) queues.push(await workQueue(database));
  let next = 0;
  return (work) => {
    const queue = queues[next++ % size];
    assert(queue, `a pool of ${size} connections`);
    return queue(work);
  };
}

export async function workQueue(database: Database): Promise<WorkQueue> {
  const connection = await database.connect();
  const inOrder = serial();
  return (work) => inOrder(() => work(connection));
}
