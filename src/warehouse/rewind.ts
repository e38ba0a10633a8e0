// A rewind in the warehouse (PROTOCOL M4): rows, dead letters and gaps beyond the points go, positions go back, and the epoch is raised, in
// one transaction. Of many rows it is several, the newest first, each of which is a whole rewind, only not as far. A table's rows stay: its
// epoch is raised, and a gap without an offset in it has it read anew.
// Invariant: after every transaction rows, counts and positions agree, and nothing that was staged before is committed.

import type { PositionState } from '../model/feed-state.ts';
import { later, type Offset, toOffset } from '../model/offsets.ts';
import { pointsOf } from '../model/rewind-point.ts';
import { type AuditEntry, addToAudit } from './audit.ts';
import type { FactTable } from './fact-table.ts';
import { insertGap, PositionsMoved, type PositionsOf, selectPositions, stateOf } from './positions.ts';
import type { Row, SqlScalar, Tx, Warehouse } from './warehouse.ts';

export type Rewinding = PositionsOf & {
  readonly warehouse: Warehouse;
  /** null: there is no schema yet, and so no row. */
  readonly fact: FactTable | null;
  readonly isTable: boolean;
  /** By partition, where to go back to. */
  readonly wanted: ReadonlyMap<number, Offset>;
  /** By partition, of a stream that has taken any in: those beyond the point, and the position that they were counted up to. */
  readonly tombstones: ReadonlyMap<number, { readonly beyond: number; readonly counted: PositionState }>;
  /** Of this run: `feed`, `action`, `resource` and `atMs` make its row known again. */
  readonly audit: AuditEntry & { readonly atMs: number };
};

export type Rewound = {
  readonly partitions: readonly { readonly partition: number; readonly position: Offset; readonly to: Offset }[];
  readonly rows: number;
  readonly deadLetters: number;
  /** Whether all partitions are at their points. */
  readonly isDone: boolean;
};

/** One transaction, that deletes about so many rows. Throws WarehouseFailure, and PositionsMoved: tombstones are to be counted again. */
export function rewindStep(rewinding: Rewinding, rowsMax: number, signal: AbortSignal): Promise<Rewound> {
  const { warehouse, wanted, isTable } = rewinding;
  return warehouse.transaction(async (tx) => {
    // Whoever takes in waits for these rows, a partition that is being read for the first time among them.
    const found = await tx.rows(selectPositions(rewinding, warehouse.dialect));
    const { epoch, positions } = stateOf(found);
    if (isTable) return await orderRebuild(tx, rewinding, { epoch, positions });
    const points = pointsOf(wanted, positions);
    if (points.size === 0) return { partitions: [], rows: 0, deadLetters: 0, isDone: true };
    const retained = await readRetained(tx, rewinding);
    const steps: Step[] = [];
    for (const [partition, to] of points) {
      const before = positions.get(partition);
      const left = rowsMax - steps.reduce((sum, { rows }) => sum + rows, 0);
      if (before && left > 0)
        steps.push(await rewindPartition(tx, rewinding, { partition, to, before, retained, rowsMax: left }));
    }
    await raiseEpoch(tx, rewinding, epoch);
    const sum = (name: 'rows' | 'deadLetters'): number => steps.reduce((all, one) => all + one[name], 0);
    const rows = sum('rows');
    await addToAudit(tx, warehouse.dialect, { ...rewinding.audit, rowCount: rows });
    const isDone = [...points].every(([partition, to]) => steps.some((one) => one.partition === partition && one.to === to));
    const partitions = steps.map(({ partition, position, to }) => ({ partition, position, to }));
    return { partitions, rows, deadLetters: sum('deadLetters'), isDone };
  }, signal);
}

type Positions = { readonly epoch: number; readonly positions: ReadonlyMap<number, PositionState> };

async function orderRebuild(tx: Tx, rewinding: Rewinding, { epoch, positions }: Positions): Promise<Rewound> {
  const [first] = positions;
  if (first) {
    const [partition, { position }] = first;
    await raiseEpoch(tx, rewinding, epoch);
    await tx.change(insertGap(rewinding, { partition, start: position, end: position, reason: 'rewind' }, epoch + 1));
    await addToAudit(tx, rewinding.warehouse.dialect, { ...rewinding.audit, rowCount: 0 });
  }
  const partitions = [...positions].map(([partition, { position }]) => ({ partition, position, to: position }));
  return { partitions, rows: 0, deadLetters: 0, isDone: true };
}

