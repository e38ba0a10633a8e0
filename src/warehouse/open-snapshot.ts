// Which snapshot of a table takes rows in: the open row of lake_snapshots, never a clock (PROTOCOL M1).

import type { OpenSnapshot } from '../model/snapshot.ts';
import type { Row, Statement } from './warehouse.ts';

export const selectOpenSnapshot = (feed: string): Statement => ({
  text: `SELECT DATE_FORMAT(snapshot_date, '%Y-%m-%d') AS snapshot_date, snapshot_version, boundary_ms
    FROM lake_snapshots WHERE feed = ? AND state = 'open'`,
  values: [feed],
});

/** null: the feed has none yet. */
export function openSnapshotOf([row]: readonly Row[]): OpenSnapshot | null {
  if (!row) return null;
  const [date, version] = [String(row['snapshot_date']), Number(row['snapshot_version'])];
  return { date, version, endsAtMs: Number(row['boundary_ms']) };
}
