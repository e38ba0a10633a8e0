// Opens what a run needs (lake, DuckDB, Kafka, one run a feed), runs the pipeline, closes everything again.
// What can be refused is refused here, before the first message is taken.

import { connectAdmin, type KafkaAdmin } from '../broker/client.ts';
import { clusterId, topicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Audit } from '../lake/audit.ts';
import { openLakeFeed } from '../lake/lake.ts';
import { openLake } from '../lake/lake-identity.ts';
import { openSpillFolder } from '../lake/spill-folder.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import { unknownFieldLine } from '../model/journal.ts';
import type { Pace } from '../model/pace.ts';
import { Changes } from './changes.ts';
import { collectEvery, DECODERS, GARBAGE_BYTES, openEngine, workPool, workQueue } from './engine.ts';
import { FEED_ERRORS, stoppedError } from './feed-errors.ts';
import { FeedRun } from './feed-run.ts';
import { FeedRuns } from './feed-runs.ts';
import { feedSchema } from './feed-schema.ts';
import { feedStarts } from './feed-start.ts';
import type { TargetKind } from './lake-target.ts';
import { lateStop } from './late-stop.ts';
import { openBoundary } from './open-boundary.ts';
import { pinTable } from './pins.ts';
import { type PipelineResult, runPipeline } from './pipeline.ts';
import type { Progress } from './progress.ts';
import type { PipelineHealth } from './readiness.ts';
import type { Follow } from './reconfigure.ts';
import { Stage, type WorkQueue } from './stage.ts';
import type { WantedFeeds } from './wanted-feeds.ts';

export type IngestOptions = {
  readonly config: Config;
  readonly audit: Audit;
  /** The lake's, open for writing. */
  readonly store: ObjectStore;
  /** Those of the target. */
  readonly wanted: WantedFeeds;
  /** What the target needs before a feed that came later is opened. */
  readonly prepare?: () => Promise<void>;
  readonly targets: TargetKind;
  readonly untilCaughtUp: boolean;
  readonly onGap: 'stop' | 'record';
  readonly log: Log;
  readonly nowMs: () => number;
  readonly newId: () => string;
  readonly stop: AbortSignal;
  readonly abort: AbortSignal;
  /** Frees what is unreachable, now; null where the runtime decides alone. */
  readonly collectGarbage: (() => void) | null;
  readonly onProgress: (progress: Progress) => void;
  readonly health: PipelineHealth;
  readonly pace: Pace;
};

/** Bytes of chunks under way: two are decoded, two more wait, so that neither decoder waits for Kafka. */
const PENDING_BYTES_MAX = 16 * 1024 * 1024;

/** A Kafka that hangs is asked nothing more this long after the run was told to stop. */
const KAFKA_STOP_MS_MAX = 5_000;

/** The pipeline of one target over the given feeds. Throws LakeError; nothing that was committed is ever taken back. */
export async function runTarget(options: IngestOptions): Promise<PipelineResult> {
  const { config, log, store, targets } = options;
  await openLake({ store, newId: options.newId, nowMs: options.nowMs });
  using late = lateStop(options.stop, KAFKA_STOP_MS_MAX);
  await using broker = await connectAdmin(config.kafka, log, late.signal);
  const cluster = await clusterId(broker.admin, config.kafka);
  // A full batch that is written, and half of one that fills meanwhile.
  const stagedBytesMax = 1.5 * config.batch.batchBytes * targets.growth.bytes;
  await using spill = await openSpillFolder(store, options);
  await using database = await openEngine(spill.path, stagedBytesMax);
  const decode = await workPool(database, DECODERS);
  const flush = await workQueue(database);
  const changes = new Changes();
  const stop = AbortSignal.any([options.stop, options.abort]);
  const sealed = collectEvery(GARBAGE_BYTES, options.collectGarbage);
  const engine = () => workQueue(database);
  const parts = { options, admin: broker.admin, cluster, engine, decode, flush, changes, sealed };
  const feeds = options.wanted.of(targets.name);
  const opened: FeedRun[] = [];
  let runs: FeedRuns | null = null;
  await using _logs = { [Symbol.asyncDispose]: () => closeAll(runs?.all ?? opened) };
  const failures = await openRuns(feeds, parts, opened);
  runs = new FeedRuns(opened, failures, feeds);
  // Awaited here: what is opened above must outlive it.
  return await runPipeline({
    config,
    groupId: targets.groupId,
    admin: broker.admin,
    runs,
    follow: followed(options, (feed) => openRun(feed, parts)),
    changes,
    untilCaughtUp: options.untilCaughtUp,
    budget: { pendingBytesMax: PENDING_BYTES_MAX, stagedBytesMax },
    log,
    nowMs: options.nowMs,
    stop,
    onProgress: options.onProgress,
    health: options.health,
    pace: options.pace,
  });
}

/** null: the run has an end, and the feeds that it began with. */
function followed(options: IngestOptions, open: (feed: Feed) => Promise<FeedRun>): Follow | null {
  const { wanted, targets, prepare = async () => undefined } = options;
  if (!wanted.mayChange) return null;
  const { name: target } = targets;
  return { target, wanted: () => wanted.of(target), open, prepare, changed: (listener) => wanted.follow(listener) };
}

