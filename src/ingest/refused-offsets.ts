// Offsets that a target refused as rows: when they are read again they become dead letters, with the target's own words.
// Invariant: a reason is kept until the partition's position has passed its offset.

import { assert } from '../errors.ts';
import type { RefusedRow, TargetState } from '../model/batch.ts';
import { toOffset } from '../model/offsets.ts';

export class RefusedOffsets {
  private byPartition = new Map<number, Map<number, string>>();

  /** Forgets what is committed meanwhile. */
  add(rows: readonly RefusedRow[], { positions }: TargetState): void {
    for (const [partition, reasons] of this.byPartition) {
      const position = positions.get(partition)?.position ?? 0n;
      for (const offset of reasons.keys()) if (offset < position) reasons.delete(offset);
    }
    for (const { partition, offset, reason } of rows) {
      // It was to be a dead letter by now: reading again would never end.
      assert(this.reasonOf(partition, Number(offset)) === null, `offset ${partition}:${offset} was refused before`);
      const reasons = this.byPartition.get(partition) ?? new Map<number, string>();
      this.byPartition.set(partition, reasons.set(Number(offset), reason));
    }
  }

  /** null: it may become a row. Asked for every message. */
  reasonOf(partition: number, offset: number): string | null {
    return this.byPartition.size === 0 ? null : (this.byPartition.get(partition)?.get(offset) ?? null);
  }

  /** Any of these that was refused. */
  firstWithin(
    ranges: readonly { readonly partition: number; readonly start: bigint; readonly end: bigint }[],
  ): RefusedRow | null {
    for (const { partition, start, end } of ranges) {
      for (const [offset, reason] of this.byPartition.get(partition) ?? []) {
        if (offset >= start && offset < end) return { partition, offset: toOffset(BigInt(offset)), reason };
      }
    }
    return null;
  }
}
