// Fact rows that were there before lake, by snapshot, and their entry in lake_snapshots, by which retention and verify know them.
// Invariant: the rows themselves are never touched; a snapshot is written down once.

import { dayStartMs, daysBefore, type SnapshotName } from '../model/snapshot.ts';
import { type AuditEntry, auditStatement, timeText } from './audit.ts';
import { transactionAgain } from './explain.ts';
import type { FactTable } from './fact-table.ts';
import { ADOPTED } from './inspect.ts';
import { lockSetup } from './setup.ts';
import type { Warehouse } from './warehouse.ts';

type Counted = SnapshotName & { readonly rows: number };

/** Rows without coordinates, oldest first. Nothing of a stream. */
export async function oldRows(
  warehouse: Warehouse,
  { own, quoted }: FactTable,
  signal: AbortSignal,
): Promise<readonly Counted[]> {
  const { snapshotDate, snapshotVersion, kafkaOffset } = own;
  if (!snapshotDate || !snapshotVersion) return [];
  const text = `SELECT CAST(${snapshotDate.quoted} AS CHAR) AS snapshot_date, ${snapshotVersion.quoted} AS snapshot_version, COUNT(*) AS held
    FROM ${quoted} WHERE ${kafkaOffset.quoted} IS NULL AND ${snapshotDate.quoted} IS NOT NULL AND ${snapshotVersion.quoted} IS NOT NULL
    GROUP BY ${snapshotDate.quoted}, ${snapshotVersion.quoted} ORDER BY 1, 2`;
  return (await warehouse.run({ text, values: [] }, signal)).map((row) => ({
    date: String(row['snapshot_date']),
    version: Number(row['snapshot_version']),
    rows: Number(row['held']),
  }));
}

/** The oldest snapshot that lake opened itself. */
export async function oldestOwnSnapshot(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<SnapshotName | null> {
  const text = `SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version FROM lake_snapshots
    WHERE feed = ? AND (cut_kind IS NULL OR cut_kind <> '${ADOPTED}') ORDER BY lake_snapshots.snapshot_date, snapshot_version LIMIT 1`;
  const [row] = await warehouse.run({ text, values: [feed] }, signal);
  return row ? { date: String(row['snapshot_date']), version: Number(row['snapshot_version']) } : null;
}

/** How many were new. */
export function recordSnapshots(
  warehouse: Warehouse,
  given: { readonly fact: FactTable; readonly snapshots: readonly Counted[]; readonly timezone: string; readonly nowMs: number },
  signal: AbortSignal,
): Promise<readonly AuditEntry[]> {
  const { fact, snapshots, timezone, nowMs } = given;
  return transactionAgain(
    warehouse,
    async (tx) => {
      await lockSetup(tx, warehouse.dialect);
      const done: AuditEntry[] = [];
      for (const { date, version, rows } of snapshots) {
        const known = { text: KNOWN, values: [fact.feed, date, version] };
        if ((await tx.rows(known)).length > 0) continue;
        const endsAtMs = dayStartMs(daysBefore(date, -1) ?? date, timezone);
        const now = timeText(nowMs);
        await tx.change({ text: INSERT, values: [fact.feed, date, version, endsAtMs, ADOPTED, rows, now, now] });
        const of = { feed: fact.feed, resource: `${fact.name} ${date}/${version}`, performedBy: fact.createdBy, atMs: nowMs };
        const entry: AuditEntry = { action: 'snapshots_adopted', ...of, rowCount: rows };
        await tx.change(auditStatement(warehouse.dialect, entry));
        done.push(entry);
      }
      return done;
    },
    signal,
  );
}

const KNOWN = 'SELECT state FROM lake_snapshots WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ?';
const INSERT = `INSERT INTO lake_snapshots
    (feed, snapshot_date, snapshot_version, state, boundary_ms, cut_kind, positions, row_count, opened_at, sealed_at)
  VALUES (?, ?, ?, 'sealed', ?, ?, '{}', ?, ?, ?)`;
