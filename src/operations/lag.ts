// How far each target of each feed is behind Kafka, by partition. Positions are read before Kafka's bounds, so a commit in between
// makes a lag too large for a moment, never negative.

import type { KafkaAdmin } from '../broker/client.ts';
import type { KafkaPeek } from '../broker/peek.ts';
import { topicRetentionMs } from '../broker/topic-settings.ts';
import { topicBounds, topicMissing, topicNames } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import type { TargetName } from '../ingest/target.ts';
import type { Feed } from '../model/feed.ts';
import { type Lag, type LagBounds, type LagPosition, lagOf, type OldestUnread, unreadOf } from '../model/lag.ts';
import { later } from '../model/offsets.ts';
import type { Installation } from './installation.ts';
import { positionsOf, type TargetPositions } from './positions.ts';

export type LagLine = Lag & {
  readonly feed: string;
  readonly target: TargetName;
  readonly topic: string;
  readonly partition: number;
  readonly bounds: LagBounds;
};

export type LagReport = {
  readonly lines: readonly LagLine[];
  /** What could not be asked: a target, or a topic that is not there. */
  readonly errors: readonly LakeError[];
  /** Topics whose settings this user may not read, so that the time to loss is not known. */
  readonly unknownRetention: readonly string[];
};

/** Throws kafka_unreachable, kafka_refused when Kafka itself cannot be asked. */
export async function lookAtLag(installation: Installation, feeds: readonly Feed[]): Promise<LagReport> {
  const targets = await positionsOf(installation, feeds);
  const [admin, peek] = await Promise.all([installation.kafka(), installation.peek()]);
  const topics = await factsOf(installation, { admin, peek, topics: new Set(targets.map(({ feed }) => feed.topic)) });
  const oldest = rememberedPeek(peek);
  const lines = targets.flatMap((at) => {
    const facts = topics.get(at.feed.topic);
    return facts && !(facts instanceof LakeError) ? linesOf(at, facts, { oldest, nowMs: installation.nowMs }) : [];
  });
  const missing = [...topics.values()].filter((facts) => facts instanceof LakeError);
  const unknown = [...topics].filter(([, facts]) => !(facts instanceof LakeError) && facts.retentionMs === 'unknown');
  return {
    lines: await Promise.all(lines),
    errors: [...targets.flatMap(({ error }) => error ?? []), ...missing],
    unknownRetention: unknown.map(([topic]) => topic),
  };
}

type TopicFacts = { readonly bounds: ReadonlyMap<number, LagBounds>; readonly retentionMs: number | null | 'unknown' };
type Asked = { readonly admin: KafkaAdmin; readonly peek: KafkaPeek; readonly topics: ReadonlySet<string> };

/** A topic that is not there is an answer of its own; the other topics go on. */
async function factsOf(
  { config }: Installation,
  { admin, peek, topics }: Asked,
): Promise<ReadonlyMap<string, TopicFacts | LakeError>> {
  const retention = async (topic: string): Promise<TopicFacts['retentionMs']> => {
    try {
      return await topicRetentionMs(admin, config.kafka, topic);
    } catch (error) {
      if (!(error instanceof LakeError) || error.code !== 'kafka_refused') throw error;
      return 'unknown';
    }
  };
  // Of topics that are not there nothing is asked: kafkajs would ask for all of them together, and fail together.
  const there = await topicNames(admin, config.kafka);
  const asked = [...topics].map(async (topic): Promise<[string, TopicFacts | LakeError]> => {
    try {
      if (!there.has(topic)) throw topicMissing(config.kafka, topic);
      const stable = await topicBounds(admin, config.kafka, topic);
      const [high, retentionMs] = await Promise.all([peek.highWatermarks(topic), retention(topic)]);
      const bounds = new Map(
        [...stable].map(([partition, { low, end }]) => [partition, { low, end, high: later(high.get(partition) ?? end, end) }]),
      );
      return [topic, { bounds, retentionMs }];
    } catch (error) {
      if (!(error instanceof LakeError) || error.code !== 'topic_missing') throw error;
      return [topic, error];
    }
  });
  return new Map(await Promise.all(asked));
}

type Oldest = (at: { topic: string; partition: number; position: LagPosition; bounds: LagBounds }) => Promise<OldestUnread>;

/** Two targets are often at the same offset. */
function rememberedPeek(peek: KafkaPeek): Oldest {
  const known = new Map<string, Promise<OldestUnread>>();
  return ({ topic, partition, position, bounds }) => {
    const unread = unreadOf(position, bounds);
    if (unread === null) return Promise.resolve('none');
    const key = `${topic}:${partition}:${unread.from}:${unread.end}`;
    const found = known.get(key) ?? peek.firstMessageMs({ topic, partition, ...unread });
    known.set(key, found);
    return found;
  };
}

type Around = { readonly oldest: Oldest; readonly nowMs: () => number };

function linesOf({ feed, target, positions, error }: TargetPositions, facts: TopicFacts, { oldest, nowMs }: Around) {
  const { topic } = feed;
  const retentionMs = facts.retentionMs === 'unknown' ? null : facts.retentionMs;
  return [...facts.bounds].map(async ([partition, bounds]): Promise<LagLine> => {
    const position = error ? 'away' : (positions.get(partition)?.position ?? 'none');
    const oldestMs = await oldest({ topic, partition, position, bounds });
    const lag = lagOf({ position, bounds, oldestMs, retentionMs, nowMs: nowMs() });
    return { ...lag, feed: feed.name, target, topic, partition, bounds };
  });
}