/** Of every partition: what is read for the first time must not come in by the old one either. */
async function raiseEpoch(tx: Tx, { feed, topic, warehouse }: Rewinding, epoch: number): Promise<void> {
  const text = `UPDATE lake_positions SET epoch = ?${warehouse.dialect.touch} WHERE feed = ? AND topic = ?`;
  await tx.change({ text, values: [epoch + 1, feed, topic] });
}

/** What retention has deleted. */
type Retained = { readonly rows: number; readonly deadLetters: number };
const NOTHING_RETAINED: Retained = { rows: 0, deadLetters: 0 };

async function readRetained(tx: Tx, { feed, topic }: Rewinding): Promise<ReadonlyMap<number, Retained>> {
  const text = 'SELECT kafka_partition, retained_rows, retained_dead_letters FROM lake_positions WHERE feed = ? AND topic = ?';
  const rows = await tx.rows({ text, values: [feed, topic] });
  const retainedOf = (row: Row): Retained => ({
    rows: Number(row['retained_rows']),
    deadLetters: Number(row['retained_dead_letters']),
  });
  return new Map(rows.map((row) => [Number(row['kafka_partition']), retainedOf(row)]));
}

type Step = Omit<Rewound, 'partitions' | 'isDone'> & Rewound['partitions'][number];
type Partition = {
  readonly partition: number;
  readonly to: Offset;
  readonly before: PositionState;
  readonly retained: ReadonlyMap<number, Retained>;
  readonly rowsMax: number;
};

async function rewindPartition(tx: Tx, rewinding: Rewinding, given: Partition): Promise<Step> {
  const { partition, before } = given;
  const { feed, topic, fact } = rewinding;
  const isCounted = before.totals.tombstones === 0;
  // What has no row is counted in Kafka, and only from the point on.
  const to = isCounted ? await nearestPoint(tx, rewinding, given) : given.to;
  const deleteFrom = (table: string, where: string, values: readonly SqlScalar[]): Promise<number> =>
    tx.change({ text: `DELETE FROM ${table} WHERE ${where}`, values });
  const { kafkaPartition: p, kafkaOffset: o } = fact?.own ?? {};
  const rows = fact ? await deleteFrom(fact.quoted, `${p?.quoted} = ? AND ${o?.quoted} >= ?`, [partition, to]) : 0;
  const ofFeed = [feed, topic, partition, to];
  const letters = 'feed = ? AND topic = ? AND kafka_partition = ? AND kafka_offset >= ?';
  const deadLetters = await deleteFrom('lake_dead_letters', `${letters} AND state NOT IN ('retried', 'superseded')`, ofFeed);
  await deleteFrom('lake_dead_letters', letters, ofFeed);
  const gaps = 'feed = ? AND topic = ? AND kafka_partition = ? AND start_offset';
  await deleteFrom('lake_gaps', `${gaps} >= ?`, ofFeed);
  await tx.change({
    text: `UPDATE lake_gaps SET end_offset = ? WHERE ${gaps} < ? AND end_offset > ?`,
    values: [to, ...ofFeed, to],
  });
  const tombstones = isCounted ? 0 : tombstonesBeyond(rewinding, partition, before);
  const retained = given.retained.get(partition) ?? NOTHING_RETAINED;
  const kept = keptCounts(before, { to, rows, deadLetters, tombstones, retained });
  await movePosition(tx, rewinding, { partition, to, before, kept });
  return { partition, position: before.position, to, rows, deadLetters };
}

/** The point, or the offset that has so many rows at or behind it. */
async function nearestPoint(tx: Tx, { fact }: Rewinding, { partition, to, rowsMax }: Partition): Promise<Offset> {
  if (fact === null) return to;
  const [p, o] = [fact.own.kafkaPartition.quoted, fact.own.kafkaOffset.quoted];
  const text = `SELECT ${o} AS at FROM ${fact.quoted} WHERE ${p} = ? AND ${o} >= ? ORDER BY ${o} DESC LIMIT 1 OFFSET ${rowsMax - 1}`;
  const [found] = await tx.rows({ text, values: [partition, to] });
  return found ? later(to, toOffset(String(found['at']))) : to;
}

