// The part of a log entry that puts a table read anew in the place of the one that was there (design 4, §3), and what it may say.
// Invariant: rebuildToJson and parseRebuild are inverse; a rebuild replaces the table as it was at exactly `from`, and goes no way back.

import { parsePositions, positionsToJson } from './cut.ts';
import type { FeedState, PositionState } from './feed-state.ts';
import { type JsonObject, objectAt, stringAt } from './json-fields.ts';
import type { Proposal } from './log-entry.ts';
import type { Offset } from './offsets.ts';

export type EntryRebuild = {
  /** Where all partitions were before it. One that its ranges do not name had nothing to read, and stays there. */
  readonly from: ReadonlyMap<number, Offset>;
  /** Why, for a person. */
  readonly reason: string;
};

export const rebuildToJson = ({ from, reason }: EntryRebuild): JsonObject => ({ from: positionsToJson(from), reason });

export const parseRebuild = (value: unknown, at: string): EntryRebuild => {
  const json = objectAt(value, at);
  return { from: parsePositions(json['from'], `${at}.from`), reason: stringAt(json['reason'], `${at}.reason`) };
};

/** What is wrong with a rebuild by itself, or null. */
export const rebuildProblem = ({ ranges, gaps }: Proposal, { from }: EntryRebuild): string | null => {
  if (gaps.length > 0) return 'is a rebuild with gaps in it';
  const back = ranges.find(({ partition, end }) => end < (from.get(partition) ?? end));
  return back ? `is a rebuild that leads partition ${back.partition} back to ${back.end}` : null;
};

const NO_COUNTS = { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };

/** The positions before the ranges of the entry: each of those begins anew. */
export const restarted = (
  { positions }: Pick<FeedState, 'positions'>,
  { ranges }: Pick<Proposal, 'ranges'>,
): Map<number, PositionState> => {
  const anew = new Set(ranges.map(({ partition }) => partition));
  const stay = [...positions].filter(([partition]) => !anew.has(partition));
  return new Map(
    stay.map(([partition, { position }]) => [
      partition,
      { start: position, position, last: null, timestampMsMax: null, totals: NO_COUNTS },
    ]),
  );
};
