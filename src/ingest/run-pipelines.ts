// The pipelines of one process beside each other: lake and warehouse, each with its own consumer group, positions and failure.
// Invariant: what stops one never stops the other (DESIGN §3); the run ends when both have ended.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { type Audit, openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import type { Feed } from '../model/feed.ts';
import { WAREHOUSE_STATE_PATH } from '../model/paths.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { openWarehouse } from '../warehouse/open-warehouse.ts';
import { patiently } from '../warehouse/patience.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import { isGivenUp } from './feed-errors.ts';
import { lakeTargets } from './lake-target.ts';
import type { PipelineResult } from './pipeline.ts';
import { type Progress, STALLED_MS_MAX } from './progress.ts';
import { type IngestOptions, runTarget } from './supervisor.ts';
import type { TargetName } from './target.ts';
import { warehouseTargets } from './warehouse-target.ts';

export type PipelinesOptions = Omit<IngestOptions, 'targets' | 'feeds' | 'audit'> & {
  /** By target; a target without feeds is not opened. */
  readonly feeds: Readonly<Record<TargetName, readonly Feed[]>>;
};

export type TargetResult = {
  readonly target: TargetName;
  readonly result: PipelineResult;
};

/** Throws the error of a pipeline that ended by one, when both have ended. */
export async function runPipelines(options: PipelinesOptions): Promise<readonly TargetResult[]> {
  const progress = addedUp(options.onProgress);
  const { feeds, log, store, nowMs } = options;
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const running: Promise<TargetResult>[] = [];
  const start = (target: TargetName, run: () => Promise<PipelineResult>): void => {
    running.push(run().then((result) => ({ target, result })));
  };
  if (feeds.lake.length > 0 || feeds.warehouse.length === 0)
    start('lake', () =>
      runTarget({ ...options, audit, feeds: feeds.lake, targets: lakeTargets(options.config), onProgress: progress('lake') }),
    );
  if (feeds.warehouse.length > 0) start('warehouse', () => runWarehouse({ ...options, audit }, progress('warehouse')));
  const isOne = running.length === 1;
  const told = running.map((one, index) =>
    one.catch((error: unknown) => {
      // Said at once: the other pipeline may run for weeks. The one of a process is said when it ends.
      if (!isOne) {
        const known = error instanceof LakeError ? { code: error.code, reason: error.message, todo: error.todo } : null;
        log.error('pipeline_stopped', {
          target: index === 0 ? 'lake' : 'warehouse',
          ...(known ?? { code: 'bug', reason: String(error) }),
        });
      }
      throw error;
    }),
  );
  const ended = await Promise.allSettled(told);
  await audit.end();
  const results: TargetResult[] = [];
  for (const one of ended) {
    if (one.status === 'rejected') throw one.reason;
    results.push(one.value);
  }
  return results;
}

/** A run until caught up gives up a little before it would be said to stall (ingest/stall): the reason is then the right one. */
const WAIT_MS_MAX = STALLED_MS_MAX - 20_000;

/** A server that hangs is given up this long after the run was told to stop; what was in hand is read again by the next one. */
const STOP_MS_MAX = 10_000;

async function runWarehouse(
  options: PipelinesOptions & { readonly audit: Audit },
  onProgress: (progress: Progress) => void,
): Promise<PipelineResult> {
  const { config, store, log, nowMs, newId, untilCaughtUp, audit } = options;
  const feeds = options.feeds.warehouse;
  const ended = new AbortController();
  const abort = AbortSignal.any([options.abort, ended.signal]);
  let late: ReturnType<typeof setTimeout> | undefined;
  const stopping = (): void => {
    late = setTimeout(() => ended.abort(), STOP_MS_MAX);
  };
  options.stop.addEventListener('abort', stopping, { once: true });
  if (options.stop.aborted) stopping();
  const patience = { log, nowMs, stop: options.stop, waitMsMax: untilCaughtUp ? WAIT_MS_MAX : null };
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
    return await runTarget({ ...options, feeds, abort, onProgress, targets }).finally(() => ended.abort());
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
