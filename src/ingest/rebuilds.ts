// When a table is read anew (DESIGN §5, PROTOCOL 14), and how it is known that this need not be: what was the end of the topic at some
// instant is remembered, and when the positions have come that far, the target notes the instant.
// Invariant: what a target noted is never renewed once a tombstone may have been missed; then only a rebuild renews it.

import type { KafkaAdmin } from '../broker/client.ts';
import { DELETE_RETENTION_MS, topicSettings } from '../broker/topic-settings.ts';
import { type TopicBounds, topicBounds } from '../broker/watermarks.ts';
import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';
import {
  isNoteDue,
  isOverdue,
  type RebuildCause,
  type RebuildOrder,
  rebuildCause,
  type TableRebuild,
  type TopicSettings,
  waysOf,
} from '../model/rebuild.ts';
import type { Target } from './target.ts';

export type RebuildsOptions = {
  readonly feed: Feed;
  readonly target: Target;
  readonly table: TableRebuild;
  readonly admin: KafkaAdmin;
  readonly kafka: KafkaConfig;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
};

/** Where the topic ended at an instant. */
type Ends = { readonly atMs: number; readonly bounds: TopicBounds };

export class Rebuilds {
  private readonly options: RebuildsOptions;
  private settings: TopicSettings | null = null;
  private ends: Ends | null = null;
  private order: RebuildOrder | null = null;
  private isTold = false;
  /** Since the last beat: Kafka was away. */
  private isWaiting = false;

  constructor(options: RebuildsOptions) {
    this.options = options;
  }

  get isRunning(): boolean {
    return this.options.table.phase() !== 'none';
  }

  /** Up to where a partition is read while it lasts; null: it does not. */
  endOf(partition: number): bigint | null {
    return this.isRunning ? (this.order?.ways.get(partition)?.end ?? 0n) : null;
  }

  /** null: the table has missed nothing. Throws kafka_unreachable, topic_missing. */
  async cause(): Promise<RebuildCause | null> {
    const { table, nowMs } = this.options;
    this.settings = await this.askSettings();
    return rebuildCause(table.facts(), this.settings, nowMs());
  }

  /** Begins one if it is due; all partitions are then read as it says. `ends`: what Kafka said before the positions were looked at. */
  async beginIfDue(ends: Ends, partitions: readonly number[]): Promise<RebuildOrder | null> {
    const { feed, target, table, log } = this.options;
    this.ends = ends;
    const reason = await this.cause();
    // A table has one reader; it has all partitions as soon as the group has heard of a new one.
    if (reason === null || [...ends.bounds.keys()].some((partition) => !partitions.includes(partition))) return null;
    const ways = waysOf(ends.bounds, target.state().positions);
    const { gaps, caughtUpAtMs } = table.facts();
    const from = [...ways].map(([partition, { start, end }]) => `${partition}:${start}-${end}`).join(',');
    this.order = { ways, reason, startedAtMs: ends.atMs };
    // What is read from older positions conflicts, and is asked for again.
    if (!(await table.begin(this.order))) return null;
    log.warn('rebuild_started', {
      ...{ feed: feed.name, target: target.name, topic: feed.topic, offsets: from, reason },
      ...(reason === 'gap' && { gaps: gaps.map(({ partition, start, end }) => `${partition}:${start}-${end}`).join(',') }),
      ...(reason === 'not_caught_up' && {
        caught_up_at: new Date(caughtUpAtMs ?? 0).toISOString(),
        delete_retention_ms: this.settings?.deleteRetentionMs,
      }),
    });
    return this.order;
  }

  /**
   * In quiet moments: notes that the table has caught up. Answers whether it must be read again instead: a rebuild has come due, for
   * it was behind for so long that it may have missed tombstones on the way, or the target's positions went back. Kafka or a target
   * that is away is asked again with a later beat.
   */
  async beat(): Promise<boolean> {
    const { feed, target, log } = this.options;
    try {
      const isDue = await this.note({ isLast: false });
      this.isWaiting = false;
      return isDue;
    } catch (error) {
      if (!isPassing(error)) throw error;
      const { code, message: reason } = error;
      if (!this.isWaiting) log.warn('caught_up_unsaid', { feed: feed.name, target: target.name, code, reason });
      this.isWaiting = true;
      return false;
    }
  }

  /** On the way out. Kafka that is away leaves it unsaid. */
  async noteLast(): Promise<void> {
    try {
      await this.note({ isLast: true });
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
  }

  private async note({ isLast }: { readonly isLast: boolean }): Promise<boolean> {
    const { table, target, nowMs, signal } = this.options;
    if (this.isRunning || !table.isBegun()) return false;
    this.settings ??= await this.askSettings();
    const facts = table.facts();
    if (!isNoteDue(facts, this.settings, { nowMs: nowMs(), isLast })) return false;
    this.ends ??= await this.askEnds();
    if (!isReached(this.ends, target)) return false;
    if (isOverdue(facts, this.settings, nowMs())) return true;
    const before = this.ends;
    this.ends = await this.askEnds();
    const reached = isReached(this.ends, target) ? this.ends : before;
    if (reached.atMs > (facts.caughtUpAtMs ?? 0)) await table.noteCaughtUp(reached.atMs, signal);
    return !isReached(reached, target);
  }

  private async askEnds(): Promise<Ends> {
    const { admin, kafka, feed, nowMs } = this.options;
    const atMs = nowMs();
    return { atMs, bounds: await topicBounds(admin, kafka, feed.topic) };
  }

  private async askSettings(): Promise<TopicSettings> {
    const { admin, kafka, feed, log } = this.options;
    try {
      return await topicSettings(admin, kafka, feed.topic);
    } catch (error) {
      if (!(error instanceof LakeError) || error.code !== 'kafka_refused') throw error;
      if (!this.isTold) log.warn('topic_settings_unknown', { feed: feed.name, topic: feed.topic, reason: error.message });
      this.isTold = true;
      return { isCompacted: true, deleteRetentionMs: DELETE_RETENTION_MS };
    }
  }
}

const isReached = ({ bounds }: Ends, target: Target): boolean => {
  const { positions } = target.state();
  return [...bounds].every(([partition, { low, end }]) => (positions.get(partition)?.position ?? low) >= end);
};

/** A broker that has just started does not know its topics yet; one that is really gone is noticed by those who read it. */
const isPassing = (error: unknown): error is LakeError =>
  error instanceof LakeError && (error.retriable || error.code === 'topic_missing');
