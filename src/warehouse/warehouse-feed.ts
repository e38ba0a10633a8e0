// One feed in the warehouse, as a target: its tables, its positions, its batches as transactions, waiting while the server is away.
// Invariant: a batch is committed only into tables that are as its schema wants them, and what was decoded by an older schema is
// not committed at all.

import type { Connection } from '../duckdb/connection.ts';
import { assert, LakeError } from '../errors.ts';
import type { ClosedBatch, CommitAnswer, Published, TargetState, WrittenBatch } from '../model/batch.ts';
import type { SealOrder } from '../model/cut.ts';
import { settledBeforeMs } from '../model/forgotten.ts';
import { gapTold } from '../model/journal.ts';
import type { Gap } from '../model/log-entry.ts';
import { leadTo, type TableFacts, type TableRebuild } from '../model/rebuild.ts';
import type { OpenSnapshot } from '../model/snapshot.ts';
import type { SnapshotRules } from '../model/snapshot-rules.ts';
import { type AuditEntry, auditStatement } from './audit.ts';
import { applyBatch } from './commit-batch.ts';
import { explained } from './explain.ts';
import type { FactTable } from './fact-table.ts';
import { type Commits, createCommits, type Work } from './feed-commit.ts';
import { forgetTombstones } from './forget.ts';
import { readTable } from './found-table.ts';
import { memoryRows } from './memory-rows.ts';
import { openSnapshotOf, selectOpenSnapshot } from './open-snapshot.ts';
import { type Patience, patiently } from './patience.ts';
import {
  gapRange,
  gapsOf,
  insertGap,
  isOutgrown,
  PositionsMoved,
  type PositionsOf,
  raiseSchemaVersion,
  selectGaps,
} from './positions.ts';
import { RebuiltTable } from './rebuilt-table.ts';
import { replaceTable } from './replace-table.ts';
import { sealSnapshot } from './seal.ts';
import { setUpFactTable } from './setup-table.ts';
import { type EngineQueue, readBatch } from './staged-batch.ts';
import { type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

export type WarehouseFeed = {
  readonly name: 'warehouse';
  state(): TargetState;
  refresh(): Promise<TargetState>;
  look(): Promise<boolean>;
  write(connection: Connection, batch: ClosedBatch): Promise<WrittenBatch>;
  snapshot(): OpenSnapshot | null;
  seal(order: SealOrder, signal: AbortSignal): Promise<Exclude<CommitAnswer, { kind: 'applied' | 'refused' }>>;
  recordGaps(gaps: readonly Gap[], signal: AbortSignal): Promise<CommitAnswer>;
  /** Only what replaces a table. */
  publishDue(): boolean;
  publish(signal: AbortSignal): Promise<Published | null>;
  forget(): Promise<void>;
  /** Of a table. */
  readonly rebuild?: TableRebuild;
  close(): Promise<void>;
};

export type WarehouseFeedOptions = PositionsOf & {
  readonly warehouse: Warehouse;
  /** The feed's tables by the schema that is pinned, as far as is known here, and its version. */
  readonly tables: () => Tables | null;
  /** Asks which schema is pinned now. */
  readonly refreshSchema: () => Promise<void>;
  readonly clusterId: string | null;
  /** Of the pipeline, for this feed alone. */
  readonly engine: EngineQueue;
  /** Of a table. */
  readonly keyColumns: readonly string[];
  /** As pinned now; null: a stream. */
  readonly snapshots: (() => SnapshotRules) | null;
  readonly nowMs: () => number;
  readonly patience: Omit<Patience, 'feed'>;
  /** What was done and is audited. */
  readonly tell: (entries: readonly AuditEntry[]) => void;
  /** Lets others read the tables that are ready. */
  readonly grant?: (fact: FactTable) => Promise<void>;
  readonly signal: AbortSignal;
};

type Tables = { readonly fact: FactTable; readonly schemaVersion: number };

/** Reads the positions, makes or checks the tables. Throws LakeError; waits while the server is away. */
export async function openWarehouseFeed(options: WarehouseFeedOptions): Promise<WarehouseFeed> {
  const { warehouse, feed, topic, nowMs, signal, snapshots, tables, tell } = options;
  const patience: Patience = { ...options.patience, feed };
  const commits = createCommits({ ...options, nowMs: snapshots && nowMs });
  /** For as long as it takes; what does not pass is said for a person. */
  const surely: Surely = (work, abort, subject) =>
    patiently(() => explained({ warehouse, subject, signal: abort }, work), patience, abort);

  const prepare = preparation(options, { commits, surely });
  let open: OpenSnapshot | null = null;
  const readOpen = async (): Promise<void> => {
    if (snapshots) open = openSnapshotOf(await warehouse.run(selectOpenSnapshot(warehouse.dialect, feed), signal));
  };
  let gaps: Pick<TableFacts, 'gaps' | 'isRewound'> = { gaps: [], isRewound: false };
  const readGaps = async (): Promise<void> => {
    if (snapshots) gaps = gapsOf(await warehouse.run(selectGaps(options, commits.state()), signal));
  };
  let rebuilt: RebuiltTable | null = null;
  let rebuiltCount = 0;
  const forgetRebuilt = async (): Promise<void> => {
    const last = rebuilt;
    rebuilt = null;
    await last?.end();
  };
  /** While it is read anew, a table that nothing was read of. */
  const stateNow = (): TargetState => (rebuilt ? { ...commits.state(), positions: new Map() } : commits.state());
  const read = (): Promise<TargetState> =>
    surely(
      async () => {
        await readOpen();
        const state = await commits.read();
        await readGaps();
        return state;
      },
      signal,
      `the positions of feed ${feed} cannot be read`,
    );
  const commit = (work: Work, abort: AbortSignal): Promise<CommitAnswer> => {
    const doubt = { pending: false };
    return surely(() => commits.once(work, abort, doubt), abort, `a batch of feed ${feed} cannot be committed`);
  };

  /** Beside the batches, for it may be many; what is left when the run ends is the next seal's. */
  let forgetting: Promise<void> = Promise.resolve();
  const forget = async (beforeMs: number): Promise<void> => {
    const { log, stop } = patience;
    const again = <T>(work: () => Promise<T>): Promise<T> => surely(work, signal, `tombstones of feed ${feed} cannot be deleted`);
    try {
      const count = await forgetTombstones({ warehouse, feed, topic, beforeMs, patiently: again, stop }, signal);
      if (count > 0) log.info('tombstones_forgotten', { feed, target: 'warehouse', tombstones: count });
    } catch (error) {
      // They cost space, and nothing else.
      log.warn('tombstones_kept', { feed, target: 'warehouse', reason: error instanceof Error ? error.message : String(error) });
    }
  };

  await read();
  await prepare(tables());
  return {
    name: 'warehouse',
    state: stateNow,
    refresh: async () => {
      await options.refreshSchema();
      await read();
      return stateNow();
    },
    look: () =>
      commits.look().catch((error: unknown) => {
        // A server that is away, or a table that is gone: whoever commits has more patience, and says more.
        if (error instanceof WarehouseFailure) return false;
        throw error;
      }),
    write: async (connection, batch) => {
      const wanted = tables();
      // Decoded by a schema that was replaced meanwhile: the other columns would be missing in its rows.
      const isOutdated = (): boolean => (tables()?.schemaVersion ?? batch.schemaVersion) !== batch.schemaVersion;
      const outdated = async (): Promise<CommitAnswer> => ({ kind: 'conflict', reason: 'schema', state: commits.state() });
      if (isOutdated()) return { commit: outdated, discard: async () => undefined };
      await prepare(wanted);
      if (rebuilt) return await rebuilt.write(connection, batch, wanted?.fact ?? null);
      const { work, drop } = await batchWork(connection, batch, { options, fact: wanted?.fact ?? null });
      return {
        commit: async (abort) => {
          const answer = await (isOutdated() ? outdated() : commit(work, abort)).finally(drop);
          // A feed's first rows open its first snapshot.
          if (open === null) await surely(readOpen, abort, `the snapshots of feed ${feed} cannot be read`);
          return answer;
        },
        discard: drop,
      };
    },
    recordGaps: async (found, abort) => {
      const { epoch } = commits.state();
      const told = found.map((gap): AuditEntry => ({ ...gapTold(gap), feed }));
      const inside = async (tx: Tx): Promise<void> => {
        for (const gap of found) await tx.change(insertGap(options, gap, epoch));
        for (const entry of told) await tx.change(auditStatement(warehouse.dialect, entry));
      };
      const answer = await commit({ ranges: found.map(gapRange), schemaVersion: null, inside }, abort);
      if (answer.kind !== 'committed') return answer;
      tell(told);
      await surely(readGaps, abort, `the gaps of feed ${feed} cannot be read`);
      return answer;
    },
    publishDue: () => rebuilt?.phase() === 'complete',
    publish: async (abort) => {
      if (snapshots === null || rebuilt?.phase() !== 'complete') return null;
      const { ranges, order } = rebuilt;
      const parts = { warehouse, feed, topic, rebuilt, tables: tables(), rules: snapshots(), nowMs: nowMs() };
      const { answer, snapshot, entry } = await replaceTable({ ...parts, commit: (work) => commit(work, abort) });
      if (entry) tell([entry]);
      await forgetRebuilt();
      await read();
      assert(answer.kind !== 'applied', 'a table that is replaced is durable');
      return { answer, ranges, snapshot, rebuild: order };
    },
    forget: forgetRebuilt,
    ...(snapshots && {
      rebuild: {
        facts: () => ({ ...gaps, caughtUpAtMs: commits.caughtUpAtMs() }),
        isBegun: () => commits.state().positions.size > 0,
        begin: async (order) => {
          await forgetRebuilt();
          const from = commits.state();
          if (!leadTo(order.ways, from.positions)) return false;
          const id = `rebuilt_${feed}_${++rebuiltCount}`;
          rebuilt = new RebuiltTable({
            engine: options.engine,
            keyColumns: options.keyColumns,
            id,
            order,
            from,
          });
          return true;
        },
        phase: () => rebuilt?.phase() ?? 'none',
        noteCaughtUp: (atMs, abort) =>
          surely(() => commits.noteCaughtUp(atMs, abort), abort, `feed ${feed} cannot say that it has caught up`),
      } satisfies TableRebuild,
    }),
    snapshot: () => open,
    seal: async (order, abort) => {
      const fact = tables()?.fact;
      assert(fact, `feed ${feed} is sealed before it had a schema`);
      const again = <T>(work: () => Promise<T>): Promise<T> => surely(work, abort, `a snapshot of feed ${feed} cannot be sealed`);
      try {
        const sealed = await sealSnapshot({ warehouse, feed, topic, fact, order, nowMs, patiently: again }, abort);
        if (sealed) tell([sealed]);
      } catch (error) {
        if (!(error instanceof PositionsMoved)) throw error;
        return { kind: 'conflict', reason: 'positions', state: await read() };
      }
      const state = await read();
      const beforeMs = settledBeforeMs(state.positions, order.cut.positions.keys());
      if (beforeMs !== null) forgetting = forgetting.then(() => forget(beforeMs));
      return { kind: 'committed', version: 0, files: 0, bytes: 0, state };
    },
    close: () => forgetting,
  };
}

type Surely = <T>(work: () => Promise<T>, abort: AbortSignal, subject: string) => Promise<T>;

/** DDL, so outside of any transaction: the tables for the schema that is pinned now. */
function preparation(options: WarehouseFeedOptions, { commits, surely }: { commits: Commits; surely: Surely }) {
  const { warehouse, signal, tell } = options;
  let preparedVersion = -1;
  return async (wanted: Tables | null): Promise<void> => {
    if (wanted === null || wanted.schemaVersion === preparedVersion) return;
    const { fact, schemaVersion } = wanted;
    const ready = async (): Promise<void> => {
      // Made anew it would lack all that was committed to it, and nobody would notice.
      if (hasRows(commits.state()) && (await readTable(warehouse, fact.name, signal)) === null) throw tableGone(fact);
      const mayWiden = await isOutgrown(warehouse, { feed: options.feed, table: fact.name, version: schemaVersion }, signal);
      tell(await setUpFactTable(warehouse, fact, signal, { mayWiden }));
      await options.grant?.(fact);
      await warehouse.run(raiseSchemaVersion(options, schemaVersion), signal);
    };
    await surely(ready, signal, `table ${fact.name} cannot be made ready`);
    preparedVersion = schemaVersion;
  };
}

type BatchParts = { readonly options: WarehouseFeedOptions; readonly fact: FactTable | null };

/** Takes the rows out of the staged tables. */
async function batchWork(connection: Connection, batch: ClosedBatch, { options, fact }: BatchParts) {
  const { feed, topic, warehouse, snapshots, nowMs, engine } = options;
  assert(fact !== null || batch.rows === 0, `feed ${feed} staged rows before it had a schema`);
  const rows = batch.memory
    ? memoryRows(batch.memory, { fact, schemaVersion: batch.schemaVersion })
    : await readBatch(connection, batch, { fact, engine });
  const inside = (tx: Tx): Promise<void> =>
    applyBatch(tx, {
      feed,
      topic,
      rows,
      fact,
      snapshots: snapshots?.() ?? null,
      nowMs: nowMs(),
      isWhole: false,
      warehouse,
    });
  const work: Work = { ranges: batch.ranges, schemaVersion: batch.schemaVersion, inside };
  return { work, drop: rows.drop };
}

const hasRows = ({ positions }: TargetState): boolean => [...positions.values()].some(({ totals }) => totals.rows > 0);

const tableGone = ({ feed, name }: FactTable): LakeError =>
  new LakeError('warehouse_table_differs', `table ${name} is gone, and with it all rows that feed ${feed} committed to it`, {
    where: { feed, target: 'warehouse' },
    todo: 'restore it from a backup, or take the feed in again under a new feed_name',
  });
