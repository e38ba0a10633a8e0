// When the snapshots of a table begin and end, as its configuration says.

import { assert } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { parseSnapshotEvery, type SnapshotRule } from '../model/snapshot.ts';

export function ruleOf(feed: Feed, timezone: string): SnapshotRule {
  const every = parseSnapshotEvery(feed.snapshotEvery);
  assert(every !== null, `feed ${feed.name} has the period ${feed.snapshotEvery}`);
  return { every, timezone };
}
