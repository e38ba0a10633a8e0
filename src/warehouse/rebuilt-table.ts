// A table that is read anew, in the engine, beside the one that is there (design 4, §1.3): one winner a key, the dead letters, and when
// the keys of its dimensions were seen. Nothing of it is in the warehouse before it replaces the table in one transaction.
// Invariant: what is applied follows on from the low watermark without a hole, under one schema.

import { type Connection, run } from '../duckdb/connection.ts';
import { type Collapsed, KeyedState } from '../duckdb/keyed-state.ts';
import { quoteName } from '../duckdb/sql.ts';
import { joinRanges } from '../model/applied.ts';
import type { CommitAnswer, StagedBatch, TargetState, WrittenBatch } from '../model/batch.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { isComplete, type RebuildOrder, type RebuildPhase } from '../model/rebuild.ts';
import type { FactTable } from './fact-table.ts';
import { type BatchRows, type EngineQueue, readTableRows, seenRowsSql, seenSql } from './staged-batch.ts';

export type RebuiltTableOptions = {
  readonly engine: EngineQueue;
  readonly keyColumns: readonly string[];
  /** Of its tables in the engine. */
  readonly id: string;
  readonly order: RebuildOrder;
  /** What is there, and is to be replaced. */
  readonly from: TargetState;
};

export class RebuiltTable {
  readonly order: RebuildOrder;
  readonly from: TargetState;
  private readonly options: RebuiltTableOptions;
  private readonly keyed: KeyedState;
  /** Of each batch, a table for each dimension. */
  private readonly seen: (readonly string[])[] = [];
  private applied: { readonly ranges: readonly CommittedRange[]; readonly schemaVersion: number } | null = null;
  private isOver = false;

  constructor(options: RebuiltTableOptions) {
    this.options = options;
    this.order = options.order;
    this.from = options.from;
    this.keyed = new KeyedState(options);
  }

  phase(): RebuildPhase {
    return isComplete(this.order.ways, this.ranges) ? 'complete' : 'reading';
  }

  get ranges(): readonly CommittedRange[] {
    return this.applied?.ranges ?? [];
  }

  /** null: nothing was read. */
  get schemaVersion(): number | null {
    return this.applied?.schemaVersion ?? null;
  }

  /** Its commit answers `applied`. */
  async write(connection: Connection, batch: StagedBatch, fact: FactTable | null): Promise<WrittenBatch> {
    const collapsed = await this.keyed.collapse(connection, batch);
    const seen: string[] = [];
    for (const [index, dimension] of (batch.rows > 0 ? (fact?.dimensions ?? []) : []).entries()) {
      const table = quoteName(`seen_${batch.id}_${index}`);
      await run(connection, `CREATE TABLE ${table} AS ${seenSql(dimension, seenRowsSql(batch.tables.rows))}`);
      seen.push(table);
    }
    const drop = async (): Promise<void> => {
      await this.keyed.drop(collapsed);
      await this.dropTables(seen);
    };
    return {
      commit: async () => {
        const answer = await this.apply(batch, collapsed);
        if (answer.kind === 'applied') this.seen.push(seen);
        else await drop();
        return answer;
      },
      discard: () => drop().catch(() => undefined),
    };
  }

  /** To be dropped by the caller. */
  async rows(fact: FactTable | null): Promise<BatchRows> {
    const winners = await this.keyed.delta();
    const letters = this.keyed.deadLetters;
    const counts = { rows: winners?.rows ?? 0, deadLetters: letters?.rows ?? 0, bytes: Math.max(1, this.keyed.bytes) };
    const tables = { winners: winners?.table ?? null, letters: letters?.table ?? null, seen: this.seen };
    const { engine, id } = this.options;
    return await engine((connection) => readTableRows(connection, { id, ...tables, ...counts }, { fact, engine }));
  }

  /** Keys that are not deleted. */
  liveCount(): Promise<number> {
    return this.keyed.liveCount();
  }

  async end(): Promise<void> {
    this.isOver = true;
    this.applied = null;
    await this.keyed.clear();
    await this.dropTables(this.seen.splice(0).flat());
  }

  private async apply(batch: StagedBatch, collapsed: Collapsed): Promise<CommitAnswer> {
    const before = this.applied;
    const state: TargetState = { ...this.from, positions: new Map() };
    const ranges = joinRanges(this.ranges, batch.ranges, state.positions);
    if (ranges === null || this.isOver) return { kind: 'conflict', reason: 'positions', state };
    if (before && before.schemaVersion !== batch.schemaVersion) return { kind: 'conflict', reason: 'schema', state };
    await this.keyed.apply(collapsed);
    this.applied = { ranges, schemaVersion: batch.schemaVersion };
    return { kind: 'applied' };
  }

  private async dropTables(tables: readonly string[]): Promise<void> {
    await this.options.engine(async (connection) => {
      for (const table of tables) await run(connection, `DROP TABLE IF EXISTS ${table}`);
    });
  }
}
