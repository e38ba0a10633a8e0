// A snapshot's end in the warehouse (PROTOCOL M2): while the positions hold, the next one is copied in chunks that no view shows;
// then one small transaction seals the old one and opens the new one.
// Invariant: what is sealed, and what is opened as its copy, is the state at exactly the positions of the order; whoever
// moves a position in between makes the switch fail.

import { randomUUID } from 'node:crypto';
import type { SealOrder } from '../model/cut.ts';
import { sealTold } from '../model/journal.ts';
import type { Offset } from '../model/offsets.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { type AuditEntry, auditStatement, timeText } from './audit.ts';
import type { FactTable, SqlColumn } from './fact-table.ts';
import { PositionsMoved, selectPositions, stateOf } from './positions.ts';
import { factColumns, quotedNames } from './staged-batch.ts';
import type { Statement, Tx, Warehouse } from './warehouse.ts';

export type Sealing = {
  readonly warehouse: Warehouse;
  readonly feed: string;
  readonly topic: string;
  readonly fact: FactTable;
  readonly order: SealOrder;
  readonly nowMs: () => number;
  /** Does work again while the server is away or a deadlock passes. */
  readonly patiently: <T>(work: () => Promise<T>) => Promise<T>;
};

/** The columns of a snapshot of a table feed, by their quoted names. */
type Parts = { readonly date: string; readonly version: string; readonly copied: string };

/** What this call did; null: it was sealed before, by another. Throws PositionsMoved, LakeError, WarehouseFailure. */
export async function sealSnapshot(sealing: Sealing, signal: AbortSignal): Promise<AuditEntry | null> {
  const { warehouse, patiently } = sealing;
  const copyId = randomUUID();
  const parts = partsOf(sealing.fact);
  const isDone = await patiently(() => warehouse.transaction((tx) => begin(tx, sealing, copyId), signal));
  if (isDone === 'sealed') return null;
  if (isDone === 'other_copy') await emptyCopy(sealing, { parts, copyId }, signal);
  await copyRows(sealing, { parts, copyId }, signal);
  const totals = await patiently(() => snapshotTotalsOf(sealing, sealing.order.sealed, signal));
  const entry = sealEntry(sealing, totals);
  const isMine = await patiently(() => warehouse.transaction((tx) => finish(tx, sealing, { copyId, entry, ...totals }), signal));
  return isMine ? entry : null;
}

function partsOf(fact: FactTable): Parts {
  const { snapshotDate, snapshotVersion } = fact.own;
  const name = (column: SqlColumn | null): string => column?.quoted ?? '';
  return { date: name(snapshotDate), version: name(snapshotVersion), copied: quotedNames(factColumns(fact)) };
}

/** Takes the copy over, or begins it. `sealed`: an earlier call, or another member, has done all of it. */
async function begin(tx: Tx, sealing: Sealing, copyId: string): Promise<'sealed' | 'copy' | 'other_copy'> {
  const { feed, order, nowMs, warehouse } = sealing;
  if ((await stateNow(tx, feed, order.sealed))?.state === 'sealed') return 'sealed';
  await checkPositions(tx, sealing);
  const positions = positionsText(order.positions);
  const { date, version, endsAtMs } = order.cut.opens;
  const [found] = await tx.rows({
    text: `SELECT state, positions FROM lake_snapshots
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ?${warehouse.dialect.forUpdate}`,
    values: [feed, date, version],
  });
  if (!found) {
    await tx.change({
      text: `INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, positions, copy_id)
        VALUES (?, ?, ?, 'opening', ?, ?, ?)`,
      values: [feed, date, version, endsAtMs, positions, copyId],
    });
    return 'copy';
  }
  // Without positions, until its rows are gone: who comes after a kill in between must empty it as well.
  const isSame = found['positions'] === positions;
  await tx.change({
    text: `UPDATE lake_snapshots SET positions = ?, copy_id = ?, boundary_ms = ?, created_at = ?
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'opening'`,
    values: [isSame ? positions : null, copyId, endsAtMs, timeText(nowMs()), feed, date, version],
  });
  return isSame ? 'copy' : 'other_copy';
}

