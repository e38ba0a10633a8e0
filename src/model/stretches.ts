// Which schema decoded which offsets of a partition, with the dead letters that another one decoded later. Pure.
// Invariant: the stretches are in order, do not overlap, and cover what they covered before.

import { type Offset, toOffset } from './offsets.ts';

/** Offsets [start, end). */
export type SchemaStretch = { readonly start: Offset; readonly end: Offset; readonly schemaVersion: number };

export type Redecoded = { readonly partition: number; readonly offset: bigint; readonly schemaVersion: number };

/** Messages that were decoded again count by the schema of that time. */
export function withRedecoded(
  stretches: ReadonlyMap<number, readonly SchemaStretch[]>,
  redecoded: readonly Redecoded[],
): ReadonlyMap<number, readonly SchemaStretch[]> {
  if (redecoded.length === 0) return stretches;
  const byPartition = Map.groupBy(redecoded, ({ partition }) => partition);
  return new Map(
    [...stretches].map(([partition, list]) => {
      const points = (byPartition.get(partition) ?? []).toSorted((a, b) => (a.offset < b.offset ? -1 : 1));
      return [partition, points.length === 0 ? list : split(list, points)];
    }),
  );
}

/** `points` in ascending order. */
function split(list: readonly SchemaStretch[], points: readonly Redecoded[]): SchemaStretch[] {
  const found: SchemaStretch[] = [];
  const add = (start: bigint, end: bigint, schemaVersion: number): void => {
    if (start >= end) return;
    const last = found.at(-1);
    if (last?.end === start && last.schemaVersion === schemaVersion) found[found.length - 1] = { ...last, end: toOffset(end) };
    else found.push({ start: toOffset(start), end: toOffset(end), schemaVersion });
  };
  let next = 0;
  for (const { start, end, schemaVersion } of list) {
    let from: bigint = start;
    for (let point = points[next]; point && point.offset < end; point = points[++next]) {
      if (point.offset < from) continue;
      add(from, point.offset, schemaVersion);
      add(point.offset, point.offset + 1n, point.schemaVersion);
      from = point.offset + 1n;
    }
    add(from, end, schemaVersion);
  }
  return found;
}
