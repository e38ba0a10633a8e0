// One feed in the warehouse, as a target: its positions, its batches as transactions, waiting while the server is away.
// Invariant: `state()` holds positions that a COMMIT confirmed or a read gave back; a COMMIT without an answer is resolved by
// reading the positions under their locks before anything else is tried (PROTOCOL M2).

import type { Connection } from '../duckdb/connection.ts';
import { assert, LakeError } from '../errors.ts';
import type { CommitAnswer, StagedBatch, TargetState, WrittenBatch } from '../model/batch.ts';
import type { SealOrder } from '../model/cut.ts';
import type { CommittedRange, Gap } from '../model/log-entry.ts';
import type { OpenSnapshot, SnapshotRule } from '../model/snapshot.ts';
import { applyBatch } from './commit-batch.ts';
import { explained } from './explain.ts';
import type { FactTable } from './fact-table.ts';
import { readTable } from './found-table.ts';
import { openSnapshotOf, selectOpenSnapshot } from './open-snapshot.ts';
import { type Patience, patiently } from './patience.ts';
import {
  gapRange,
  insertGap,
  movedBy,
  movePositions,
  outcomeOf,
  PositionsMoved,
  type PositionsOf,
  raiseSchemaVersion,
  schemaVersionOf,
  selectPositions,
  stateOf,
} from './positions.ts';
import { RowsRefused } from './refused-rows.ts';
import { sealSnapshot } from './seal.ts';
import { setUpFactTable } from './setup-table.ts';
import { type EngineQueue, readBatch } from './staged-batch.ts';
import { type Row, type Tx, type Warehouse, WarehouseFailure, warehouseError } from './warehouse.ts';

export type WarehouseFeed = {
  readonly name: 'warehouse';
  state(): TargetState;
  refresh(): Promise<TargetState>;
  write(connection: Connection, batch: StagedBatch): Promise<WrittenBatch>;
  snapshot(): OpenSnapshot | null;
  seal(order: SealOrder, signal: AbortSignal): Promise<Exclude<CommitAnswer, { kind: 'applied' | 'refused' }>>;
  recordGaps(gaps: readonly Gap[], signal: AbortSignal): Promise<CommitAnswer>;
  close(): Promise<void>;
};

export type WarehouseFeedOptions = PositionsOf & {
  readonly warehouse: Warehouse;
  /** The feed's tables by the schema that is pinned, as far as is known here, and its version. */
  readonly tables: () => Tables | null;
  /** Asks which schema is pinned now. */
  readonly refreshSchema: () => Promise<void>;
  readonly clusterId: string | null;
  /** Of the pipeline, for this feed alone. */
  readonly engine: EngineQueue;
  /** null: a stream. */
  readonly snapshots: SnapshotRule | null;
  readonly nowMs: () => number;
  readonly patience: Omit<Patience, 'feed'>;
  readonly signal: AbortSignal;
};

type Tables = { readonly fact: FactTable; readonly schemaVersion: number };

type Work = {
  readonly ranges: readonly CommittedRange[];
  readonly schemaVersion: number | null;
  readonly inside: (tx: Tx) => Promise<void>;
};