/** Those that have come since they were counted are counted as well. */
function tombstonesBeyond({ tombstones }: Rewinding, partition: number, now: PositionState): number {
  const known = tombstones.get(partition);
  if (!known || now.position < known.counted.position) throw new PositionsMoved();
  return known.beyond + now.totals.tombstones - known.counted.totals.tombstones;
}

type Taken = {
  readonly to: Offset;
  readonly rows: number;
  readonly deadLetters: number;
  readonly tombstones: number;
  readonly retained: Retained;
};

/** Rows and dead letters that retention has deleted are taken for those before the point, as far as there are offsets for them. */
function keptCounts({ start, totals }: PositionState, { to, retained, ...taken }: Taken) {
  const left = {
    rows: Math.max(0, totals.rows - taken.rows),
    deadLetters: Math.max(0, totals.deadLetters - taken.deadLetters),
    tombstones: Math.max(0, totals.tombstones - taken.tombstones),
  };
  const excess = Math.max(0, left.rows + left.deadLetters + left.tombstones - Number(to - start));
  const rowsBeyond = Math.min(retained.rows, excess);
  const lettersBeyond = Math.min(retained.deadLetters, excess - rowsBeyond);
  const kept = { ...left, rows: left.rows - rowsBeyond, deadLetters: left.deadLetters - lettersBeyond };
  return {
    ...kept,
    messages: kept.rows + kept.deadLetters + kept.tombstones,
    retained: { rows: retained.rows - rowsBeyond, deadLetters: retained.deadLetters - lettersBeyond },
  };
}

type Moved = Pick<Partition, 'partition' | 'to' | 'before'> & { readonly kept: ReturnType<typeof keptCounts> };

/** The last message may be one that is gone: then the next one that comes is the first to be known again (K4). */
async function movePosition(tx: Tx, { feed, topic }: Rewinding, { partition, to, before, kept }: Moved): Promise<void> {
  const isGone = before.last !== null && before.last.offset >= to;
  const unknown = isGone ? ', last_offset = NULL, last_timestamp_ms = NULL, last_hash = NULL' : '';
  const forgotten = kept.messages === 0 ? `${unknown}, timestamp_ms_max = NULL` : unknown;
  const { messages, rows, deadLetters, tombstones, retained } = kept;
  await tx.change({
    text: `UPDATE lake_positions SET position = ?, messages = ?, row_count = ?, dead_letters = ?, tombstones = ?, retained_rows = ?,
        retained_dead_letters = ?${forgotten}
      WHERE feed = ? AND topic = ? AND kafka_partition = ?`,
    values: [to, messages, rows, deadLetters, tombstones, retained.rows, retained.deadLetters, feed, topic, partition],
  });
}

/** What lies beyond the points now: for a dry run. */
export async function rowsBeyond(
  { warehouse, feed, topic, fact }: Omit<Rewinding, 'audit' | 'tombstones'>,
  points: ReadonlyMap<number, Offset>,
  signal: AbortSignal,
): Promise<{ readonly rows: number; readonly deadLetters: number }> {
  const countOf = async (from: string, values: readonly SqlScalar[]): Promise<number> => {
    const [row]: readonly Row[] = await warehouse.run({ text: `SELECT COUNT(*) AS found FROM ${from}`, values }, signal);
    return Number(row?.['found'] ?? 0);
  };
  let [rows, deadLetters] = [0, 0];
  for (const [partition, to] of points) {
    if (fact) {
      const { kafkaPartition, kafkaOffset } = fact.own;
      rows += await countOf(`${fact.quoted} WHERE ${kafkaPartition.quoted} = ? AND ${kafkaOffset.quoted} >= ?`, [partition, to]);
    }
    const letters =
      "lake_dead_letters WHERE feed = ? AND topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND state <> 'superseded'";
    deadLetters += await countOf(letters, [feed, topic, partition, to]);
  }
  return { rows, deadLetters };
}
