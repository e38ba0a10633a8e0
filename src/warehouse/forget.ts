// Tombstones that nobody needs any more are deleted after a seal (design 4, §1.2), a few at a time, beside the batches.
// Invariant: one is deleted only while its time lies before the running maximum of every partition, which is seen under the locks of
// the positions: after a fail-over or a rebuild they may be back where the tombstone is needed.

import { settledBeforeMs } from '../model/forgotten.ts';
import { timeText } from './audit.ts';
import { type PositionsOf, selectPositions, stateOf } from './positions.ts';
import type { SqlScalar, Statement, Tx, Warehouse } from './warehouse.ts';

const CHUNK_ROWS = 1_000;

/** A dead letter that is tried again may bring a row of its own time: tombstones after the oldest one are needed still. */
const NOT_HELD = `kafka_timestamp < COALESCE((SELECT MIN(l.kafka_timestamp) FROM lake_dead_letters l
  WHERE l.feed = ? AND l.state = 'open'), TIMESTAMP '9999-12-31 23:59:59')`;

export type Forgetting = PositionsOf & {
  readonly warehouse: Warehouse;
  readonly beforeMs: number;
  /** Does work again while the server is away or a deadlock passes. */
  readonly patiently: <T>(work: () => Promise<T>) => Promise<T>;
  /** No more is begun after it: the next seal's turn has the rest. */
  readonly stop: AbortSignal;
};

/** How many were deleted. Throws LakeError, WarehouseFailure. */
export async function forgetTombstones(forgetting: Forgetting, signal: AbortSignal): Promise<number> {
  const { warehouse, feed, beforeMs, patiently, stop } = forgetting;
  const before = timeText(beforeMs);
  let forgottenCount = 0;
  for (let after: SqlScalar = new Uint8Array(); !stop.aborted; ) {
    const chunk: Statement = {
      text: `SELECT key_hash FROM lake_tombstones WHERE feed = ? AND key_hash > ? AND kafka_timestamp < ? AND ${NOT_HELD} ORDER BY key_hash LIMIT ${CHUNK_ROWS}`,
      values: [feed, after, before, feed],
    };
    const hashes: readonly SqlScalar[] = (await patiently(() => warehouse.run(chunk, signal))).flatMap(
      (row) => row['key_hash'] ?? [],
    );
    const last = hashes.at(-1);
    if (last === undefined) break;
    const deleted = await patiently(() => warehouse.transaction((tx) => deleteSettled(tx, forgetting, hashes), signal));
    if (deleted === null) break;
    forgottenCount += deleted;
    after = last;
  }
  return forgottenCount;
}

/** null: the positions are back where they may be needed. */
async function deleteSettled(
  tx: Tx,
  { warehouse, feed, topic, beforeMs }: Forgetting,
  hashes: readonly SqlScalar[],
): Promise<number | null> {
  const settledMs = settledBeforeMs(stateOf(await tx.rows(selectPositions({ feed, topic }, warehouse.dialect))).positions, []);
  if (settledMs === null || settledMs < beforeMs) return null;
  const marks = hashes.map(() => '?').join(', ');
  return await tx.change({
    text: `DELETE FROM lake_tombstones WHERE feed = ? AND key_hash IN (${marks}) AND kafka_timestamp < ? AND ${NOT_HELD}`,
    values: [feed, ...hashes, timeText(beforeMs), feed],
  });
}
