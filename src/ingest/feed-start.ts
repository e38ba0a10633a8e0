// What a feed's `start` means for partitions the lake has not seen yet. It is worked out once, for all partitions, and pinned in
// the log: asked again after a restart, `latest` would pass over what came in between without a record.

import type { KafkaAdmin } from '../broker/client.ts';
import { groupOffsets, offsetsAt, type TopicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Feed } from '../model/feed.ts';
import { formatStarts, parseStarts, type Starts } from '../model/resume.ts';
import type { Target } from './target.ts';

const PIN = 'start';

/** Partitions that are not in the answer start at the low watermark (DESIGN §4: a new partition of a known feed). */
export async function feedStarts(options: {
  feed: Feed;
  control: LakeFeed;
  target: Target;
  admin: KafkaAdmin;
  config: Config;
  groupId: string;
  bounds: TopicBounds;
  signal: AbortSignal;
}): Promise<Starts> {
  const { feed, control, target, bounds, signal } = options;
  const pin = target.name === 'lake' ? PIN : `${PIN}_${target.name}`;
  if (feed.start.kind === 'earliest') return new Map();
  const pinned = (): Starts | null => {
    const text = control.state().config.values[pin];
    return text === undefined ? null : parseStarts(text);
  };
  const known = pinned();
  if (known) return known;
  const resolved = target.state().positions.size > 0 ? new Map() : await resolve(options, bounds);
  await control.pinConfig({ [pin]: formatStarts(resolved) }, signal);
  // Another member may have been first: what is pinned counts.
  const now = pinned();
  if (!now)
    throw new LakeError('fenced', `the start of feed ${feed.name} is not pinned: another lake commits to it`, {
      where: { feed: feed.name },
    });
  return now;
}

async function resolve(
  options: { feed: Feed; admin: KafkaAdmin; config: Config; groupId: string },
  bounds: TopicBounds,
): Promise<Starts> {
  const { feed, admin, config, groupId } = options;
  const { start, topic } = feed;
  switch (start.kind) {
    case 'earliest':
      return new Map();
    case 'latest':
      return new Map([...bounds].map(([partition, { end }]) => [partition, end]));
    case 'timestamp':
      return offsetsAt(admin, config.kafka, topic, start.ms);
    case 'group':
      return groupOffsets(admin, config.kafka, { groupId, topic });
  }
}
