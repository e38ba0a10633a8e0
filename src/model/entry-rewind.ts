// The part of a log entry that takes a stream's data out from an offset on, so that it is read again, or orders a table to be read anew
// (PROTOCOL M4), and what it may say. Pure.
// Invariant: rewindToJson and parseRewind are inverse; what is taken out of the counts is taken out of the files, or retention had it.

import type { FeedState, PositionState } from './feed-state.ts';
import { arrayAt, intAt, type JsonObject, nullOr, objectAt, offsetAt, stringAt } from './json-fields.ts';
import { type LakeFile, lastToJson, type Proposal, parseLast } from './log-entry.ts';
import type { Offset } from './offsets.ts';

/** A partition as it is after the rewind: counts, last message and highest timestamp of what is left. `from`: where it was. */
export type RewoundPartition = Pick<PositionState, 'position' | 'last' | 'timestampMsMax' | 'totals'> & {
  readonly partition: number;
  readonly from: Offset;
};

export type EntryRewind = {
  /** As it was asked for, for a person. */
  readonly to: string;
  /** None: a table, which is read anew as a whole; its positions stay until then. */
  readonly partitions: readonly RewoundPartition[];
  /** Rows beyond the points that were in no file any more, for retention had taken them. */
  readonly retainedRows: number;
};

export const rewindToJson = ({ to, partitions, retainedRows }: EntryRewind): JsonObject => ({
  to,
  retained_rows: retainedRows,
  partitions: partitions.map(({ partition, from, position, last, timestampMsMax, totals }) => ({
    partition,
    from: String(from),
    position: String(position),
    last: last && lastToJson(last),
    timestamp_ms_max: timestampMsMax,
    messages: totals.messages,
    rows: totals.rows,
    dead_letters: totals.deadLetters,
    tombstones: totals.tombstones,
  })),
});

export const parseRewind = (value: unknown, at: string): EntryRewind => {
  const json = objectAt(value, at);
  return {
    to: stringAt(json['to'], `${at}.to`),
    retainedRows: intAt(json['retained_rows'], `${at}.retained_rows`, 0),
    partitions: arrayAt(json['partitions'], `${at}.partitions`, parsePartition),
  };
};

const parsePartition = (value: unknown, at: string): RewoundPartition => {
  const json = objectAt(value, at);
  const count = (name: string): number => intAt(json[name], `${at}.${name}`, 0);
  return {
    partition: count('partition'),
    from: offsetAt(json['from'], `${at}.from`),
    position: offsetAt(json['position'], `${at}.position`),
    last: nullOr(json['last'], `${at}.last`, parseLast),
    timestampMsMax: nullOr(json['timestamp_ms_max'], `${at}.timestamp_ms_max`, intAt),
    totals: {
      messages: count('messages'),
      rows: count('rows'),
      deadLetters: count('dead_letters'),
      tombstones: count('tombstones'),
    },
  };
};

/** What is wrong with a rewind by itself, or null. */
export const rewindProblem = (entry: Proposal, { partitions }: EntryRewind): string | null => {
  if (entry.ranges.length + entry.gaps.length > 0 || entry.snapshot || entry.seal) return 'is a rewind that takes something in';
  if (entry.added.some(({ kind }) => kind === 'state')) return 'is a rewind with a state file in it';
  if (entry.added.length > entry.removed.length) return 'is a rewind that adds more files than it takes away';
  if (new Set(partitions.map(({ partition }) => partition)).size !== partitions.length) return 'rewinds a partition twice';
  for (const { partition, from, position, last, totals } of partitions) {
    if (position >= from) return `is a rewind that leads partition ${partition} from ${from} on to ${position}`;
    if (totals.messages !== totals.rows + totals.deadLetters + totals.tombstones)
      return `has counts that do not add up in partition ${partition}`;
    if (last && last.offset >= position) return `keeps the last message of partition ${partition} beyond its position`;
  }
  return null;
};

/** Whether it was made at other positions, or of other files, than `state` has. */
export const rewindConflict = (
  state: FeedState,
  wanted: Proposal,
  { partitions, retainedRows }: EntryRewind,
): { readonly reason: 'positions' | 'files' | 'snapshot'; readonly partitions: readonly number[] } | null => {
  const moved = partitions.filter(({ partition, from, position }) => {
    const now = state.positions.get(partition);
    return now?.position !== from || position < now.start;
  });
  if (moved.length > 0) return { reason: 'positions', partitions: moved.map(({ partition }) => partition) };
  if ((state.snapshot !== null) !== (partitions.length === 0)) return { reason: 'snapshot', partitions: [] };
  const removed = wanted.removed.flatMap((path) => state.files.get(path) ?? []);
  if (state.snapshot !== null) return removed.every(({ kind }) => kind === 'dead_letters') ? null : FILES;
  const taken = partitions.reduce(
    (sum, one) => sum + (state.positions.get(one.partition)?.totals.rows ?? 0) - one.totals.rows,
    0,
  );
  return taken === rowsIn(removed) - rowsIn(wanted.added) + retainedRows ? null : FILES;
};

const FILES = { reason: 'files', partitions: [] } as const;

const rowsIn = (files: readonly LakeFile[]): number =>
  files.reduce((sum, { kind, rows }) => sum + (kind === 'data' ? rows : 0), 0);

/** Positions and gaps once the data beyond the points is out. */
export const rewound = (
  { positions, gaps }: Pick<FeedState, 'positions' | 'gaps'>,
  { partitions }: EntryRewind,
): { positions: Map<number, PositionState>; gaps: FeedState['gaps'][number][] } => {
  const after = new Map(positions);
  const points = new Map<number, Offset>();
  for (const { partition, position, last, timestampMsMax, totals } of partitions) {
    points.set(partition, position);
    after.set(partition, { start: positions.get(partition)?.start ?? position, position, last, timestampMsMax, totals });
  }
  return {
    positions: after,
    gaps: gaps.flatMap((gap) => {
      const point = points.get(gap.partition) ?? gap.end;
      if (gap.start >= point) return [];
      return [gap.end > point ? { ...gap, end: point } : gap];
    }),
  };
};
