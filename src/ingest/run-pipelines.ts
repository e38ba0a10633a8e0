// The pipelines of one process beside each other: lake and warehouse, each with its own consumer group, positions and failure.
// Invariant: what stops one never stops the other (DESIGN §3); the run ends when both have ended.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { type Audit, openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import type { Feed } from '../model/feed.ts';
import { lakeFirst, type Pace } from '../model/pace.ts';
import { WAREHOUSE_STATE_PATH } from '../model/paths.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { openWarehouse } from '../warehouse/open-warehouse.ts';
import { patiently } from '../warehouse/patience.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import { isGivenUp } from './feed-errors.ts';
import { lakeTargets } from './lake-target.ts';
import type { PipelineResult } from './pipeline.ts';
import { type Progress, STALLED_MS_MAX } from './progress.ts';
import type { PipelineHealth, Readiness } from './readiness.ts';
import { type IngestOptions, runTarget } from './supervisor.ts';
import type { TargetName } from './target.ts';
import { warehouseTargets } from './warehouse-target.ts';

export type PipelinesOptions = Omit<IngestOptions, 'targets' | 'feeds' | 'audit' | 'health' | 'pace'> & {
  readonly readiness: Readiness;
  /** By target; a target without feeds is not opened. */
  readonly feeds: Readonly<Record<TargetName, readonly Feed[]>>;
};

export type TargetResult = {
  readonly target: TargetName;
  readonly result: PipelineResult;
};

/** Of the pipelines that ended by an error. */
export type TargetFailure = { readonly target: TargetName; readonly error: unknown };

/** When all have ended. Throws the error when all of them ended by one. */
export async function runPipelines(
  options: PipelinesOptions,
): Promise<{ readonly results: readonly TargetResult[]; readonly failures: readonly TargetFailure[] }> {
  const progress = addedUp(options.onProgress);
  const { feeds, log, store, nowMs } = options;
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const running: { readonly target: TargetName; readonly result: Promise<PipelineResult> }[] = [];
  const pace = lakeFirst();
  const start = (target: TargetName, run: (own: OwnOptions) => Promise<PipelineResult>): void => {
    const own = {
      ...options,
      audit,
      onProgress: progress(target),
      health: options.readiness.pipeline(target),
      pace: pace[target],
    };
    running.push({ target, result: run(own) });
  };
  if (feeds.lake.length > 0 || feeds.warehouse.length === 0)
    start('lake', (own) => runTarget({ ...own, feeds: feeds.lake, targets: lakeTargets(options.config) }));
  if (feeds.warehouse.length > 0) start('warehouse', runWarehouse);
  const results: TargetResult[] = [];
  const failures: TargetFailure[] = [];
  const ended = running.map(async ({ target, result }) => {
    try {
      results.push({ target, result: await result });
    } catch (error) {
      failures.push({ target, error });
      const known = error instanceof LakeError ? { code: error.code, reason: error.message, todo: error.todo } : null;
      const fields = known ?? { code: 'bug', reason: String(error) };
      options.readiness.pipeline(target).failed(fields.reason);
      // Said at once: the other pipeline may run for weeks. The one of a process is said when it ends.
      if (running.length > 1) log.error('pipeline_stopped', { target, ...fields });
    } finally {
      pace[target].tellBacklog(0n);
    }
  });
  await Promise.all(ended);
  await audit.end();
  if (results.length === 0) throw failures[0]?.error;
  return { results, failures };
}

/** A run until caught up gives up a little before it would be said to stall (ingest/stall): the reason is then the right one. */
const WAIT_MS_MAX = STALLED_MS_MAX - 20_000;

/** A server that hangs is given up this long after the run was told to stop; what was in hand is read again by the next one. */
const STOP_MS_MAX = 10_000;

type OwnOptions = PipelinesOptions & { readonly audit: Audit; readonly health: PipelineHealth; readonly pace: Pace };

/** A server that is away while nothing comes from Kafka is noticed all the same. */
const PING_MS = 2_000;

async function runWarehouse(options: OwnOptions): Promise<PipelineResult> {
  const { config, store, log, nowMs, newId, untilCaughtUp, audit, health } = options;
  const feeds = options.feeds.warehouse;
  const ended = new AbortController();
  const abort = AbortSignal.any([options.abort, ended.signal]);
  let late: ReturnType<typeof setTimeout> | undefined;
  const stopping = (): void => {
    late = setTimeout(() => ended.abort(), STOP_MS_MAX);
  };
  options.stop.addEventListener('abort', stopping, { once: true });
  if (options.stop.aborted) stopping();
  const patience = { log, nowMs, stop: options.stop, waitMsMax: untilCaughtUp ? WAIT_MS_MAX : null, health };
  const ofServer = { ...patience, feed: null };
  try {
    const { lakeId } = await openLake({ store, newId, nowMs });
    const embedded = {
      statePath: store.localPath(WAREHOUSE_STATE_PATH),
      publishEveryMs: config.batch.batchTimeoutSeconds * 1000,
    };
    await using warehouse = await openWarehouse(config.warehouse, { log, patience: ofServer, signal: abort, ...embedded });
    const setup = { lakeId, feeds: config.feeds, nowMs: nowMs(), compression: config.lake.compression };
    const tell = (entries: readonly AuditEntry[]): void => audit.append(entries.map((entry) => journalLine(entry, nowMs())));
    tell(await patiently(() => setUpWarehouse(warehouse, setup, abort), ofServer, abort));
    const targets = warehouseTargets({ config, warehouse, patience, tell });
    using _ping = options.readiness.isServed ? pinged(warehouse, health, abort) : null;
    return await runTarget({ ...options, feeds, abort, targets }).finally(() => ended.abort());
  } catch (error) {
    // Told to stop while it waited for the server: nothing was taken, nothing is lost.
    if (!options.stop.aborted || !isGivenUp(error)) throw error;
    log.warn('warehouse_given_up', { target: 'warehouse', code: error.code, reason: error.message, todo: error.todo });
    return { messages: new Map(), failures: new Map() };
  } finally {
    clearTimeout(late);
    options.stop.removeEventListener('abort', stopping);
  }
}

function pinged(warehouse: Warehouse, health: PipelineHealth, signal: AbortSignal): Disposable {
  const token = {};
  let isAsking = false;
  const ask = async (): Promise<void> => {
    if (isAsking) return;
    isAsking = true;
    try {
      await warehouse.run({ text: 'SELECT 1 AS one', values: [] }, signal);
      health.back(token);
    } catch (error) {
      health.waits(token, error instanceof Error ? error.message : String(error));
    } finally {
      isAsking = false;
    }
  };
  const timer = setInterval(() => void ask(), PING_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Each pipeline tells its own progress; what is shown is the sum. */
function addedUp(show: (progress: Progress) => void): (target: TargetName) => (progress: Progress) => void {
  const by = new Map<TargetName, Progress>();
  return (target) => (progress) => {
    by.set(target, progress);
    const all = [...by.values()];
    show({
      messages: all.reduce((sum, { messages }) => sum + messages, 0),
      done: all.reduce((sum, { done }) => sum + done, 0n),
      total: all.reduce<bigint | null>((sum, { total }) => (sum === null || total === null ? null : sum + total), 0n),
    });
  };
}
