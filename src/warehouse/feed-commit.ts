// Where a feed is in the warehouse, as last seen, and one try at a commit of it.
// Invariant: what is known are positions that a COMMIT confirmed or a read gave back; a COMMIT without an answer is resolved by
// reading the positions under their locks before anything else is tried (PROTOCOL M2).

import type { CommitAnswer, TargetState } from '../model/batch.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import {
  caughtUpAtMsOf,
  isSamePlace,
  movedBy,
  movePositions,
  outcomeOf,
  PositionsMoved,
  type PositionsOf,
  schemaVersionOf,
  selectPositions,
  stateOf,
  updateCaughtUp,
} from './positions.ts';
import { RowsRefused } from './refused-rows.ts';
import { replacedBy, replacementOutcome, replacePositions } from './replace-positions.ts';
import { type Row, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

export type CommitsOptions = PositionsOf & {
  readonly warehouse: Warehouse;
  readonly clusterId: string | null;
  /** null: a stream, of which nobody asks since when it is read. */
  readonly nowMs: (() => number) | null;
  readonly signal: AbortSignal;
};

/** What a transaction does once the positions are moved. */
export type Work = {
  readonly ranges: readonly CommittedRange[];
  readonly schemaVersion: number | null;
  readonly inside: (tx: Tx) => Promise<void>;
  /** The ranges replace what was there at `from`; absent: they follow on from where the positions are. */
  readonly rebuild?: { readonly from: TargetState; readonly startedAtMs: number };
};

export type Commits = ReturnType<typeof createCommits>;

/** The positions as last seen, and one try at a commit. */
export function createCommits({ warehouse, feed, topic, clusterId, nowMs, signal }: CommitsOptions) {
  let known: TargetState = { version: 0, epoch: 0, positions: new Map() };
  let schemaVersionMax = 0;
  let caughtUpAtMs: number | null = null;
  /** When the positions were last asked for, to read on from them. */
  let begunAtMs: number | null = null;
  const { dialect } = warehouse;

  const take = (rows: readonly Row[]): void => {
    known = stateOf(rows);
    schemaVersionMax = schemaVersionOf(rows);
    caughtUpAtMs = caughtUpAtMsOf(rows);
  };
  const read = async (): Promise<TargetState> => {
    const before = known;
    begunAtMs = nowMs?.() ?? null;
    const rows = await warehouse.run(selectPositions({ feed, topic }), signal);
    // What a commit left meanwhile may be newer than what was read.
    if (known === before) take(rows);
    return known;
  };
  const conflict = (schemaVersion: number | null, before: TargetState): CommitAnswer => {
    const isOld = schemaVersion !== null && schemaVersion < schemaVersionMax;
    return { kind: 'conflict', reason: isOld ? 'schema' : known.epoch === before.epoch ? 'positions' : 'epoch', state: known };
  };
  /** Answers whether the epoch is another one. Then what is known stays: what was read under it must not be committed under the other. */
  const look = async (): Promise<boolean> => {
    const before = known;
    const rows = await warehouse.run(selectPositions({ feed, topic }), signal);
    if (known !== before) return false;
    if (stateOf(rows).epoch !== before.epoch) return true;
    take(rows);
    return false;
  };
  const committed = (): CommitAnswer => ({ kind: 'committed', version: 0, files: 0, bytes: 0, state: known });

  /** A COMMIT without an answer before is done when the positions say so. */
  const once = async (work: Work, abort: AbortSignal, doubt: { pending: boolean }): Promise<CommitAnswer> => {
    const { ranges, schemaVersion, rebuild } = work;
    const stood = known;
    if (doubt.pending) {
      // Under their locks: a transaction that is still under way has them.
      take(await warehouse.transaction((tx) => tx.rows(selectPositions({ feed, topic }, dialect)), abort));
      doubt.pending = false;
      const outcome = rebuild ? replacementOutcome(known, rebuild.from, ranges) : outcomeOf(known, ranges);
      if (outcome === 'committed') return committed();
      if (outcome === 'moved') return conflict(schemaVersion, stood);
    }
    const before = known;
    try {
      await warehouse.transaction(async (tx) => {
        const move = { feed, topic, ranges, clusterId, schemaVersion, dialect };
        if (rebuild) await replacePositions(tx, { ...move, known: rebuild.from, begunAtMs: rebuild.startedAtMs });
        else await movePositions(tx, { ...move, known: before, begunAtMs });
        await work.inside(tx);
      }, abort);
    } catch (error) {
      if (error instanceof PositionsMoved) {
        take(await warehouse.run(selectPositions({ feed, topic }), abort));
        return conflict(schemaVersion, before);
      }
      if (error instanceof RowsRefused) return { kind: 'refused', rows: error.rows, triedCount: error.triedCount, state: known };
      // Whatever went wrong on the way to the server may have gone wrong after COMMIT.
      if (error instanceof WarehouseFailure && (error.class === 'in_doubt' || error.class === 'wait')) doubt.pending = true;
      throw error;
    }
    if (known === before) {
      known = rebuild ? replacedBy(rebuild.from, ranges) : movedBy(before, ranges);
      caughtUpAtMs = rebuild ? rebuild.startedAtMs : (caughtUpAtMs ?? begunAtMs);
    } else {
      // Read meanwhile, with this commit or without it. Should the answer fail, the positions tell.
      doubt.pending = true;
      take(await warehouse.run(selectPositions({ feed, topic }), abort));
    }
    return committed();
  };
  /** Only of the positions that it is true of: a fail-over may have set them back. Those that are there are then known. */
  const noteCaughtUp = async (atMs: number, abort: AbortSignal): Promise<void> => {
    const before = known;
    const moved = await warehouse.transaction(async (tx) => {
      const rows = await tx.rows(selectPositions({ feed, topic }, dialect));
      if (!isSamePlace(stateOf(rows), before)) return rows;
      await tx.change(updateCaughtUp({ feed, topic }, before, { atMs, touch: dialect.touch }));
      return null;
    }, abort);
    if (moved === null) caughtUpAtMs = atMs;
    else if (known === before && stateOf(moved).epoch === before.epoch) take(moved);
  };
  return { state: (): TargetState => known, caughtUpAtMs: () => caughtUpAtMs, read, look, once, noteCaughtUp };
}
