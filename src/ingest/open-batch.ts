// The batch that is filling: what it has taken of each partition, and the tables that its rows are in.

import { assert } from '../errors.ts';
import { newProgress, type PartitionProgress } from '../model/batch.ts';
import type { MemoryBatch } from '../model/memory-batch.ts';
import type { Offset } from '../model/offsets.ts';
import type { DecodePlan, StagedTables } from './decode.ts';

/** The schema a batch is decoded with, and the epoch it stands for. */
export type InForce = { readonly plan: DecodePlan; readonly epoch: number };

export type OpenBatch = {
  readonly id: string;
  /** null: the schema of this feed is still to be inferred, from the first chunk that says anything. */
  inForce: InForce | null;
  readonly openedAtMs: number;
  readonly progress: Map<number, PartitionProgress>;
  readonly drift: Set<string>;
  tables: StagedTables | null;
  /** In the place of the tables, once a batch that is small is closed. */
  memory: MemoryBatch | null;
  /** While the schema is not known: the chunk that it is inferred from, which the others wait for. */
  first: Promise<void> | null;
  /** Made once, by whichever chunk comes first. */
  making: Promise<StagedTables> | null;
  messages: number;
  bytes: number;
  rows: number;
  deadLetters: number;
};

export function progressOf(batch: OpenBatch, partition: number, position: Offset): PartitionProgress {
  const known = batch.progress.get(partition);
  assert(!known || known.end === position, `partition ${partition} was taken at ${position} after ${known?.end}`);
  const progress = known ?? newProgress(partition, position);
  batch.progress.set(partition, progress);
  return progress;
}

export function countDeadLetters(open: OpenBatch, partition: number, count: number): void {
  progressIn(open, partition).deadLetters += count;
  open.deadLetters += count;
}

export function progressIn(open: OpenBatch, partition: number): PartitionProgress {
  const progress = open.progress.get(partition);
  assert(progress, `dead letters of partition ${partition}, which is not in the batch`);
  return progress;
}
