// The feeds of one pipeline: those that are read, those that stopped and why, those that were taken out while it ran.
// Invariant: one run a topic and a name; what a run committed stays counted when it goes.

import type { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import type { FeedRun } from './feed-run.ts';

export class FeedRuns {
  readonly failures: Map<string, LakeError>;
  private runs: readonly FeedRun[];
  /** Closed and opened by somebody else meanwhile: nothing may be read or committed. */
  private readonly resting = new Set<FeedRun>();
  /** As configured, of the feeds that could not be opened. */
  private readonly unopened = new Map<string, Feed>();
  private readonly counted = new Map<string, number>();

  constructor(runs: readonly FeedRun[], failures: ReadonlyMap<string, LakeError>, feeds: readonly Feed[]) {
    this.runs = runs;
    this.failures = new Map(failures);
    for (const feed of feeds) if (failures.has(feed.name)) this.unopened.set(feed.name, feed);
  }

  get all(): readonly FeedRun[] {
    return this.runs;
  }

  live(): readonly FeedRun[] {
    return this.runs.filter((run) => this.isLive(run));
  }

  isLive(run: FeedRun): boolean {
    return this.runs.includes(run) && !this.resting.has(run) && !this.failures.has(run.feed.name);
  }

  /** What the group is told: all topics of feeds that are not stopped, and those of them that one member reads whole. */
  subscription(): { readonly topics: readonly string[]; readonly tables: readonly string[] } {
    const feeds = this.runs.map((run) => run.feed).filter(({ name }) => !this.failures.has(name));
    return {
      topics: feeds.map(({ topic }) => topic),
      tables: feeds.flatMap(({ type, topic }) => (type === 'table' ? topic : [])),
    };
  }

  ofTopic(topic: string): FeedRun | undefined {
    return this.runs.find((run) => run.feed.topic === topic);
  }

  named(name: string): FeedRun | undefined {
    return this.runs.find((run) => run.feed.name === name);
  }

  /** As they are configured now, whether they run or not. */
  feeds(): readonly Feed[] {
    return [...this.runs.map((run) => run.feed), ...this.unopened.values()];
  }

  rest(run: FeedRun): void {
    this.resting.add(run);
  }

  wake(run: FeedRun): void {
    this.resting.delete(run);
  }

  put(run: FeedRun): void {
    this.remove(run.feed.name);
    this.runs = [...this.runs, run];
  }

  /** The caller closes what is answered. */
  remove(name: string): FeedRun | undefined {
    const run = this.named(name);
    if (run) {
      this.counted.set(name, this.messagesOf(name));
      this.resting.delete(run);
    }
    this.runs = this.runs.filter((one) => one !== run);
    this.failures.delete(name);
    this.unopened.delete(name);
    return run;
  }

  notOpened(feed: Feed, error: LakeError): void {
    this.failures.set(feed.name, error);
    if (!this.named(feed.name)) this.unopened.set(feed.name, feed);
  }

  /** Committed by all runs there were, by feed. */
  messages(): ReadonlyMap<string, number> {
    const names = new Set([...this.counted.keys(), ...this.runs.map((run) => run.feed.name)]);
    return new Map([...names].map((name) => [name, this.messagesOf(name)]));
  }

  private messagesOf(name: string): number {
    return (this.counted.get(name) ?? 0) + (this.named(name)?.commits.messages ?? 0);
  }
}
