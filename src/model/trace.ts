// What became of one message in one target: the kinds of answer, and what they add up to. Pure.

import type { JsonObject } from './json-fields.ts';
import type { Offset } from './offsets.ts';

export type MessagePlace = { readonly topic: string; readonly partition: number; readonly offset: Offset };

export type TraceStatus =
  /** It is a row of the target; of a table, of its open snapshot. */
  | 'row'
  /** Of a table: a later message of its key took its place. */
  | 'superseded'
  | 'dead_letter'
  /** It deleted its key; in a stream it was counted and made no row. */
  | 'tombstone'
  /** Kafka did not have it any more when its turn came, and that is recorded. */
  | 'gap'
  /** There was no message at this offset: a transaction's marker, or taken by log compaction. */
  | 'hole'
  /** The feed began after it. */
  | 'before_start'
  /** It was there, and was taken away on purpose. */
  | 'removed'
  | 'not_yet'
  /** It should be there and is not. */
  | 'unknown'
  /** The target does not answer. */
  | 'unreachable';

export type TraceAnswer = {
  readonly feed: string;
  readonly target: 'lake' | 'warehouse';
  readonly status: TraceStatus;
  /** A sentence. */
  readonly detail: string;
  /** Where it is, by names that are documented. */
  readonly facts: JsonObject;
};

export type Told = Pick<TraceAnswer, 'status' | 'detail' | 'facts'>;

export const told = (status: TraceStatus, detail: string, facts: JsonObject = {}): Told => ({ status, detail, facts });

/** `no`: a target that should have it does not, or not yet. */
export function verdictOf(answers: readonly Pick<TraceAnswer, 'status'>[]): 'found' | 'no' | 'unreachable' {
  if (answers.some(({ status }) => status === 'not_yet' || status === 'unknown')) return 'no';
  return answers.some(({ status }) => status === 'unreachable') ? 'unreachable' : 'found';
}

/** `<topic>:<partition>:<offset>`; null: it is something else. */
export function parsePlace(text: string): { readonly topic: string; readonly partition: number; readonly offset: bigint } | null {
  const [, topic, partition, offset] = /^([\w.-]{1,249}):(\d{1,9}):(\d{1,19})$/.exec(text) ?? [];
  if (topic === undefined || partition === undefined || offset === undefined || BigInt(offset) > OFFSET_MAX) return null;
  return { topic, partition: Number(partition), offset: BigInt(offset) };
}

const OFFSET_MAX = 2n ** 63n - 1n;
