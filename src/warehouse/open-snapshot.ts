// Which snapshot of a table takes rows in: the open row of lake_snapshots, never a clock (PROTOCOL M1).

import type { OpenSnapshot } from '../model/snapshot.ts';
import type { Dialect } from './dialect.ts';
import type { Row, Statement } from './warehouse.ts';

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
