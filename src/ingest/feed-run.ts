// One feed inside a running pipeline: where each of its partitions is read from, when its batch closes, what follows a commit.
// Invariant: at most one batch commits at a time; group offsets follow only what the target made durable.

import type { KafkaAdmin } from '../broker/client.ts';
import type { Fetched } from '../broker/fetch-response.ts';
import { type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import type { Config } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { LakeFeed } from '../lake/lake.ts';
import type { Log } from '../log.ts';
import { type BatchLimits, type CommitAnswer, isDue, isFull, type StagedBatch } from '../model/batch.ts';
import type { Feed } from '../model/feed.ts';
import type { Gap, LastMessage } from '../model/log-entry.ts';
import { later, type Offset } from '../model/offsets.ts';
import { judgeRefusals, keepRecent, type RefusalCount } from '../model/refusals.ts';
import { planResume, type Starts } from '../model/resume.ts';
import { stoppedError } from './feed-errors.ts';
import { feedStarts } from './feed-start.ts';
import { type OpenBatch, SchemaGrown, type Stage, type WorkQueue } from './stage.ts';

/** A conflict means another writer owns these partitions; after this many without progress it is not a passing rebalance. */
const CONFLICTS_MAX = 3;

export type FeedRunOptions = {
  readonly feed: Feed;
  readonly config: Config;
  readonly groupId: string;
  readonly admin: KafkaAdmin;
  readonly lake: LakeFeed;
  readonly stage: Stage;
  readonly flush: WorkQueue;
  readonly limits: BatchLimits;
  readonly onGap: 'stop' | 'record';
  readonly log: Log;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

/** What follows a commit. */
export type RunOutcome =
  | { readonly kind: 'nothing' }
  /** These partitions' group offsets may follow. */
  | { readonly kind: 'committed'; readonly partitions: readonly number[] }
  /** Another writer was first: everything staged is to be dropped and read again from the target's positions. */
  | { readonly kind: 'read_again' };

/** What Kafka said of the topic; `again`: it was asked a second time. */
type Known = { readonly bounds: TopicBounds; readonly starts: Starts; readonly again?: boolean };

/** `fetchAt`: where the next record set must begin, so that none is taken that was fetched before a seek (PROTOCOL K2). */
type Reading = {
  readonly position: bigint;
  readonly check: LastMessage | null;
  readonly fetchAt: bigint;
  /** What the target held when it was last asked. */
  readonly from: bigint;
};

export class FeedRun {
  readonly feed: Feed;
  readonly lake: LakeFeed;
  readonly stage: Stage;
  /** Partitions this member reads, and the next offset it needs of each. */
  readonly reading = new Map<number, Reading>();
  committing = false;
  /** Bytes of the batch that is committing. */
  committingBytes = 0;
  /** Messages committed by this run. */
  messages = 0;
  private readonly options: FeedRunOptions;
  private conflicts = 0;
  private readonly driftTold = new Set<string>();
  private refusals: readonly RefusalCount[] = [];

  constructor(options: FeedRunOptions) {
    this.options = options;
    this.feed = options.feed;
    this.lake = options.lake;
    this.stage = options.stage;
  }

  /** Positions are read anew from the target; whatever was staged is dropped by the caller before. */
  async resume(partitions: readonly number[]): Promise<ReadonlyMap<number, Offset>> {
    const { admin, config, feed } = this.options;
    await this.lake.refresh();
    const bounds = await topicBounds(admin, config.kafka, feed.topic);
    const { groupId, signal } = this.options;
    const starts = await feedStarts({ feed, lake: this.lake, admin, config, groupId, bounds, signal });
    const seeks = new Map<number, Offset>();
    for (const partition of partitions) {
      seeks.set(partition, await this.resumePartition(partition, { bounds, starts }));
    }
    return seeks;
  }

  private async resumePartition(partition: number, known: Known): Promise<Offset> {
    const { feed, onGap, admin, config } = this.options;
    const bounds = known.bounds.get(partition);
    if (!bounds)
      throw new LakeError('topic_missing', `topic ${feed.topic} has no partition ${partition}`, { where: { topic: feed.topic } });
    const state = this.lake.state();
    const plan = planResume({
      position: state.positions.get(partition) ?? null,
      start: known.starts.get(partition) ?? null,
      bounds,
    });
    const where = { feed: feed.name, topic: feed.topic, partition, target: 'lake' };
    switch (plan.kind) {
      case 'read':
        this.reading.set(partition, { position: plan.position, check: plan.check, fetchAt: plan.seek, from: plan.position });
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
    const answer = await this.lake.recordGaps([gap], signal);
    if (answer.kind !== 'committed') {
      this.lost(answer);
      return;
    }
    log[level]('gap_recorded', {
      feed: feed.name,
      target: 'lake',
      topic: feed.topic,
      partition: gap.partition,
      offsets: `${gap.start}-${gap.end}`,
      reason: gap.reason,
    });
  }

  take(fetched: Fetched, fetchedOffset: bigint): void {
    const reading = this.reading.get(fetched.partition);
    if (!reading || reading.fetchAt !== fetchedOffset) return;
    this.stage.take(fetched, reading.position, reading.check);
    const { nextOffset } = fetched;
    this.reading.set(fetched.partition, {
      ...reading,
      position: later(nextOffset, reading.position),
      check: null,
      fetchAt: nextOffset,
    });
  }

  get full(): boolean {
    return isFull(this.stage.facts(), this.options.limits);
  }

  get due(): boolean {
    return this.stage.batch !== null && isDue(this.stage.facts(), this.options.limits);
  }

  /** Bytes that are staged and not durable yet. */
  get stagedBytes(): number {
    return this.stage.facts().bytes + this.committingBytes;
  }

  /** Closes the open batch and commits it. Ends when it is durable, given up, or failed (thrown). */
  async commit(): Promise<RunOutcome> {
    if (this.committing) return { kind: 'nothing' };
    this.committing = true;
    this.committingBytes = this.stage.facts().bytes;
    try {
      const closed = await this.stage.close();
      return closed ? await this.commitBatch(closed.batch, closed.open) : { kind: 'nothing' };
    } catch (error) {
      if (error instanceof SchemaGrown) return { kind: 'read_again' };
      throw error;
    } finally {
      this.committing = false;
      this.committingBytes = 0;
    }
  }

  private async commitBatch(batch: StagedBatch, open: OpenBatch): Promise<RunOutcome> {
    const { flush, signal, log, nowMs } = this.options;
    const startedMs = nowMs();
    const counts = [...this.refusals, { atMs: startedMs, messages: batch.rows + batch.deadLetters, refused: batch.deadLetters }];
    const commit = async (): Promise<CommitAnswer> => {
      const refused = await this.tooManyRefused(batch, counts);
      if (refused) throw refused;
      return flush((connection) => this.lake.commit(connection, batch, signal));
    };
    const answer = await commit().finally(async () => {
      if (open.tables) await this.stage.discard(open.tables);
    });
    if (answer.kind !== 'committed') return this.lost(answer);
    this.conflicts = 0;
    this.refusals = keepRecent(counts, nowMs());
    const messages = batch.ranges.reduce((sum, range) => sum + range.messages, 0);
    this.messages += messages;
    log.info('batch_committed', {
      feed: this.feed.name,
      target: 'lake',
      topic: this.feed.topic,
      offsets: batch.ranges.map(({ partition, start, end }) => `${partition}:${start}-${end}`).join(','),
      version: answer.version,
      messages,
      rows: batch.rows,
      dead_letters: batch.deadLetters,
      files: answer.files,
      bytes: answer.bytes,
      duration_ms: nowMs() - startedMs,
    });
    if (batch.deadLetters > 0)
      log.warn('messages_refused', { feed: this.feed.name, target: 'lake', dead_letters: batch.deadLetters });
    this.tellDrift(open.drift);
    return { kind: 'committed', partitions: batch.ranges.map(({ partition }) => partition) };
  }

  /** Each unknown name once a run: a feed that has one has it in every batch. */
  private tellDrift(names: ReadonlySet<string>): void {
    const fresh = [...names].filter((name) => !this.driftTold.has(name)).sort();
    for (const name of fresh) this.driftTold.add(name);
    if (fresh.length > 0) this.options.log.warn('fields_unknown', { feed: this.feed.name, fields: fresh.join(',') });
  }

  private lost(answer: Exclude<CommitAnswer, { kind: 'committed' }>): RunOutcome {
    const { stopped, version } = answer.state;
    if (stopped) throw stoppedError(this.feed, stopped);
    const reason = answer.kind === 'fenced' ? 'fenced' : answer.reason;
    // A schema that grew while this batch committed is our own doing as often as another's.
    if (reason !== 'epoch' && reason !== 'schema') this.conflicts++;
    this.options.log.warn('commit_conflicted', {
      feed: this.feed.name,
      target: 'lake',
      version,
      attempt: this.conflicts,
      reason,
    });
    if (this.conflicts >= CONFLICTS_MAX) {
      throw new LakeError(
        'fenced',
        `feed ${this.feed.name} lost ${this.conflicts} commits in a row to another writer (${reason})`,
        {
          where: { feed: this.feed.name, target: 'lake', version },
        },
      );
    }
    return { kind: 'read_again' };
  }

  /** DESIGN §6: a wrong schema is noticed before the refused messages are committed. */
  private async tooManyRefused(batch: StagedBatch, counts: readonly RefusalCount[]): Promise<LakeError | null> {
    const { feed, nowMs, signal } = this.options;
    const verdict = judgeRefusals(counts, feed.deadLettersMaxRatio, nowMs());
    if (verdict.kind === 'fine') return null;
    const reason = `${verdict.refused} of the last ${verdict.messages} messages do not fit its schema`;
    for (let attempt = 1; attempt <= CONFLICTS_MAX; attempt++) {
      const answer = await this.lake.stop(reason, signal);
      if (answer.kind === 'committed' || answer.state.stopped) break;
    }
    return new LakeError(
      'schema_refuses',
      `feed ${feed.name} is stopped: ${reason}; none of this batch was taken, nothing is lost`,
      {
        where: { feed: feed.name, topic: feed.topic, target: 'lake', offset: batch.ranges[0]?.start ?? 0n },
        todo: `correct its schema in feeds.json, then  lake feeds enable ${feed.name}`,
      },
    );
  }

  /** Partitions that went to another member, or must be read again: what is staged for them is dropped (PROTOCOL K6). */
  async drop(): Promise<void> {
    this.reading.clear();
    await this.stage.drop();
  }
}
