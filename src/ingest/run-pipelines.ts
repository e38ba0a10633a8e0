// The pipelines of one process beside each other: lake and warehouse, each with its own consumer group, positions and failure.
// Invariant: what stops one never stops the other (DESIGN §3); the run ends when both have ended.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { type Audit, openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import { lakeFirst, type Pace } from '../model/pace.ts';
import { WAREHOUSE_STATE_PATH } from '../model/paths.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { openWarehouse } from '../warehouse/open-warehouse.ts';
import { patiently } from '../warehouse/patience.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import { Changes } from './changes.ts';
import { isGivenUp } from './feed-errors.ts';
import { lakeTargets } from './lake-target.ts';
import { lateStop } from './late-stop.ts';
import type { PipelineResult } from './pipeline.ts';
import { type Progress, STALLED_MS_MAX } from './progress.ts';
import type { PipelineHealth, Readiness } from './readiness.ts';
import { type IngestOptions, runTarget } from './supervisor.ts';
import type { TargetName } from './target.ts';
import { warehouseTargets } from './warehouse-target.ts';

export type PipelinesOptions = Omit<IngestOptions, 'targets' | 'audit' | 'health' | 'pace' | 'prepare'> & {
  readonly readiness: Readiness;
};

export type TargetResult = {
  readonly target: TargetName;
  readonly result: PipelineResult;
};

/** Of the pipelines that ended by an error. */
export type TargetFailure = { readonly target: TargetName; readonly error: unknown };

const TARGETS = ['lake', 'warehouse'] as const satisfies readonly TargetName[];

/** When all have ended, and no feed is waited for. Throws the error when all of them ended by one. */
export async function runPipelines(
  options: PipelinesOptions,
): Promise<{ readonly results: readonly TargetResult[]; readonly failures: readonly TargetFailure[] }> {
  const progress = addedUp(options.onProgress);
  const { wanted, log, store, nowMs, stop } = options;
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const pace = lakeFirst();
  const changes = new Changes();
  const running = new Set<TargetName>();
  const results = new Map<TargetName, PipelineResult>();
  const failures = new Map<TargetName, unknown>();
  const isWanted = (target: TargetName): boolean => wanted.of(target).length > 0;
  const failed = (target: TargetName, error: unknown): void => {
    failures.set(target, error);
    const known = error instanceof LakeError ? { code: error.code, reason: error.message, todo: error.todo } : null;
    const fields = known ?? { code: 'bug', reason: String(error) };
    options.readiness.pipeline(target).failed(fields.reason);
    // Said at once: the other pipeline may run for weeks. The one of a process is said when it ends.
    if (TARGETS.every(isWanted)) log.error('pipeline_stopped', { target, ...fields });
  };
  const begin = async (target: TargetName): Promise<void> => {
    if (running.has(target)) return;
    running.add(target);
    failures.delete(target);
    const health = options.readiness.pipeline(target);
    health.begins();
    try {
      const own = { ...options, audit, onProgress: progress(target), health, pace: pace[target] };
      const result = await PIPELINES[target](own)
        .catch((error: unknown) => givenUp(error, target, options))
        .finally(() => pace[target].tellBacklog(0n));
      results.set(target, addedTo(results.get(target), result));
      running.delete(target);
      // A feed that became wanted while it was ending.
      if (wanted.mayChange && !stop.aborted && wanted.of(target).some(({ name }) => !result.failures.has(name)))
        await begin(target);
      endUnwanted(target);
    } catch (error) {
      running.delete(target);
      failed(target, error);
    } finally {
      changes.notify();
    }
  };
  const endUnwanted = (target: TargetName): void => {
    if (wanted.mayChange && !isWanted(target) && !running.has(target)) options.readiness.pipeline(target).ends();
  };
  const beginWanted = (): void => {
    for (const target of TARGETS) {
      if (isWanted(target)) void begin(target);
      else endUnwanted(target);
    }
  };
  const stopped = (): void => changes.notify();
  stop.addEventListener('abort', stopped, { once: true });
  using _follow = wanted.follow(() => {
    if (!stop.aborted) beginWanted();
  });
  beginWanted();
  if (running.size === 0) void begin('lake');
  await changes.until(() => running.size === 0 && (!wanted.mayChange || stop.aborted || TARGETS.some(isWanted)));
  stop.removeEventListener('abort', stopped);
  await audit.end();
  const ended = [...results].filter(([target]) => !failures.has(target)).map(([target, result]) => ({ target, result }));
  const [first] = failures.values();
  if (ended.length === 0 && failures.size > 0) throw first;
  return { results: ended, failures: [...failures].map(([target, error]) => ({ target, error })) };
}

