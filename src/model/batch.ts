// A batch on its way into a target, and what a target answers. The pipeline fills it, a target makes it durable with its positions.

import type { EntrySnapshot } from './entry-snapshot.ts';
import type { FeedState } from './feed-state.ts';
import type { CommittedRange, LastMessage } from './log-entry.ts';
import type { MemoryBatch } from './memory-batch.ts';
import { type Offset, toOffset } from './offsets.ts';

/** What one partition has contributed so far; [start, end) may hold fewer messages than offsets, even none (PROTOCOL K1). */
export type PartitionProgress = {
  readonly partition: number;
  readonly start: Offset;
  end: Offset;
  messages: number;
  tombstones: number;
  deadLetters: number;
  last: LastMessage | null;
  timestampMsMax: number | null;
};

/** A batch whose rows and dead letters lie in two DuckDB tables. */
export type StagedBatch = {
  readonly id: string;
  readonly feed: string;
  readonly topic: string;
  readonly epoch: number;
  readonly schemaVersion: number;
  readonly ranges: readonly CommittedRange[];
  /** Quoted SQL names. */
  readonly tables: {
    readonly rows: string;
    readonly deadLetters: string;
    /** null: a stream, or a table without a schema yet. */
    readonly tombstones: string | null;
  };
  readonly rows: number;
  readonly deadLetters: number;
  /** Of the messages it was made of. */
  readonly bytes: number;
  /** Column whose smallest and largest value each file's log record carries; null: the message timestamp. */
  readonly eventTime: string | null;
};

/** What a pipeline closes: when `memory` is not null, all of it is there, and nothing in the tables. Only a target that said so
 *  is given such a batch. */
export type ClosedBatch = StagedBatch & { readonly memory: MemoryBatch | null };

/** A batch whose files are written and invisible. One of the two is called, once. */
export type WrittenBatch = {
  /** Makes it durable and visible with its positions, or answers why not; then nothing of it is left. */
  commit(signal: AbortSignal): Promise<CommitAnswer>;
  /** Gives it up. Never throws. */
  discard(): Promise<void>;
};

/** What a pipeline reads of a target: positions and what they depend on. */
export type TargetState = Pick<FeedState, 'version' | 'epoch' | 'positions'>;

/** A message that a target does not take as a row, in its own words. */
export type RefusedRow = { readonly partition: number; readonly offset: Offset; readonly reason: string };

export type CommitAnswer =
  | {
      readonly kind: 'committed';
      readonly version: number;
      readonly files: number;
      readonly bytes: number;
      readonly state: TargetState;
    }
  /** A table in the lake took it in; it is durable with the next publish. */
  | { readonly kind: 'applied' }
  /** These messages cannot be rows there: to be read again as dead letters. `triedCount`: rows that were looked at until then. */
  | {
      readonly kind: 'refused';
      readonly rows: readonly RefusedRow[];
      readonly triedCount: number;
      readonly state: TargetState;
    }
  | { readonly kind: 'conflict'; readonly reason: string; readonly state: TargetState }
  | { readonly kind: 'fenced'; readonly state: TargetState };

/** A publish: what it was to make durable, and whether it did. `rebuild`: it was to replace the table; null: to add to it. */
export type Published = {
  readonly answer: Exclude<CommitAnswer, { readonly kind: 'applied' }>;
  readonly ranges: readonly CommittedRange[];
  readonly snapshot: Pick<EntrySnapshot, 'date' | 'version' | 'rows'>;
  readonly rebuild: { readonly startedAtMs: number } | null;
};

export const newProgress = (partition: number, start: Offset): PartitionProgress => ({
  partition,
  start,
  end: start,
  messages: 0,
  tombstones: 0,
  deadLetters: 0,
  last: null,
  timestampMsMax: null,
});

export const toRange = (progress: PartitionProgress): CommittedRange => ({
  partition: progress.partition,
  start: progress.start,
  end: toOffset(progress.end),
  messages: progress.messages,
  rows: progress.messages - progress.tombstones - progress.deadLetters,
  deadLetters: progress.deadLetters,
  tombstones: progress.tombstones,
  last: progress.last,
  timestampMsMax: progress.timestampMsMax,
});

/** For a person. */
export const offsetsOf = (ranges: readonly CommittedRange[]): string =>
  ranges.map(({ partition, start, end }) => `${partition}:${start}-${end}`).join(',');

export type BatchLimits = { readonly messagesMax: number; readonly bytesMax: number; readonly ageMsMax: number };
export type BatchFacts = { readonly messages: number; readonly bytes: number; readonly ageMs: number };

/** Full batches wait for nothing; one that is only old may go on filling while another commits. */
export const isFull = (facts: BatchFacts, limits: BatchLimits): boolean =>
  facts.messages >= limits.messagesMax || facts.bytes >= limits.bytesMax;

/** DESIGN §3: a batch closes on its size, its bytes or its age by the wall clock. */
export const isDue = (facts: BatchFacts, limits: BatchLimits): boolean => isFull(facts, limits) || facts.ageMs >= limits.ageMsMax;
