// A table feed at its period's end (design 4, §3): partitions are held before the boundary, the cut is made or met, what lies before
// it is committed, the snapshot is sealed, the next one opened, and reading goes on.
// Invariant: nothing at or beyond a partition's cut is taken before the snapshot is sealed, unless it was taken before the cut was known.

import { assert } from '../errors.ts';
import type { Cuts } from '../lake/cuts.ts';
import type { Log } from '../log.ts';
import { type Cut, type PartitionFacts, planCut, type SealOrder, standing } from '../model/cut.ts';
import { silentPartitions } from '../model/forgotten.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';
import type { SnapshotRules } from '../model/snapshot-rules.ts';
import { NO_LIMIT, type TakeLimit } from './stage.ts';
import type { SealAnswer, TargetName } from './target.ts';

/** Messages of the next period that come before the clock does are held from here on: clocks differ, but not by more. */
const HOLD_MS = 10_000;
const TOLD_AFTER_MS = 10_000;

export type BoundaryOptions = {
  readonly feed: string;
  readonly target: TargetName;
  readonly snapshot: () => OpenSnapshot | null;
  readonly seal: (order: SealOrder, signal: AbortSignal) => Promise<SealAnswer>;
  readonly cuts: Cuts;
  /** As pinned at this moment, by whoever runs with the newest configuration. */
  readonly rules: () => Promise<SnapshotRules>;
  /** Kafka's last stable offsets, and then its first offsets at or after an instant. Throws kafka_unreachable. */
  readonly ask: (boundaryMs: number) => Promise<ReadonlyMap<number, Omit<PartitionFacts, 'position'>>>;
  readonly log: Log;
  readonly nowMs: () => number;
};

/** Where the run stands: what it has taken of each partition, and what of that is durable. */
export type Standpoint = {
  readonly taken: ReadonlyMap<number, Offset>;
  readonly durable: ReadonlyMap<number, Offset>;
  /** Something is staged, under way or applied. */
  readonly isPending: boolean;
};

export type Step =
  /** Nothing to do for now. */
  | { readonly kind: 'go_on' }
  /** These partitions have not reached the cut: read on. */
  | { readonly kind: 'read_on'; readonly partitions: readonly number[] }
  /** All is taken: make it durable. */
  | { readonly kind: 'make_durable' }
  | { readonly kind: 'seal'; readonly order: SealOrder };

const SILENT = 'a partition that has had no message yet may still bring an older row of a deleted key';

export class Boundary {
  private readonly options: BoundaryOptions;
  private cut: Cut | null = null;
  private heldSinceMs: number | null = null;
  private isTold = false;

  constructor(options: BoundaryOptions) {
    this.options = options;
  }

  /** The open snapshot's period is over by the clock. */
  isDue(): boolean {
    const snapshot = this.options.snapshot();
    return snapshot !== null && this.options.nowMs() >= snapshot.endsAtMs;
  }

  /** Where a take of this partition must end, now. */
  limitOf(partition: number): TakeLimit {
    const snapshot = this.options.snapshot();
    if (snapshot === null || this.options.nowMs() < snapshot.endsAtMs - HOLD_MS) return NO_LIMIT;
    if (this.cut?.boundaryMs !== snapshot.endsAtMs) return { offset: null, beforeMs: snapshot.endsAtMs };
    // A partition that is not in the cut came later: all of it lies behind.
    return { offset: this.cut.positions.get(partition) ?? 0n, beforeMs: null };
  }

