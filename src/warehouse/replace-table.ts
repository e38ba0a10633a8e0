// The swap at the end of a rebuild: the rows of the open snapshot, the tombstones and the positions of a feed are replaced in one
// transaction (design 4, §1.3). Invariant: readers see the old table or the new one; a copy of the old one is not gone on with.

import type { CommitAnswer } from '../model/batch.ts';
import { rebuildTold } from '../model/journal.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';
import { firstOpen, type SnapshotRules } from '../model/snapshot-rules.ts';
import { type AuditEntry, auditStatement } from './audit.ts';
import { applyBatch } from './commit-batch.ts';
import type { FactTable } from './fact-table.ts';
import type { Work } from './feed-commit.ts';
import { openSnapshotOf, selectOpenSnapshot, voidCopies } from './open-snapshot.ts';
import type { PositionsOf } from './positions.ts';
import type { RebuiltTable } from './rebuilt-table.ts';
import { supersedeOthers } from './superseded-letters.ts';
import type { Tx, Warehouse } from './warehouse.ts';

export type Replacing = PositionsOf & {
  readonly warehouse: Warehouse;
  readonly rebuilt: RebuiltTable;
  readonly tables: { readonly fact: FactTable; readonly schemaVersion: number } | null;
  readonly rules: SnapshotRules;
  readonly nowMs: number;
  readonly commit: (work: Work) => Promise<CommitAnswer>;
};

export type Replaced = {
  readonly answer: CommitAnswer;
  readonly snapshot: OpenSnapshot & { readonly rows: number };
  /** What was done, if it was. */
  readonly entry: AuditEntry | null;
};

export async function replaceTable({
  warehouse,
  feed,
  topic,
  rebuilt,
  tables,
  rules,
  nowMs,
  commit,
}: Replacing): Promise<Replaced> {
  const { from, ranges, order } = rebuilt;
  const fact = tables?.fact ?? null;
  const rows = await rebuilt.rows(fact);
  const liveCount = await rebuilt.liveCount();
  const positions = new Map([...from.positions].map(([partition, { position }]) => [partition, position]));
  let snapshot: OpenSnapshot = firstOpen(nowMs, rules);
  let entry: AuditEntry | null = null;
  const inside = async (tx: Tx): Promise<void> => {
    await applyBatch(tx, { feed, topic, rows, fact, snapshots: rules, nowMs, warehouse, isWhole: true });
    await supersedeOthers(tx, { feed, topic, letters: rows.deadLetters, nowMs, rowsMax: warehouse.dialect.insertRowsMax });
    await tx.change(voidCopies(feed));
    snapshot = openSnapshotOf(await tx.rows(selectOpenSnapshot(warehouse.dialect, feed))) ?? snapshot;
    const { rows: rowCount, ...told } = rebuildTold({
      ...snapshot,
      rows: liveCount,
      reason: order.reason,
      from: positions,
      ranges,
    });
    entry = { ...told, rowCount, feed, atMs: nowMs };
    await tx.change(auditStatement(warehouse.dialect, entry));
  };
  const schemaVersion = rebuilt.schemaVersion ?? tables?.schemaVersion ?? null;
  const given = await commit({ ranges, schemaVersion, inside, rebuild: { from, startedAtMs: order.startedAtMs } }).finally(
    rows.drop,
  );
  // What is refused is read again from the low watermark: no position is behind it.
  const answer = given.kind === 'refused' ? { ...given, state: { ...given.state, positions: new Map() } } : given;
  return { answer, snapshot: { ...snapshot, rows: liveCount }, entry: answer.kind === 'committed' ? entry : null };
}
