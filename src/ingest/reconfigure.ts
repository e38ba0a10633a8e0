// Takes a changed list of feeds up in a running pipeline. A feed that is new, changed or gone is ended as at a stop, everything
// committed; one that changed goes on with the partitions it has. The group is joined anew only when other topics are read.
// Invariant: one change at a time; a feed that did not change loses nothing, and reads on from its positions.

import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import { feedChanges, isNothing } from '../model/feed-changes.ts';
import type { Changes } from './changes.ts';
import type { Closing } from './closing.ts';
import { FEED_ERRORS } from './feed-errors.ts';
import type { FeedRun } from './feed-run.ts';
import type { FeedRuns } from './feed-runs.ts';
import type { Membership } from './membership.ts';
import type { TargetName } from './target.ts';

export type ReconfigureOptions = {
  readonly target: TargetName;
  readonly wanted: () => readonly Feed[];
  readonly runs: FeedRuns;
  readonly open: (feed: Feed) => Promise<FeedRun>;
  /** What the target needs before a feed is opened. */
  readonly prepare: () => Promise<void>;
  readonly membership: Membership;
  readonly closing: Closing;
  /** Reads no more of the feed until it is given its partitions again. */
  readonly leaveAlone: (run: FeedRun) => void;
  readonly failed: (run: FeedRun, error: unknown) => void;
  /** Joins the group with the topics there are now. */
  readonly rejoin: () => Promise<void>;
  readonly over: () => boolean;
  readonly changes: Changes;
  readonly log: Log;
};

/** How feeds come and go while a pipeline runs. */
export type Follow = Pick<ReconfigureOptions, 'target' | 'wanted' | 'open' | 'prepare'> & {
  /** Calls back whenever other feeds are wanted. */
  readonly changed: (listener: (retry: boolean) => void) => Disposable;
};

/** Kafka or a database that is away is asked again this often. */
const ASK_AGAIN_MS = 1_000;

export class Reconfigure {
  private readonly options: ReconfigureOptions;
  private again: { retry: boolean } | null = null;
  private working = false;

  constructor(options: ReconfigureOptions) {
    this.options = options;
  }

  get busy(): boolean {
    return this.working;
  }

  /** `retry`: feeds that are stopped are opened again. Throws what ends the run. */
  async take(retry: boolean): Promise<void> {
    this.again = { retry: retry || this.again?.retry === true };
    if (this.working) return;
    this.working = true;
    try {
      while (this.again !== null && !this.options.over()) {
        const next = this.again;
        this.again = null;
        await this.apply(next.retry);
      }
    } finally {
      this.working = false;
      this.options.changes.notify();
    }
  }

  private async apply(retry: boolean): Promise<void> {
    const { runs, wanted, target, log, rejoin, over } = this.options;
    const { failures } = runs;
    const plan = feedChanges(runs.feeds(), wanted(), retry ? new Set(failures.keys()) : new Set());
    if (isNothing(plan)) return;
    const names = (list: readonly Feed[]): string => list.map(({ name }) => name).join(',');
    log.info('feeds_changing', {
      target,
      added: names(plan.added),
      changed: names(plan.changed),
      removed: plan.removed.join(','),
    });
    const before = this.topics();
    const changing = [...plan.removed, ...plan.changed.map(({ name }) => name)].flatMap((name) => runs.named(name) ?? []);
    for (const run of changing) await this.end(run);
    await this.options.membership.groupOffsets.send();
    for (const name of plan.removed) await close(runs.remove(name));
    if (over()) return;
    await this.insist(this.options.prepare);
    const waiting: FeedRun[] = [];
    for (const feed of plan.changed) waiting.push(...(await this.change(feed)));
    for (const feed of plan.added) waiting.push(...(await this.add(feed)));
    if (over()) return;
    // Of topics that are read already this member has its partitions.
    if (before !== this.topics()) await rejoin();
    else for (const run of waiting) await this.options.membership.give(run);
    log.info('feeds_changed', {
      target,
      feeds: runs
        .live()
        .map(({ feed }) => feed.name)
        .join(','),
    });
  }

  /** What the group has to know of: topics, and which of them one member reads whole. */
  private topics(): string {
    const { topics, tables } = this.options.runs.subscription();
    return JSON.stringify([topics.toSorted(), tables.toSorted()]);
  }

  /** As at a stop: nothing more is read, and what is staged becomes durable. */
  private async end(run: FeedRun): Promise<void> {
    const { runs, leaveAlone, closing, changes, failed } = this.options;
    if (!runs.isLive(run)) return;
    leaveAlone(run);
    runs.rest(run);
    await changes.until(() => !closing.isEnding(run));
    await closing.commitAll([run]);
    await run.rebuilds?.noteLast().catch((error) => failed(run, error));
    await run.drop();
  }

  /** The run that waits for its partitions: the one of before when its feed cannot be as it is wanted. */
  private async change(feed: Feed): Promise<readonly FeedRun[]> {
    const { runs, log, target } = this.options;
    const run = runs.named(feed.name);
    const wasLive = run !== undefined && !runs.failures.has(feed.name);
    const opened = await this.opened(feed);
    if (opened === null) return [];
    if (opened instanceof LakeError && wasLive) {
      const { code, message: reason, todo } = opened;
      log.error('feed_change_refused', { feed: feed.name, target, code, reason, todo });
      runs.wake(run);
      return [run];
    }
    if (opened instanceof LakeError) return this.stopped(feed, opened);
    await close(runs.remove(feed.name));
    runs.put(opened);
    return [opened];
  }

  private async add(feed: Feed): Promise<readonly FeedRun[]> {
    const opened = await this.opened(feed);
    if (opened instanceof LakeError) return this.stopped(feed, opened);
    if (opened === null) return [];
    this.options.runs.put(opened);
    return [opened];
  }

  private stopped(feed: Feed, error: LakeError): readonly FeedRun[] {
    const { log, runs, target } = this.options;
    log.error('feed_stopped', { feed: feed.name, target, code: error.code, reason: error.message });
    runs.notOpened(feed, error);
    return [];
  }

  /** null: the run is over. */
  private async opened(feed: Feed): Promise<FeedRun | LakeError | null> {
    try {
      return await this.insist(() => this.options.open(feed));
    } catch (error) {
      // Said of all feeds at a start; here the others go on.
      if (error instanceof LakeError && (FEED_ERRORS.has(error.code) || error.code === 'config_invalid')) return error;
      throw error;
    }
  }

  /** Until it is done; the feeds that run go on meanwhile. null: the run is over. */
  private async insist<T>(work: () => Promise<T>): Promise<T | null> {
    const { over, changes, log, target } = this.options;
    for (let attempt = 1; !over(); attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof LakeError) || !error.retriable) throw error;
        log.warn('change_waits', { target, attempt, code: error.code, reason: error.message });
        await changes.after(ASK_AGAIN_MS);
      }
    }
    return null;
  }
}

/** What a table has applied, or read anew in part, would stay in the engine for as long as the process runs. */
async function close(run: FeedRun | undefined): Promise<void> {
  await run?.drop();
  await run?.target.forget();
  await run?.close();
}
