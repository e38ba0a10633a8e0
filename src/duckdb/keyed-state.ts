// What changed in a table since its last publish, in the engine: one winner a key, tombstones included, and the dead letters.
// The tables spill with the rest of the engine. Runs of winners are merged when they have grown alike, so that a long way to the
// next publish does not rewrite everything with every batch. Invariant: the runs together are the winners of all applied batches.

import { assert } from '../errors.ts';
import type { StagedBatch } from '../model/batch.ts';
import { collapseSql, DELETED_COLUMN, mergeSql } from './collapse.ts';
import { type Connection, query, run } from './connection.ts';
import { quoteName } from './sql.ts';

/** Runs one piece of DuckDB work at a time. */
export type Engine = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>;

/** A table of the engine, as a quoted name; `bytes` is what the messages of its rows had, on an average. */
export type EngineTable = { readonly table: string; readonly rows: number; readonly bytes: number };

/** A batch taken out of its staged tables, not applied yet. */
export type Collapsed = { readonly winners: EngineTable | null; readonly letters: EngineTable | null };

export class KeyedState {
  private readonly engine: Engine;
  private readonly keyColumns: readonly string[];
  /** Older and larger ones first. */
  private runs: EngineTable[] = [];
  private letters: EngineTable | null = null;
  private merges = 0;

  constructor(options: { readonly engine: Engine; readonly keyColumns: readonly string[] }) {
    this.engine = options.engine;
    this.keyColumns = options.keyColumns;
  }

  get bytes(): number {
    return this.runs.reduce((sum, one) => sum + one.bytes, this.letters?.bytes ?? 0);
  }

  get deadLetters(): EngineTable | null {
    return this.letters;
  }

  async collapse(connection: Connection, batch: StagedBatch): Promise<Collapsed> {
    const { tables, rows, deadLetters } = batch;
    const count = (of: 'messages' | 'tombstones'): number => batch.ranges.reduce((sum, range) => sum + range[of], 0);
    const bytesPerRow = batch.bytes / Math.max(1, count('messages'));
    const tombstones = count('tombstones') > 0 ? tables.tombstones : null;
    assert(count('tombstones') === 0 || tombstones !== null, `batch ${batch.id} has tombstones and no table of them`);
    const made = async (table: string, sql: string): Promise<EngineTable> => {
      await run(connection, sql);
      const rowsMade = await rowsOf(connection, table);
      return { table, rows: rowsMade, bytes: rowsMade * bytesPerRow };
    };
    const [into, filed] = [quoteName(`winners_${batch.id}`), quoteName(`letters_${batch.id}`)];
    try {
      const isChanged = rows > 0 || tombstones !== null;
      return {
        winners: isChanged
          ? await made(into, collapseSql({ into, rows: tables.rows, tombstones, keyColumns: this.keyColumns }))
          : null,
        letters: deadLetters > 0 ? await made(filed, `CREATE TABLE ${filed} AS SELECT * FROM ${tables.deadLetters}`) : null,
      };
    } catch (error) {
      for (const table of [into, filed]) await run(connection, `DROP TABLE IF EXISTS ${table}`).catch(() => undefined);
      throw error;
    }
  }

  async apply({ winners, letters }: Collapsed): Promise<void> {
    await this.engine(async (connection) => {
      if (letters) this.letters = await joinLetters(connection, this.letters, letters);
      if (winners) this.runs.push(winners);
      while (this.runs.length > 1 && areAlike(this.runs)) await this.mergeNewest(connection);
    });
  }

  /** All winners in one table; null: no key has changed. */
  async delta(): Promise<EngineTable | null> {
    await this.engine(async (connection) => {
      while (this.runs.length > 1) await this.mergeNewest(connection);
    });
    return this.runs[0] ?? null;
  }

  /** Winners that are no tombstones. */
  async liveCount(): Promise<number> {
    const delta = await this.delta();
    return delta ? this.engine((connection) => rowsOf(connection, `${delta.table} WHERE NOT ${DELETED_COLUMN}`)) : 0;
  }

  async drop({ winners, letters }: Collapsed): Promise<void> {
    await this.dropTables([winners, letters]);
  }

  /** Forgets what was applied. */
  async clear(): Promise<void> {
    const tables = [...this.runs, this.letters];
    this.runs = [];
    this.letters = null;
    await this.dropTables(tables);
  }

  private async mergeNewest(connection: Connection): Promise<void> {
    const [older, newer] = this.runs.slice(-2);
    assert(older && newer, 'two runs to merge');
    this.merges += 1;
    const into = quoteName(`merged_${this.merges}_${newer.table.replaceAll('"', '')}`);
    const parts = { into, delta: older.table, winners: newer.table, keyColumns: this.keyColumns };
    await run(connection, mergeSql(parts));
    const rows = await rowsOf(connection, into);
    const bytes = (rows * (older.bytes + newer.bytes)) / Math.max(1, older.rows + newer.rows);
    this.runs.splice(-2, 2, { table: into, rows, bytes });
    for (const { table } of [older, newer]) await run(connection, `DROP TABLE ${table}`);
  }

  private async dropTables(tables: readonly (EngineTable | null)[]): Promise<void> {
    await this.engine(async (connection) => {
      for (const one of tables) if (one) await run(connection, `DROP TABLE IF EXISTS ${one.table}`);
    });
  }
}

/** A run is merged into the one before unless that is more than twice as large: each row is then rewritten a few times at most. */
const areAlike = (runs: readonly EngineTable[]): boolean => {
  const [older, newer] = runs.slice(-2);
  return older !== undefined && newer !== undefined && older.rows <= 2 * newer.rows;
};

async function joinLetters(connection: Connection, before: EngineTable | null, more: EngineTable): Promise<EngineTable> {
  if (before === null) return more;
  await run(connection, `INSERT INTO ${before.table} SELECT * FROM ${more.table}`);
  await run(connection, `DROP TABLE ${more.table}`);
  return { table: before.table, rows: before.rows + more.rows, bytes: before.bytes + more.bytes };
}

async function rowsOf(connection: Connection, from: string): Promise<number> {
  const [found] = await query(connection, `SELECT count(*) AS count FROM ${from}`);
  return Number(found?.['count']);
}
