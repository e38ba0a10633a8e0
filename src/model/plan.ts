// What an ingest would make of the messages that it would read next (DESIGN §7, plan). Pure.

import type { Refusal } from './dead-letters.ts';
import { topMembers } from './infer.ts';

export type PlannedField = { readonly name: string; readonly type: string };
/** Messages that have a field that the schema does not read. */
export type Drift = { readonly field: string; readonly messages: number };
/** Rows of the sample in one day of a stream, or in the snapshot of a table. */
export type PlannedPart = { readonly what: string; readonly rows: number; readonly bytes: number };
/** A file of one full batch of one day. */
export type PlannedFile = { readonly rows: number; readonly bytes: number };
export type PlannedStatement = { readonly action: string; readonly resource: string; readonly sql: string };

export type FeedPlan = {
  readonly feed: string;
  readonly topic: string;
  /** What an ingest would stop at, or what could not be asked. */
  readonly problems: readonly { readonly code: string; readonly message: string; readonly todo: string }[];
  /** position: the next ones of those that were read; newest: nothing is unread. null: there is none. */
  readonly from: 'position' | 'newest' | null;
  readonly messages: number;
  readonly bytes: number;
  /** Of all partitions, in offsets. */
  readonly unread: bigint;
  readonly rows: number;
  readonly tombstones: number;
  readonly refusals: readonly Refusal[];
  /** null: nothing says what it is. */
  readonly schema: {
    readonly from: 'declared' | 'pinned' | 'inferred';
    readonly isNew: boolean;
    readonly fields: readonly PlannedField[];
  } | null;
  readonly drift: readonly Drift[];
  readonly parts: readonly PlannedPart[];
  readonly file: PlannedFile | null;
  readonly statements: readonly PlannedStatement[];
  readonly retention: readonly {
    readonly target: string;
    readonly what: string;
    readonly rows: number;
    readonly reason: string;
  }[];
};

/** The most frequent first. */
export function driftOf(texts: Iterable<string>, known: ReadonlySet<string>): readonly Drift[] {
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const { name } of topMembers(text)) if (!known.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([field, messages]) => ({ field, messages })).sort((a, b) => b.messages - a.messages);
}

/** Of the sample's parts; null: they have no row. */
export function fileOf(
  parts: readonly PlannedPart[],
  { messages, bytes, batchSize, batchBytes }: Readonly<Record<'messages' | 'bytes' | 'batchSize' | 'batchBytes', number>>,
): PlannedFile | null {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  if (rows === 0 || messages === 0) return null;
  const written = parts.reduce((sum, part) => sum + part.bytes, 0);
  const rowsMax = Math.floor(Math.min(batchSize, batchBytes / Math.max(1, bytes / messages)));
  return { rows: rowsMax, bytes: Math.round((written / rows) * rowsMax) };
}

/** A feed is judged by as many, as an ingest does. */
const JUDGED_MIN = 1_000;

export const isTooMany = ({ messages, refused, ratioMax }: { messages: number; refused: number; ratioMax: number }): boolean =>
  messages >= JUDGED_MIN && refused > messages * ratioMax;