async function closeAll(runs: readonly FeedRun[]): Promise<void> {
  for (const run of runs) await run.close().catch(() => undefined);
}

type RunParts = {
  readonly options: IngestOptions;
  readonly admin: KafkaAdmin;
  readonly cluster: string;
  readonly engine: () => Promise<WorkQueue>;
  readonly decode: WorkQueue;
  readonly flush: WorkQueue;
  readonly changes: Changes;
  readonly sealed: (bytes: number) => void;
};

/** Into `runs`, to be closed whatever comes. A feed that cannot be opened is left out; the others run. */
async function openRuns(feeds: readonly Feed[], parts: RunParts, runs: FeedRun[]): Promise<Map<string, LakeError>> {
  const failures = new Map<string, LakeError>();
  for (const feed of feeds) {
    try {
      runs.push(await openRun(feed, parts));
    } catch (error) {
      if (!(error instanceof LakeError) || !FEED_ERRORS.has(error.code)) throw error;
      parts.options.log.error('feed_stopped', {
        feed: feed.name,
        target: parts.options.targets.name,
        code: error.code,
        reason: error.message,
      });
      failures.set(feed.name, error);
    }
  }
  return failures;
}

async function openRun(feed: Feed, parts: RunParts): Promise<FeedRun> {
  const { options, admin, cluster, decode, flush, changes } = parts;
  const { config, store, targets, log, nowMs, newId, abort, audit } = options;
  const bounds = await topicBounds(admin, config.kafka, feed.topic);
  const control = await openLakeFeed({
    store,
    feed: feed.name,
    topic: feed.topic,
    clusterId: cluster,
    compression: config.lake.compression,
    nowMs,
    newId,
    onEvent: ({ level, event, ...fields }) =>
      log[level](event, { feed: feed.name, version: fields.version, reason: fields.detail }),
    onEntry: audit.entry,
  });
  await audit.recover(feed.name, control.state().version);
  checkSource(feed, control.state(), cluster);
  await pinTable({ feed, control, timezone: config.lake.timezone, log, nowMs, signal: abort });
  const schema = feedSchema({ feed, lake: control, timezone: config.lake.timezone, log, signal: abort });
  await schema.pinDeclared(() => targets.hasRows({ feed, control, signal: abort }));
  const target = await targets.open({ feed, config, control, clusterId: cluster, engine: parts.engine, signal: abort });
  // A run with nothing to read never joins the group, and `latest` means this moment all the same.
  if (feed.start.kind === 'latest')
    await feedStarts({ feed, control, target, admin, config, groupId: targets.groupId, bounds, signal: abort });
  await target.tidy();
  return new FeedRun({
    feed,
    config,
    groupId: targets.groupId,
    admin,
    target,
    control,
    boundary: openBoundary({ feed, target, control, store, config, admin, newId, log, nowMs }),
    stage: new Stage({
      feed: feed.name,
      topic: feed.topic,
      eventTime: feed.eventTime,
      highestMs: feed.type === 'table' ? (partition) => target.state().positions.get(partition)?.timestampMsMax ?? null : null,
      // A table that is read anew is folded in the engine.
      takesMemory: () => targets.eager && (target.rebuild?.phase() ?? 'none') === 'none',
      newId,
      nowMs,
      decode,
      inForce: schema.inForce,
      infer: schema.infer,
      widen: schema.widen,
      slowed: (reason) => log.warn('decode_slowed', { feed: feed.name, reason }),
      sealed: parts.sealed,
      changed: () => changes.notify(),
    }),
    flush,
    changes,
    limits: {
      messagesMax: config.batch.batchSize * targets.growth.messages,
      bytesMax: config.batch.batchBytes * targets.growth.bytes,
      ageMsMax: config.batch.batchTimeoutSeconds * 1000,
    },
    eager: targets.eager,
    onGap: options.onGap,
    driftSeen: (names) =>
      audit.appendOnce(names.map((field) => unknownFieldLine({ feed: feed.name, field, atMs: nowMs(), actor: audit.actor }))),
    log,
    nowMs,
    signal: abort,
  });
}

/** PROTOCOL K4: positions belong to one topic of one cluster. */
function checkSource(
  feed: Feed,
  state: { clusterId: string | null; topic: string | null; stopped: { reason: string; at: string } | null },
  cluster: string,
): void {
  const where = { feed: feed.name, topic: feed.topic, target: 'lake' };
  if (state.stopped) throw stoppedError(feed, state.stopped, 'lake');
  if (state.clusterId !== null && state.clusterId !== cluster) {
    throw new LakeError(
      'cluster_changed',
      `feed ${feed.name} was read from cluster ${state.clusterId}; bootstrap_servers now lead to ${cluster}`,
      { where },
    );
  }
  if (state.topic !== null && state.topic !== feed.topic) {
    throw new LakeError(
      'topic_recreated',
      `feed ${feed.name} was read from topic ${state.topic}; the configuration now says ${feed.topic}`,
      { where },
    );
  }
}
