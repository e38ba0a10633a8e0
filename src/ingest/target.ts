// Where a pipeline's batches go: one feed in the lake or in the warehouse. The pipeline knows nothing else of either.
// Invariant: what a target answers as its positions is durable, with all rows and dead letters before them.

import type { Connection } from '../duckdb/connection.ts';
import type { ClosedBatch, CommitAnswer, Published, TargetState, WrittenBatch } from '../model/batch.ts';
import type { SealOrder } from '../model/cut.ts';
import type { Gap } from '../model/log-entry.ts';
import type { TableRebuild } from '../model/rebuild.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';

export type TargetName = 'lake' | 'warehouse';

export type Target = {
  readonly name: TargetName;
  /** As last seen; free. */
  state(): TargetState;
  refresh(): Promise<TargetState>;
  /** In quiet moments: whether a rewind took out what was there at the last `refresh`, so that all is to be read again. Waits for no server. */
  look(): Promise<boolean>;
  /** Takes a batch out of its staged tables, which are not needed afterwards. Nothing of it is visible yet. */
  write(connection: Connection, batch: ClosedBatch): Promise<WrittenBatch>;
  /** Whether what was applied should become durable now; false but for tables in the lake. */
  publishDue(nowMs: number): boolean;
  /** Makes durable what was applied. null: nothing was, which is always so but for tables in the lake. */
  publish(signal: AbortSignal): Promise<Published | null>;
  /** Drops what was applied and not published: it will be read again from the positions. */
  forget(): Promise<void>;
  /** Of a table: the snapshot that takes rows in; null: there is none yet. */
  snapshot?(): OpenSnapshot | null;
  /** Of a table: ends the open snapshot at these positions, which must be the durable ones, and opens the next as its copy. */
  seal?(order: SealOrder, signal: AbortSignal): Promise<SealAnswer>;
  /** Of a table. */
  readonly rebuild?: TableRebuild;
  /** Records offsets that Kafka no longer has, or that were left to others. */
  recordGaps(gaps: readonly Gap[], signal: AbortSignal): Promise<CommitAnswer>;
  /** Finishes what other writers left, and takes away what is due; for idle minutes. */
  tidy(): Promise<void>;
  close(): Promise<void>;
};

export type SealAnswer = Exclude<CommitAnswer, { readonly kind: 'applied' | 'refused' }>;

/** Of a target whose commits are durable: there is nothing to publish, nor to forget. */
export const DURABLE_AT_ONCE: Pick<Target, 'publishDue' | 'publish' | 'forget'> = {
  publishDue: () => false,
  publish: async () => null,
  forget: async () => undefined,
};
