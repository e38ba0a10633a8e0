// A table in a real lake in a temporary folder, over a real engine; batches are staged in SQL as decode stages them.

import { afterAll } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, type Database, openDatabase, query, run } from '../../src/duckdb/connection.ts';
import { quoteText } from '../../src/duckdb/sql.ts';
import { serial } from '../../src/ingest/changes.ts';
import { openLakeFeed } from '../../src/lake/lake.ts';
import { type LakeTableOptions, openLakeTable } from '../../src/lake/lake-table.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { readFeedState } from '../../src/lake/read-log.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import type { StagedBatch } from '../../src/model/batch.ts';
import type { Column } from '../../src/model/columns.ts';
import type { CommittedRange } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { firstRule } from '../../src/model/snapshot-rules.ts';
import { filesUnder, newId, noSignal } from '../helpers/lake-folder.ts';

export const FEED = 'totals';
export const LINEAGE: readonly Column[] = [
  { name: 'kafka_partition', type: 'INTEGER' },
  { name: 'kafka_offset', type: 'BIGINT' },
  { name: 'kafka_timestamp', type: 'TIMESTAMPTZ' },
  { name: 'kafka_key', type: 'BLOB' },
];
export const FIELDS: readonly Column[] = [
  { name: 'id', type: 'INTEGER' },
  { name: 'text', type: 'VARCHAR' },
];

/** `text` null: a tombstone; undefined: refused. `ms` is the effective timestamp. */
export type TableMessage = { offset: number; id: number; text?: string | null; ms: number; partition?: number };

export const row = (offset: number, id: number, ms: number, more: Partial<TableMessage> = {}): TableMessage => ({
  ...{ offset, id, ms, text: `${offset}` },
  ...more,
});
export const gone = (offset: number, id: number, ms: number, more: Partial<TableMessage> = {}): TableMessage =>
  row(offset, id, ms, { text: null, ...more });
export const refused = (offset: number, ms: number): TableMessage => ({ offset, id: 0, ms });

export type Clock = { ms: number };
export type Process = Awaited<ReturnType<TableScene['open']>>;
export type TableScene = ReturnType<typeof tableScene>;

/** Everything that a test opens is closed at the end of its file. */
const open: Database[] = [];
const roots: string[] = [];
afterAll(async () => {
  for (const database of open) await database[Symbol.asyncDispose]();
  for (const root of roots) rmSync(root, { recursive: true, force: true });
});

export function tableScene(options: { readonly prefix?: string; readonly startMs?: number } = {}) {
  const root = mkdtempSync(join(tmpdir(), options.prefix ?? 'lake-table-'));
  roots.push(root);
  const clock: Clock = { ms: options.startMs ?? Date.UTC(2025, 0, 28, 10, 30) };
  /** A new process: another writer, another engine. */
  const openProcess = async (more: ProcessOptions = {}) => {
    const local = await openLocalStore({ root, access: 'write' });
    const store = more.wrap ? more.wrap(local) : local;
    const database = await openDatabase({
      memoryBytesMax: more.memoryBytesMax ?? 1 << 28,
      tempFolder: join(root, `spill-${newId()}`),
    });
    open.push(database);
    const connection = await database.connect();
    const own = await database.connect();
    const inOrder = serial();
    const lake = await openLakeFeed({
      store,
      compression: 'snappy',
      feed: FEED,
      topic: 'shop.totals',
      clusterId: 'cluster-1',
      nowMs: () => clock.ms,
      newId,
    });
    const fields = { now: more.fields ?? FIELDS };
    const schemaVersion = () => lake.state().schema?.version ?? 0;
    const table = openLakeTable({
      lake,
      topic: 'shop.totals',
      engine: (work) => inOrder(() => work(own)),
      keyColumns: ['id'],
      keyTypes: () => [{ kind: 'integer' }],
      columns: () => ({ schemaVersion: schemaVersion(), columns: [...fields.now, ...LINEAGE] }),
      rules: () => firstRule({ snapshotEvery: 'hour', timezone: 'UTC' }),
      publishEveryMs: 30_000,
      deltaBytesMax: 1 << 30,
      ...more.table,
    });
    const write = async (messages: readonly TableMessage[]) => {
      const batch = await stage(connection, messages, fields.now, { epoch: lake.state().epoch, schemaVersion: schemaVersion() });
      const written = await table.write(connection, batch);
      for (const name of [batch.tables.rows, batch.tables.deadLetters, batch.tables.tombstones])
        if (name) await run(connection, `DROP TABLE ${name}`);
      return written;
    };
    return {
      ...{ lake, table, store, connection, fields, write },
      /** What the batch's commit answers. */
      take: async (messages: readonly TableMessage[]) => (await write(messages)).commit(noSignal),
      publish: async () => (await table.publish(noSignal))?.answer,
      /** A batch of partition 0 whose rows a query makes. */
      takeSql: async (select: string, start: number, count: number) => {
        const id = newId();
        const tables = { rows: `"${id}_rows"`, deadLetters: '', tombstones: null };
        await run(connection, `CREATE TABLE ${tables.rows} AS ${select}`);
        const ends = [row(start, 0, start), row(start + count - 1, 0, start)];
        const ranges = [{ ...rangeOf(0, ends), messages: count, rows: count }];
        const own = { epoch: lake.state().epoch, schemaVersion: schemaVersion(), feed: FEED, topic: 'shop.totals' };
        const batch = { id, tables, ranges, rows: count, deadLetters: 0, bytes: 300 * count, eventTime: null, ...own };
        const written = await table.write(connection, batch);
        await run(connection, `DROP TABLE ${tables.rows}`);
        return written.commit(noSignal);
      },
      /** Tables of the engine, but for temporary ones. */
      tables: async () => (await query(connection, 'SELECT table_name FROM duckdb_tables() WHERE NOT temporary')).length,
    };
  };
  const state = async () => readFeedState(await openLocalStore({ root, access: 'read' }), FEED);
  const published = async (kind: 'data' | 'state', fields: readonly string[]) => {
    const file = [...(await state()).files.values()].find((one) => one.kind === kind);
    if (!file) return null;
    const database = await openDatabase();
    open.push(database);
    const connection = await database.connect();
    // Through a copy of the name: a test may keep its lake where DuckDB sees a pattern.
    const from = `read_parquet(${quoteText(join(root, file.path).replaceAll(/[*?[]/g, '[$&]'))}, hive_partitioning = false)`;
    const names = fields.map((name) => `${name}::VARCHAR AS ${name}`).join(', ');
    const rows = await query(connection, `SELECT ${names} FROM ${from} ORDER BY id`);
    const types = await query(connection, `DESCRIBE SELECT * FROM ${from}`);
    return {
      rows: rows.map((one) => fields.map((name) => one[name])),
      columns: types.map((one) => `${one['column_name']} ${one['column_type']}`),
    };
  };
  return {
    ...{ root, clock, state },
    open: openProcess,
    files: (folder: string) => filesUnder(root, folder),
    /** Rows of the live data file: id and text, and more columns if asked for. */
    live: async (...more: string[]) => (await published('data', ['id', 'text', ...more]))?.rows ?? null,
    deleted: async () => (await published('state', ['id', 'kafka_offset']))?.rows ?? null,
    columns: async (kind: 'data' | 'state') => (await published(kind, ['id']))?.columns ?? null,
  };
}

