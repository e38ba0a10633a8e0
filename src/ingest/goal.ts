// What `--until-caught-up` waits for: every position at the last stable offset that ListOffsets gave at the start (DESIGN §3).

import type { KafkaAdmin } from '../broker/client.ts';
import { type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import type { FeedRun } from './feed-run.ts';

export type Goal = {
  /** Offsets that were left when it was set. */
  readonly total: bigint;
  /** Offsets that are still to be committed, by whichever member. */
  left(runs: readonly FeedRun[]): bigint;
  /** Whether this member has taken all that its partitions had; the batch then closes at once. */
  allTaken(run: FeedRun): boolean;
  leftNames(runs: readonly FeedRun[]): string;
};

export async function measureGoal(admin: KafkaAdmin, config: Config, runs: readonly FeedRun[]): Promise<Goal> {
  const ends = new Map<string, TopicBounds>();
  for (const run of runs) ends.set(run.feed.topic, await topicBounds(admin, config.kafka, run.feed.topic));
  const leftOf = (run: FeedRun): { partition: number; end: bigint; left: bigint }[] =>
    [...(ends.get(run.feed.topic) ?? [])].map(([partition, { low, end }]) => {
      const position: bigint = run.lake.state().positions.get(partition)?.position ?? run.reading.get(partition)?.position ?? low;
      return { partition, end, left: end > position ? end - position : 0n };
    });
  const left = (some: readonly FeedRun[]): bigint => some.flatMap(leftOf).reduce((sum, one) => sum + one.left, 0n);
  return {
    total: left(runs),
    left,
    allTaken: (run) =>
      [...run.reading].every(([partition, { position }]) => position >= (ends.get(run.feed.topic)?.get(partition)?.end ?? 0n)),
    leftNames: (some) =>
      some
        .flatMap((run) => leftOf(run).map((one) => ({ ...one, topic: run.feed.topic })))
        .filter((one) => one.left > 0n)
        .map(({ topic, partition, end }) => `${topic}:${partition} up to ${end}`)
        .join(', '),
  };
}
