// What `--until-caught-up` waits for: every position at the last stable offset that ListOffsets gave at the start (DESIGN §3).

import type { KafkaAdmin } from '../broker/client.ts';
import { groupOffsets, type TopicBounds, topicBounds, topicMissing, topicNames } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { FeedRun } from './feed-run.ts';

export type Goal = {
  /** Offsets that were left when it was set. */
  readonly total: bigint;
  /** Offsets that are still to be committed, by whichever member. */
  left(runs: readonly FeedRun[]): bigint;
  /** Whether this member has taken all that its partitions had, and not all of it is durable; the batch then closes at once. */
  allTaken(run: FeedRun): boolean;
  leftNames(runs: readonly FeedRun[]): string;
};

export async function measureGoal(admin: KafkaAdmin, config: Config, runs: readonly FeedRun[]): Promise<Goal> {
  const ends = new Map<string, TopicBounds>();
  for (const run of runs) ends.set(run.feed.topic, await topicBounds(admin, config.kafka, run.feed.topic));
  const leftOf = (run: FeedRun): { partition: number; end: bigint; left: bigint }[] =>
    [...(ends.get(run.feed.topic) ?? [])].map(([partition, { low, end }]) => {
      const position: bigint = run.target.state().positions.get(partition)?.position ?? run.reading.get(partition)?.from ?? low;
      return { partition, end, left: end > position ? end - position : 0n };
    });
  const left = (some: readonly FeedRun[]): bigint => some.flatMap(leftOf).reduce((sum, one) => sum + one.left, 0n);
  return {
    total: left(runs),
    left,
    allTaken: (run) =>
      [...run.reading].every(([partition, { position }]) => position >= (ends.get(run.feed.topic)?.get(partition)?.end ?? 0n)) &&
      // Another member's partitions may be behind for long; what this one takes meanwhile is no last batch.
      leftOf(run).some(({ partition, left }) => left > 0n && run.reading.has(partition)),
    leftNames: (some) =>
      some
        .flatMap((run) => leftOf(run).map((one) => ({ ...one, topic: run.feed.topic })))
        .filter((one) => one.left > 0n)
        .map(({ topic, partition, end }) => `${topic}:${partition} up to ${end}`)
        .join(', '),
  };
}

/**
 * Whether reading is all there is to do: group offsets are where the positions are, and no position lies beyond its topic's
 * end, and no table is to be read anew. Otherwise a run with nothing to read must join the group all the same, to put the offsets right or to say what is wrong.
 */
export async function inStep(options: {
  admin: KafkaAdmin;
  config: Config;
  groupId: string;
  runs: readonly FeedRun[];
}): Promise<boolean> {
  const { admin, config, groupId, runs } = options;
  for (const { feed, target, rebuilds } of runs) {
    if (rebuilds && (await rebuilds.cause()) !== null) return false;
    const bounds = await topicBounds(admin, config.kafka, feed.topic);
    // A coordinator that is just being elected is waited for by the assignment, which then must come.
    const committed = await groupOffsets(admin, config.kafka, { groupId, topic: feed.topic }).catch((error: unknown) => {
      if (error instanceof LakeError && error.retriable) return null;
      throw error;
    });
    if (!committed) return false;
    for (const [partition, { position }] of target.state().positions) {
      const end = bounds.get(partition)?.end;
      if (end === undefined || position > end || committed.get(partition) !== position) return false;
    }
  }
  return true;
}

/** The feeds whose topic Kafka does not have (any more), each with its topic_missing. */
export async function missingTopics(
  admin: KafkaAdmin,
  config: Config,
  runs: readonly FeedRun[],
): Promise<ReadonlyMap<FeedRun, LakeError>> {
  const there = await topicNames(admin, config.kafka);
  const missing = runs.filter((run) => !there.has(run.feed.topic));
  if (missing.length > 0) await admin.renew();
  return new Map(missing.map((run) => [run, topicMissing(config.kafka, run.feed.topic)]));
}
