// The feeds that a process is to read, which change when its feeds.json does.
// Invariant: whoever follows hears of every change after it is in force, and of none after it has left.

import type { Feed } from '../model/feed.ts';
import type { TargetName } from './target.ts';

export type FeedsByTarget = Readonly<Record<TargetName, readonly Feed[]>>;

export class WantedFeeds {
  /** false: the run has an end, and keeps what it began with. */
  readonly mayChange: boolean;
  /** All of the file, for the registry. */
  private everyFeed: readonly Feed[];
  private byTarget: FeedsByTarget;
  private readonly listeners = new Set<(retry: boolean) => void>();

  constructor(every: readonly Feed[], byTarget: FeedsByTarget, more: { readonly mayChange: boolean }) {
    this.everyFeed = every;
    this.byTarget = byTarget;
    this.mayChange = more.mayChange;
  }

  get every(): readonly Feed[] {
    return this.everyFeed;
  }

  of(target: TargetName): readonly Feed[] {
    return this.byTarget[target];
  }

  /** `retry`: what is stopped is tried again as well. */
  change(every: readonly Feed[], byTarget: FeedsByTarget, retry: boolean): void {
    this.everyFeed = every;
    this.byTarget = byTarget;
    for (const listener of [...this.listeners]) listener(retry);
  }

  follow(listener: (retry: boolean) => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => void this.listeners.delete(listener) };
  }
}