/** Reads the positions, makes or checks the tables. Throws LakeError; waits while the server is away. */
export async function openWarehouseFeed(options: WarehouseFeedOptions): Promise<WarehouseFeed> {
  const { warehouse, feed, topic, nowMs, signal, snapshots, tables } = options;
  const patience: Patience = { ...options.patience, feed };
  const commits = createCommits(options);
  let preparedVersion = -1;
  /** For as long as it takes; what does not pass is said for a person. */
  const surely = <T>(work: () => Promise<T>, abort: AbortSignal, subject: string): Promise<T> =>
    patiently(() => explained({ warehouse, subject, signal: abort }, work), patience, abort);

  /** DDL, so outside of any transaction: the tables for the schema that is pinned now. */
  const prepare = async (wanted: Tables | null): Promise<void> => {
    if (wanted === null || wanted.schemaVersion === preparedVersion) return;
    const ready = async (): Promise<void> => {
      // Made anew it would lack all that was committed to it, and nobody would notice.
      if (hasRows(commits.state()) && (await readTable(warehouse, wanted.fact.name, signal)) === null)
        throw tableGone(wanted.fact);
      await setUpFactTable(warehouse, wanted.fact, signal);
      await warehouse.run(raiseSchemaVersion(options, wanted.schemaVersion), signal);
    };
    await surely(ready, signal, `table ${wanted.fact.name} cannot be made ready`);
    preparedVersion = wanted.schemaVersion;
  };
  let open: OpenSnapshot | null = null;
  const readOpen = async (): Promise<void> => {
    if (snapshots) open = openSnapshotOf(await warehouse.run(selectOpenSnapshot(feed), signal));
  };
  const read = (): Promise<TargetState> =>
    surely(
      async () => {
        await readOpen();
        return await commits.read();
      },
      signal,
      `the positions of feed ${feed} cannot be read`,
    );
  const commit = (work: Work, abort: AbortSignal): Promise<CommitAnswer> => {
    const doubt = { pending: false };
    return surely(() => commits.once(work, abort, doubt), abort, `a batch of feed ${feed} cannot be committed`);
  };

  await read();
  await prepare(tables());
  return {
    name: 'warehouse',
    state: commits.state,
    refresh: async () => {
      await options.refreshSchema();
      return await read();
    },
    write: async (connection, batch) => {
      const { ranges, schemaVersion } = batch;
      const wanted = tables();
      // Decoded by a schema that was replaced meanwhile: the other columns would be missing in its rows.
      const isOutdated = (): boolean => (tables()?.schemaVersion ?? schemaVersion) !== schemaVersion;
      const outdated = async (): Promise<CommitAnswer> => ({ kind: 'conflict', reason: 'schema', state: commits.state() });
      if (isOutdated()) return { commit: outdated, discard: async () => undefined };
      await prepare(wanted);
      const fact = wanted?.fact ?? null;
      assert(fact !== null || batch.rows === 0, `feed ${feed} staged rows before it had a schema`);
      const rows = await readBatch(connection, batch, { fact, engine: options.engine });
      const inside = (tx: Tx): Promise<void> =>
        applyBatch(tx, { feed, topic, rows, fact, snapshots, nowMs: nowMs(), statementBytesMax: warehouse.statementBytesMax });
      return {
        commit: async (abort) => {
          const work = isOutdated() ? outdated() : commit({ ranges, schemaVersion, inside }, abort);
          const answer = await work.finally(rows.drop);
          // A feed's first rows open its first snapshot.
          if (open === null) await surely(readOpen, abort, `the snapshots of feed ${feed} cannot be read`);
          return answer;
        },
        discard: rows.drop,
      };
    },
    recordGaps: async (gaps, abort) => {
      const { epoch } = commits.state();
      const inside = async (tx: Tx): Promise<void> => {
        for (const gap of gaps) await tx.change(insertGap(options, gap, epoch));
      };
      return commit({ ranges: gaps.map(gapRange), schemaVersion: null, inside }, abort);
    },
    snapshot: () => open,
    seal: async (order, abort) => {
      const fact = tables()?.fact;
      assert(fact, `feed ${feed} is sealed before it had a schema`);
      const again = <T>(work: () => Promise<T>): Promise<T> => patiently(work, patience, abort);
      try {
        await sealSnapshot({ warehouse, feed, topic, fact, order, nowMs, patiently: again }, abort);
      } catch (error) {
        if (error instanceof WarehouseFailure) throw warehouseError(error, `a snapshot of feed ${feed} cannot be sealed`);
        if (!(error instanceof PositionsMoved)) throw error;
        return { kind: 'conflict', reason: 'positions', state: await read() };
      }
      return { kind: 'committed', version: 0, files: 0, bytes: 0, state: await read() };
    },
    close: async () => undefined,
  };
}

const hasRows = ({ positions }: TargetState): boolean => [...positions.values()].some(({ totals }) => totals.rows > 0);

const tableGone = ({ feed, name }: FactTable): LakeError =>
  new LakeError('warehouse_table_differs', `table ${name} is gone, and with it all rows that feed ${feed} committed to it`, {
    where: { feed, target: 'warehouse' },
    todo: 'restore it from a backup, or take the feed in again under a new feed_name',
  });

/** The positions as last seen, and one try at a commit. */
function createCommits({ warehouse, feed, topic, clusterId, signal }: WarehouseFeedOptions) {
  let known: TargetState = { version: 0, epoch: 0, positions: new Map() };
  let schemaVersionMax = 0;

  const take = (rows: readonly Row[]): void => {
    known = stateOf(rows);
    schemaVersionMax = schemaVersionOf(rows);
  };
  const read = async (): Promise<TargetState> => {
    const before = known;
    const rows = await warehouse.run(selectPositions({ feed, topic }), signal);
    // What a commit left meanwhile may be newer than what was read.
    if (known === before) take(rows);
    return known;
  };
  const conflict = (schemaVersion: number | null): CommitAnswer => {
    const isOld = schemaVersion !== null && schemaVersion < schemaVersionMax;
    return { kind: 'conflict', reason: isOld ? 'schema' : 'positions', state: known };
  };
  const committed = (): CommitAnswer => ({ kind: 'committed', version: 0, files: 0, bytes: 0, state: known });

  /** A COMMIT without an answer before is done when the positions say so. */
  const once = async (work: Work, abort: AbortSignal, doubt: { pending: boolean }): Promise<CommitAnswer> => {
    const { ranges, schemaVersion } = work;
    if (doubt.pending) {
      // Under their locks: a transaction that is still under way has them.
      take(await warehouse.transaction((tx) => tx.rows(selectPositions({ feed, topic }, true)), abort));
      doubt.pending = false;
      const outcome = outcomeOf(known, ranges);
      if (outcome === 'committed') return committed();
      if (outcome === 'moved') return conflict(schemaVersion);
    }
    const before = known;
    try {
      await warehouse.transaction(async (tx) => {
        await movePositions(tx, { feed, topic, ranges, known: before, clusterId, schemaVersion });
        await work.inside(tx);
      }, abort);
    } catch (error) {
      if (error instanceof PositionsMoved) {
        take(await warehouse.run(selectPositions({ feed, topic }), abort));
        return conflict(schemaVersion);
      }
      if (error instanceof RowsRefused) return { kind: 'refused', rows: error.rows, triedCount: error.triedCount, state: known };
      // Whatever went wrong on the way to the server may have gone wrong after COMMIT.
      if (error instanceof WarehouseFailure && (error.class === 'in_doubt' || error.class === 'wait')) doubt.pending = true;
      throw error;
    }
    known = movedBy(before, ranges);
    return committed();
  };
  return { state: (): TargetState => known, read, once };
}
