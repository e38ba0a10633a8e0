// Whether a table may have missed tombstones, or was rewound, so that it must be read anew from the low watermark (DESIGN §5, PROTOCOL
// M4, 14). Pure.
// Kafka's log compaction keeps a tombstone for delete.retention.ms: whoever reads on to the end within that time has seen all of them.

import { later, type Offset, toOffset } from './offsets.ts';

/** What a target knows of its table. */
export type TableFacts = {
  /** Offsets that were not there to be read, since the table was last read as a whole. */
  readonly gaps: readonly { readonly partition: number; readonly start: Offset; readonly end: Offset }[];
  /** Somebody wants it read again. */
  readonly isRewound: boolean;
  /** No tombstone from before can have been missed; null: not known. */
  readonly caughtUpAtMs: number | null;
};

/** Settings of a topic. */
export type TopicSettings = { readonly isCompacted: boolean; readonly deleteRetentionMs: number };

export type RebuildCause = 'rewind' | 'gap' | 'not_caught_up';

/** null: nothing can have been missed. */
export function rebuildCause(facts: TableFacts, settings: TopicSettings, nowMs: number): RebuildCause | null {
  if (facts.isRewound) return 'rewind';
  if (facts.gaps.length > 0) return 'gap';
  return isOverdue(facts, settings, nowMs) ? 'not_caught_up' : null;
}

/** A topic that is not compacted keeps its tombstones as long as all the rest: what expires there is a gap. */
export function isOverdue({ caughtUpAtMs }: TableFacts, settings: TopicSettings, nowMs: number): boolean {
  return settings.isCompacted && caughtUpAtMs !== null && nowMs - caughtUpAtMs > settings.deleteRetentionMs;
}

/** While it runs, a table says this many times in delete.retention.ms that it has caught up; when it stops, it says so to this part. */
const NOTES = 10;
const LAST_NOTES = 100;

/** Whether it is worth a commit to say that the table has caught up. */
export function isNoteDue(
  { caughtUpAtMs }: TableFacts,
  settings: TopicSettings,
  { nowMs, isLast }: { readonly nowMs: number; readonly isLast: boolean },
): boolean {
  if (!settings.isCompacted) return false;
  return caughtUpAtMs === null || nowMs - caughtUpAtMs >= settings.deleteRetentionMs / (isLast ? LAST_NOTES : NOTES);
}

/** A rebuild reads each partition from one offset up to another, no less and no more. */
export type Way = { readonly start: Offset; readonly end: Offset };

/** From what Kafka has first, up to its last stable offset, which a position that was read before it may lie beyond. */
export function waysOf(
  bounds: ReadonlyMap<number, { readonly low: Offset; readonly end: Offset }>,
  positions: ReadonlyMap<number, { readonly position: Offset }>,
): ReadonlyMap<number, Way> {
  return new Map(
    [...bounds].map(([partition, { low, end }]) => {
      const position = positions.get(partition)?.position ?? toOffset(0n);
      return [partition, { start: low, end: later(end, position) }];
    }),
  );
}

/** Whether the ways lead to all of these positions, which others may have moved since the ways were laid. */
export const leadTo = (ways: ReadonlyMap<number, Way>, positions: ReadonlyMap<number, { readonly position: Offset }>): boolean =>
  [...positions].every(([partition, { position }]) => position <= (ways.get(partition)?.end ?? -1n));

export type RebuildOrder = {
  readonly ways: ReadonlyMap<number, Way>;
  readonly reason: RebuildCause;
  /** Kafka was asked for the ends of the ways at this time, or later. */
  readonly startedAtMs: number;
};

/** `reading`: kept apart, and nothing of it can be made durable. `complete`: it can replace the table. */
export type RebuildPhase = 'none' | 'reading' | 'complete';

/** The part of a table's target that reads it anew. */
export type TableRebuild = {
  /** As last seen; free. */
  facts(): TableFacts;
  /** Whether there is something to note an instant on; free. */
  isBegun(): boolean;
  /** From here on nothing is added to the table, as if nothing of it had been read yet, until it is replaced or all is forgotten.
   *  Answers whether it has begun: not when others have moved the positions beyond the ways. */
  begin(order: RebuildOrder): Promise<boolean>;
  phase(): RebuildPhase;
  /** Remembers that no tombstone from before this instant can have been missed, unless others moved the positions: those are then known. */
  noteCaughtUp(atMs: number, signal: AbortSignal): Promise<void>;
};

/** Whether all ways were gone to their ends. */
export function isComplete(
  ways: ReadonlyMap<number, Way>,
  taken: readonly { readonly partition: number; readonly end: Offset }[],
): boolean {
  const ends = new Map(taken.map(({ partition, end }) => [partition, end]));
  return [...ways].every(([partition, { start, end }]) => (ends.get(partition) ?? start) >= end);
}
