// What an error of the embedded DuckDB means for the work in hand (docs/design/0004, section 5).
// Invariant: pure, and no value of a row is in the words.

import { LakeError } from '../errors.ts';
import { type FailureClass, WarehouseFailure } from './warehouse.ts';

const CLASSES: readonly (readonly [RegExp, FailureClass])[] = [
  [/No space left|disk full|out of disk|exceeds? .*max_temp_directory_size/i, 'wait'],
  [/^Out of Memory Error/, 'wait'],
  // Reopened, it has what was committed.
  [/database has been invalidated|^FATAL/i, 'wait'],
  [/^Constraint Error: .*(?:Duplicate key|violates (?:primary key|unique) constraint|constraint violation)/s, 'duplicate'],
  [/^(?:Constraint|Conversion|Out of Range|Mismatch Type) Error/, 'row'],
  [/^Invalid Input Error: .*(?:Malformed JSON|Failed to cast)/s, 'row'],
  [/^TransactionContext Error: .*[Cc]onflict|write-write conflict/s, 'retry'],
  [/^Catalog Error: .*already exists/s, 'exists'],
  [/^Catalog Error: .*does not exist/s, 'missing'],
  [/^Binder Error: .*(?:not found|does not have a column)/s, 'missing'],
];

const NO_ROOM = 'free space on the disk of the lake, or memory; it then goes on by itself, and nothing is lost';

/** Of an error that makes the whole database unusable until it is opened again. */
export const isInvalidated = (failure: WarehouseFailure): boolean => /invalidated|^FATAL/i.test(failure.message);

export function classifyEmbedded(error: unknown): WarehouseFailure {
  if (error instanceof WarehouseFailure) return error;
  const message = messageOf(error);
  const failureClass = CLASSES.find(([pattern]) => pattern.test(message))?.[1] ?? 'stop';
  // The whole error quotes values of the row.
  const cause = failureClass === 'row' || failureClass === 'duplicate' ? {} : { cause: error };
  const todo = failureClass === 'wait' ? { todo: NO_ROOM } : {};
  return new WarehouseFailure(failureClass, wordsOf(failureClass, message), { ...cause, ...todo });
}

/** DuckDB's own first line, without what was being done. */
function messageOf(error: unknown): string {
  const own = error instanceof LakeError && error.cause !== undefined ? error.cause : error;
  const [first = ''] = (own instanceof Error ? own.message : String(own)).split('\n');
  return first;
}

function wordsOf(failureClass: FailureClass, message: string): string {
  if (failureClass === 'duplicate') return 'a row with this key is there already';
  if (failureClass !== 'row') return message;
  const rule = /^Constraint Error: ((?:NOT NULL|CHECK) constraint failed(?:: \S+| on table \S+))/.exec(message)?.[1];
  if (rule) return rule;
  const type = / (?:to|destination) (?:type )?([A-Z]+\d*(?:\([\d,]+\))?)/.exec(message)?.[1];
  return type ? `a value does not fit ${type}` : 'a value does not fit its column';
}
