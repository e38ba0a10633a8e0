// One feed inside a running pipeline: where each of its partitions is read from, and when its batch closes.
// Invariant: what is taken of a partition begins where the target's position, or what was taken before, ends.

import type { KafkaAdmin } from '../broker/client.ts';
import type { Fetched } from '../broker/fetch-response.ts';
import { type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { assert, LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import { type BatchLimits, isDue, isFull } from '../model/batch.ts';
import type { Feed } from '../model/feed.ts';
import type { Gap, LastMessage } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import type { RebuildOrder } from '../model/rebuild.ts';
import { planResume, type Starts } from '../model/resume.ts';
import { asOffsets, type Boundary, type Standpoint } from './boundary.ts';
import type { Changes } from './changes.ts';
import { MEMORY_MESSAGES_MAX } from './decode-batch.ts';
import { FeedCommits } from './feed-commits.ts';
import { feedStarts } from './feed-start.ts';
import { Rebuilds } from './rebuilds.ts';
import { NO_LIMIT, type Stage, type TakeLimit, type WorkQueue } from './stage.ts';
import type { Target } from './target.ts';

export type FeedRunOptions = {
  readonly feed: Feed;
  readonly config: Config;
  readonly groupId: string;
  readonly admin: KafkaAdmin;
  readonly target: Target;
  /** The feed's log in the lake: schema, pins and stop, for both targets. */
  readonly control: LakeFeed;
  /** null: a stream, which has no snapshots. */
  readonly boundary: Boundary | null;
  readonly stage: Stage;
  readonly flush: WorkQueue;
  readonly changes: Changes;
  readonly limits: BatchLimits;
  /** Whether a batch closes as soon as Kafka has nothing more at hand. */
  readonly eager: boolean;
  readonly onGap: 'stop' | 'record';
  readonly driftSeen: (names: readonly string[]) => void;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

/** What Kafka said of the topic; `again`: it was asked a second time. */
type Known = { readonly bounds: TopicBounds; readonly starts: Starts; readonly again?: boolean };

/** `fetchAt`: where the next record set must begin, so that none is taken that was fetched before a seek (PROTOCOL K2). */
type Reading = {
  readonly position: bigint;
  readonly check: LastMessage | null;
  readonly fetchAt: bigint;
  /** Where Kafka's end was at the last fetch; null: nothing was fetched yet. */
  readonly end: bigint | null;
  /** What the target held when it was last asked. */
  readonly from: bigint;
};

export class FeedRun {
  readonly feed: Feed;
  readonly target: Target;
  readonly stage: Stage;
  /** Partitions this member reads, and the next offset it needs of each. */
  readonly reading = new Map<number, Reading>();
  readonly commits: FeedCommits;
  readonly boundary: Boundary | null;
  /** null: a stream, which has all that it ever read. */
  readonly rebuilds: Rebuilds | null;
  /** Partitions that wait at a boundary, or for a rebuild; read on from their positions when it is over. */
  readonly held = new Set<number>();
  private readonly options: FeedRunOptions;

  constructor(options: FeedRunOptions) {
    this.options = options;
    this.feed = options.feed;
    this.target = options.target;
    this.stage = options.stage;
    this.boundary = options.boundary;
    this.commits = new FeedCommits(options);
    const { config, target } = options;
    this.rebuilds = target.rebuild ? new Rebuilds({ ...options, kafka: config.kafka, table: target.rebuild }) : null;
  }

  /** Positions are read anew from the target; whatever was staged is dropped by the caller before. */
  async resume(partitions: readonly number[]): Promise<ReadonlyMap<number, Offset>> {
    const { admin, config, feed, nowMs } = this.options;
    await this.target.refresh();
    const atMs = nowMs();
    const bounds = await topicBounds(admin, config.kafka, feed.topic);
    const { groupId, signal } = this.options;
    const starts = await feedStarts({
      feed,
      control: this.options.control,
      target: this.target,
      admin,
      config,
      groupId,
      bounds,
      signal,
    });
    const seeks = new Map<number, Offset>();
    for (const partition of partitions) {
      seeks.set(partition, await this.resumePartition(partition, { bounds, starts }));
    }
    const order = await this.rebuilds?.beginIfDue({ atMs, bounds }, partitions);
    return order ? this.readAnew(order) : seeks;
  }

  /** What was committed last must be the same message still, as when reading on (PROTOCOL K4). */
  private readAnew({ ways }: RebuildOrder): ReadonlyMap<number, Offset> {
    for (const [partition, { start }] of ways) {
      const check = this.reading.get(partition)?.check ?? null;
      this.reading.set(partition, { position: start, check, fetchAt: start, end: null, from: start });
    }
    return new Map([...ways].map(([partition, { start }]) => [partition, start]));
  }

  private async resumePartition(partition: number, known: Known): Promise<Offset> {
    const { feed, onGap, admin, config } = this.options;
    const bounds = known.bounds.get(partition);
    if (!bounds)
      throw new LakeError('topic_missing', `topic ${feed.topic} has no partition ${partition}`, { where: { topic: feed.topic } });
    const state = this.target.state();
    const plan = planResume({
      position: state.positions.get(partition) ?? null,
      start: known.starts.get(partition) ?? null,
      bounds,
    });
    const where = { feed: feed.name, topic: feed.topic, partition, target: this.target.name };
    switch (plan.kind) {
      case 'read':
        this.reading.set(partition, {
          position: plan.position,
          check: plan.check,
          fetchAt: plan.seek,
          end: null,
          from: plan.position,
        });
        return plan.seek;
      case 'left_out': {
        const reason = feed.start.kind === 'group' ? 'takeover' : `start ${feed.start.kind}`;
        await this.recordGap({ partition, start: plan.low, end: plan.start, reason }, 'info');
        return this.resumePartition(partition, known);
      }
      case 'beyond_end':
        // Bounds that are older than the fold may end before what another member has committed since.
        if (!known.again)
          return this.resumePartition(partition, {
            ...known,
            bounds: await topicBounds(admin, config.kafka, feed.topic),
            again: true,
          });
        throw new LakeError(
          'topic_truncated',
          `partition ${partition} ends at ${plan.end}, before the position ${plan.position}: topic ${feed.topic} lost messages or was created anew`,
          { where },
        );
      case 'expired': {
        const lost = plan.low - plan.position;
        if (onGap === 'stop') {
          throw new LakeError(
            'offset_out_of_range',
            `partition ${partition} cannot resume at offset ${plan.position}: the topic now starts at ${plan.low} (${lost} messages are gone)`,
            { where, todo: `accept the loss and record it:  lake ingest --feed ${feed.name} --on-gap record` },
          );
        }
        await this.recordGap({ partition, start: plan.position, end: plan.low, reason: 'expired' }, 'warn');
        return this.resumePartition(partition, known);
      }
    }
  }

  /** Commits offsets that will never be read as a gap, and plans again. */
  private async recordGap(gap: Gap, level: 'info' | 'warn'): Promise<void> {
    const { feed, log, signal } = this.options;
    const answer = await this.target.recordGaps([gap], signal);
    assert(answer.kind !== 'applied', 'a gap is durable at once');
    if (answer.kind !== 'committed') {
      this.commits.lost(answer);
      return;
    }
    log[level]('gap_recorded', {
      feed: feed.name,
      target: this.target.name,
      topic: feed.topic,
      partition: gap.partition,
      offsets: `${gap.start}-${gap.end}`,
      reason: gap.reason,
    });
  }

  /** Answers whether the partition is held from here on: no more of it may be fetched. */
  take(fetched: Fetched, fetchedOffset: bigint): boolean {
    const { partition, nextOffset } = fetched;
    const reading = this.reading.get(partition);
    if (!reading || reading.fetchAt !== fetchedOffset) return false;
    const { check } = reading;
    const position = this.stage.take(fetched, reading.position, check, this.limitOf(partition));
    const isHeld = position < nextOffset;
    if (isHeld) this.held.add(partition);
    this.reading.set(partition, {
      ...reading,
      position,
      check: check && check.offset >= position ? check : null,
      fetchAt: isHeld ? position : nextOffset,
      end: fetched.endOffset,
    });
    return isHeld;
  }

  /** A rebuild takes what was there when it began; what comes later waits, and boundaries wait for it. */
  private limitOf(partition: number): TakeLimit {
    const end = this.rebuilds?.endOf(partition) ?? null;
    return end === null ? (this.boundary?.limitOf(partition) ?? NO_LIMIT) : { offset: end, beforeMs: null };
  }

  get isRebuilding(): boolean {
    return this.rebuilds?.isRunning === true;
  }

  /** For the boundary: what is taken, and what of it is durable. */
  standpoint(): Standpoint {
    return {
      taken: asOffsets(this.reading),
      durable: asOffsets(this.target.state().positions),
      isPending: this.stage.batch !== null || this.commits.busy || this.commits.canPublish,
    };
  }

  get full(): boolean {
    return isFull(this.stage.facts(), this.options.limits);
  }

  get due(): boolean {
    if (this.stage.batch === null) return false;
    if (isDue(this.stage.facts(), this.options.limits) || this.isReadAnew) return true;
    // What comes while one commits goes together: the warehouse takes two small batches no faster than one. A larger one takes
    // DuckDB a while, which may as well pass meanwhile.
    const isWorthwhile = !this.commits.busy || this.stage.facts().messages > MEMORY_MESSAGES_MAX;
    return this.options.eager && this.isAtEnd && isWorthwhile;
  }

  private get isReadAnew(): boolean {
    const { rebuilds } = this;
    return (
      this.isRebuilding && [...this.reading].every(([partition, { position }]) => position >= (rebuilds?.endOf(partition) ?? 0n))
    );
  }

  private get isAtEnd(): boolean {
    return [...this.reading.values()].every(({ position, end }) => end === null || position >= end);
  }

  /** Bytes that are staged and not durable yet. */
  get stagedBytes(): number {
    return this.stage.facts().bytes + this.commits.writingBytes;
  }

  /** Partitions that went to another member, or must be read again: what is staged for them is dropped (PROTOCOL K6). */
  async drop(): Promise<void> {
    this.reading.clear();
    this.held.clear();
    this.boundary?.reset();
    await this.stage.drop();
    this.commits.restart();
  }

  async close(): Promise<void> {
    await this.target.close();
    await this.options.control.close();
  }
}
