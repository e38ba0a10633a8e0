// A table feed in the lake, as a target (design 4, §1.2). Its newest published files are the base of the state; the engine holds only
// what changed since. A batch that is committed is applied to that; a publish writes the next files and moves the positions.
// Invariant: `state()` is what the log says; what is applied follows on from it, and is forgotten with every answer but `committed`.

import type { Connection } from '../duckdb/connection.ts';
import { type Collapsed, type Engine, KeyedState } from '../duckdb/keyed-state.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { assert } from '../errors.ts';
import { joinRanges } from '../model/applied.ts';
import type { CommitAnswer, Published, StagedBatch, TargetState, WrittenBatch } from '../model/batch.ts';
import type { Column } from '../model/columns.ts';
import type { SealOrder } from '../model/cut.ts';
import type { EntryRebuild } from '../model/entry-rebuild.ts';
import type { FieldType } from '../model/feed.ts';
import {
  isComplete,
  leadTo,
  type RebuildOrder,
  type RebuildPhase,
  type TableFacts,
  type TableRebuild,
} from '../model/rebuild.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import type { SnapshotRules } from '../model/snapshot-rules.ts';
import type { WriterAnswer } from './feed-writer.ts';
import type { LakeFeed } from './lake.ts';
import { type Applied, publishTable } from './publication.ts';
import { Sealer } from './seal.ts';

export type LakeTable = Pick<LakeFeed, 'name' | 'look' | 'recordGaps' | 'tidy' | 'close'> & {
  /** While it is rebuilt, a table that nothing was read of. */
  state(): TargetState;
  refresh(): Promise<TargetState>;
  /** Collapses a batch; its tables are not needed afterwards. Its commit answers `applied`. */
  write(connection: Connection, batch: StagedBatch): Promise<WrittenBatch>;
  publishDue(nowMs: number): boolean;
  /** Makes what was applied durable and visible. null: nothing was applied. */
  publish(signal: AbortSignal): Promise<Published | null>;
  forget(): Promise<void>;
  /** The open one; null: nothing was ever published. */
  snapshot(): OpenSnapshot | null;
  /** Seals the open snapshot and opens the next as its copy. What is applied must be published before. */
  seal(order: SealOrder, signal: AbortSignal): Promise<WriterAnswer>;
  readonly rebuild: TableRebuild;
};

export type LakeTableOptions = {
  readonly lake: LakeFeed;
  readonly topic: string;
  /** A connection for this table alone: a publish of another one may take long. */
  readonly engine: Engine;
  readonly keyColumns: readonly string[];
  /** Types of the key columns, in their order, by the schema that is pinned now. */
  readonly keyTypes: () => readonly FieldType[];
  /** Of the data file, by the schema that is pinned now; null: none is. */
  readonly columns: () => { readonly schemaVersion: number; readonly columns: readonly Column[] } | null;
  /** As pinned now. */
  readonly rules: () => SnapshotRules;
  readonly publishEveryMs: number;
  /** A delta of more bytes, and of more than the published file has, is published at once. */
  readonly deltaBytesMax: number;
};

/** Publishing takes at most a tenth of the time (DESIGN §5). */
const PAUSE_PER_PUBLISH = 9;

/** What is applied is all of the table, from the low watermark on; it replaces what there is at `from`. */
type Rebuilding = EntryRebuild & RebuildOrder;

export function openLakeTable(options: LakeTableOptions): LakeTable {
  const { lake } = options;
  const table = new Table(options);
  return {
    name: 'lake',
    state: () => table.state(),
    refresh: () => table.refresh(),
    look: lake.look,
    recordGaps: lake.recordGaps,
    tidy: lake.tidy,
    close: lake.close,
    write: (connection, batch) => table.write(connection, batch),
    publishDue: (nowMs) => table.publishDue(nowMs),
    publish: (signal) => table.publish(signal),
    forget: () => table.forget(),
    snapshot: () => table.snapshot(),
    seal: (order, signal) => table.seal(order, signal),
    rebuild: {
      facts: () => table.facts(),
      isBegun: () => table.snapshot() !== null,
      begin: (order) => table.beginRebuild(order),
      phase: () => table.rebuildPhase(),
      noteCaughtUp: (atMs, signal) => table.noteCaughtUp(atMs, signal),
    },
  };
}

