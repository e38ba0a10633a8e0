// Where a rewind goes back to, as a person says it, and what that is in each partition (PROTOCOL M4). Pure.
// Invariant: never below what Kafka has, nor below where the target began, and never forward.

import { later, type Offset, toOffset } from './offsets.ts';

export type RewindTo =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'timestamp'; readonly ms: number }
  | { readonly kind: 'offsets'; readonly offsets: ReadonlyMap<number, Offset> };

const INSTANT = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;

/** null: neither of the three. Days are UTC's. */
export function parseRewindTo(text: string): RewindTo | null {
  if (text === 'earliest') return { kind: 'earliest' };
  if (INSTANT.test(text)) {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? null : { kind: 'timestamp', ms };
  }
  const parts = text.split(',').map((part) => /^(\d{1,9}):(\d{1,19})$/.exec(part.trim()));
  const offsets = parts.flatMap((part): [number, Offset][] => (part ? [[Number(part[1]), toOffset(part[2] ?? '')]] : []));
  const isWhole = offsets.length === parts.length && new Map(offsets).size === offsets.length;
  return isWhole ? { kind: 'offsets', offsets: new Map(offsets) } : null;
}

type Bounds = ReadonlyMap<number, { readonly low: Offset; readonly end: Offset }>;

export type Wanted =
  | { readonly kind: 'wanted'; readonly offsets: ReadonlyMap<number, Offset> }
  | { readonly kind: 'no_partition'; readonly partition: number }
  | { readonly kind: 'expired'; readonly partition: number; readonly offset: Offset; readonly low: Offset };

/** By partition. A time or `earliest` means what Kafka still has from there on; an offset is meant exactly. `at`: Kafka's first offset of
 *  that time, by partition. */
export function wantedOffsets(to: RewindTo, bounds: Bounds, at: ReadonlyMap<number, Offset>): Wanted {
  if (to.kind !== 'offsets') {
    const offsets = [...bounds].map(([partition, { low, end }]): [number, Offset] => [
      partition,
      to.kind === 'earliest' ? low : later(at.get(partition) ?? end, low),
    ]);
    return { kind: 'wanted', offsets: new Map(offsets) };
  }
  for (const [partition, offset] of to.offsets) {
    const low = bounds.get(partition)?.low;
    if (low === undefined) return { kind: 'no_partition', partition };
    if (offset < low) return { kind: 'expired', partition, offset, low };
  }
  return { kind: 'wanted', offsets: to.offsets };
}

/** Of one target: the partitions that lie beyond the wanted offsets, and where they go back to. */
export function pointsOf(
  wanted: ReadonlyMap<number, Offset>,
  positions: ReadonlyMap<number, { readonly start: Offset; readonly position: Offset }>,
): ReadonlyMap<number, Offset> {
  return new Map(
    [...positions]
      .sort(([a], [b]) => a - b)
      .flatMap(([partition, { start, position }]): [number, Offset][] => {
        const offset = wanted.get(partition);
        const point = offset === undefined ? position : later(offset, start);
        return point < position ? [[partition, point]] : [];
      }),
  );
}
