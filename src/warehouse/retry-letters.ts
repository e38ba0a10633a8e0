// The one transaction of a retry (PROTOCOL M3): positions locked, letters closed, their rows written, counts put right. The positions
// themselves stay, so a copy of the snapshot that was begun is void.
// Invariant: a letter of a table whose key has a later message is closed as superseded and changes no row.

import { type Closing as Became, closedLetters } from '../model/entry-letters.ts';
import { lettersTold } from '../model/journal.ts';
import type { SnapshotRules } from '../model/snapshot-rules.ts';
import { auditStatement } from './audit.ts';
import { applyBatch } from './commit-batch.ts';
import { closeLetters, LettersMoved, supersede, type WarehouseLetter } from './dead-letters.ts';
import type { FactTable } from './fact-table.ts';
import { openSnapshotOf, selectOpenSnapshot, voidCopies } from './open-snapshot.ts';
import { type PositionsOf, schemaVersionOf, selectPositions } from './positions.ts';
import type { BatchRows } from './staged-batch.ts';
import type { SqlScalar, Statement, Tx, Warehouse } from './warehouse.ts';

export type RetriedLetter = WarehouseLetter & { readonly as: Became };

export type LettersRetry = PositionsOf & {
  readonly warehouse: Warehouse;
  readonly fact: FactTable;
  /** null: a stream. */
  readonly snapshots: SnapshotRules | null;
  readonly schemaVersion: number;
  /** All of them convert. */
  readonly letters: readonly (WarehouseLetter & { readonly isTombstone: boolean })[];
  readonly rows: BatchRows;
  readonly nowMs: number;
};

/** Throws LettersMoved, RowsRefused, WarehouseFailure: then nothing was done. */
export async function retryLetters(tx: Tx, retry: LettersRetry): Promise<readonly RetriedLetter[]> {
  const { warehouse, feed, topic, fact, snapshots, schemaVersion, letters, rows, nowMs } = retry;
  const positions = await tx.rows(selectPositions({ feed, topic }, warehouse.dialect));
  // Decoded by a schema that was replaced meanwhile.
  if (schemaVersionOf(positions) > schemaVersion) throw new LettersMoved();
  await closeLetters(tx, { letters, state: 'retried', atMs: nowMs, schemaVersion });
  await applyBatch(tx, { feed, topic, rows, fact, snapshots, nowMs, isWhole: false, warehouse });
  const won = snapshots === null ? null : await winners(tx, retry);
  const isLost = (letter: WarehouseLetter): boolean => won !== null && !won.has(`${letter.partition}:${letter.offset}`);
  const lost = letters.filter(isLost);
  if (lost.length > 0) await tx.change(supersede(lost.map(({ id }) => id)));
  const retried = letters.map(
    (letter): RetriedLetter => ({ ...letter, as: letter.isTombstone ? 'tombstone' : isLost(letter) ? 'superseded' : 'row' }),
  );
  for (const [partition, some] of Map.groupBy(retried, (letter) => letter.partition))
    await tx.change(countAnew({ feed, topic }, partition, some));
  if (snapshots !== null) await tx.change(voidCopies(feed));
  const { rows: rowCount, ...told } = lettersTold({ closed: closedLetters(retried) });
  await tx.change(auditStatement(warehouse.dialect, { ...told, rowCount, feed, performedBy: fact.createdBy, atMs: nowMs }));
  return retried;
}

/** Messages that were dead letters and are rows or tombstones now. */
function countAnew({ feed, topic }: PositionsOf, partition: number, retried: readonly RetriedLetter[]): Statement {
  const tombstones = retried.filter(({ as }) => as === 'tombstone').length;
  return {
    text: `UPDATE lake_positions SET row_count = row_count + ?, tombstones = tombstones + ?, dead_letters = dead_letters - ?
      WHERE feed = ? AND topic = ? AND kafka_partition = ?`,
    values: [retried.length - tombstones, tombstones, retried.length, feed, topic, partition],
  };
}

/** Coordinates of rows and tombstones that are what their key is now, of those keys that the letters have. */
async function winners(tx: Tx, { warehouse, feed, fact, rows }: LettersRetry): Promise<ReadonlySet<string>> {
  const open = openSnapshotOf(await tx.rows(selectOpenSnapshot(warehouse.dialect, feed)));
  const { keyHash, snapshotDate, snapshotVersion, kafkaPartition, kafkaOffset } = fact.own;
  const found = new Set<string>();
  const look = async (from: string, hashes: readonly SqlScalar[], values: readonly SqlScalar[]): Promise<void> => {
    if (hashes.length === 0) return;
    const text = `${from} IN (${hashes.map(() => '?').join(', ')})`;
    for (const row of await tx.rows({ text, values: [...values, ...hashes] })) found.add(`${row['p']}:${row['o']}`);
  };
  const ofFacts = `SELECT ${kafkaPartition.quoted} AS p, ${kafkaOffset.quoted} AS o FROM ${fact.quoted}
    WHERE ${snapshotDate?.quoted} = ? AND ${snapshotVersion?.quoted} = ? AND ${keyHash?.quoted}`;
  for await (const slice of rows.facts.slices())
    if (open)
      await look(
        ofFacts,
        slice.map((values) => values[fact.values.length] ?? null),
        [open.date, open.version],
      );
  const ofTombstones = 'SELECT kafka_partition AS p, kafka_offset AS o FROM lake_tombstones WHERE feed = ? AND key_hash';
  for await (const slice of rows.tombstones.slices())
    await look(
      ofTombstones,
      slice.map(([hash]) => hash ?? null),
      [feed],
    );
  return found;
}

export type LettersDrop = PositionsOf & {
  readonly warehouse: Pick<Warehouse, 'dialect'>;
  readonly letters: readonly WarehouseLetter[];
  readonly createdBy: number;
  readonly nowMs: number;
};

/** Throws LettersMoved, WarehouseFailure: then nothing was done. */
export async function dropLetters(tx: Tx, { warehouse, feed, letters, createdBy, nowMs }: LettersDrop): Promise<void> {
  await closeLetters(tx, { letters, state: 'dropped', atMs: nowMs, schemaVersion: null });
  const dropped = letters.map((letter) => ({ ...letter, as: 'dropped' as const }));
  const { rows: rowCount, ...told } = lettersTold({ closed: closedLetters(dropped) });
  await tx.change(auditStatement(warehouse.dialect, { ...told, rowCount, feed, performedBy: createdBy, atMs: nowMs }));
}
