// What a rewind is asked for and what it answers, the same for both targets, and the one question that only Kafka can answer.

import type { Stretch } from '../broker/peek.ts';
import { readRecords } from '../broker/record-batch.ts';
import type { TargetName } from '../ingest/target.ts';
import type { Feed } from '../model/feed.ts';
import type { Offset } from '../model/offsets.ts';
import type { Installation } from './installation.ts';

export type RewindOrder = {
  readonly feed: Feed;
  /** As it was typed. */
  readonly to: string;
  /** By partition, where to go back to. */
  readonly wanted: ReadonlyMap<number, Offset>;
  /** What Kafka has first, by partition: a table is read anew from there. */
  readonly lows: ReadonlyMap<number, Offset>;
};

/** What is taken out of a target, or was. */
export type RewoundTarget = {
  readonly target: TargetName;
  /** `rebuild`: of a table nothing goes before it has been read anew. */
  readonly kind: 'rows' | 'rebuild';
  readonly partitions: readonly { readonly partition: number; readonly position: Offset; readonly to: Offset }[];
  readonly rows: number;
  readonly deadLetters: number;
  readonly files: number;
  readonly filesRewritten: number;
};

export const NO_ROWS = { rows: 0, deadLetters: 0, files: 0, filesRewritten: 0 };

/** Messages without a value that Kafka has there. */
export async function countTombstones(installation: Installation, stretch: Stretch): Promise<number> {
  const peek = await installation.peek();
  let count = 0;
  await peek.read(stretch, async ({ records, abortedTransactions }, at) => {
    readRecords(records, at, abortedTransactions, {
      record: (_, { offset, valueLength }) => {
        if (valueLength < 0 && BigInt(offset) < stretch.end) count += 1;
      },
    });
    return !installation.signal.aborted;
  });
  return count;
}
