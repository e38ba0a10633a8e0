// One feed into the lake and into MySQL, from the same batches: the snapshots that both seal have the same rows and one checksum.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, openDatabase, run } from '../../src/duckdb/connection.ts';
import { createStagedTables, decodePlan } from '../../src/ingest/decode.ts';
import { openLakeFeed } from '../../src/lake/lake.ts';
import { openLakeTable } from '../../src/lake/lake-table.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { readFeedState } from '../../src/lake/read-log.ts';
import type { ClosedBatch } from '../../src/model/batch.ts';
import { lineageColumns, valueColumns } from '../../src/model/columns.ts';
import type { SealOrder } from '../../src/model/cut.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { firstRule } from '../../src/model/snapshot-rules.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { openWarehouseFeed } from '../../src/warehouse/warehouse-feed.ts';
import { feedOf, type Json } from '../config/helpers.ts';
import { newId, rangeOf } from '../helpers/lake-folder.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { embeddedPlace, NOW_MS, never, place, tableOf, typed } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const KEY = ['name', 'n', 'amount', 'part', 'born', 'at', 'is_on'];
const FEED: Json = {
  feed_name: 'totals',
  feed_type: 'table',
  destination: 'both',
  schema: {
    key_field: KEY,
    fields: {
      text: 'VARCHAR',
      at: 'TIMESTAMP',
      name: 'VARCHAR(40)',
      n: 'BIGINT',
      amount: 'DECIMAL(12,3)',
      part: 'DECIMAL(3,3)',
      born: 'DATE',
      is_on: 'BOOLEAN',
    },
  },
};
const NAMES = ['user1', 'USER1', 'usér1', 'user1 ', '', '😀', '1:2'];
const BOUNDARY_MS = Date.UTC(2025, 0, 29);
const ROWS = 405;

/** Offsets from `start` on, one a row: every key part takes some values, few keys come twice, every ninth message deletes. */
async function stage(connection: Connection, start: number): Promise<ClosedBatch> {
  const feed = feedOf(FEED);
  const id = newId();
  const tables = await createStagedTables(connection, decodePlan(feed, { timezone: 'UTC', schemaVersion: 0 }), id);
  const list = NAMES.map((name) => `'${name}'`).join(', ');
  const key = `[${list}][1 + o % ${NAMES.length}] AS name, (o % 90 - 45)::BIGINT * 100_000_000_000 AS n, (o % 60)::DECIMAL(12,3) / 4 AS amount,
    CAST((o % 8) / 8.0 AS DECIMAL(3,3)) AS part, DATE '0999-12-30' + (o % 5)::INTEGER AS born,
    TIMESTAMPTZ '1969-12-31 23:59:59.999999+00' + INTERVAL 1 MICROSECOND * (o % 3) AS at, o % 2 = 0 AS is_on`;
  const lineage = `(o % 3)::INTEGER AS kafka_partition, o // 3 AS kafka_offset, make_timestamptz(1738000000000000 + o) AS kafka_timestamp`;
  const all = `range(${start}, ${start + ROWS}) r(o)`;
  await run(
    connection,
    `INSERT INTO ${tables.rows} BY NAME SELECT ${key}, 'text ' || o AS text, ${lineage} FROM ${all} WHERE o % 9 > 0`,
  );
  await run(connection, `INSERT INTO ${tables.tombstones} BY NAME SELECT ${key}, ${lineage} FROM ${all} WHERE o % 9 = 0`);
  const offsets = Array.from({ length: ROWS }, (_, index) => start + index);
  const ranges = [0, 1, 2].map((partition) => {
    const here = offsets.filter((one) => one % 3 === partition);
    const [from, to] = [Math.floor((here[0] ?? 0) / 3), Math.floor((here.at(-1) ?? 0) / 3) + 1];
    const tombstones = here.filter((one) => one % 9 === 0).length;
    return { ...rangeOf(from, to, partition), rows: here.length - tombstones, tombstones };
  });
  const rows = ranges.reduce((sum, range) => sum + range.rows, 0);
  const about = { feed: feed.name, topic: feed.topic, epoch: 0, schemaVersion: 0, deadLetters: 0, bytes: 1, eventTime: null };
  return { ...about, id, tables, memory: null, ranges, rows };
}

