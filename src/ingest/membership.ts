// What follows when the group gives us partitions, or when a feed must be read again: drop what is staged, ask the target for
// its positions, seek. Assignments are worked off one after the other, and one that was overtaken is passed over.

import { type GroupConsumer, partitionKey, type TopicPartition } from '../broker/consumer.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Changes, serial } from './changes.ts';
import type { FeedRun } from './feed-run.ts';
import { GroupOffsets } from './group-offsets.ts';
import type { PipelineHealth } from './readiness.ts';

export type MembershipOptions = {
  readonly consumer: () => GroupConsumer;
  /** Feeds that are not stopped. */
  readonly live: () => readonly FeedRun[];
  readonly over: () => boolean;
  readonly failed: (run: FeedRun, error: unknown) => void;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly health: Pick<PipelineHealth, 'reads'>;
};

/** Kafka that went away in the middle of an assignment is asked again this often. */
const ASK_AGAIN_MS = 1_000;

export class Membership {
  private readonly options: MembershipOptions;
  private readonly inOrder = serial();
  private newest = 0;
  private own: readonly TopicPartition[] = [];
  readonly groupOffsets: GroupOffsets;

  constructor(options: MembershipOptions) {
    this.options = options;
    this.groupOffsets = new GroupOffsets(options);
  }

  /** The group gave us exactly these. Returns where to read each from; empty when a newer assignment has come meanwhile. */
  assigned(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<string, bigint>> {
    const mine = ++this.newest;
    this.own = partitions;
    this.groupOffsets.assigned(partitions);
    this.options.log.info('partitions_assigned', { partitions: partitions.map(partitionKey).sort().join(',') });
    return this.inOrder(async () => {
      const seeks = new Map<string, bigint>();
      for (const run of this.options.live()) {
        if (mine !== this.newest) return new Map();
        const { topic } = run.feed;
        const own = partitions.filter((one) => one.topic === topic).map(({ partition }) => partition);
        for (const [partition, offset] of await this.resume(run, own, () => mine !== this.newest)) {
          seeks.set(partitionKey({ topic, partition }), offset);
        }
      }
      this.options.health.reads();
      this.options.changes.notify();
      return seeks;
    });
  }

  /** All partitions of a feed from the target's positions: after a conflict, or when Kafka has not what was asked for. */
  readAgain(run: FeedRun): Promise<void> {
    return this.readFrom(run, () => [...run.reading.keys()]);
  }

  /** A feed that was opened anew, or rested: the partitions of its topic that are this member's. */
  give(run: FeedRun): Promise<void> {
    const { topic } = run.feed;
    return this.readFrom(run, () => this.own.filter((one) => one.topic === topic).map(({ partition }) => partition));
  }

  private readFrom(run: FeedRun, which: () => readonly number[]): Promise<void> {
    const mine = this.newest;
    return this.inOrder(async () => {
      const partitions = which();
      if (mine !== this.newest || partitions.length === 0 || !this.options.live().includes(run)) return;
      const { topic } = run.feed;
      // Until the seek nothing is fetched, so that position and fetch cannot part ways.
      for (const partition of partitions) this.options.consumer().leaveAlone({ topic, partition });
      for (const [partition, offset] of await this.resume(run, partitions, () => mine !== this.newest)) {
        this.options.consumer().seek({ topic, partition }, offset);
      }
      this.options.changes.notify();
    });
  }

  /** Reads on where these partitions were held. */
  release(run: FeedRun, partitions: Iterable<number>): void {
    for (const partition of partitions) {
      const reading = run.reading.get(partition);
      if (!run.held.delete(partition) || !reading) continue;
      this.options.consumer().seek({ topic: run.feed.topic, partition }, reading.position);
    }
  }

  private async resume(
    run: FeedRun,
    partitions: readonly number[],
    overtaken: () => boolean,
  ): Promise<ReadonlyMap<number, bigint>> {
    const { changes, over, failed, log } = this.options;
    for (let attempt = 1; ; attempt++) {
      await run.drop();
      await changes.until(() => !run.commits.busy || over());
      if (over()) return new Map();
      await run.target.forget();
      if (partitions.length === 0 || overtaken()) return new Map();
      try {
        const seeks = await run.resume(partitions);
        this.groupOffsets.follow(run, partitions);
        return seeks;
      } catch (error) {
        if (!(error instanceof LakeError) || error.code !== 'kafka_unreachable') {
          failed(run, error);
          return new Map();
        }
        log.warn('kafka_waited_for', { feed: run.feed.name, attempt, code: error.code, reason: error.message });
        await changes.after(ASK_AGAIN_MS);
      }
    }
  }
}
