// Where to read a partition from, given what the target holds and what Kafka still has (DESIGN §4, PROTOCOL K3, K4).

import type { PositionState } from './feed-state.ts';
import type { LastMessage } from './log-entry.ts';
import { earlier, later, type Offset, toOffset } from './offsets.ts';

export type ResumeFacts = {
  /** null: the target has never seen this partition. */
  readonly position: PositionState | null;
  /** What the feed's `start` means for this partition; null: the low watermark. */
  readonly start: Offset | null;
  readonly bounds: { readonly low: Offset; readonly end: Offset };
};

export type ResumePlan =
  /** Seek to `seek`; a message at `check.offset` must be the one that was committed, and only offsets ≥ `position` count. */
  | { readonly kind: 'read'; readonly seek: Offset; readonly position: Offset; readonly check: LastMessage | null }
  /** [low, start) is left out on purpose, and recorded as such. */
  | { readonly kind: 'left_out'; readonly low: Offset; readonly start: Offset }
  /** Kafka deleted [position, low) before it was read. */
  | { readonly kind: 'expired'; readonly position: Offset; readonly low: Offset }
  /** Kafka ends before the position: messages that were committed are gone from it. */
  | { readonly kind: 'beyond_end'; readonly position: Offset; readonly end: Offset };

export function planResume(facts: ResumeFacts): ResumePlan {
  const { position, bounds } = facts;
  if (position === null) {
    const seek = earlier(later(facts.start ?? bounds.low, bounds.low), bounds.end);
    if (seek > bounds.low) return { kind: 'left_out', low: bounds.low, start: seek };
    return { kind: 'read', seek, position: seek, check: null };
  }
  if (position.position < bounds.low) return { kind: 'expired', position: position.position, low: bounds.low };
  if (position.position > bounds.end) return { kind: 'beyond_end', position: position.position, end: bounds.end };
  const { last } = position;
  const readable = last !== null && last.offset >= bounds.low;
  return {
    kind: 'read',
    seek: readable ? last.offset : position.position,
    position: position.position,
    check: readable ? last : null,
  };
}

/** First offsets by partition. */
export type Starts = ReadonlyMap<number, Offset>;

/** As the log pins them: `0:120,1:98`. */
export const formatStarts = (starts: Starts): string =>
  [...starts].map(([partition, start]) => `${partition}:${start}`).join(',');

export const parseStarts = (text: string): Starts =>
  new Map(
    text
      .split(',')
      .filter((part) => part !== '')
      .map((part) => {
        const [partition = '', start = ''] = part.split(':');
        return [Number(partition), toOffset(start)];
      }),
  );
