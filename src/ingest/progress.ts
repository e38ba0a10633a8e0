// How far a run is, and whether it gets anywhere.

import { LakeError } from '../errors.ts';
import { later } from '../model/offsets.ts';
import type { FeedRun } from './feed-run.ts';
import type { Goal } from './goal.ts';

/** `total` is what was left to read at the start; null when the run has no end. */
export type Progress = { readonly messages: number; readonly done: bigint; readonly total: bigint | null };

export function progressOf(runs: readonly FeedRun[], live: readonly FeedRun[], goal: Goal | null): Progress {
  const messages = runs.reduce((sum, run) => sum + run.commits.messages, 0);
  if (!goal) return { messages, done: BigInt(messages), total: null };
  // More is left than there was at first while a table is read anew.
  return { messages, done: later(goal.total - goal.left(live), 0n), total: goal.total };
}

/** What Kafka had at the last fetches and is not taken yet, in offsets; nothing is known of what was never fetched. */
export function backlogOf(runs: readonly FeedRun[]): bigint {
  const lefts = runs.flatMap((run) => [...run.reading.values()].map(({ position, end }) => (end ?? position) - position));
  return lefts.reduce((sum, left) => sum + later(left, 0n), 0n);
}

/** DESIGN §3: `--until-caught-up` gives up after this long without progress. */
export const STALLED_MS_MAX = 5 * 60_000;

/** Notices a run that has something left to read and gets nowhere. */
export class Stall {
  private sinceMs: number;
  private left = -1n;
  private taken = -1;

  constructor(nowMs: number) {
    this.sinceMs = nowMs;
  }

  /** Asked regularly; any change of what is left or taken counts as progress. null: it gets on. */
  look(
    runs: readonly FeedRun[],
    live: readonly FeedRun[],
    { goal, nowMs }: { readonly goal: Goal; readonly nowMs: number },
  ): LakeError | null {
    const left = goal.left(live);
    const taken = runs.reduce((sum, run) => sum + run.commits.taken, 0);
    if (left !== this.left || taken !== this.taken) {
      this.left = left;
      this.taken = taken;
      this.sinceMs = nowMs;
    }
    if (left === 0n || nowMs - this.sinceMs <= STALLED_MS_MAX) return null;
    const what = `no message came for ${STALLED_MS_MAX / 60_000} minutes; still to read: ${goal.leftNames(live)}`;
    return new LakeError('no_progress', what);
  }
}
