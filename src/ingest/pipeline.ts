// The loop of one target: record sets come in while there is room, batches close and commit beside it, positions lead, group
// offsets follow. Ends when it is told to stop, when everything that was there at the start is in, or when no feed is left.
// Invariant: whatever ends it, what is durable is exactly what the target's positions say.

import type { KafkaAdmin } from '../broker/client.ts';
import { type ConsumerHandlers, createGroupConsumer, type GroupConsumer, type TopicPartition } from '../broker/consumer.ts';
import type { Fetched } from '../broker/fetch-response.ts';
import type { Config } from '../config/config.ts';
import type { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Pace } from '../model/pace.ts';
import { type Budget, hasRoom, toRelieve } from './budget.ts';
import type { Changes } from './changes.ts';
import { Closing } from './closing.ts';
import type { FeedRun } from './feed-run.ts';
import type { FeedRuns } from './feed-runs.ts';
import { FeedStops } from './feed-stops.ts';
import { type Goal, inStep, measureGoal } from './goal.ts';
import { Membership } from './membership.ts';
import { backlogOf, type Progress, progressOf, Stall } from './progress.ts';
import type { PipelineHealth } from './readiness.ts';
import { type Follow, Reconfigure } from './reconfigure.ts';
import { Rejoin } from './rejoin.ts';

export type PipelineOptions = {
  readonly config: Config;
  readonly groupId: string;
  readonly admin: KafkaAdmin;
  readonly runs: FeedRuns;
  /** How feeds come and go while it runs; null: they stay. */
  readonly follow: Follow | null;
  readonly changes: Changes;
  readonly untilCaughtUp: boolean;
  readonly budget: Budget;
  readonly pace: Pace;
  readonly log: Log;
  readonly nowMs: () => number;
  /** Stop gracefully: commit what is staged, leave the group. */
  readonly stop: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  readonly health: PipelineHealth;
};

/** Messages committed by feed, and why feeds stopped. */
export type PipelineResult = {
  readonly messages: ReadonlyMap<string, number>;
  readonly failures: ReadonlyMap<string, LakeError>;
};

const TICK_MS = 100;
/** Once a second. */
const REFRESH_TICKS = 10;
const TIDY_MS = 60_000;

export async function runPipeline(options: PipelineOptions): Promise<PipelineResult> {
  const pipeline = new Pipeline(options);
  return pipeline.run();
}

class Pipeline {
  private readonly options: PipelineOptions;
  private readonly runs: FeedRuns;
  private readonly stops: FeedStops;
  private readonly reconfigure: Reconfigure | null;
  private consumer: GroupConsumer;
  private readonly rejoin: Rejoin;
  private readonly membership: Membership;
  private readonly closing: Closing;
  /** null: the run has no end. */
  private goal: Goal | null = null;
  /** false: an assignment has to come before the run can end. */
  private inStep = true;
  private fatal: unknown = null;
  private finished = false;
  private stopping = false;
  private readonly stall: Stall;
  private tidyMs: number;
  private refreshing = false;
  private ticks = 0;

  constructor(options: PipelineOptions) {
    this.options = options;
    this.stall = new Stall(options.nowMs());
    this.tidyMs = options.nowMs();
    this.runs = options.runs;
    this.stops = new FeedStops({
      ...options,
      consumer: () => this.consumer,
      stopping: () => this.stopping,
      die: (error) => this.die(error),
    });
    const handlers: ConsumerHandlers = {
      assigned: (partitions) => this.assigned(partitions),
      room: () => this.room(),
      take: (fetched, fetchedOffset) => this.take(fetched, fetchedOffset),
      responseTaken: () => {
        for (const run of this.over() ? [] : this.runs.live()) this.closing.closeDue(run);
      },
      outOfRange: (partition) => this.outOfRange(partition),
      unreadable: (partition, offset) => this.stops.unreadable(partition, offset),
      unknownTopic: () => this.rejoin.unknownTopic(),
      crashed: (error, restarting) => this.rejoin.crashed(error, restarting),
    };
    const { config, log, changes } = options;
    const { kafka } = config;
    const createConsumer = () => {
      return createGroupConsumer({ kafka, groupId: options.groupId, ...this.runs.subscription(), handlers, log });
    };
    this.rejoin = new Rejoin({
      kafka,
      consumer: () => this.consumer,
      renew: () => {
        this.consumer = createConsumer();
      },
      stopMissing: () => this.stops.missing(),
      over: () => this.over() || this.runs.subscription().topics.length === 0,
      die: (error) => this.die(error),
      ...{ changes, log, health: options.health },
    });
    this.membership = new Membership({
      consumer: () => this.consumer,
      live: () => this.runs.live(),
      over: () => this.over(),
      failed: (run, error) => this.stops.failed(run, error),
      ...{ changes, log, nowMs: options.nowMs, health: options.health },
    });
    this.closing = new Closing({
      goal: () => this.goal,
      membership: this.membership,
      over: () => this.over(),
      isLive: (run) => this.runs.isLive(run),
      failed: (run, error) => this.stops.failed(run, error),
      changes,
      nowMs: options.nowMs,
      signal: options.stop,
    });
    this.reconfigure = options.follow && this.createReconfigure(options.follow);
    this.consumer = createConsumer();
  }

  private createReconfigure(follow: Follow): Reconfigure {
    const { changes, log } = this.options;
    return new Reconfigure({
      ...follow,
      runs: this.runs,
      membership: this.membership,
      closing: this.closing,
      leaveAlone: (run) => this.stops.leaveAlone(run),
      failed: (run, error) => this.stops.failed(run, error),
      rejoin: async () => {
        await this.commitAll();
        this.rejoin.renewed();
      },
      over: () => this.over(),
      ...{ changes, log },
    });
  }

