// The lake as a target: per feed a commit log and a flush. The pipeline sees only `LakeFeed`.

import type { Connection } from '../duckdb/connection.ts';
import type { CommitAnswer, StagedBatch, WrittenBatch } from '../model/batch.ts';
import type { FeedState } from '../model/feed-state.ts';
import type { Gap, LogSchema } from '../model/log-entry.ts';
import { type FeedWriter, type FeedWriterOptions, openFeedWriter } from './feed-writer.ts';
import { flushParquet } from './parquet.ts';

export type LakeFeed = {
  readonly name: 'lake';
  /** For a table, whose batches become publishes (lake-table.ts). */
  readonly writer: FeedWriter;
  state(): FeedState;
  refresh(): Promise<FeedState>;
  /** Folds what is new, and answers whether the feed was rewound since the last `refresh`. */
  look(): Promise<boolean>;
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

/** Opens the feed's log under a new writer id; a fenced writer opens it again under the next. */
export async function openLakeFeed(options: FeedWriterOptions): Promise<LakeFeed> {
  const writer = await openFeedWriter(options);
  const { propose, commit, store, compression } = writer;
  let { rewoundVersion } = writer.state();
  const write = async (connection: Connection, batch: StagedBatch): Promise<WrittenBatch> => {
    const mine = writer.log();
    const { id, epoch, schemaVersion, ranges } = batch;
    const flush = { stagingFolder: mine.stagingFolder, localPath: store.localPath, compression };
    // A full disk must not fill up further with halves of files.
    const written = await flushParquet(connection, batch, flush).catch(async (error: unknown) => {
      await writer.discard(mine, id);
      throw error;
    });
    return {
      commit: (signal) =>
        writer.commitFiles(written, (added) => propose({ kind: 'append', batch: id, epoch, schemaVersion, ranges, added }), {
          batch: id,
          mine,
          signal,
        }),
      discard: () => writer.discard(mine, id),
    };
  };
  return {
    name: 'lake',
    writer,
    state: writer.state,
    refresh: async () => {
      const state = await writer.refresh();
      rewoundVersion = state.rewoundVersion;
      return state;
    },
    look: async () => (await writer.refresh()).rewoundVersion > rewoundVersion,
    write,
    recordGaps: (gaps, signal) => commit(propose({ kind: 'gap', gaps }), signal),
    pinSchema: (schema, signal) => commit(propose({ kind: 'schema', schema }), signal),
    pinConfig: (values, signal) =>
      commit(propose({ kind: 'config', config: { replaces: writer.state().config.version, values } }), signal),
    stop: (reason, signal) => commit(propose({ kind: 'stop', stop: { reason } }), signal),
    enable: (signal) => commit(propose({ kind: 'stop', stop: { reason: null } }), signal),
    tidy: writer.tidy,
    close: writer.close,
  };
}
