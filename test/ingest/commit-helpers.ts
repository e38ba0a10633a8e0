// The commits of a feed into a real lake in a temporary folder, from a real stage: the disk and the engine are waited at or fail
// on demand, and another process commits to the same feed.
import { expect } from 'bun:test';
import { Changes } from '../../src/ingest/changes.ts';
import { decodePlan } from '../../src/ingest/decode.ts';
import { FeedCommits } from '../../src/ingest/feed-commits.ts';
import type { WorkQueue } from '../../src/ingest/stage.ts';
import { DURABLE_AT_ONCE } from '../../src/ingest/target.ts';
import { openLakeFeed } from '../../src/lake/lake.ts';
import { openLakeTable } from '../../src/lake/lake-table.ts';
import { readEntry } from '../../src/lake/read-log.ts';
import { createLog } from '../../src/log.ts';
import { lineageColumns, valueColumns } from '../../src/model/columns.ts';
import { schemaVersionOf } from '../../src/model/feed-state.ts';
import { firstRule } from '../../src/model/snapshot-rules.ts';
import { faulty, type StoreCall } from '../helpers/faulty-store.ts';
import { FEED, filesUnder, lakeFolder, newId, noSignal, positionsOf, rangeOf, stageAppend } from '../helpers/lake-folder.ts';
import { until } from '../helpers/until.ts';
import { feedOf } from './decode-helpers.ts';
import { feed as anyFeed, type Message, openStage, recordSet } from './stage-helpers.ts';

export const STAGING = `_lake/feeds/${FEED}/staging`;

const stream = feedOf(anyFeed.fields ?? [], { name: FEED, topic: 'shop.orders' });

/** The commits of one process, of a stream or of a table with the key `id`. `atDisk` comes before each call of its store, `flushing` and `flushed` round the writing of a batch. */
export async function openCommits({ isTable = false } = {}) {
  const feed = isTable ? { ...stream, type: 'table' as const, keyFields: ['id'] } : stream;
  const folder = await lakeFolder();
  const hooks = {
    atDisk: (_call: StoreCall): Promise<void> | void => undefined,
    flushing: async (): Promise<void> => undefined,
    flushed: async (): Promise<void> => undefined,
    grows: false,
  };
  const store = faulty(folder.store, { before: (call) => hooks.atDisk(call) });
  const lake = await openLakeFeed({
    store,
    compression: 'snappy',
    feed: FEED,
    topic: feed.topic,
    clusterId: 'cluster-1',
    nowMs: Date.now,
    newId,
  });
  const bench = await openStage(() => ({
    feed: FEED,
    topic: feed.topic,
    newId,
    inForce: () => ({
      plan: decodePlan(feed, { timezone: 'UTC', schemaVersion: schemaVersionOf(lake.state()) }),
      epoch: lake.state().epoch,
    }),
    highestMs: isTable ? () => null : null,
    widen: async () => hooks.grows,
  }));
  const queue = await bench.queue();
  const flush: WorkQueue = (work) =>
    queue(async (connection) => {
      await hooks.flushing();
      const written = await work(connection);
      await hooks.flushed();
      return written;
    });
  /** Events of the log, with their reason. */
  const told: string[] = [];
  const log = createLog({
    level: 'info',
    format: 'json',
    now: () => new Date(),
    write: (line) => {
      const { event, reason } = JSON.parse(line);
      told.push(reason ? `${event} ${reason}` : event);
    },
  });
  const { stage } = bench;
  const target = isTable
    ? openLakeTable({
        lake,
        topic: feed.topic,
        engine: await bench.queue(),
        keyColumns: feed.keyFields,
        keyTypes: () => [],
        columns: () => ({
          schemaVersion: schemaVersionOf(lake.state()),
          columns: [...valueColumns(feed), ...lineageColumns(feed)],
        }),
        rules: () => firstRule({ snapshotEvery: 'day', timezone: 'UTC' }),
        publishEveryMs: 0,
        deltaBytesMax: 1 << 30,
      })
    : { ...lake, ...DURABLE_AT_ONCE };
  const signal = noSignal;
  const commits = new FeedCommits({
    feed,
    target,
    control: lake,
    stage,
    flush,
    changes: new Changes(),
    log,
    nowMs: Date.now,
    signal,
  });
  const staged = () => filesUnder(folder.root, STAGING);
  return {
    ...{ folder, lake, stage, commits, hooks, told, staged, tables: bench.tables },
    /** Bytes of all chunks so far. */
    sealed: () => bench.told.sealed,
    take: async (messages: readonly Message[], partition = 0) =>
      stage.take(await recordSet(messages, { partition }), BigInt(messages[0]?.offset ?? 0), null),
    target,
    publish: (): Promise<unknown> => commits.publish().catch((error: unknown) => error),
    /** The outcome, or what was thrown. */
    close: (): Promise<unknown> => commits.commit().catch((error: unknown) => error),
    /** Every batch that is closed is written, in so many files; none is committed. */
    written: (files: number) => until(async () => staged().length === files && (await bench.tables()).length === 0),
    /** As the pipeline does before it reads from the target's positions. */
    restart: async () => {
      await stage.drop();
      commits.restart();
      await target.forget();
    },
    /** What the log holds, in order. */
    entries: async () => {
      const found: string[] = [];
      for (let version = 1; ; version++) {
        const entry = await readEntry(folder.store, FEED, version);
        if (!entry) return found;
        found.push([entry.kind, ...entry.ranges.map((range) => `${range.partition}:${range.start}-${range.end}`)].join(' '));
      }
    },
    positions: async () => positionsOf(await folder.state()),
    /** Another process commits. */
    other: async (start: number, end: number) => {
      const log = await folder.open();
      expect((await log.commit(stageAppend(log, folder.store, [rangeOf(start, end)]), { signal: noSignal })).kind).toBe(
        'committed',
      );
      await log.close();
    },
    [Symbol.asyncDispose]: async () => {
      await bench[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
export type Bench = Awaited<ReturnType<typeof openCommits>>;
