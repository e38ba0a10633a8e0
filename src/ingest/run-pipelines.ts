// The pipelines of one process beside each other: lake and warehouse, each with its own consumer group, positions and failure.
// Invariant: what stops one never stops the other (DESIGN §3); the run ends when both have ended.

import type { Config, MysqlConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import { openLake } from '../lake/lake-identity.ts';
import type { Feed } from '../model/feed.ts';
import { openWarehouse } from '../warehouse/open-warehouse.ts';
import { patiently } from '../warehouse/patience.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import { lakeTargets } from './lake-target.ts';
import type { PipelineResult, Progress } from './pipeline.ts';
import { type IngestOptions, runTarget } from './supervisor.ts';
import type { TargetName } from './target.ts';
import { warehouseTargets } from './warehouse-target.ts';

export type PipelinesOptions = Omit<IngestOptions, 'targets' | 'feeds'> & {
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
  const running: Promise<TargetResult>[] = [];
  if (options.feeds.lake.length > 0 || options.feeds.warehouse.length === 0) {
    const lake = { ...options, feeds: options.feeds.lake, targets: lakeTargets(options.config), onProgress: progress('lake') };
    running.push(runTarget(lake).then((result) => ({ target: 'lake', result })));
  }
  if (options.feeds.warehouse.length > 0) {
    running.push(runWarehouse(options, progress('warehouse')).then((result) => ({ target: 'warehouse', result })));
  }
  const told = running.map((one) =>
    one.catch((error: unknown) => {
      // Said at once: the other pipeline may run for weeks.
      if (running.length > 1 && error instanceof LakeError)
        options.log.error('pipeline_stopped', { target: error.where.target, code: error.code, reason: error.message });
      throw error;
    }),
  );
  const ended = await Promise.allSettled(told);
  const results: TargetResult[] = [];
  for (const one of ended) {
    if (one.status === 'rejected') throw one.reason;
    results.push(one.value);
  }
  return results;
}

async function runWarehouse(options: PipelinesOptions, onProgress: (progress: Progress) => void): Promise<PipelineResult> {
  const { config, store, log, nowMs, newId } = options;
  const stop = AbortSignal.any([options.stop, options.abort]);
  const { lakeId } = await openLake({ store, newId, nowMs });
  await using warehouse = await openWarehouse(mysqlOf(config), { log, nowMs, signal: stop });
  const feeds = options.feeds.warehouse;
  const setup = { lakeId, feeds: config.feeds, nowMs: nowMs(), compression: config.lake.compression };
  await patiently(() => setUpWarehouse(warehouse, setup, stop), { feed: '', log, nowMs }, stop);
  return await runTarget({ ...options, feeds, onProgress, targets: warehouseTargets({ config, warehouse, log, nowMs }) });
}

function mysqlOf(config: Config): MysqlConfig {
  if (config.warehouse.engine === 'mysql') return config.warehouse;
  throw new LakeError('usage', 'the embedded warehouse is not part of this version; name a MySQL server in warehouse');
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
