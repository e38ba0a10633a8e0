// The positions of a table that was read anew: all of them at once in the place of those that were there, in the next epoch (design 4, §1.3).
// Invariant: they are replaced only from exactly where they were when the reading began; whoever works by the old epoch fails.

import type { TargetState } from '../model/batch.ts';
import { restarted } from '../model/entry-rebuild.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { timeText } from './audit.ts';
import {
  insertPosition,
  isSamePlace,
  type Move,
  movedBy,
  PositionsMoved,
  schemaVersionOf,
  selectPositions,
  stateOf,
} from './positions.ts';
import type { Statement, Tx, Warehouse } from './warehouse.ts';

/** `known`: what was there when the reading began. */
export type Replacement = Move & { readonly begunAtMs: number } & { readonly dialect: Warehouse['dialect'] };

export function replacedBy(known: TargetState, ranges: readonly CommittedRange[]): TargetState {
  return movedBy({ ...known, epoch: known.epoch + 1, positions: restarted(known, { ranges }) }, ranges);
}

/** Throws PositionsMoved. */
export async function replacePositions(tx: Tx, replacement: Replacement): Promise<void> {
  const { known, ranges, dialect, schemaVersion } = replacement;
  const rows = await tx.rows(selectPositions(replacement, dialect));
  if (!isSamePlace(stateOf(rows), known) || schemaVersionOf(rows) > (schemaVersion ?? 0)) throw new PositionsMoved();
  const next = replacedBy(known, ranges);
  for (const [partition, state] of [...next.positions].sort(([a], [b]) => a - b)) {
    const range = ranges.find((one) => one.partition === partition);
    const isKnown = known.positions.has(partition);
    if (!isKnown && range) await insertPosition(tx, { ...replacement, known: next }, range);
    if (isKnown && (await tx.change(updatePosition(replacement, partition, state))) !== 1) throw new PositionsMoved();
  }
}

function updatePosition(
  { feed, topic, known, schemaVersion, dialect, begunAtMs }: Replacement,
  partition: number,
  state: PositionState,
): Statement {
  const { position, start, last, timestampMsMax, totals } = state;
  const decoded = schemaVersion === null ? '' : 'schema_version = ?, ';
  return {
    text: `UPDATE lake_positions SET position = ?, start_offset = ?, last_offset = ?, last_timestamp_ms = ?, last_hash = ?, timestamp_ms_max = ?,
        messages = ?, row_count = ?, dead_letters = ?, tombstones = ?, retained_dead_letters = 0, ${decoded}caught_up_at = ?, epoch = ?${dialect.touch}
      WHERE feed = ? AND topic = ? AND kafka_partition = ? AND epoch = ?`,
    values: [
      ...[position, start, last?.offset ?? null, last?.timestampMs ?? null, last?.hash ?? null, timestampMsMax],
      ...[totals.messages, totals.rows, totals.deadLetters, totals.tombstones],
      ...(schemaVersion === null ? [] : [schemaVersion]),
      ...[timeText(begunAtMs), known.epoch + 1, feed, topic, partition, known.epoch],
    ],
  };
}

/** Where the positions are beside a replacement whose COMMIT was not answered. */
export function replacementOutcome(
  now: TargetState,
  known: TargetState,
  ranges: readonly CommittedRange[],
): 'committed' | 'not_committed' | 'moved' {
  if (isSamePlace(now, replacedBy(known, ranges))) return 'committed';
  return isSamePlace(now, known) ? 'not_committed' : 'moved';
}
