// The texts in which MySQL and the embedded DuckDB differ, as functions of one table's parts. Everything else of a statement is
// said once, where it belongs. Invariant: both mean the same, row for row.

import type { FieldType } from '../model/feed.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import type { SqlTable } from './fact-table.ts';
import type { FoundTable } from './found-table.ts';
import type { OwnTable } from './own-tables.ts';
import type { TableVerdict } from './table-check.ts';
import type { Statement } from './warehouse.ts';

/** Definitions of the columns that are lake's own, as CREATE TABLE says them after the name. */
export type OwnDefinitions = Readonly<
  Record<'id' | 'date' | 'integer' | 'bigint' | 'timestamp' | 'keyHash' | 'createdAt' | 'updatedAt', string>
>;

/** Names are quoted ones, here and below. */
export type NewerUpsert = {
  readonly table: string;
  /** The unique key that a row may meet. */
  readonly key: readonly string[];
  /** What a newer row brings, besides what it is newer by. */
  readonly fields: readonly string[];
  /** What decides which of two is newer, the most important one first. */
  readonly order: readonly string[];
  /** Set to the time of the change, where the table does not do it itself. */
  readonly touch: readonly string[];
};

export type Upsert = {
  readonly table: string;
  readonly key: readonly string[];
  /** In the order in which they are set: a value that was set may be read by those after it, in one engine and not in another. */
  readonly sets: (
    old: (column: string) => string,
    incoming: (column: string) => string,
  ) => readonly (readonly [string, string])[];
  readonly touch: readonly string[];
};

export type CopiedRows = {
  readonly table: string;
  readonly id: string;
  readonly keyHash: string;
  readonly date: string;
  readonly version: string;
  /** Where they are copied to. */
  readonly into: SnapshotName;
};

export type JoinedDelete = {
  /** Called `f` in the conditions. */
  readonly table: string;
  /** Called `t`. */
  readonly other: string;
  readonly on: string;
  readonly where: string;
};

export type Dialect = {
  /** An identifier, quoted. */
  readonly name: (name: string) => string;
  readonly type: (type: FieldType, use: { readonly key: boolean }) => string;
  readonly own: OwnDefinitions;
  /** Of a row; longer VARCHARs than fit are kept outside of it. */
  readonly rowBytesMax: number;
  /** Rows that one statement inserts. */
  readonly insertRowsMax: number;
  /** Rows of a snapshot that are copied or deleted in one transaction. */
  readonly copyRowsMax: number;
  /** Behind a SELECT of rows that nobody else may change, or take, meanwhile. */
  readonly forUpdate: string;
  readonly forShare: string;
  /** The server's clock, in UTC. */
  readonly now: string;
  /** `, updated_at = …` in an UPDATE, where the table does not do it itself. */
  readonly touch: string;
  /** Names the feed of an open snapshot, NULL of others. */
  readonly openFeed: string;
  /** A condition on information_schema: this database's. */
  readonly isHere: string;
  /** Behind rows that are inserted: what becomes of one whose key is there already. */
  readonly latestWins: (upsert: NewerUpsert) => string;
  readonly upsert: (upsert: Upsert) => string;
  /** Behind the conditions on `s`, whose rows are copied within a table: those that are copied already are left as they are. */
  readonly unlessThere: (copy: CopiedRows) => string;
  readonly deleteJoined: (parts: JoinedDelete) => string;
  readonly deleteSome: (table: string, where: string, rowsMax: number) => string;
  /** Of rows `<key_hash>:<partition>:<offset>`, as in duckdb/snapshot-checksum. */
  readonly checksum: (columns: { readonly keyHash: string; readonly partition: string; readonly offset: string }) => string;
  /** Fails with the class `exists` when it is there. */
  readonly createTable: (table: SqlTable) => Statement;
  readonly identityTables: readonly OwnTable[];
  readonly otherTables: readonly OwnTable[];
  /** What information_schema says of a table, under the names that found-table reads. null: the engine has nothing to say. */
  readonly described: {
    readonly table: (name: string) => Statement;
    readonly columns: (name: string) => Statement;
    readonly indexes: ((name: string) => Statement) | null;
  };
  /** A table that is there, beside what is needed. */
  readonly check: (table: SqlTable, found: FoundTable, may: { readonly mayWiden: boolean }) => TableVerdict;
};
