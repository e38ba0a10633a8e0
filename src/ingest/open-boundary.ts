// The boundary of a table feed: its cuts in the lake, its offsets in Kafka, its snapshots in the target.

import type { KafkaAdmin } from '../broker/client.ts';
import { offsetsAt, topicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { openCuts } from '../lake/cuts.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import { Boundary } from './boundary.ts';
import { rulesOf } from './pins.ts';
import type { Target } from './target.ts';

/** null: a stream has no snapshots. */
export function openBoundary(parts: {
  readonly feed: Feed;
  readonly target: Target;
  readonly control: LakeFeed;
  readonly store: ObjectStore;
  readonly config: Config;
  readonly admin: KafkaAdmin;
  readonly newId: () => string;
  readonly log: Log;
  readonly nowMs: () => number;
}): Boundary | null {
  const { feed, target, control, store, config, admin, newId, log, nowMs } = parts;
  const { snapshot, seal } = target;
  if (feed.type !== 'table' || !snapshot || !seal) return null;
  return new Boundary({
    feed: feed.name,
    target: target.name,
    snapshot,
    seal,
    cuts: openCuts({ store, feed: feed.name, newId }),
    rules: async () => {
      await control.writer.refresh();
      return rulesOf({ feed, control, timezone: config.lake.timezone });
    },
    ask: async (boundaryMs) => {
      // In this order: what arrives in between would lie below the cut.
      const bounds = await topicBounds(admin, config.kafka, feed.topic);
      const found = await offsetsAt(admin, config.kafka, feed.topic, boundaryMs);
      return new Map(
        [...bounds].map(([partition, { end }]) => [partition, { firstAtOrAfter: found.get(partition) ?? null, lastStable: end }]),
      );
    },
    log,
    nowMs,
  });
}