/** What stopped a feed that has been taken up again since is of the past. */
function addedTo(before: PipelineResult | undefined, { messages, failures }: PipelineResult): PipelineResult {
  if (!before) return { messages, failures };
  const names = new Set([...before.messages.keys(), ...messages.keys()]);
  const sum = (name: string): number => (before.messages.get(name) ?? 0) + (messages.get(name) ?? 0);
  return { messages: new Map([...names].map((name) => [name, sum(name)])), failures };
}

/** Told to stop while it waited for a server: what was in hand is read again by the next run, nothing is lost. */
function givenUp(error: unknown, target: TargetName, { stop, log }: PipelinesOptions): PipelineResult {
  if (!stop.aborted || !isGivenUp(error)) throw error;
  log.warn('pipeline_given_up', { target, code: error.code, reason: error.message, todo: error.todo });
  return { messages: new Map(), failures: new Map() };
}

/** A run until caught up gives up a little before it would be said to stall (ingest/stall): the reason is then the right one. */
const WAIT_MS_MAX = STALLED_MS_MAX - 20_000;

/** A server that hangs is given up this long after the run was told to stop; what was in hand is read again by the next one. */
const STOP_MS_MAX = 10_000;

type OwnOptions = PipelinesOptions & { readonly audit: Audit; readonly health: PipelineHealth; readonly pace: Pace };

const PIPELINES: Readonly<Record<TargetName, (options: OwnOptions) => Promise<PipelineResult>>> = {
  lake: (options) => runTarget({ ...options, targets: lakeTargets(options.config) }),
  warehouse: runWarehouse,
};

/** A server that is away while nothing comes from Kafka is noticed all the same. */
const PING_MS = 2_000;

async function runWarehouse(options: OwnOptions): Promise<PipelineResult> {
  const { config, store, log, nowMs, newId, untilCaughtUp, audit, health, wanted } = options;
  const ended = new AbortController();
  using late = lateStop(options.stop, STOP_MS_MAX);
  const abort = AbortSignal.any([options.abort, ended.signal, late.signal]);
  const patience = { log, nowMs, stop: options.stop, waitMsMax: untilCaughtUp ? WAIT_MS_MAX : null, health };
  const ofServer = { ...patience, feed: null };
  const { lakeId } = await openLake({ store, newId, nowMs });
  const embedded = {
    statePath: store.localPath(WAREHOUSE_STATE_PATH),
    publishEveryMs: config.batch.batchTimeoutSeconds * 1000,
  };
  await using warehouse = await openWarehouse(config.warehouse, { log, patience: ofServer, signal: abort, ...embedded });
  const tell = (entries: readonly AuditEntry[]): void => audit.append(entries.map((entry) => journalLine(entry, nowMs())));
  const prepare = async (): Promise<void> => {
    const setup = { lakeId, feeds: wanted.every, nowMs: nowMs(), compression: config.lake.compression };
    tell(await patiently(() => setUpWarehouse(warehouse, setup, abort), ofServer, abort));
  };
  await prepare();
  const targets = warehouseTargets({ config, warehouse, patience, tell });
  using _ping = options.readiness.isServed ? pinged(warehouse, health, abort) : null;
  return await runTarget({ ...options, abort, targets, prepare }).finally(() => ended.abort());
}

function pinged(warehouse: Warehouse, health: PipelineHealth, signal: AbortSignal): Disposable {
  const token = {};
  let isAsking = false;
  let isOver = false;
  const ask = async (): Promise<void> => {
    if (isAsking) return;
    isAsking = true;
    try {
      await warehouse.run({ text: 'SELECT 1 AS one', values: [] }, signal);
      health.back(token);
    } catch (error) {
      if (!isOver) health.waits(token, error instanceof Error ? error.message : String(error));
    } finally {
      isAsking = false;
    }
  };
  const timer = setInterval(() => void ask(), PING_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      isOver = true;
      health.back(token);
    },
  };
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
