// What a new list of feeds asks of a pipeline that reads another one. Pure. Invariant: a feed that is the same is not touched.

import type { Feed } from './feed.ts';

export type FeedChanges = {
  readonly removed: readonly string[];
  /** As they are to be from now on. */
  readonly changed: readonly Feed[];
  readonly added: readonly Feed[];
};

/** `retried`: names of stopped feeds that are to be opened again though nothing of them has changed. */
export function feedChanges(
  before: readonly Feed[],
  after: readonly Feed[],
  retried: ReadonlySet<string> = new Set(),
): FeedChanges {
  const known = new Map(before.map((feed) => [feed.name, feed]));
  const wanted = new Set(after.map(({ name }) => name));
  const isOther = (feed: Feed): boolean => JSON.stringify(known.get(feed.name)) !== JSON.stringify(feed);
  return {
    removed: before.map(({ name }) => name).filter((name) => !wanted.has(name)),
    changed: after.filter((feed) => known.has(feed.name) && (isOther(feed) || retried.has(feed.name))),
    added: after.filter(({ name }) => !known.has(name)),
  };
}

export const isNothing = ({ removed, changed, added }: FeedChanges): boolean =>
  removed.length + changed.length + added.length === 0;
