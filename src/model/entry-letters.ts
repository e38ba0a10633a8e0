// The part of a log entry that takes dead letters out of their files: a retry's, which made rows of them, or a drop's (PROTOCOL M3).
// Invariant: lettersToJson and parseLetters are inverse; an offset is closed once. Pure.

import { arrayAt, intAt, type JsonObject, type JsonValue, objectAt, parseFailure, stringAt } from './json-fields.ts';
import { type Offset, toOffset } from './offsets.ts';

/** superseded: of a table, and a later message of its key was there already. */
export const CLOSINGS = ['row', 'superseded', 'tombstone', 'dropped'] as const;
export type Closing = (typeof CLOSINGS)[number];

/** Offsets in ascending order, of one partition that became one thing. */
export type ClosedLetters = { readonly partition: number; readonly as: Closing; readonly offsets: readonly Offset[] };

export type EntryLetters = { readonly closed: readonly ClosedLetters[] };

/** `12` is one offset, `12-15` are four: whole stretches fail alike. */
export const lettersToJson = ({ closed }: EntryLetters): JsonObject => ({
  closed: closed.map(({ partition, as, offsets }): JsonValue => ({ partition, as, offsets: runsOf(offsets) })),
});

export const parseLetters = (value: unknown, at: string): EntryLetters => ({
  closed: arrayAt(objectAt(value, at)['closed'], `${at}.closed`, (one, place) => {
    const json = objectAt(one, place);
    const as = CLOSINGS.find((known) => known === json['as']);
    if (as === undefined) throw parseFailure(`${place}.as`, 'what a dead letter became', json['as']);
    const runs = arrayAt(json['offsets'], `${place}.offsets`, stringAt);
    const offsets = runs.flatMap((run) => offsetsOfRun(run, `${place}.offsets`));
    return { partition: intAt(json['partition'], `${place}.partition`, 0), as, offsets };
  }),
});

function runsOf(offsets: readonly Offset[]): string[] {
  const runs: { first: Offset; last: Offset }[] = [];
  for (const offset of offsets) {
    const run = runs.at(-1);
    if (run && run.last + 1n === offset) run.last = offset;
    else runs.push({ first: offset, last: offset });
  }
  return runs.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
}

/** More than a dead letters' file ever holds. */
const RUN_MAX = 10_000_000n;

function offsetsOfRun(run: string, at: string): Offset[] {
  const [, from, to] = /^(\d{1,19})(?:-(\d{1,19}))?$/.exec(run) ?? [];
  if (from === undefined) throw parseFailure(at, 'a run of offsets', run);
  const [first, last] = [BigInt(from), BigInt(to ?? from)];
  if (last < first || last - first > RUN_MAX) throw parseFailure(at, 'a run of offsets', run);
  return Array.from({ length: Number(last - first) + 1 }, (_, index) => toOffset(first + BigInt(index)));
}

/** How many, by partition. */
export function countClosings({ closed }: EntryLetters): ReadonlyMap<number, Readonly<Record<Closing, number>>> {
  const counts = new Map<number, Record<Closing, number>>();
  for (const { partition, as, offsets } of closed) {
    const known = counts.get(partition) ?? { row: 0, superseded: 0, tombstone: 0, dropped: 0 };
    known[as] += offsets.length;
    counts.set(partition, known);
  }
  return counts;
}

/** Letters put together by what they became, as an entry has them. */
export function closedLetters(
  letters: Iterable<{ readonly partition: number; readonly offset: bigint; readonly as: Closing }>,
): readonly ClosedLetters[] {
  const groups = new Map<string, { partition: number; as: Closing; offsets: Offset[] }>();
  for (const { partition, offset, as } of letters) {
    const key = `${partition} ${as}`;
    const group = groups.get(key) ?? { partition, as, offsets: [] };
    group.offsets.push(toOffset(offset));
    groups.set(key, group);
  }
  const sorted = [...groups.values()].sort(
    (a, b) => a.partition - b.partition || CLOSINGS.indexOf(a.as) - CLOSINGS.indexOf(b.as),
  );
  return sorted.map((group) => ({ ...group, offsets: group.offsets.sort((a, b) => (a < b ? -1 : 1)) }));
}
