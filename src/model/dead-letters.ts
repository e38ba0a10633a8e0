// Dead letters as a person picks them out, and what a retry of them came to (DESIGN §7, PROTOCOL M3). Pure.

import type { Closing } from './entry-letters.ts';

export type LetterPlace = { readonly partition: number; readonly offset: bigint };

/** Which letters of a feed; null: no limit by it. */
export type Selection = {
  readonly place: LetterPlace | null;
  readonly field: string | null;
  /** A part of the reason, in capitals or not. */
  readonly reason: string | null;
  /** By the message's time; a letter without one is always of it. */
  readonly sinceMs: number | null;
  readonly limit: number | null;
};

export type LetterState = 'open' | 'retried' | 'superseded' | 'dropped';

/** What is kept beside the bytes. */
export type Letter = LetterPlace & {
  readonly feed: string;
  readonly target: 'lake' | 'warehouse';
  readonly topic: string;
  /** null: outside all years, which no retry changes. */
  readonly timestampMs: number | null;
  /** That its row would carry. */
  readonly effectiveMs: number | null;
  readonly field: string | null;
  readonly reason: string;
  readonly schemaVersion: number;
  readonly state: LetterState;
  /** Of key, value and headers. */
  readonly bytes: number;
  /** false: it was too large for the warehouse, and its bytes are not here. */
  readonly isWhole: boolean;
};

export type LetterMessage = Letter & {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: string | null;
};

/** How the warehouse says that it could not keep the bytes (warehouse/large-letters). */
export const NOT_KEPT = '; not kept here, for the warehouse takes no statement as large';

export type Refusal = {
  readonly field: string | null;
  readonly reason: string;
  readonly letters: number;
  /** The first of them. */
  readonly first: LetterPlace;
};

export type RefusedLetter = LetterPlace & { readonly field: string | null; readonly reason: string };

/** The most frequent first. */
export function refusalsOf(refused: Iterable<RefusedLetter>): readonly Refusal[] {
  const groups = new Map<string, { field: string | null; reason: string; letters: number; first: LetterPlace }>();
  for (const { partition, offset, field, reason } of refused) {
    const key = JSON.stringify([field, kindOf(reason)]);
    const known = groups.get(key);
    if (known) known.letters += 1;
    else groups.set(key, { field, reason, letters: 1, first: { partition, offset } });
  }
  return [...groups.values()].sort((a, b) => b.letters - a.letters);
}

/** The values in a reason differ from letter to letter: quoted texts and numbers say nothing of its kind. */
const kindOf = (reason: string): string => reason.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').replaceAll(/\d+/g, '0');

export const letterKey = ({ partition, offset }: LetterPlace): string => `${partition}:${offset}`;

/** As the commands take it. */
export const messageName = (letter: LetterPlace & { readonly topic: string }): string => `${letter.topic}:${letterKey(letter)}`;

export type Closed = Readonly<Record<Closing, number>>;
export const NO_CLOSED: Closed = { row: 0, superseded: 0, tombstone: 0, dropped: 0 };

export const addClosed = (one: Closed, letters: readonly { readonly as: Closing }[]): Closed => {
  const sum = { ...one };
  for (const { as } of letters) sum[as] += 1;
  return sum;
};

/** The first letters of a list, as many as are worked on at once: at least one. */
export function firstOf<T extends { readonly bytes: number }>(
  letters: readonly T[],
  { countMax, bytesMax }: { readonly countMax: number; readonly bytesMax: number },
): readonly T[] {
  let bytes = 0;
  const end = letters.findIndex((letter, index) => {
    bytes += letter.bytes;
    return index > 0 && (index >= countMax || bytes > bytesMax);
  });
  return end < 0 ? letters : letters.slice(0, end);
}
