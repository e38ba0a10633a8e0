// Memory is bounded by bytes: what waits to be decoded, and what is staged and not durable yet, over all feeds of a pipeline.

import type { FeedRun } from './feed-run.ts';

export type Budget = {
  /** Bytes of chunks that may wait to be decoded. */
  readonly pendingBytesMax: number;
  /** Bytes of all batches that are not written. */
  readonly stagedBytesMax: number;
};

const sum = (runs: readonly FeedRun[], bytes: (run: FeedRun) => number): number => runs.reduce((all, run) => all + bytes(run), 0);

/** Whether another record set may be taken. A full batch waits for the ones before it. */
export function hasRoom(runs: readonly FeedRun[], budget: Budget): boolean {
  if (runs.some((run) => run.full && !run.commits.canClose)) return false;
  return (
    sum(runs, (run) => run.stage.pendingBytes) < budget.pendingBytesMax &&
    sum(runs, (run) => run.stagedBytes) < budget.stagedBytesMax
  );
}

/** The batch to close early because all together reach the budget; null: none has to, or none can. */
export function toRelieve(runs: readonly FeedRun[], budget: Budget): FeedRun | null {
  if (sum(runs, (run) => run.stagedBytes) < budget.stagedBytesMax) return null;
  const open = runs.filter((run) => run.stage.batch !== null && run.commits.canClose);
  return open.toSorted((a, b) => b.stage.facts().bytes - a.stage.facts().bytes)[0] ?? null;
}