/** The positions are locked, and must be those of the order: the rows beneath them are what is copied. */
async function checkPositions(tx: Tx, { feed, topic, order, warehouse }: Sealing): Promise<void> {
  const { positions } = stateOf(await tx.rows(selectPositions({ feed, topic }, warehouse.dialect)));
  const now = new Map([...positions].map(([partition, { position }]) => [partition, position]));
  if (positionsText(now) !== positionsText(order.positions)) throw new PositionsMoved();
}

const positionsText = (positions: ReadonlyMap<number, Offset>): string =>
  JSON.stringify(Object.fromEntries([...positions].sort(([a], [b]) => a - b).map(([partition, at]) => [partition, String(at)])));

const sealEntry = ({ feed, fact, order, nowMs }: Sealing, { rows, checksum }: SnapshotTotals): AuditEntry => {
  const { sealed, cut, kind, positions } = order;
  const { rows: rowCount, ...told } = sealTold({ ...sealed, ...cut, positions, cut: kind, rows: Number(rows), checksum });
  return { ...told, rowCount, feed, performedBy: fact.createdBy, atMs: nowMs() };
};

type Found = { readonly state: string; readonly copyId: string | null };

async function stateNow(tx: Tx, feed: string, name: SnapshotName): Promise<Found | null> {
  const [row] = await tx.rows({
    text: 'SELECT state, copy_id FROM lake_snapshots WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ?',
    values: [feed, name.date, name.version],
  });
  return row ? { state: String(row['state']), copyId: row['copy_id'] == null ? null : String(row['copy_id']) } : null;
}

type Copy = { readonly parts: Parts; readonly copyId: string };

/** Locks the copy against who may take it over. Throws PositionsMoved when someone has. */
async function checkOwner(tx: Tx, { feed, order, warehouse }: Sealing, copyId: string): Promise<void> {
  const { date, version } = order.cut.opens;
  const [owner] = await tx.rows({
    text: `SELECT copy_id FROM lake_snapshots
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ?${warehouse.dialect.forShare}`,
    values: [feed, date, version],
  });
  if (owner?.['copy_id'] !== copyId) throw new PositionsMoved();
}

/** Rows of a copy that was begun at other positions; it has none of its own until they are gone. */
async function emptyCopy(sealing: Sealing, { parts, copyId }: Copy, signal: AbortSignal): Promise<void> {
  const { warehouse, feed, fact, order, patiently } = sealing;
  const { opens } = order.cut;
  const { deleteSome, copyRowsMax } = warehouse.dialect;
  const statement: Statement = {
    text: deleteSome(fact.quoted, `${parts.date} = ? AND ${parts.version} = ?`, copyRowsMax),
    values: [opens.date, opens.version],
  };
  const deleteChunk = async (tx: Tx): Promise<number> => {
    await checkOwner(tx, sealing, copyId);
    return await tx.change(statement);
  };
  while ((await patiently(() => warehouse.transaction(deleteChunk, signal))) > 0);
  const emptied: Statement = {
    text: `UPDATE lake_snapshots SET positions = ?
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'opening' AND copy_id = ?`,
    values: [positionsText(order.positions), feed, opens.date, opens.version, copyId],
  };
  if ((await patiently(() => warehouse.transaction((tx) => tx.change(emptied), signal))) !== 1) throw new PositionsMoved();
}

