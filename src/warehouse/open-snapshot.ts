// Which snapshot of a table takes rows in: the open row of lake_snapshots, never a clock (PROTOCOL M1).

import { LakeError } from '../errors.ts';
import type { OpenSnapshot, SnapshotName } from '../model/snapshot.ts';
import { firstOpen, type SnapshotRules } from '../model/snapshot-rules.ts';
import { timeText } from './audit.ts';
import type { Dialect } from './dialect.ts';
import type { FactTable } from './fact-table.ts';
import { type Row, type Statement, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

/** `lock`: against writers of the same table with other partitions. */
export const selectOpenSnapshot = ({ openFeed, forUpdate }: Dialect, feed: string, lock = false): Statement => ({
  text: `SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version, boundary_ms
    FROM lake_snapshots WHERE ${openFeed} = ?${lock ? forUpdate : ''}`,
  values: [feed],
});

/** null: the feed has none yet. */
export function openSnapshotOf([row]: readonly Row[]): OpenSnapshot | null {
  if (!row) return null;
  const [date, version] = [String(row['snapshot_date']), Number(row['snapshot_version'])];
  return { date, version, endsAtMs: Number(row['boundary_ms']) };
}

/** A copy that was begun is begun anew by the next seal: what it is a copy of has changed, though the positions may be the same. */
export const voidCopies = (feed: string): Statement => ({
  text: `UPDATE lake_snapshots SET positions = NULL, copy_id = NULL WHERE feed = ? AND state = 'opening'`,
  values: [feed],
});

type First = {
  readonly feed: string;
  readonly fact: FactTable;
  readonly nowMs: number;
  readonly warehouse: Pick<Warehouse, 'dialect'>;
};

/**
 * Read after the positions are locked, never from a clock (M1); a feed's first batch opens the first one. Locked as well: two
 * writers of one table, with different partitions, would not see each other's row and tombstone of one key.
 */
export async function openFirst(tx: Tx, { feed, fact, nowMs, warehouse }: First, rules: SnapshotRules): Promise<OpenSnapshot> {
  const open = openSnapshotOf(await tx.rows(selectOpenSnapshot(warehouse.dialect, feed, true)));
  if (open) return open;
  const { date, version, endsAtMs } = firstOpen(nowMs, rules);
  await refuseOldRows(tx, fact, { date, version });
  const insert: Statement = {
    text: `INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, opened_at) VALUES (?, ?, ?, 'open', ?, ?)`,
    values: [feed, date, version, endsAtMs, timeText(nowMs)],
  };
  await tx.change(insert).catch((error: unknown) => {
    if (!(error instanceof WarehouseFailure) || error.class !== 'duplicate') throw error;
    throw new WarehouseFailure('retry', 'another writer opened the first snapshot at the same moment', { cause: error });
  });
  return { date, version, endsAtMs };
}

/** Rows of the same name that were there before lake would stand among those of the first snapshot. */
async function refuseOldRows(tx: Tx, fact: FactTable, { date, version }: SnapshotName): Promise<void> {
  const { snapshotDate, snapshotVersion } = fact.own;
  const where = `${snapshotDate?.quoted} = ? AND ${snapshotVersion?.quoted} = ?`;
  const text = `SELECT 1 AS found FROM ${fact.quoted} WHERE ${where} LIMIT 1`;
  if ((await tx.rows({ text, values: [date, version] })).length === 0) return;
  const what = `table ${fact.name} has rows of snapshot ${date}/${version}, which lake did not write and is about to open`;
  throw new LakeError('warehouse_table_differs', what, {
    where: { feed: fact.feed, target: 'warehouse' },
    todo: `take what is there into the log first:  lake adopt ${fact.feed}`,
  });
}
