// A feed's commit log (PROTOCOL R1–R8): folds the entries, and commits new ones by creating the next version exclusively.
// Invariant: after a commit answered `committed`, the entry is durable and names only files that were there and durable.

import type { FeedState } from '../model/feed-state.ts';
import type { ConflictReason } from '../model/fold.ts';
import type { LogEntry, Proposal } from '../model/log-entry.ts';
import { CommitLog } from './commit-log.ts';
import { readFeedState } from './read-log.ts';
import type { ObjectStore } from './store.ts';

/** Something the log noticed that is not an error of the caller; rendered by the program's logger. */
export type FeedLogEvent = {
  readonly level: 'info' | 'warn';
  readonly event: 'roll_forward_delayed' | 'checkpoint_skipped' | 'writer_fenced';
  readonly feed: string;
  readonly version: number;
  readonly detail: string;
  readonly cause?: unknown;
};

export type FeedLogOptions = {
  readonly store: ObjectStore;
  readonly feed: string;
  /** Random per process start (R1); use createIdSource's. A fenced writer opens the log again under a new one. */
  readonly writer: string;
  readonly nowMs: () => number;
  /** Unique, time-ordered: see createIdSource in lake/ids.ts. */
  readonly newId: () => string;
  readonly onEvent?: (event: FeedLogEvent) => void;
  /** An entry of this writer that counts, once each. */
  readonly onEntry?: (entry: LogEntry) => void;
};

export type CommitOutcome =
  | { readonly kind: 'committed'; readonly version: number; readonly state: FeedState }
  | {
      readonly kind: 'conflict';
      readonly reason: ConflictReason | 'staged_files';
      /** Partitions whose position is not the start of the range; empty for other reasons. */
      readonly lostPartitions: readonly number[];
      readonly state: FeedState;
    }
  /** This writer was fenced: nothing it stages can be committed; open the log under a new writer id (R7). */
  | { readonly kind: 'fenced'; readonly state: FeedState };

export type FeedLog = {
  readonly feed: string;
  readonly writer: string;
  /** Where this writer may stage files: `_lake/feeds/<feed>/staging/<writer>`. Each batch in a folder of its own, named by its id. */
  readonly stagingFolder: string;
  /** As of the last fold; frozen, safe to keep. */
  state(): FeedState;
  /** Folds entries that others made since. */
  refresh(): Promise<FeedState>;
  /**
   * Commits. The staged files must be written; the log makes them durable first (R2). Retries taken versions while the
   * proposal stays valid (R4), resolves a lost answer by reading back (R3), then renames into place (R6). Throws LakeError
   * (disk_full, aborted, …): then the outcome is unknown or no; calling again with the same batch id is always right.
   */
  commit(wanted: Proposal, options: { signal: AbortSignal }): Promise<CommitOutcome>;
  /** Folds, then finishes missing renames and removals (R6). Cheap when there is nothing to do. */
  rollForward(): Promise<void>;
  /** Deletes staged files of a batch that was given up, unless an entry names them. */
  discardStaged(keys: readonly string[]): Promise<void>;
  /** Fences a writer, then deletes what it staged and no entry names (R7). */
  fence(writer: string): Promise<void>;
  /** Fences and cleans every other writer whose staged files have not changed for this long. Returns their ids. */
  cleanUpAbandoned(options: { ageMsMin: number }): Promise<readonly string[]>;
  /** Deletes files that were removed longer than this ago (R6: 24 h, superseded publishes 10 minutes). Returns how many. */
  sweepRemoved(options: { ageMsMin: number; supersededAgeMsMin: number }): Promise<number>;
  /** After the last call: takes the writer's staging folder away if it is empty. */
  close(): Promise<void>;
};

/** Folds the log (from the newest good checkpoint), finishes what crashed writers left, and is ready to commit. */
export const openFeedLog = async (options: FeedLogOptions): Promise<FeedLog> => {
  const state = await readFeedState(options.store, options.feed);
  const log = new CommitLog(options, state);
  await log.open();
  return log;
};
