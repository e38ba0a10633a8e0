// lake_positions: how far a feed is in the warehouse, read and moved. Invariant (PROTOCOL M1): a transaction moves positions first,
// and only from exactly where the batch begins; a row that does not match is another writer's work.

import type { TargetState } from '../model/batch.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { CommittedRange, Gap } from '../model/log-entry.ts';
import { toOffset } from '../model/offsets.ts';
import type { TableFacts } from '../model/rebuild.ts';
import { timeText } from './audit.ts';
import type { Dialect } from './dialect.ts';
import { type Row, type Statement, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

/** Whose positions. */
export type PositionsOf = { readonly feed: string; readonly topic: string };

/** Positions moved under us: the batch is void. */
export class PositionsMoved extends Error {}

const COLUMNS = `kafka_partition, position, epoch, start_offset, last_offset, last_timestamp_ms, last_hash, timestamp_ms_max,
  messages, row_count, dead_letters, tombstones, schema_version, CAST(caught_up_at AS CHAR) AS caught_up_at`;

/** `lock`: waits for a transaction that is still under way, for after a COMMIT without an answer. */
export const selectPositions = ({ feed, topic }: PositionsOf, lock: Pick<Dialect, 'forUpdate'> | null = null): Statement => ({
  text: `SELECT ${COLUMNS}, cluster_id FROM lake_positions WHERE feed = ? AND topic = ? ORDER BY kafka_partition${lock?.forUpdate ?? ''}`,
  values: [feed, topic],
});

const numberOf = (value: Row[string] | undefined): number => Number(value ?? 0);
const numberOrNull = (value: Row[string] | undefined): number | null =>
  value === null || value === undefined ? null : Number(value);

export function stateOf(rows: readonly Row[]): TargetState {
  const positions = new Map<number, PositionState>();
  for (const row of rows) {
    const [offset, timestampMs, hash] = [row['last_offset'], numberOrNull(row['last_timestamp_ms']), row['last_hash']];
    positions.set(numberOf(row['kafka_partition']), {
      start: toOffset(String(row['start_offset'])),
      position: toOffset(String(row['position'])),
      last: offset == null || timestampMs === null ? null : { offset: toOffset(String(offset)), timestampMs, hash: String(hash) },
      timestampMsMax: numberOrNull(row['timestamp_ms_max']),
      totals: {
        messages: numberOf(row['messages']),
        rows: numberOf(row['row_count']),
        deadLetters: numberOf(row['dead_letters']),
        tombstones: numberOf(row['tombstones']),
      },
    });
  }
  const epoch = rows.reduce((most, row) => Math.max(most, numberOf(row['epoch'])), 0);
  return { version: 0, epoch, positions };
}

/** Whether neither has seen a commit that the other has not. */
export const isSamePlace = (a: TargetState, b: TargetState): boolean =>
  a.epoch === b.epoch &&
  a.positions.size === b.positions.size &&
  [...a.positions].every(([partition, { position }]) => b.positions.get(partition)?.position === position);

/** Of the newest schema that any commit of the feed was decoded by. */
export const schemaVersionOf = (rows: readonly Row[]): number =>
  rows.reduce((most, row) => Math.max(most, numberOf(row['schema_version'])), 0);

/** No tombstone from before this instant can have been missed; null: not known. A partition that came later began later. */
export function caughtUpAtMsOf(rows: readonly Row[]): number | null {
  const known = rows.flatMap((row) => (row['caught_up_at'] == null ? [] : [msOf(String(row['caught_up_at']))]));
  return known.length === 0 ? null : Math.min(...known);
}

const msOf = (text: string): number => Date.parse(`${text.replace(' ', 'T')}Z`);

export const updateCaughtUp = (
  { feed, topic }: PositionsOf,
  { epoch }: TargetState,
  { atMs, touch }: { readonly atMs: number; readonly touch: string },
): Statement => ({
  text: `UPDATE lake_positions SET caught_up_at = ?${touch} WHERE feed = ? AND topic = ? AND epoch = ?`,
  values: [timeText(atMs), feed, topic, epoch],
});

/** Whether rows of the feed were committed, under whatever topic. */
export async function hasRows(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<boolean> {
  const text = 'SELECT feed FROM lake_positions WHERE feed = ? AND row_count > 0 LIMIT 1';
  return (await warehouse.run({ text, values: [feed] }, signal)).length > 0;
}

/**
 * Whether the table is to grow with the schema: rows were committed under an older one, and none under this one yet; or none were at
 * all, and the table is one that lake made.
 */
export async function isOutgrown(
  warehouse: Warehouse,
  { feed, table, version }: { readonly feed: string; readonly table: string; readonly version: number },
  signal: AbortSignal,
): Promise<boolean> {
  const text = 'SELECT MAX(schema_version) AS version FROM lake_positions WHERE feed = ? AND row_count > 0';
  const [row] = await warehouse.run({ text, values: [feed] }, signal);
  const known = Number(row?.['version'] ?? 0);
  if (known > 0) return known < version;
  const made = "SELECT feed_name FROM audit_log WHERE feed_name = ? AND action = 'table_created' AND resource = ? LIMIT 1";
  return (await warehouse.run({ text: made, values: [feed, table] }, signal)).length > 0;
}

/** From here on nothing that was decoded by an older schema is committed: it would lack the new columns. */
export const raiseSchemaVersion = ({ feed, topic }: PositionsOf, version: number): Statement => ({
  text: 'UPDATE lake_positions SET schema_version = ? WHERE feed = ? AND topic = ? AND schema_version < ?',
  values: [version, feed, topic, version],
});

/** The positions after these ranges. */
export function movedBy(known: TargetState, ranges: readonly CommittedRange[]): TargetState {
  const positions = new Map(known.positions);
  for (const range of ranges) {
    const before = positions.get(range.partition);
    const { messages, rows, deadLetters, tombstones } = before?.totals ?? NOTHING;
    const max = before?.timestampMsMax ?? null;
    positions.set(range.partition, {
      start: before?.start ?? range.start,
      position: range.end,
      last: range.last ?? before?.last ?? null,
      timestampMsMax: range.timestampMsMax === null ? max : Math.max(max ?? range.timestampMsMax, range.timestampMsMax),
      totals: {
        messages: messages + range.messages,
        rows: rows + range.rows,
        deadLetters: deadLetters + range.deadLetters,
        tombstones: tombstones + range.tombstones,
      },
    });
  }
  return { ...known, positions };
}

const NOTHING = { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };

/** Where the positions are beside a batch whose COMMIT was not answered. */
export function outcomeOf(known: TargetState, ranges: readonly CommittedRange[]): 'committed' | 'not_committed' | 'moved' {
  const at = (range: CommittedRange) => known.positions.get(range.partition)?.position ?? range.start;
  if (ranges.every((range) => at(range) === range.end)) return 'committed';
  return ranges.every((range) => at(range) === range.start) ? 'not_committed' : 'moved';
}

export type Move = PositionsOf & {
  readonly ranges: readonly CommittedRange[];
  readonly known: TargetState;
  readonly clusterId: string | null;
  readonly dialect: Pick<Dialect, 'touch' | 'forUpdate'>;
  /** Of a table, when the reading of a partition that is not known yet began; null: a stream. */
  readonly begunAtMs: number | null;
  /** Of the schema that the rows were decoded by; null: there are none. */
  readonly schemaVersion: number | null;
};

/** Throws PositionsMoved. */
export async function movePositions(tx: Tx, move: Move): Promise<void> {
  const ranges = [...move.ranges].sort((a, b) => a.partition - b.partition);
  for (const range of ranges) {
    const before = move.known.positions.get(range.partition);
    if (before && before.position !== range.start) throw new PositionsMoved();
    const matched = before ? await tx.change(updatePosition(move, range)) : await insertPosition(tx, move, range);
    if (matched !== 1) throw new PositionsMoved();
  }
  if (ranges.every(({ partition }) => move.known.positions.has(partition))) return;
  // A row that was not there is in no epoch. From here on a rewind waits for it; of one that was first the others tell (M4).
  const epochs = await tx.rows(selectPositions(move, move.dialect));
  if (stateOf(epochs).epoch !== move.known.epoch) throw new PositionsMoved();
}

function updatePosition({ feed, topic, known, schemaVersion, dialect }: Move, range: CommittedRange): Statement {
  const { last } = range;
  const seen = last ? ', last_offset = ?, last_timestamp_ms = ?, last_hash = ?' : '';
  const max = range.timestampMsMax;
  const decoded = schemaVersion === null ? '' : ', schema_version = ?';
  const newest = schemaVersion === null ? '' : ' AND schema_version <= ?';
  const highest = max === null ? '' : ', timestamp_ms_max = GREATEST(COALESCE(timestamp_ms_max, ?), ?)';
  return {
    text: `UPDATE lake_positions SET position = ?, messages = messages + ?, row_count = row_count + ?, dead_letters = dead_letters + ?,
        tombstones = tombstones + ?${seen}${highest}${decoded}${dialect.touch}
      WHERE feed = ? AND topic = ? AND kafka_partition = ? AND position = ? AND epoch = ?${newest}`,
    values: [
      range.end,
      range.messages,
      range.rows,
      range.deadLetters,
      range.tombstones,
      ...(last ? [last.offset, last.timestampMs, last.hash] : []),
      ...(max === null ? [] : [max, max]),
      ...(schemaVersion === null ? [] : [schemaVersion]),
      feed,
      topic,
      range.partition,
      range.start,
      known.epoch,
      ...(schemaVersion === null ? [] : [schemaVersion]),
    ],
  };
}

export async function insertPosition(
  tx: Tx,
  { feed, topic, known, clusterId, schemaVersion, begunAtMs }: Move,
  range: CommittedRange,
): Promise<number> {
  const { last } = range;
  try {
    return await tx.change({
      text: `INSERT INTO lake_positions (feed, topic, position, start_offset, kafka_partition, epoch, last_offset, last_timestamp_ms, last_hash,
          timestamp_ms_max, messages, row_count, dead_letters, tombstones, cluster_id, schema_version, caught_up_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      values: [
        feed,
        topic,
        range.end,
        range.start,
        range.partition,
        known.epoch,
        last?.offset ?? null,
        last?.timestampMs ?? null,
        last?.hash ?? null,
        range.timestampMsMax,
        range.messages,
        range.rows,
        range.deadLetters,
        range.tombstones,
        clusterId,
        schemaVersion ?? 0,
        begunAtMs === null ? null : timeText(begunAtMs),
      ],
    });
  } catch (error) {
    if (error instanceof WarehouseFailure && error.class === 'duplicate') throw new PositionsMoved();
    throw error;
  }
}

/** A gap moves a position over offsets without a message. */
export const gapRange = ({ partition, start, end }: Gap): CommittedRange => ({
  partition,
  start,
  end,
  messages: 0,
  rows: 0,
  deadLetters: 0,
  tombstones: 0,
  last: null,
  timestampMsMax: null,
});

export const insertGap = ({ feed, topic }: PositionsOf, gap: Gap, epoch: number): Statement => ({
  text: 'INSERT INTO lake_gaps (feed, topic, kafka_partition, start_offset, end_offset, epoch, reason) VALUES (?, ?, ?, ?, ?, ?, ?)',
  values: [feed, topic, gap.partition, gap.start, gap.end, epoch, gap.reason],
});

/** Those since the table was last read as a whole. */
export const selectGaps = ({ feed, topic }: PositionsOf, { epoch }: TargetState): Statement => ({
  text: 'SELECT kafka_partition, start_offset, end_offset FROM lake_gaps WHERE feed = ? AND topic = ? AND epoch >= ?',
  values: [feed, topic, epoch],
});

/** A gap that ends where it starts says that the table was rewound. */
export const gapsOf = (rows: readonly Row[]): Pick<TableFacts, 'gaps' | 'isRewound'> => {
  const all = rows.map((row) => ({
    partition: numberOf(row['kafka_partition']),
    start: toOffset(String(row['start_offset'])),
    end: toOffset(String(row['end_offset'])),
  }));
  const gaps = all.filter(({ start, end }) => start < end);
  return { gaps, isRewound: gaps.length < all.length };
};