class Table {
  private readonly options: LakeTableOptions;
  private readonly keyed: KeyedState;
  private readonly sealer: Sealer;
  private applied: Applied | null = null;
  private rebuilding: Rebuilding | null = null;
  /** When the positions were last asked for, to read on from them. */
  private refreshedAtMs: number;
  /** Raised when what was applied is dropped: batches from before follow on from rows that are gone. */
  private generation = 0;
  private publishedAtMs: number;
  private publishMs = 0;
  /** Batches are applied and published one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: LakeTableOptions) {
    this.options = options;
    this.keyed = new KeyedState(options);
    this.sealer = new Sealer({
      writer: options.lake.writer,
      topic: options.topic,
      engine: options.engine,
      key: () => keyOf(options),
      columns: () => options.columns()?.columns ?? null,
    });
    this.publishedAtMs = options.lake.writer.nowMs();
    this.refreshedAtMs = this.publishedAtMs;
  }

  state(): TargetState {
    const state = this.options.lake.state();
    return this.rebuilding ? { ...state, positions: new Map() } : state;
  }

  async refresh(): Promise<TargetState> {
    this.refreshedAtMs = this.options.lake.writer.nowMs();
    await this.options.lake.refresh();
    return this.state();
  }

  facts(): TableFacts {
    const { gaps, rebuiltVersion, rewoundVersion, snapshot } = this.options.lake.state();
    const caughtUpAt = snapshot?.caughtUpAt ?? null;
    return {
      gaps: gaps.filter(({ version }) => version > rebuiltVersion),
      isRewound: rewoundVersion > rebuiltVersion,
      caughtUpAtMs: caughtUpAt === null ? null : Date.parse(caughtUpAt),
    };
  }

  beginRebuild({ ways, reason, startedAtMs }: RebuildOrder): Promise<boolean> {
    return this.alone(async () => {
      await this.forgetAll();
      const { positions } = this.options.lake.state();
      if (!leadTo(ways, positions)) return false;
      const from = new Map([...positions].map(([partition, { position }]) => [partition, position]));
      this.rebuilding = { from, ways, reason, startedAtMs };
      return true;
    });
  }

  rebuildPhase(): RebuildPhase {
    if (this.rebuilding === null) return 'none';
    return isComplete(this.rebuilding.ways, this.applied?.ranges ?? []) ? 'complete' : 'reading';
  }

  /** Nothing else changes. Another writer that commits at the same moment says it for itself. */
  noteCaughtUp(atMs: number, signal: AbortSignal): Promise<void> {
    return this.alone(async () => {
      const { writer } = this.options.lake;
      const { snapshot } = writer.state();
      if (snapshot === null || this.rebuilding) return;
      const caughtUpAt = new Date(atMs).toISOString();
      await writer.commit(writer.propose({ kind: 'publish', snapshot: { ...snapshot, caughtUpAt } }), signal);
    });
  }

  async write(connection: Connection, batch: StagedBatch): Promise<WrittenBatch> {
    const columns = this.columnsOf(batch);
    const { generation } = this;
    const collapsed = await this.keyed.collapse(connection, batch);
    return {
      commit: () => this.alone(() => this.apply(batch, generation === this.generation ? columns : null, collapsed)),
      discard: () => this.keyed.drop(collapsed).catch(() => undefined),
    };
  }