export type ProcessOptions = {
  readonly wrap?: (store: ObjectStore) => ObjectStore;
  readonly fields?: readonly Column[];
  readonly table?: Partial<LakeTableOptions>;
  readonly memoryBytesMax?: number;
};

async function stage(
  connection: Connection,
  messages: readonly TableMessage[],
  fields: readonly Column[],
  more: Pick<StagedBatch, 'epoch' | 'schemaVersion'>,
): Promise<StagedBatch> {
  const id = newId();
  const tables = { rows: `"${id}_rows"`, deadLetters: `"${id}_letters"`, tombstones: `"${id}_tombstones"` };
  const list = (columns: readonly Column[]) => columns.map(({ name, type }) => `"${name}" ${type}`).join(', ');
  await run(connection, `CREATE TABLE ${tables.rows} (${list([...fields, ...LINEAGE])}, _day DATE)`);
  await run(connection, `CREATE TABLE ${tables.tombstones} (id INTEGER, ${list(LINEAGE)}, _day DATE)`);
  await run(connection, `CREATE TABLE ${tables.deadLetters} (${list(LINEAGE)}, reason VARCHAR, _day DATE)`);
  const lineage = ({ partition = 0, offset, ms }: TableMessage) =>
    `${partition}, ${offset}, make_timestamptz(${ms}000), NULL, make_date(2025, 1, 28)`;
  for (const one of messages) {
    const added = fields.slice(2).map(({ name }) => `'${name} ${one.offset}'`);
    if (one.text === null) await run(connection, `INSERT INTO ${tables.tombstones} VALUES (${one.id}, ${lineage(one)})`);
    else if (one.text !== undefined)
      await run(
        connection,
        `INSERT INTO ${tables.rows} VALUES (${[one.id, quoteText(one.text), ...added, lineage(one)].join(', ')})`,
      );
    else
      await run(
        connection,
        `INSERT INTO ${tables.deadLetters} VALUES (${lineage(one).replace(/, make_date/, ", 'wrong', make_date")})`,
      );
  }
  const count = (holds: (one: TableMessage) => boolean) => messages.filter(holds).length;
  return {
    ...{ id, tables, ...more },
    feed: FEED,
    topic: 'shop.totals',
    ranges: [...Map.groupBy(messages, ({ partition = 0 }) => partition)].map(([partition, here]) => rangeOf(partition, here)),
    rows: count(({ text }) => typeof text === 'string'),
    deadLetters: count(({ text }) => text === undefined),
    bytes: 100 * messages.length,
    eventTime: null,
  };
}

function rangeOf(partition: number, messages: readonly TableMessage[]): CommittedRange {
  const offsets = messages.map(({ offset }) => offset);
  const last = messages.at(-1);
  const ms = Math.max(...messages.map((one) => one.ms));
  const count = (holds: (one: TableMessage) => boolean) => messages.filter(holds).length;
  return {
    partition,
    start: toOffset(BigInt(Math.min(...offsets))),
    end: toOffset(BigInt(Math.max(...offsets) + 1)),
    messages: messages.length,
    rows: count(({ text }) => typeof text === 'string'),
    deadLetters: count(({ text }) => text === undefined),
    tombstones: count(({ text }) => text === null),
    last: { offset: toOffset(BigInt(last?.offset ?? 0)), timestampMs: ms, hash: 'h' },
    timestampMsMax: ms,
  };
}