  async run(): Promise<PipelineResult> {
    const { changes, stop, untilCaughtUp } = this.options;
    if (untilCaughtUp) {
      const runs = this.runs.all;
      this.goal = await measureGoal(this.options.admin, this.options.config, runs);
      this.inStep = await inStep({ ...this.options, runs });
    }
    const stopped = (): void => {
      this.stopping = true;
      changes.notify();
    };
    stop.addEventListener('abort', stopped, { once: true });
    if (stop.aborted) stopped();
    const ticker = setInterval(() => this.tick(), TICK_MS);
    try {
      if (this.runs.live().length > 0 && !this.caughtUp() && !this.stopping)
        await Promise.race([this.rejoin.begin(), changes.until(() => this.over())]);
      using _follow = this.options.follow?.changed((retry) => this.reconfigured(retry));
      this.reconfigured(false);
      await changes.until(() => this.fatal !== null || this.stopping || this.nothingLeft() || this.caughtUp());
      await changes.until(() => this.reconfigure?.busy !== true);
      if (this.fatal === null) await this.commitAll();
    } finally {
      this.finished = true;
      clearInterval(ticker);
      stop.removeEventListener('abort', stopped);
      await this.membership.groupOffsets.send();
      await this.consumer.stop().catch(() => undefined);
    }
    if (this.fatal !== null) throw this.fatal;
    return { messages: this.runs.messages(), failures: this.runs.failures };
  }

  private reconfigured(retry: boolean): void {
    this.reconfigure?.take(retry).catch((error) => this.die(error));
  }

  private nothingLeft(): boolean {
    return this.reconfigure?.busy !== true && this.runs.live().length === 0;
  }

  private async assigned(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, bigint>> {
    const seeks = await this.membership.assigned(partitions);
    this.inStep = true;
    return seeks;
  }

  // ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  private async room(): Promise<void> {
    const { budget, pace, nowMs } = this.options;
    await this.options.changes.until(() => this.over() || (hasRoom(this.runs.live(), budget) && pace.mayTake(nowMs())));
  }

  private over(): boolean {
    return this.finished || this.stopping || this.fatal !== null;
  }

  private take(fetched: Fetched, fetchedOffset: bigint): void {
    const run = this.runs.ofTopic(fetched.topic);
    if (!run || !this.runs.isLive(run) || this.stopping) return;
    try {
      if (run.take(fetched, fetchedOffset)) this.consumer.leaveAlone(fetched);
      if (run.full) this.closing.closeDue(run);
    } catch (error) {
      this.stops.failed(run, error);
    }
  }

  /** One beat: close what is due, notice the end, tell the progress, tidy up in quiet minutes. */
  private tick(): void {
    if (this.finished) return;
    for (const run of this.runs.live()) {
      this.closing.closeDue(run);
      this.closing.endPeriod(run).catch((error) => this.stops.failed(run, error));
    }
    const heavy = toRelieve(this.runs.live(), this.options.budget);
    if (heavy) this.closing.commit(heavy).catch(() => undefined);
    this.membership.groupOffsets.sendDue();
    this.options.pace.tellBacklog(backlogOf(this.runs.live()));
    this.report();
    if (++this.ticks % REFRESH_TICKS === 0) this.refresh().catch((error) => this.die(error));
    this.options.changes.notify();
  }

  private async commitAll(): Promise<void> {
    this.consumer.pauseAll();
    await this.closing.commitAll(this.runs.live());
    if (this.fatal !== null) throw this.fatal;
    for (const run of this.runs.live()) await run.rebuilds?.noteLast().catch((error) => this.stops.failed(run, error));
    if (this.fatal !== null) throw this.fatal;
  }

  private caughtUp(): boolean {
    if (!this.goal || !this.inStep) return false;
    // What came after the goal was set may still be staged; it is committed on the way out.
    const live = this.runs.live();
    return this.goal.left(live) === 0n && !live.some((run) => run.boundary?.isDue() || run.isRebuilding);
  }

  private report(): void {
    const { onProgress, nowMs } = this.options;
    const [all, live] = [this.runs.all, this.runs.live()];
    onProgress(progressOf(all, live, this.goal));
    const stalled = this.goal && this.stall.look(all, live, { goal: this.goal, nowMs: nowMs() });
    if (stalled) this.die(stalled);
  }

  /** In quiet moments: positions that other members moved, and what crashed writers left. */
  private async refresh(): Promise<void> {
    if (this.refreshing) return;
    this.refreshing = true;
    try {
      const tidy = this.options.nowMs() - this.tidyMs > TIDY_MS;
      if (tidy) this.tidyMs = this.options.nowMs();
      for (const run of this.runs.live()) {
        if (run.commits.busy) continue;
        await this.refreshRun(run, tidy).catch((error) => this.stops.failed(run, error));
      }
    } finally {
      this.refreshing = false;
    }
  }

  private async refreshRun(run: FeedRun, tidy: boolean): Promise<void> {
    const isRewound = await run.target.look();
    if (tidy) await run.target.tidy();
    // A reader of the table says how far it is; and hears that it was behind for too long.
    if (run.reading.size > 0 && (isRewound || (await run.rebuilds?.beat()))) await this.membership.readAgain(run);
  }

  private outOfRange({ topic }: TopicPartition): void {
    const run = this.runs.ofTopic(topic);
    if (run && this.runs.isLive(run)) this.membership.readAgain(run).catch((error) => this.stops.failed(run, error));
  }

  private die(error: unknown): void {
    this.fatal ??= error;
    this.options.changes.notify();
  }
}
