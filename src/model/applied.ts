// What a table's batches add up to until they are published: one range a partition, over all of them. Pure.

import type { CommittedRange } from './log-entry.ts';
import type { Offset } from './offsets.ts';

/**
 * The ranges of both, those of one partition joined. null: `next` does not begin where `before`, or else the position, ends; then
 * something in between was lost, or committed by another.
 */
export function joinRanges(
  before: readonly CommittedRange[],
  next: readonly CommittedRange[],
  positions: ReadonlyMap<number, { readonly position: Offset }>,
): readonly CommittedRange[] | null {
  const joined = new Map(before.map((range) => [range.partition, range]));
  for (const range of next) {
    const known = joined.get(range.partition);
    const expected = known?.end ?? positions.get(range.partition)?.position ?? range.start;
    if (range.start !== expected) return null;
    joined.set(range.partition, known ? join(known, range) : range);
  }
  return [...joined.values()];
}

const join = (a: CommittedRange, b: CommittedRange): CommittedRange => ({
  partition: a.partition,
  start: a.start,
  end: b.end,
  messages: a.messages + b.messages,
  rows: a.rows + b.rows,
  deadLetters: a.deadLetters + b.deadLetters,
  tombstones: a.tombstones + b.tombstones,
  last: b.last ?? a.last,
  timestampMsMax: laterMs(a.timestampMsMax, b.timestampMsMax),
});

const laterMs = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));
