// A dead letter that is larger than the server takes in one statement is kept without the largest of its bytes: the message must not stop the feed,
// and its coordinates and the reason say where the bytes are. Pure.
// Invariant: what comes out fits into a statement by itself; a letter that fits is not touched.

import { NOT_KEPT } from '../model/dead-letters.ts';
import type { SqlScalar, Values } from './warehouse.ts';

/** Places among the values of a dead letter's row. */
const AT = { topic: 1, partition: 2, offset: 3, key: 5, value: 6, headers: 7, reason: 9 } as const;

const BYTES = [
  ['value', AT.value],
  ['headers', AT.headers],
  ['key', AT.key],
] as const;

/** The head and the tail of the statement. */
const OVERHEAD_BYTES = 2_048;

/** `bytesOf`: of a row, at most, in a statement. */
export function fittingLetter(
  values: Values,
  { statementBytesMax, bytesOf }: { readonly statementBytesMax: number; readonly bytesOf: (values: Values) => number },
): Values {
  const fits = (some: readonly SqlScalar[]): boolean => bytesOf(some) + OVERHEAD_BYTES <= statementBytesMax;
  const kept: SqlScalar[] = [...values];
  const left: string[] = [];
  const lengthAt = (at: number): number => {
    const bytes = values[at];
    return typeof bytes === 'string' || bytes instanceof Uint8Array ? bytes.length : 0;
  };
  for (const [name, at] of BYTES.toSorted(([, one], [, other]) => lengthAt(other) - lengthAt(one))) {
    if (lengthAt(at) === 0 || fits(kept)) continue;
    kept[at] = null;
    left.push(`${name} of ${lengthAt(at)} bytes`);
  }
  if (left.length === 0) return values;
  const place = `${values[AT.topic]}:${values[AT.partition]}:${values[AT.offset]}`;
  kept[AT.reason] = `${values[AT.reason]}${NOT_KEPT}: its ${left.join(', its ')}, in Kafka at ${place}`;
  return kept;
}
