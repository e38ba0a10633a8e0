// Which snapshot of a table takes rows in: the open row of lake_snapshots, never a clock (PROTOCOL M1).

import type { OpenSnapshot } from '../model/snapshot.ts';
import type { Row, Statement } from './warehouse.ts';

/** `lock`: against writers of the same table with other partitions. */
export const selectOpenSnapshot = (feed: string, lock = false): Statement => ({
  text: `SELECT DATE_FORMAT(snapshot_date, '%Y-%m-%d') AS snapshot_date, snapshot_version, boundary_ms
    FROM lake_snapshots WHERE open_feed = ?${lock ? ' FOR UPDATE' : ''}`,
  values: [feed],
});

/** null: the feed has none yet. */
export function openSnapshotOf([row]: readonly Row[]): OpenSnapshot | null {
  if (!row) return null;
  const [date, version] = [String(row['snapshot_date']), Number(row['snapshot_version'])];
  return { date, version, endsAtMs: Number(row['boundary_ms']) };
}