  publishDue(nowMs: number): boolean {
    if (this.rebuilding) return this.rebuildPhase() === 'complete';
    if (this.applied === null) return false;
    const { publishEveryMs, deltaBytesMax, lake } = this.options;
    const sinceMs = nowMs - this.publishedAtMs;
    if (sinceMs >= Math.max(publishEveryMs, PAUSE_PER_PUBLISH * this.publishMs)) return true;
    const state = lake.state();
    const base = this.keyed.bytes > deltaBytesMax ? publishedFiles(state.files.values(), state.snapshot) : null;
    return this.keyed.bytes > Math.max(deltaBytesMax, base?.data.bytes ?? 0);
  }

  publish(signal: AbortSignal): Promise<Published | null> {
    return this.alone(async () => {
      const applied = this.publishable();
      if (applied === null) return null;
      const { lake, topic, engine, keyColumns, rules } = this.options;
      const { writer } = lake;
      const { nowMs } = writer;
      const startedMs = nowMs();
      const { keyed, rebuilding: rebuild, refreshedAtMs: begunAtMs } = this;
      const own = { applied, keyed, rebuild, begunAtMs, nowMs: startedMs };
      const published = await publishTable({ writer, topic, engine, keyColumns, rules: rules(), ...own }, signal);
      if (published.answer.kind !== 'committed') this.generation += 1;
      this.rebuilding = null;
      this.applied = null;
      await this.keyed.clear();
      this.publishedAtMs = nowMs();
      this.publishMs = this.publishedAtMs - startedMs;
      return published;
    });
  }

  forget(): Promise<void> {
    return this.alone(() => this.forgetAll());
  }

  private async forgetAll(): Promise<void> {
    this.generation += 1;
    this.applied = null;
    this.rebuilding = null;
    await this.keyed.clear();
  }

  /** A rebuild of a topic that has nothing to read is complete without a batch. null: there is nothing (yet) to publish. */
  private publishable(): Applied | null {
    if (this.rebuilding === null) return this.applied;
    if (this.rebuildPhase() !== 'complete') return null;
    if (this.applied) return this.applied;
    const { columns, schemaVersion } = this.options.columns() ?? { columns: [], schemaVersion: 0 };
    return { ranges: [], epoch: this.options.lake.state().epoch, schemaVersion, columns };
  }

  snapshot(): OpenSnapshot | null {
    const { snapshot } = this.options.lake.state();
    return snapshot && { date: snapshot.date, version: snapshot.version, endsAtMs: snapshot.endsAtMs };
  }

  seal(order: SealOrder, signal: AbortSignal): Promise<WriterAnswer> {
    return this.alone(async () => {
      // It lies beyond the positions of the order, and follows on from files that the seal replaces.
      if (this.applied !== null || this.rebuilding)
        return { kind: 'conflict', reason: 'positions', state: this.options.lake.state() };
      return this.sealer.seal(order, signal);
    });
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** null: another schema is pinned by now, and the batch is void, as one of an older generation is. */
  private columnsOf(batch: StagedBatch): readonly Column[] | null {
    const pinned = this.options.columns();
    if ((pinned?.schemaVersion ?? 0) !== batch.schemaVersion) return null;
    return pinned?.columns ?? [];
  }

  private async apply(batch: StagedBatch, columns: readonly Column[] | null, collapsed: Collapsed): Promise<CommitAnswer> {
    const { epoch, schemaVersion } = batch;
    const before = this.applied;
    const state = this.state();
    const ranges = joinRanges(before?.ranges ?? [], batch.ranges, state.positions);
    const isSame = before === null || (before.epoch === epoch && before.schemaVersion === schemaVersion);
    if (ranges === null || columns === null || !isSame) {
      await this.keyed.drop(collapsed);
      return { kind: 'conflict', reason: ranges === null ? 'positions' : 'schema', state };
    }
    await this.keyed.apply(collapsed);
    this.applied = { ranges, epoch, schemaVersion, columns };
    return { kind: 'applied' };
  }
}

const keyOf = ({ keyColumns, keyTypes }: LakeTableOptions): readonly KeyColumn[] => {
  const types = keyTypes();
  return keyColumns.map((name, index) => {
    const type = types[index];
    assert(type, `the key column ${name} has a type`);
    return { name, type };
  });
};
