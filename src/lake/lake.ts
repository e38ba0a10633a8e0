// The lake as a target: per feed a commit log and a flush. The pipeline sees only `LakeFeed`.

import type { Compression } from '../config/config.ts';
import type { Connection } from '../duckdb/connection.ts';
import type { CommitAnswer, StagedBatch, WrittenBatch } from '../model/batch.ts';
import type { FeedState } from '../model/feed-state.ts';
import { type Gap, type LakeFile, type LogSchema, type Proposal, proposal } from '../model/log-entry.ts';
import { type CommitOutcome, type FeedLog, type FeedLogOptions, openFeedLog } from './log.ts';
import { flushParquet, withChecksums } from './parquet.ts';
import type { ObjectStore } from './store.ts';
import { errorCode } from './store-error.ts';

export type LakeFeed = {
  readonly name: 'lake';
  state(): FeedState;
  refresh(): Promise<FeedState>;
  /** Writes a batch's files; its tables are not needed afterwards. */
  write(connection: Connection, batch: StagedBatch): Promise<WrittenBatch>;
  /** Records offsets that Kafka no longer has, or that were left to others. */
  recordGaps(gaps: readonly Gap[], signal: AbortSignal): Promise<CommitAnswer>;
  /** Pins a schema; voids everything staged under the one before (R4 epoch). */
  pinSchema(schema: LogSchema, signal: AbortSignal): Promise<CommitAnswer>;
  /** Pins settings that must not change under the data. */
  pinConfig(values: Readonly<Record<string, string>>, signal: AbortSignal): Promise<CommitAnswer>;
  /** Remembers the feed as stopped until `feeds enable`. */
  stop(reason: string, signal: AbortSignal): Promise<CommitAnswer>;
  /** Clears the stop. */
  enable(signal: AbortSignal): Promise<CommitAnswer>;
  /** Finishes what other writers left, and takes away what is due; for idle minutes. */
  tidy(): Promise<void>;
  /** Leaves nothing of this writer behind but what it committed. */
  close(): Promise<void>;
};

export type LakeFeedOptions = Omit<FeedLogOptions, 'store' | 'writer'> & {
  readonly store: ObjectStore;
  readonly compression: Compression;
  /** null: what this process commits does not depend on where the messages come from. */
  readonly topic: string | null;
  readonly clusterId: string | null;
};

const ABANDONED_MS = 3_600_000;
const REMOVED_KEPT_MS = 24 * 3_600_000;

/** Opens the feed's log under a new writer id; a fenced writer opens it again under the next. */
export async function openLakeFeed(options: LakeFeedOptions): Promise<LakeFeed> {
  const open = (): Promise<FeedLog> => openFeedLog({ ...options, writer: options.newId() });
  let log = await open();
  const propose = (given: Partial<Proposal> & Pick<Proposal, 'kind'>): Proposal =>
    proposal({
      batch: options.newId(),
      epoch: log.state().epoch,
      schemaVersion: log.state().schema?.version ?? 0,
      clusterId: options.clusterId,
      topic: options.topic,
      ...given,
    });
  const fenced = async (mine: FeedLog): Promise<CommitAnswer> => {
    if (log === mine) log = await open();
    return { kind: 'fenced', state: log.state() };
  };
  /** Whoever fences a writer takes its files away. */
  const filesGone = async (mine: FeedLog): Promise<CommitAnswer> => {
    const state = await mine.refresh();
    return state.fenced.has(mine.writer) ? fenced(mine) : { kind: 'conflict', reason: 'staged_files', state };
  };
  const commit = async (wanted: Proposal, signal: AbortSignal, mine = log): Promise<CommitAnswer> => {
    const staged = wanted.added.map((file) => file.staged);
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
  const write = async (connection: Connection, batch: StagedBatch): Promise<WrittenBatch> => {
    const { store, compression } = options;
    // The files lie in this writer's folder, whoever writes next.
    const mine = log;
    const discard = async (): Promise<void> => {
      const staged = await store.list(`${mine.stagingFolder}/${batch.id}`);
      await mine.discardStaged(staged.map(({ key }) => key));
    };
    const flush = { stagingFolder: mine.stagingFolder, localPath: store.localPath, compression };
    // A full disk must not fill up further with halves of files.
    const givenUp = async (error: unknown): Promise<never> => {
      await discard().catch(() => undefined);
      throw error;
    };
    const written = await flushParquet(connection, batch, flush).catch(givenUp);
    const { id, epoch, schemaVersion, ranges } = batch;
    return {
      commit: async (signal) => {
        let added: readonly LakeFile[];
        try {
          added = await withChecksums(written, store.localPath);
        } catch (error) {
          if (errorCode(error) !== 'ENOENT') return givenUp(error);
          await discard().catch(() => undefined);
          return filesGone(mine);
        }
        return commit(propose({ kind: 'append', batch: id, epoch, schemaVersion, ranges, added }), signal, mine);
      },
      discard: () => discard().catch(() => undefined),
    };
  };
  return {
    name: 'lake',
    state: () => log.state(),
    refresh: () => log.refresh(),
    write,
    recordGaps: (gaps, signal) => commit(propose({ kind: 'gap', gaps }), signal),
    pinSchema: (schema, signal) => commit(propose({ kind: 'schema', schema }), signal),
    pinConfig: (values, signal) =>
      commit(propose({ kind: 'config', config: { replaces: log.state().config.version, values } }), signal),
    stop: (reason, signal) => commit(propose({ kind: 'stop', stop: { reason } }), signal),
    enable: (signal) => commit(propose({ kind: 'stop', stop: { reason: null } }), signal),
    tidy: async () => {
      await log.rollForward();
      // Who slept for an hour may have been fenced itself.
      if (log.state().fenced.has(log.writer)) log = await open();
      await log.cleanUpAbandoned({ ageMsMin: ABANDONED_MS });
      await log.sweepRemoved({ ageMsMin: REMOVED_KEPT_MS });
    },
    close: () => log.close(),
  };
}
