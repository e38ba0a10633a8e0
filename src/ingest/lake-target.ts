// What a feed is in the lake: a stream commits through its log as it is.

import type { Config } from '../config/config.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Feed } from '../model/feed.ts';
import type { Target } from './target.ts';

export type TargetParts = {
  readonly feed: Feed;
  readonly config: Config;
  /** The feed's log in the lake: schema, pins and stop, for both targets. */
  readonly control: LakeFeed;
  readonly clusterId: string;
  readonly signal: AbortSignal;
};

/** How a pipeline's feeds become targets. */
export type TargetKind = {
  readonly name: Target['name'];
  readonly groupId: string;
  /** Whether a batch closes as soon as Kafka has nothing more at hand. */
  readonly eager: boolean;
  /** Throws LakeError. */
  open(parts: TargetParts): Promise<Target>;
};

export const lakeTargets = (config: Config): TargetKind => ({
  name: 'lake',
  groupId: config.kafka.groupId,
  eager: false,
  open: async ({ control }) => control,
});