test.each([...mysqlEngines, 'duckdb'] as const)('the lake and %s agree on a sealed snapshot', async (engine) => {
  await using there = await (engine === 'duckdb' ? embeddedPlace() : place(engine));
  await using database = await openDatabase();
  const [connection, own] = [await database.connect(), await database.connect()];
  const feed = feedOf(FEED);
  await setUpWarehouse(there.warehouse, { lakeId: 'l1', feeds: [feed], nowMs: NOW_MS }, never);
  const rules = () => firstRule({ snapshotEvery: 'day', timezone: 'UTC' });
  const log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
  const warehouse = await openWarehouseFeed({
    ...{ warehouse: there.warehouse, feed: feed.name, topic: feed.topic, clusterId: 'c1', signal: never, snapshots: rules },
    patience: { log, nowMs: Date.now, stop: never, waitMsMax: null },
    tables: () => ({ fact: tableOf(FEED, there.warehouse.dialect), schemaVersion: 0 }),
    keyColumns: feed.keyFields,
    engine: (work) => work(connection),
    tell: () => undefined,
    refreshSchema: async () => undefined,
    nowMs: () => NOW_MS,
  });
  const root = mkdtempSync(join(tmpdir(), 'lake-checksum-'));
  const store = await openLocalStore({ root, access: 'write' });
  const about = { feed: feed.name, topic: feed.topic, clusterId: 'c1', nowMs: () => NOW_MS, newId };
  const lake = openLakeTable({
    lake: await openLakeFeed({ store, compression: 'snappy', ...about }),
    topic: feed.topic,
    engine: (work) => work(own),
    keyColumns: feed.keyFields,
    keyTypes: () => KEY.flatMap((name) => typed(feed).find((field) => field.name === name)?.type ?? []),
    columns: () => ({ schemaVersion: 0, columns: [...valueColumns(feed), ...lineageColumns(feed)] }),
    rules,
    publishEveryMs: 0,
    deltaBytesMax: 1 << 30,
  });
  try {
    for (const start of [0, ROWS]) {
      for (const target of [lake, warehouse])
        expect(await (await target.write(connection, await stage(connection, start))).commit(never)).toMatchObject({
          kind: target === lake ? 'applied' : 'committed',
        });
      expect((await lake.publish(never))?.answer.kind).toBe('committed');
    }
    const open = { date: '2025-01-28', version: 1, endsAtMs: BOUNDARY_MS };
    expect([lake.snapshot(), warehouse.snapshot()]).toEqual([open, open]);
    const positions = new Map(
      [...lake.state().positions].map(([partition, { position }]): [number, Offset] => [partition, toOffset(position)]),
    );
    const opens = { date: '2025-01-29', version: 1, endsAtMs: Date.UTC(2025, 0, 30) };
    const cut = { feed: feed.name, boundaryMs: BOUNDARY_MS, positions, opens, missed: [], by: 'lake', at: '' } as const;
    const order: SealOrder = { sealed: open, cut, positions, kind: 'at_cut' };
    expect([(await lake.seal(order, never)).kind, (await warehouse.seal(order, never)).kind]).toEqual(['committed', 'committed']);
    expect([lake.snapshot(), warehouse.snapshot()]).toEqual([opens, opens]);
    const [sealed] = (await readFeedState(store, feed.name)).sealed;
    const [found] = await there.rows(
      "SELECT row_count AS row_count, CAST(checksum AS CHAR) AS checksum FROM lake_snapshots WHERE state = 'sealed'",
    );
    expect(sealed?.rows).toBeGreaterThan(ROWS);
    expect([Number(found?.['row_count']), found?.['checksum']]).toEqual([sealed?.rows, sealed?.checksum]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
