// Which tombstones of a table nobody needs any more (design 4, §1.2). Pure.

/** The instant before which no partition can bring a message any more: the effective time of what comes is at least the running maximum of
 *  its partition. null: one of the partitions has had no message, and may bring any time. `known`: every partition that Kafka names. */
export function settledBeforeMs(
  positions: ReadonlyMap<number, { readonly timestampMsMax: number | null }>,
  known: Iterable<number>,
): number | null {
  let settledMs = Number.POSITIVE_INFINITY;
  for (const partition of new Set([...known, ...positions.keys()])) {
    const maxMs = positions.get(partition)?.timestampMsMax ?? null;
    if (maxMs === null) return null;
    settledMs = Math.min(settledMs, maxMs);
  }
  return Number.isFinite(settledMs) ? settledMs : null;
}

type Standing = {
  readonly timestampMsMax: number | null;
  readonly totals: { readonly tombstones: number };
};

/** Partitions without any message: until they have one no tombstone is forgotten. None, when there are no tombstones either. */
export function silentPartitions(positions: ReadonlyMap<number, Standing>, known: Iterable<number>): readonly number[] {
  if (![...positions.values()].some(({ totals }) => totals.tombstones > 0)) return [];
  const all = [...new Set([...known, ...positions.keys()])].sort((a, b) => a - b);
  return all.filter((partition) => (positions.get(partition)?.timestampMsMax ?? null) === null);
}

/** A dead letter that is tried again may bring a row of its own time: tombstones after the oldest one are needed still. */
export const heldByLetters = (beforeMs: number | null, lettersMs: readonly number[]): number | null =>
  beforeMs === null ? null : lettersMs.reduce((least, ms) => Math.min(least, ms), beforeMs);