  /** What is to be done at the period's end; asks Kafka and the lake for the cut. Throws kafka_unreachable, lake errors. */
  async step({ taken, durable, isPending }: Standpoint): Promise<Step> {
    const snapshot = this.options.snapshot();
    if (snapshot === null || !this.isDue() || taken.size === 0) return { kind: 'go_on' };
    this.heldSinceMs ??= this.options.nowMs();
    const cut = await this.cutAt(snapshot, taken);
    const reading = new Map([...taken].map(([partition, position]) => [partition, { start: position, position }]));
    const { overall, partitions } = standing(reading, cut);
    if (overall === 'before') {
      const behind = [...partitions].filter(([, one]) => one === 'before').map(([partition]) => partition);
      this.waits(`partitions ${behind.join(',')} have not reached the cut`);
      return { kind: 'read_on', partitions: behind };
    }
    if (isPending) return { kind: 'make_durable' };
    const kind = overall === 'at' ? 'at_cut' : 'past_cut';
    return { kind: 'seal', order: { sealed: snapshot, cut, positions: durable, kind } };
  }

  /** false: someone else was first, or moved a position; everything is to be read again. */
  async seal(order: SealOrder, signal: AbortSignal): Promise<boolean> {
    const { feed, target, log, nowMs } = this.options;
    const startedMs = nowMs();
    const answer = await this.options.seal(order, signal);
    if (answer.kind !== 'committed') {
      const reason = answer.kind === 'conflict' ? answer.reason : answer.kind;
      log.warn('seal_conflicted', { feed, target, snapshot: nameOf(order.sealed), reason });
      return false;
    }
    log.info('snapshot_sealed', {
      feed,
      target,
      snapshot: nameOf(order.sealed),
      opens: nameOf(order.cut.opens),
      cut: order.kind,
      missed: order.cut.missed.length,
      duration_ms: nowMs() - startedMs,
      held_ms: nowMs() - (this.heldSinceMs ?? startedMs),
    });
    const silent = silentPartitions(answer.state.positions, order.cut.positions.keys());
    if (silent.length > 0) log.info('tombstones_kept', { feed, target, partitions: silent.join(','), reason: SILENT });
    this.reset();
    return true;
  }

  reset(): void {
    this.cut = null;
    this.heldSinceMs = null;
    this.isTold = false;
  }

  /** Made once a boundary, by whichever target comes first. */
  private async cutAt(snapshot: OpenSnapshot, taken: ReadonlyMap<number, Offset>): Promise<Cut> {
    const { cuts, feed, target, rules, nowMs, log } = this.options;
    if (this.cut?.boundaryMs === snapshot.endsAtMs) return this.cut;
    const found = await cuts.read(snapshot.endsAtMs);
    if (found) {
      this.cut = found;
      return found;
    }
    const facts = await this.options.ask(snapshot.endsAtMs);
    const partitions = new Map(
      [...facts].map(([partition, one]): [number, PartitionFacts] => [
        partition,
        { ...one, position: taken.get(partition) ?? null },
      ]),
    );
    const planned = planCut({
      feed,
      sealed: snapshot,
      partitions,
      nextBoundaryMs: await cuts.next(snapshot.endsAtMs),
      clockMs: nowMs(),
      rules: await rules(),
      by: target,
    });
    const made = await cuts.make(planned);
    assert(made.boundaryMs === snapshot.endsAtMs, 'a cut is that of the boundary it was made for');
    const offsets = [...made.positions].map(([partition, offset]) => `${partition}:${offset}`).join(',');
    log.info('cut_met', { feed, target, boundary: new Date(made.boundaryMs).toISOString(), by: made.by, offsets });
    this.cut = made;
    return made;
  }

  /** Says what the period's end waits for, once, when it has waited for long. */
  waits(reason: string): void {
    const { feed, target, log, nowMs } = this.options;
    if (this.isTold || nowMs() - (this.heldSinceMs ?? nowMs()) < TOLD_AFTER_MS) return;
    this.isTold = true;
    log.warn('snapshot_held', { feed, target, reason });
  }
}

const nameOf = ({ date, version }: { readonly date: string; readonly version: number }): string => `${date}/${version}`;

export const asOffsets = (positions: Iterable<readonly [number, { readonly position: bigint }]>): ReadonlyMap<number, Offset> =>
  new Map([...positions].map(([partition, { position }]) => [partition, toOffset(position)]));
