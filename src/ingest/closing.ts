// When a feed's batch closes and when a table is published, and what follows from either: group offsets, or reading again.

import { LakeError } from '../errors.ts';
import type { Boundary } from './boundary.ts';
import type { Changes } from './changes.ts';
import type { RunOutcome } from './feed-commits.ts';
import type { FeedRun } from './feed-run.ts';
import type { Goal } from './goal.ts';
import type { Membership } from './membership.ts';

export type ClosingOptions = {
  /** null: the run has no end. */
  readonly goal: () => Goal | null;
  readonly membership: Membership;
  readonly over: () => boolean;
  readonly isLive: (run: FeedRun) => boolean;
  readonly failed: (run: FeedRun, error: unknown) => void;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

export class Closing {
  private readonly options: ClosingOptions;
  private readonly ending = new Set<FeedRun>();

  constructor(options: ClosingOptions) {
    this.options = options;
  }

  /** Starts what is due; what it comes to is followed up, and a failure is the feed's. */
  closeDue(run: FeedRun): void {
    const { commits, stage, target } = run;
    const goal = this.options.goal();
    const isLast = goal?.allTaken(run) === true && goal.left([run]) > 0n;
    if (commits.canClose && stage.batch !== null && (run.due || stage.failed || isLast)) this.commit(run).catch(() => undefined);
    if (!commits.canPublish) return;
    const isTaken = isLast && stage.batch === null && !commits.busy;
    if (isTaken || target.publishDue(this.options.nowMs())) this.publish(run).catch(() => undefined);
  }

  commit(run: FeedRun): Promise<void> {
    return this.follow(run, () => run.commits.commit());
  }

  /** A period's end is under way, with a seal perhaps. */
  isEnding(run: FeedRun): boolean {
    return this.ending.has(run);
  }

  /** Everything that is staged and applied becomes durable. */
  async commitAll(runs: readonly FeedRun[]): Promise<void> {
    const { changes } = this.options;
    for (const run of runs) {
      await changes.until(() => !run.commits.busy);
      await this.commit(run);
      await changes.until(() => !run.commits.busy);
      await this.publish(run);
    }
  }

  /** At the end of a table's period: as far as it goes now; the rest with a later beat. */
  async endPeriod(run: FeedRun): Promise<void> {
    const { boundary } = run;
    // The table that is being read anew is the one to be sealed.
    if (!boundary?.isDue() || run.isRebuilding || this.ending.has(run)) return;
    this.ending.add(run);
    try {
      await this.endPeriodOf(run, boundary);
    } catch (error) {
      // Kafka that is away is asked again, a full disk tried again.
      if (!(error instanceof LakeError && error.retriable)) throw error;
      boundary.waits(error.message);
    } finally {
      this.ending.delete(run);
      this.options.changes.notify();
    }
  }

  private async endPeriodOf(run: FeedRun, boundary: Boundary): Promise<void> {
    const { membership, signal } = this.options;
    const step = await boundary.step(run.standpoint());
    if (step.kind === 'read_on') membership.release(run, step.partitions);
    if (step.kind === 'make_durable') await this.commitAll([run]);
    if (step.kind !== 'seal') return;
    if (await boundary.seal(step.order, signal)) membership.release(run, [...run.held]);
    else await membership.readAgain(run);
  }

  private async publish(run: FeedRun): Promise<void> {
    const { isRebuilding } = run;
    await this.follow(run, () => run.commits.publish());
    if (isRebuilding && !run.isRebuilding) this.options.membership.release(run, [...run.held]);
  }

  private async follow(run: FeedRun, work: () => Promise<RunOutcome>): Promise<void> {
    const { membership, failed, changes, over, isLive } = this.options;
    try {
      const outcome = await work();
      if (outcome.kind === 'committed') membership.groupOffsets.follow(run, outcome.partitions);
      if (outcome.kind === 'read_again') await membership.readAgain(run);
    } catch (error) {
      failed(run, error);
    } finally {
      changes.notify();
    }
    // What came meanwhile may be due by now.
    if (!over() && isLive(run)) this.closeDue(run);
  }
}
