// The PORT to a warehouse: transactions of statements, on MySQL, MariaDB or the embedded DuckDB.
// Invariant: what a transaction did is there as a whole or not at all, and `in_doubt` is the only answer that leaves it open.

import { LakeError } from '../errors.ts';
import type { Dialect } from './dialect.ts';

/** Bytes bind as a BLOB or BINARY; bigint as BIGINT without loss; texts as utf8mb4. No Date: instants travel as texts in UTC. */
export type SqlScalar = string | number | bigint | Uint8Array | null;
/** `?` for each value, in order; identifiers are quoted in the text. */
export type Statement = { readonly text: string; readonly values: readonly SqlScalar[] };
/** BIGINT and DECIMAL come as texts of all their digits, times as texts in UTC, BLOB and BINARY as bytes. */
export type Row = Readonly<Record<string, string | number | Uint8Array | null>>;

export type Engine = 'mysql' | 'mariadb' | 'duckdb';

/** What a failure means for the work in hand (docs/design/0004, section 5). */
export type FailureClass =
  /** Deadlock or lock timeout: the transaction is rolled back; do it again. */
  | 'retry'
  /** The server is away, full, read-only or crowded: wait, connect again, read the positions back. */
  | 'wait'
  /** The connection went while COMMIT was under way: read the positions back. */
  | 'in_doubt'
  /** One of the rows of this statement is not to the server's liking; the transaction still stands. */
  | 'row'
  /** The statement is larger than the server takes. */
  | 'packet'
  /** A unique key was there already. */
  | 'duplicate'
  /** A table, view or column of that name is there already. */
  | 'exists'
  /** A table, column or database is not there. */
  | 'missing'
  /** A grant is missing, or the password is wrong. */
  | 'denied'
  /** Nothing that is known to pass. */
  | 'stop';

/** A statement failed. `number` and `words` are the engine's own; no value of a row is in the message. */
export class WarehouseFailure extends Error {
  readonly class: FailureClass;
  readonly number: number | null;
  /** What to do about one that is waited out, where it is not the server that is away. */
  readonly todo: string | null;

  constructor(failureClass: FailureClass, words: string, more: { number?: number | null; cause?: unknown; todo?: string } = {}) {
    super(words, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'WarehouseFailure';
    this.class = failureClass;
    this.number = more.number ?? null;
    this.todo = more.todo ?? null;
  }
}

export type Values = readonly SqlScalar[];
/** Rows of one table, as texts and bytes that its columns take. Names are quoted ones. */
export type RowsInsert = {
  readonly table: string;
  readonly columns: readonly string[];
  /** Values beyond the columns are not inserted. */
  readonly rows: readonly Values[];
  /** What the next insert of this kind will bring: an engine may make it ready while the server works on these. */
  readonly next?: readonly Values[] | undefined;
  /** What follows the rows: what to do when one is there already. */
  readonly tail: string;
};

export type Tx = {
  /** Rows matched (an UPDATE that changes nothing counts them too), or inserted. Throws WarehouseFailure. */
  change(statement: Statement): Promise<number>;
  rows(statement: Statement): Promise<readonly Row[]>;
  /** As `change`, in whatever way takes many rows fastest. */
  insert(insert: RowsInsert): Promise<number>;
};

export type Warehouse = AsyncDisposable & {
  readonly engine: Engine;
  readonly dialect: Dialect;
  /** Bytes that a statement may have (max_allowed_packet of the server, less what the protocol needs). */
  readonly statementBytesMax: number;
  /**
   * Runs `work` in one READ COMMITTED transaction and commits it; anything thrown rolls it back and is thrown on.
   * Throws WarehouseFailure; `in_doubt` comes from COMMIT alone.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Outside of any transaction: DDL, and reads that need none. */
  run(statement: Statement, signal: AbortSignal): Promise<readonly Row[]>;
};

/** A failure as an error for a person, when no class has its own answer. */
export const warehouseError = (failure: WarehouseFailure, subject: string): LakeError =>
  new LakeError('warehouse_failed', `${subject}: ${failure.message}${failure.number === null ? '' : ` (${failure.number})`}`, {
    where: { target: 'warehouse' },
    cause: failure,
    ...(failure.class === 'packet' ? { todo: 'raise max_allowed_packet of the database server above the largest message' } : {}),
  });
