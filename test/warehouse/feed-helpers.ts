// One table feed in a real MySQL or MariaDB, committed to by one or more writers from batches that are staged by hand.

import type { MysqlEngine } from '../../scripts/service/mysql-files.ts';
import { openDatabase, run } from '../../src/duckdb/connection.ts';
import { createStagedTables, decodePlan } from '../../src/ingest/decode.ts';
import type { ClosedBatch, CommitAnswer } from '../../src/model/batch.ts';
import type { CommittedRange } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { firstRule } from '../../src/model/snapshot-rules.ts';
import { openMysqlWarehouse } from '../../src/warehouse/mysql-warehouse.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { openWarehouseFeed, type WarehouseFeed } from '../../src/warehouse/warehouse-feed.ts';
import { feedOf, type Json } from '../config/helpers.ts';
import type { TestDatabase } from '../helpers/mysql.ts';
import { NOW_MS, never, place, tableOf } from './setup-helpers.ts';

export const FEED: Json = {
  feed_name: 'totals',
  feed_type: 'table',
  destination: 'data_warehouse',
  schema: { key_field: 'id', fields: { id: 'BIGINT', text: 'VARCHAR', who: 'VARCHAR' } },
  dimensions: [{ table: 'dim_people', key: 'who', attributes: ['text'] }],
};

/** `text` absent: a tombstone. */
export type Change = {
  readonly partition: number;
  readonly offset: number;
  readonly id: number;
  readonly text?: string;
  readonly who?: string | null;
  /** The effective one; texts are as DuckDB reads them. */
  readonly at: string;
};
export const AT = '2025-01-28 00:00:00+00';

export type Writer = { readonly feed: WarehouseFeed; readonly warehouse: Warehouse; readonly events: readonly string[] };
export type WriterOptions = {
  readonly port?: number;
  readonly schemaVersion?: () => number;
  readonly stop?: AbortSignal;
  readonly nowMs?: () => number;
  readonly waitMsMax?: number;
};

export async function feedPlace(engine: MysqlEngine, json: Json = FEED, given?: TestDatabase) {
  const there = await place(engine, given);
  const feed = feedOf(json);
  const fact = tableOf(json);
  const database = await openDatabase();
  const connection = await database.connect();
  await setUpWarehouse(there.warehouse, { lakeId: 'l1', feeds: [feed], nowMs: NOW_MS }, never);
  const opened: Warehouse[] = [];
  let batchCount = 0;

  const writer = async (options: WriterOptions = {}): Promise<Writer> => {
    const { nowMs = Date.now, schemaVersion = () => 1 } = options;
    const { login, database: name } = there.database;
    const events: string[] = [];
    const tell = (event: string): void => void events.push(event);
    const log = { error: tell, warn: tell, info: tell, debug: () => undefined };
    const config = { engine: 'mysql', ...login, port: options.port ?? login.port, database: name, ssl: false } as const;
    const warehouse = await openMysqlWarehouse(config, { log });
    opened.push(warehouse);
    const patience = { log, nowMs, stop: options.stop ?? never, waitMsMax: options.waitMsMax ?? null };
    const made = await openWarehouseFeed({
      ...{ warehouse, feed: feed.name, topic: feed.topic, clusterId: 'c1', patience, signal: never },
      tables: () => ({ fact, schemaVersion: schemaVersion() }),
      engine: (work) => work(connection),
      tell: () => undefined,
      refreshSchema: async () => undefined,
      keyColumns: feed.keyFields,
      snapshots: feed.type === 'table' ? () => firstRule({ snapshotEvery: 'day', timezone: 'UTC' }) : null,
      nowMs: () => NOW_MS,
    });
    return { feed: made, warehouse, events };
  };

  /** `from`: where the batch begins, by partition; else at its first change. */
  const stage = async (
    changes: readonly Change[],
    from: Readonly<Record<number, number>> = {},
    bytes = 1,
  ): Promise<ClosedBatch> => {
    const id = `b${batchCount++}`;
    const tables = await createStagedTables(connection, decodePlan(feed, { timezone: 'UTC', schemaVersion: 1 }), id);
    const insert = async (table: string, columns: string, rows: readonly (readonly unknown[])[]): Promise<void> => {
      if (rows.length > 0)
        await run(
          connection,
          `INSERT INTO ${table} (${columns}) VALUES ${rows.map((row) => `(${row.map(literal).join(', ')})`).join(', ')}`,
        );
    };
    const rows = changes.filter(({ text }) => text !== undefined);
    await insert(
      tables.rows,
      'id, text, who, kafka_partition, kafka_offset, kafka_timestamp',
      rows.map(({ id: key, text, who, partition, offset, at }) => [key, text, who ?? null, partition, offset, at]),
    );
    const gone = changes.filter(({ text }) => text === undefined);
    await insert(
      tables.tombstones ?? '"no table"',
      'id, kafka_partition, kafka_offset, kafka_timestamp',
      gone.map(({ id: key, partition, offset, at }) => [key, partition, offset, at]),
    );
    const ranges = [...Map.groupBy(changes, ({ partition }) => partition)].map(([partition, some]) =>
      rangeOf(partition, from[partition] ?? Math.min(...some.map(({ offset }) => offset)), some),
    );
    return {
      ...{ id, feed: feed.name, topic: feed.topic, epoch: 0, schemaVersion: 1, ranges, tables, rows: rows.length },
      ...{ deadLetters: 0, bytes, eventTime: null, memory: null },
    };
  };
  const commit = async ({ feed: target }: Writer, batch: ClosedBatch): Promise<CommitAnswer> =>
    await (await target.write(connection, batch)).commit(never);

  return {
    ...there,
    fact,
    connection,
    writer,
    stage,
    commit,
    commitOf: async (by: Writer, changes: readonly Change[], from?: Readonly<Record<number, number>>) =>
      (await commit(by, await stage(changes, from))).kind,
    [Symbol.asyncDispose]: async () => {
      for (const warehouse of opened) await warehouse[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await there[Symbol.asyncDispose]();
    },
  };
}

const literal = (value: unknown): string =>
  value === null ? 'NULL' : typeof value === 'number' ? String(value) : `'${String(value).replaceAll("'", "''")}'`;

const rangeOf = (partition: number, start: number, changes: readonly Change[]): CommittedRange => {
  const offsets = changes.map(({ offset }) => offset);
  const rows = changes.filter(({ text }) => text !== undefined).length;
  return {
    partition,
    start: toOffset(BigInt(start)),
    end: toOffset(BigInt(Math.max(...offsets) + 1)),
    messages: changes.length,
    rows,
    deadLetters: 0,
    tombstones: changes.length - rows,
    last: { offset: toOffset(BigInt(Math.max(...offsets))), timestampMs: NOW_MS, hash: 'h' },
    timestampMsMax: NOW_MS,
  };
};

export const row = (offset: number, id: number, more: Partial<Change> = {}): Change => ({
  ...{ partition: 0, offset, id, text: `${offset} of ${id}`, at: AT },
  ...more,
});
export const gone = (offset: number, id: number, more: Partial<Change> = {}): Change => ({
  ...{ partition: 0, offset, id, at: AT },
  ...more,
});