/** In the order of ids, each chunk a transaction of its own, which first sees that the copy is still this one's. */
async function copyRows(sealing: Sealing, { parts, copyId }: Copy, signal: AbortSignal): Promise<void> {
  const { warehouse, fact, order, patiently } = sealing;
  const { sealed, cut } = order;
  const { opens } = cut;
  const { copyRowsMax, unlessThere } = warehouse.dialect;
  const id = fact.own.id.quoted;
  const { date, version } = parts;
  const unless = unlessThere({ table: fact.quoted, id, keyHash: fact.own.keyHash?.quoted ?? '', date, version, into: opens });
  const from = `FROM ${fact.quoted} s WHERE s.${parts.date} = ? AND s.${parts.version} = ? AND s.${id} > ?`;
  for (let after = '0'; ; ) {
    const last: Statement = {
      text: `SELECT MAX(chunk.id) AS last FROM (SELECT s.${id} AS id ${from} ORDER BY s.${id} LIMIT ${copyRowsMax}) chunk`,
      values: [sealed.date, sealed.version, after],
    };
    const [row] = await patiently(() => warehouse.run(last, signal));
    const upTo = row?.['last'];
    if (upTo === null || upTo === undefined) return;
    const begun = after;
    await patiently(() =>
      warehouse.transaction(async (tx) => {
        await checkOwner(tx, sealing, copyId);
        await tx.change({
          text: `INSERT INTO ${fact.quoted} (${parts.copied}, ${parts.date}, ${parts.version})
            SELECT ${parts.copied}, ?, ? ${from} AND s.${id} <= ?${unless}`,
          values: [opens.date, opens.version, sealed.date, sealed.version, begun, String(upTo)],
        });
      }, signal),
    );
    after = String(upTo);
  }
}

/** In decimal digits. */
export type SnapshotTotals = { readonly rows: string; readonly checksum: string };

/** Rows of a snapshot, and the XOR over their keys and coordinates (the same in every engine). */
export async function snapshotTotalsOf(
  { warehouse, fact }: Pick<Sealing, 'warehouse' | 'fact'>,
  name: SnapshotName,
  signal: AbortSignal,
): Promise<SnapshotTotals> {
  const { keyHash, kafkaPartition, kafkaOffset } = fact.own;
  const { date, version } = partsOf(fact);
  const columns = { keyHash: keyHash?.quoted ?? '', partition: kafkaPartition.quoted, offset: kafkaOffset.quoted };
  const [row] = await warehouse.run(
    {
      text: `SELECT COUNT(*) AS row_count, ${warehouse.dialect.checksum(columns)} AS checksum
        FROM ${fact.quoted} WHERE ${date} = ? AND ${version} = ?`,
      values: [name.date, name.version],
    },
    signal,
  );
  return { rows: String(row?.['row_count'] ?? 0), checksum: String(row?.['checksum'] ?? 0) };
}

type Done = SnapshotTotals & { readonly copyId: string; readonly entry: AuditEntry };

/** Answers whether it was this copy that followed, now or before. */
async function finish(tx: Tx, sealing: Sealing, done: Done): Promise<boolean> {
  const { feed, order, nowMs, warehouse } = sealing;
  const { sealed, cut, kind } = order;
  // A COMMIT without an answer may have done it; positions may have gone on since.
  const before = await stateNow(tx, feed, sealed);
  if (before?.state === 'sealed') return before.copyId === done.copyId;
  await checkPositions(tx, sealing);
  const now = timeText(nowMs());
  // One is open at any time: the old one is sealed first.
  const old = await tx.change({
    text: `UPDATE lake_snapshots SET state = 'sealed', cut_kind = ?, positions = ?, row_count = ?, checksum = ?, missed = ?, sealed_at = ?,
        copy_id = ?
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'open'`,
    values: [
      kind,
      positionsText(order.positions),
      done.rows,
      done.checksum,
      cut.missed.length === 0 ? null : JSON.stringify(cut.missed),
      now,
      done.copyId,
      feed,
      sealed.date,
      sealed.version,
    ],
  });
  const opened = await tx.change({
    text: `UPDATE lake_snapshots SET state = 'open', copy_id = NULL, opened_at = ?
      WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'opening' AND copy_id = ?`,
    values: [now, feed, cut.opens.date, cut.opens.version, done.copyId],
  });
  if (old !== 1 || opened !== 1) throw new PositionsMoved();
  await tx.change(auditStatement(warehouse.dialect, done.entry));
  return true;
}
