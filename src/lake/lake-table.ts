// A table feed in the lake, as a target (design 4, §1.2). Its newest published files are the base of the state; the engine holds only
// what changed since. A batch that is committed is applied to that; a publish writes the next files and moves the positions.
// Invariant: `state()` is what the log says; what is applied follows on from it, and is forgotten with every answer but `committed`.

import type { Connection } from '../duckdb/connection.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { assert } from '../errors.ts';
import { joinRanges } from '../model/applied.ts';
import type { CommitAnswer, Published, StagedBatch, WrittenBatch } from '../model/batch.ts';
import type { Column } from '../model/columns.ts';
import type { SealOrder } from '../model/cut.ts';
import type { EntrySnapshot } from '../model/entry-snapshot.ts';
import type { FieldType } from '../model/feed.ts';
import type { FeedState } from '../model/feed-state.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import { periodIn, type SnapshotRules } from '../model/snapshot-rules.ts';
import type { WriterAnswer } from './feed-writer.ts';
import { type Collapsed, type Engine, KeyedState } from './keyed-state.ts';
import type { LakeFeed } from './lake.ts';
import { writePublish } from './publish.ts';
import { Sealer } from './seal.ts';

export type LakeTable = Pick<LakeFeed, 'name' | 'state' | 'refresh' | 'recordGaps' | 'tidy' | 'close'> & {
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
  /** Whether these are the last stable offsets of all partitions. */
  readonly caughtUp: (positions: ReadonlyMap<number, Offset>) => Promise<boolean>;
};

/** Publishing takes at most a tenth of the time (DESIGN §5). */
const PAUSE_PER_PUBLISH = 9;

type Applied = {
  readonly ranges: readonly CommittedRange[];
  readonly epoch: number;
  readonly schemaVersion: number;
  readonly columns: readonly Column[];
};

export function openLakeTable(options: LakeTableOptions): LakeTable {
  const { lake } = options;
  const table = new Table(options);
  return {
    name: 'lake',
    state: lake.state,
    refresh: lake.refresh,
    recordGaps: lake.recordGaps,
    tidy: lake.tidy,
    close: lake.close,
    write: (connection, batch) => table.write(connection, batch),
    publishDue: (nowMs) => table.publishDue(nowMs),
    publish: (signal) => table.publish(signal),
    forget: () => table.forget(),
    snapshot: () => table.snapshot(),
    seal: (order, signal) => table.seal(order, signal),
  };
}

class Table {
  private readonly options: LakeTableOptions;
  private readonly keyed: KeyedState;
  private readonly sealer: Sealer;
  private applied: Applied | null = null;
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
      if (this.applied === null) return null;
      const { nowMs } = this.options.lake.writer;
      const startedMs = nowMs();
      const published = await this.publishApplied(this.applied, startedMs, signal);
      if (published.answer.kind !== 'committed') this.generation += 1;
      this.applied = null;
      await this.keyed.clear();
      this.publishedAtMs = nowMs();
      this.publishMs = this.publishedAtMs - startedMs;
      return published;
    });
  }

  forget(): Promise<void> {
    return this.alone(async () => {
      this.generation += 1;
      this.applied = null;
      await this.keyed.clear();
    });
  }

  snapshot(): OpenSnapshot | null {
    const { snapshot } = this.options.lake.state();
    return snapshot && { date: snapshot.date, version: snapshot.version, endsAtMs: snapshot.endsAtMs };
  }

  seal(order: SealOrder, signal: AbortSignal): Promise<WriterAnswer> {
    return this.alone(async () => {
      // It lies beyond the positions of the order, and follows on from files that the seal replaces.
      if (this.applied !== null) return { kind: 'conflict', reason: 'positions', state: this.options.lake.state() };
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
    const { lake } = this.options;
    const { epoch, schemaVersion } = batch;
    const before = this.applied;
    const state = lake.state();
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

  private async publishApplied(applied: Applied, startedMs: number, signal: AbortSignal): Promise<Published> {
    const { lake, topic, engine, keyColumns } = this.options;
    const { writer } = lake;
    const { ranges, epoch, schemaVersion, columns } = applied;
    const mine = writer.log();
    const state = mine.state();
    const batch = writer.newId();
    const open = this.openSnapshot(state, startedMs);
    const base = publishedFiles(state.files.values(), state.snapshot);
    const delta = await this.keyed.delta();
    const origin = { id: batch, feed: writer.feed, topic, schemaVersion, ranges };
    const parts = { writer, mine, origin, snapshot: open, base, delta, deadLetters: this.keyed.deadLetters, keyColumns, columns };
    let written: Awaited<ReturnType<typeof writePublish>>;
    try {
      written = await engine((connection) => writePublish(connection, parts));
    } catch (error) {
      await writer.discard(mine, batch);
      const now = await writer.refresh();
      // Whoever published meanwhile has taken away the files that were read.
      if (!base || now.files.has(base.data.path)) throw error;
      return { answer: { kind: 'conflict', reason: 'files', state: now }, ranges, snapshot: { ...open, rows: 0 } };
    }
    const data = written.find(({ kind }) => kind === 'data');
    const snapshot: EntrySnapshot = {
      date: open.date,
      version: open.version,
      endsAtMs: open.endsAtMs,
      rows: data?.rows ?? state.snapshot?.rows ?? 0,
      caughtUpAt: await this.caughtUpAt(state, ranges),
    };
    const removed = data && base ? [base.data.path, base.state.path] : [];
    const answer = await writer.commitFiles(
      written,
      (added) => writer.propose({ kind: 'publish', batch, epoch, schemaVersion, ranges, added, removed, snapshot }),
      { batch, mine, signal },
    );
    return { answer, ranges, snapshot };
  }

  /** The first publish opens the snapshot of its period. One whose period is over stays open until it is sealed at its cut. */
  private openSnapshot(state: FeedState, nowMs: number): OpenSnapshot {
    return state.snapshot ?? periodIn(nowMs, this.options.rules());
  }

  private async caughtUpAt(state: FeedState, ranges: readonly CommittedRange[]): Promise<string | null> {
    const { caughtUp, lake } = this.options;
    const askedAtMs = lake.writer.nowMs();
    const positions = new Map([...state.positions].map(([partition, { position }]) => [partition, position]));
    for (const { partition, end } of ranges) positions.set(partition, end);
    if (await caughtUp(positions)) return new Date(askedAtMs).toISOString();
    return state.snapshot?.caughtUpAt ?? null;
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
