// Dead letters that a table read anew has not found again: of messages that are rows by now, or that Kafka has no more. They are closed.
// Invariant: the letters of a feed that are open or dropped, and those that retention has deleted, are what its positions count.

import { timeText } from './audit.ts';
import type { PositionsOf } from './positions.ts';
import type { BatchRows } from './staged-batch.ts';
import type { SqlScalar, Tx } from './warehouse.ts';

export type FoundLetters = PositionsOf & {
  /** Those that were found, in the order of partition and offset. */
  readonly letters: BatchRows['deadLetters'];
  readonly nowMs: number;
  /** A statement names at most so many. */
  readonly rowsMax: number;
};

/** Whatever became of them before. A stretch of offsets at a time. Throws WarehouseFailure. */
export async function supersedeOthers(tx: Tx, { feed, topic, letters, nowMs, rowsMax }: FoundLetters): Promise<void> {
  const close = (where: string, values: readonly SqlScalar[]): Promise<number> =>
    tx.change({
      text: `UPDATE lake_dead_letters SET closed_at = COALESCE(closed_at, ?), state = 'superseded'
        WHERE feed = ? AND topic = ? AND state <> 'superseded' AND ${where}`,
      values: [timeText(nowMs), feed, topic, ...values],
    });
  const lasts = new Map<number, bigint>();
  for await (const slice of letters.slices()) {
    for (let from = 0; from < slice.length; from += rowsMax) {
      const partitions = Map.groupBy(slice.slice(from, from + rowsMax), ([partition]) => Number(partition));
      for (const [partition, some] of partitions) {
        const offsets = some.map(([, offset]) => BigInt(String(offset)));
        const [before, last] = [lasts.get(partition) ?? -1n, offsets.at(-1) ?? -1n];
        const stretch = `kafka_partition = ? AND kafka_offset > ? AND kafka_offset < ?`;
        await close(`${stretch} AND kafka_offset NOT IN (${marks(offsets)})`, [partition, before, last, ...offsets]);
        lasts.set(partition, last);
      }
    }
  }
  for (const [partition, last] of lasts) await close('kafka_partition = ? AND kafka_offset > ?', [partition, last]);
  const found = [...lasts.keys()];
  await close(found.length === 0 ? 'TRUE' : `kafka_partition NOT IN (${marks(found)})`, found);
}

const marks = (values: readonly unknown[]): string => values.map(() => '?').join(', ');
