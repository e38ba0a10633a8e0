// What everything that commits to a feed's log in the lake shares: the writer, its proposals, and what is left of a commit that failed.
// Invariant: staged files of a commit that is refused or given up are deleted, unless an entry names them.

import type { Compression } from '../config/config.ts';
import { isAdopted } from '../model/adopted.ts';
import type { CommitAnswer } from '../model/batch.ts';
import type { FeedState } from '../model/feed-state.ts';
import { type LakeFile, type Proposal, proposal } from '../model/log-entry.ts';
import { type CommitOutcome, type FeedLog, type FeedLogOptions, openFeedLog } from './log.ts';
import { type WrittenFile, withChecksums } from './parquet.ts';
import type { ObjectStore } from './store.ts';
import { errorCode } from './store-error.ts';

/** Durable, or refused. */
export type WriterAnswer = Exclude<CommitAnswer, { readonly kind: 'applied' | 'refused' }>;

export type FeedWriterOptions = Omit<FeedLogOptions, 'store' | 'writer'> & {
  readonly store: ObjectStore;
  readonly compression: Compression;
  /** null: what this process commits does not depend on where the messages come from. */
  readonly topic: string | null;
  readonly clusterId: string | null;
};

export type FeedWriter = {
  readonly feed: string;
  readonly store: ObjectStore;
  readonly compression: Compression;
  readonly nowMs: () => number;
  readonly newId: () => string;
  /** Files that are staged lie in the folder of the log of then, whoever writes next. */
  log(): FeedLog;
  state(): FeedState;
  refresh(): Promise<FeedState>;
  propose(given: Partial<Proposal> & Pick<Proposal, 'kind'>): Proposal;
  commit(wanted: Proposal, signal: AbortSignal, mine?: FeedLog): Promise<WriterAnswer>;
  /** The same with files that are still to be read for their checksums. */
  commitFiles(
    written: readonly WrittenFile[],
    toProposal: (added: readonly LakeFile[]) => Proposal,
    parts: { readonly batch: string; readonly mine: FeedLog; readonly signal: AbortSignal },
  ): Promise<WriterAnswer>;
  /** Deletes what a batch has staged. Never throws. */
  discard(mine: FeedLog, batch: string): Promise<void>;
  tidy(): Promise<void>;
  close(): Promise<void>;
};

const ABANDONED_MS = 3_600_000;
const REMOVED_KEPT_MS = 24 * 3_600_000;
const SUPERSEDED_KEPT_MS = 10 * 60_000;

/** Opens the feed's log under a new writer id; a fenced writer opens it again under the next. */
export async function openFeedWriter(options: FeedWriterOptions): Promise<FeedWriter> {
  const { store, newId } = options;
  const open = (): Promise<FeedLog> => openFeedLog({ ...options, writer: newId() });
  let log = await open();
  const fenced = async (mine: FeedLog): Promise<WriterAnswer> => {
    if (log === mine) log = await open();
    return { kind: 'fenced', state: log.state() };
  };
  /** Whoever fences a writer takes its files away. */
  const filesGone = async (mine: FeedLog): Promise<WriterAnswer> => {
    const state = await mine.refresh();
    return state.fenced.has(mine.writer) ? fenced(mine) : { kind: 'conflict', reason: 'staged_files', state };
  };
  const commit = async (wanted: Proposal, signal: AbortSignal, mine = log): Promise<WriterAnswer> => {
    // A file that was there before stays, whatever comes of the commit.
    const staged = wanted.added.filter((file) => !isAdopted(file)).map((file) => file.staged);
    let outcome: CommitOutcome;
    try {
      outcome = await mine.commit(wanted, { signal });
    } catch (error) {
      // The log folds before it deletes: files of a commit whose answer was lost stay.
      await mine.discardStaged(staged).catch(() => undefined);
      throw error;
    }
    if (outcome.kind === 'committed') {
      const bytes = wanted.added.reduce((sum, file) => sum + file.bytes, 0);
      return { kind: 'committed', version: outcome.version, files: wanted.added.length, bytes, state: outcome.state };
    }
    await mine.discardStaged(staged);
    return outcome.kind === 'fenced' ? fenced(mine) : outcome;
  };
  const discard = async (mine: FeedLog, batch: string): Promise<void> => {
    try {
      const staged = await store.list(`${mine.stagingFolder}/${batch}`);
      await mine.discardStaged(staged.map(({ key }) => key));
    } catch {
      // What is left is swept with the writer's staging folder.
    }
  };
  return {
    feed: options.feed,
    store,
    compression: options.compression,
    nowMs: options.nowMs,
    newId,
    log: () => log,
    state: () => log.state(),
    refresh: () => log.refresh(),
    propose: (given) =>
      proposal({
        batch: newId(),
        epoch: log.state().epoch,
        schemaVersion: log.state().schema?.version ?? 0,
        clusterId: options.clusterId,
        topic: options.topic,
        ...given,
      }),
    commit,
    commitFiles: async (written, toProposal, { batch, mine, signal }) => {
      let added: readonly LakeFile[];
      try {
        added = await withChecksums(written, store.localPath);
      } catch (error) {
        await discard(mine, batch);
        if (errorCode(error) !== 'ENOENT') throw error;
        return filesGone(mine);
      }
      return commit(toProposal(added), signal, mine);
    },
    discard,
    tidy: async () => {
      await log.rollForward();
      // Who slept for an hour may have been fenced itself.
      if (log.state().fenced.has(log.writer)) log = await open();
      await log.cleanUpAbandoned({ ageMsMin: ABANDONED_MS });
      await log.sweepRemoved({ ageMsMin: REMOVED_KEPT_MS, supersededAgeMsMin: SUPERSEDED_KEPT_MS });
    },
    close: () => log.close(),
  };
}
