// Where to read a partition from, given what the target holds and what Kafka still has (DESIGN §4, PROTOCOL K3, K4).

import type { PositionState } from './feed-state.ts';
import type { LastMessage } from './log-entry.ts';
import { earlier, later, type Offset } from './offsets.ts';

export type ResumeFacts = {
  /** null: the target has never seen this partition. */
  readonly position: PositionState | null;
  /** Whether the target has seen any partition of the feed: a new one then starts at the low watermark. */
  readonly feedKnown: boolean;
  /** What the feed's `start` means for this partition. */
  readonly start: Offset;
  readonly bounds: { readonly low: Offset; readonly end: Offset };
};

export type ResumePlan =
  /** Seek to `seek`; a message at `check.offset` must be the one that was committed, and only offsets ≥ `position` count. */
  | { readonly kind: 'read'; readonly seek: Offset; readonly position: Offset; readonly check: LastMessage | null }
  /** Kafka deleted [position, low) before it was read. */
  | { readonly kind: 'expired'; readonly position: Offset; readonly low: Offset }
  /** Kafka ends before the position: messages that were committed are gone from it. */
  | { readonly kind: 'beyond_end'; readonly position: Offset; readonly end: Offset };

export function planResume(facts: ResumeFacts): ResumePlan {
  const { position, bounds } = facts;
  if (position === null) {
    const wanted = facts.feedKnown ? bounds.low : facts.start;
    const seek = earlier(later(wanted, bounds.low), bounds.end);
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
