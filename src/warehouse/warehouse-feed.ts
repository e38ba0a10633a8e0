// One feed in the warehouse, as a target: its positions, its batches as transactions, waiting while the server is away.
// Invariant: `state()` holds positions that a COMMIT confirmed or a read gave back; a COMMIT without an answer is resolved by
// reading the positions under their locks before anything else is tried (PROTOCOL M2).

import type { Connection } from '../duckdb/connection.ts';
import { assert } from '../errors.ts';
import type { Log } from '../log.ts';
import type { CommitAnswer, StagedBatch, TargetState, WrittenBatch } from '../model/batch.ts';
import type { CommittedRange, Gap } from '../model/log-entry.ts';
import type { SnapshotRule } from '../model/snapshot.ts';
import { applyBatch } from './commit-batch.ts';
import type { FactTable } from './fact-table.ts';
import { type Patience, patiently } from './patience.ts';
import {
  gapRange,
  insertGap,
  movedBy,
  movePositions,
  outcomeOf,
  PositionsMoved,
  type PositionsOf,
  selectPositions,
  stateOf,
} from './positions.ts';
import { setUpFactTable } from './setup-table.ts';
import { readBatch } from './staged-batch.ts';
import { type Tx, type Warehouse, WarehouseFailure, warehouseError } from './warehouse.ts';

export type WarehouseFeed = {
  readonly name: 'warehouse';
  state(): TargetState;
  refresh(): Promise<TargetState>;
  write(connection: Connection, batch: StagedBatch): Promise<WrittenBatch>;
  recordGaps(gaps: readonly Gap[], signal: AbortSignal): Promise<CommitAnswer>;
  tidy(): Promise<void>;
  close(): Promise<void>;
};

export type WarehouseFeedOptions = PositionsOf & {
  readonly warehouse: Warehouse;
  /** The feed's tables by the schema that is pinned now, and its version. */
  readonly tables: () => { readonly fact: FactTable; readonly schemaVersion: number } | null;
  readonly clusterId: string | null;
  /** null: a stream. */
  readonly snapshots: SnapshotRule | null;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
};

type Work = {
  readonly ranges: readonly CommittedRange[];
  readonly schemaVersion: number;
  readonly inside: (tx: Tx) => Promise<void>;
};

/** Reads the positions, makes or checks the tables. Throws LakeError; waits while the server is away. */
export async function openWarehouseFeed(options: WarehouseFeedOptions): Promise<WarehouseFeed> {
  const { warehouse, feed, topic, nowMs, signal, snapshots, clusterId } = options;
  const patience: Patience = { log: options.log, nowMs, feed };
  let known: TargetState = { version: 0, epoch: 0, positions: new Map() };
  let preparedVersion = -1;
  let prepared: FactTable | null = null;

  const refresh = async (lock = false): Promise<TargetState> => {
    known = stateOf(
      lock
        ? await warehouse.transaction((tx) => tx.rows(selectPositions(options, true)), signal)
        : await warehouse.run(selectPositions(options), signal),
    );
    return known;
  };
  /** DDL, so outside of any transaction: the tables for the schema that is pinned now. */
  const prepare = async (): Promise<FactTable | null> => {
    const wanted = options.tables();
    if (wanted && wanted.schemaVersion !== preparedVersion) {
      await patiently(() => setUpFactTable(warehouse, wanted.fact, signal), patience, signal);
      prepared = wanted.fact;
      preparedVersion = wanted.schemaVersion;
    }
    return prepared;
  };
  const conflict = (reason: string): CommitAnswer => ({ kind: 'conflict', reason, state: known });

  /** Commits once; a COMMIT without an answer is done when the positions say so. */
  const once = async (work: Work, abort: AbortSignal, doubt: { pending: boolean }): Promise<CommitAnswer> => {
    if (doubt.pending) {
      await refresh(true);
      doubt.pending = false;
      const outcome = outcomeOf(known, work.ranges);
      if (outcome === 'committed') return committed();
      if (outcome === 'moved') return conflict('positions');
    }
    try {
      await warehouse.transaction(async (tx) => {
        await movePositions(tx, { feed, topic, ranges: work.ranges, known, clusterId, schemaVersion: work.schemaVersion });
        await work.inside(tx);
      }, abort);
    } catch (error) {
      if (error instanceof PositionsMoved) {
        await refresh();
        return conflict('positions');
      }
      // Whatever went wrong on the way to the server may have gone wrong after COMMIT.
      if (error instanceof WarehouseFailure && (error.class === 'in_doubt' || error.class === 'wait')) doubt.pending = true;
      throw error;
    }
    known = movedBy(known, work.ranges);
    return committed();
  };
  const committed = (): CommitAnswer => ({ kind: 'committed', version: 0, files: 0, bytes: 0, state: known });
  const commit = (work: Work, abort: AbortSignal): Promise<CommitAnswer> => {
    const doubt = { pending: false };
    return patiently(() => once(work, abort, doubt), patience, abort).catch((error: unknown) => {
      if (error instanceof WarehouseFailure) throw warehouseError(error, `a batch of feed ${feed} cannot be committed`);
      throw error;
    });
  };

  await prepare();
  await patiently(() => refresh(), patience, signal);
  return {
    name: 'warehouse',
    state: () => known,
    refresh: () => patiently(() => refresh(), patience, signal),
    write: async (connection, batch) => {
      const fact = await prepare();
      assert(fact !== null || batch.rows === 0, `feed ${feed} staged rows before it had a schema`);
      const rows = await readBatch(connection, batch, fact);
      const { ranges, schemaVersion } = batch;
      const inside = (tx: Tx): Promise<void> =>
        applyBatch(tx, { feed, topic, rows, fact, snapshots, nowMs: nowMs(), statementBytesMax: warehouse.statementBytesMax });
      return {
        commit: async (abort) => {
          // Decoded by a schema that was replaced meanwhile: the other columns would be missing in its rows.
          if ((options.tables()?.schemaVersion ?? schemaVersion) !== schemaVersion) return conflict('schema');
          return commit({ ranges, schemaVersion, inside }, abort);
        },
        discard: async () => undefined,
      };
    },
    recordGaps: async (gaps, abort) => {
      const { epoch } = known;
      const inside = async (tx: Tx): Promise<void> => {
        for (const gap of gaps) await tx.change(insertGap(options, gap, epoch));
      };
      return commit({ ranges: gaps.map(gapRange), schemaVersion: options.tables()?.schemaVersion ?? 0, inside }, abort);
    },
    tidy: async () => undefined,
    close: async () => undefined,
  };
}
