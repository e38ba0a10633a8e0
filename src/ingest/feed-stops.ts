// How a feed of a running pipeline stops by itself: its error is said once and kept, and the others go on.
// Invariant: an error that is not the feed's own ends the run; what a stopped feed had staged is dropped, its positions stand.

import type { KafkaAdmin } from '../broker/client.ts';
import type { GroupConsumer, TopicPartition } from '../broker/consumer.ts';
import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Changes } from './changes.ts';
import { FEED_ERRORS, isGivenUp } from './feed-errors.ts';
import type { FeedRun } from './feed-run.ts';
import type { FeedRuns } from './feed-runs.ts';
import { missingTopics } from './goal.ts';

export type FeedStopsOptions = {
  readonly config: Config;
  readonly admin: KafkaAdmin;
  readonly runs: FeedRuns;
  readonly consumer: () => GroupConsumer;
  readonly stopping: () => boolean;
  readonly die: (error: unknown) => void;
  readonly changes: Changes;
  readonly log: Log;
};

export class FeedStops {
  private readonly options: FeedStopsOptions;

  constructor(options: FeedStopsOptions) {
    this.options = options;
  }

  failed(run: FeedRun, error: unknown): void {
    const { runs, stopping, log, die, changes } = this.options;
    if (stopping() && isGivenUp(error)) {
      // What is in hand is read again by the next run.
      log.warn('batch_given_up', { feed: run.feed.name, code: error.code, reason: error.message });
      return;
    }
    if (!(error instanceof LakeError) || !FEED_ERRORS.has(error.code)) {
      die(error);
      return;
    }
    if (runs.failures.has(run.feed.name) || runs.named(run.feed.name) !== run) return;
    runs.failures.set(run.feed.name, error);
    const { code, message: reason } = error;
    log.error('feed_stopped', { feed: run.feed.name, target: run.target.name, code, reason });
    this.leaveAlone(run);
    run.drop().catch(die);
    changes.notify();
  }

  leaveAlone({ feed: { topic }, reading }: FeedRun): void {
    for (const partition of reading.keys()) this.options.consumer().leaveAlone({ topic, partition });
  }

  unreadable({ topic, partition }: TopicPartition, offset: bigint): void {
    const { runs } = this.options;
    const run = runs.ofTopic(topic);
    if (!run || !runs.isLive(run)) return;
    const where = { topic, partition, offset, target: run.target.name };
    const message = `partition ${partition} of topic ${topic} cannot be read at offset ${offset}`;
    this.failed(run, new LakeError('message_format', message, { where }));
  }

  /** The feeds whose topic is gone; how many there were. */
  async missing(): Promise<number> {
    const { admin, config, runs } = this.options;
    const missing = await missingTopics(admin, config, runs.live());
    for (const [run, error] of missing) this.failed(run, error);
    return missing.size;
  }
}
