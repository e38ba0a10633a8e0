// One file out of several: every row and value, sorted by time, also of files from before a column was added; and nothing at all where
// what was written is not what was read.

import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { openDatabase, query } from '../../src/duckdb/connection.ts';
import { parquetScan } from '../../src/duckdb/sql.ts';
import { type CompactionParts, writeCompacted } from '../../src/lake/compact.ts';
import { openFeedWriter } from '../../src/lake/feed-writer.ts';
import { readFooters } from '../../src/lake/footers.ts';
import { copyParquet } from '../../src/lake/parquet.ts';
import type { CompactionGroup } from '../../src/model/compaction.ts';
import { streamFilePath } from '../../src/model/paths.ts';
import { FEED, lakeFolder, newId, noSignal, rangeOf } from '../helpers/lake-folder.ts';

const DAY = { year: '2025', month: '01', day: '28' };
const lineage = (offset: string): string =>
  `0::INTEGER AS kafka_partition, (${offset})::BIGINT AS kafka_offset, '2025-01-28 00:00:00Z'::TIMESTAMPTZ + to_seconds(1000 - (${offset})) AS kafka_timestamp`;

/** Files of a feed, each the rows of one query. */
async function scene(selects: readonly string[]) {
  const lake = await lakeFolder();
  const database = await openDatabase({ memoryBytesMax: 1 << 28, tempFolder: `${lake.root}/spill` });
  const connection = await database.connect();
  const writer = await openFeedWriter({
    ...{ store: lake.store, feed: FEED, topic: 'shop.orders', clusterId: 'c', compression: 'snappy' },
    ...{ nowMs: Date.now, newId },
  });
  const mine = writer.log();
  let position = 0;
  for (const select of selects) {
    const batch = newId();
    const path = streamFilePath(FEED, DAY, batch, 0);
    const staged = `${mine.stagingFolder}/${batch}/${path}`;
    mkdirSync(dirname(lake.store.localPath(staged)), { recursive: true });
    const origin = { id: batch, feed: FEED, topic: 'shop.orders', schemaVersion: 0, ranges: [] };
    const local = lake.store.localPath(staged);
    const { rows, bytes } = await copyParquet(connection, { select, local, origin, compression: 'snappy', bytesPerRow: 600 });
    const times = { eventTimeMin: `2025-01-28T00:00:0${position % 10}.000000Z`, eventTimeMax: null };
    const written = { kind: 'data' as const, staged, path, rows, bytes, values: DAY, ...times };
    const ranges = [rangeOf(position, position + rows)];
    position += rows;
    const answer = await writer.commitFiles([written], (added) => writer.propose({ kind: 'append', batch, ranges, added }), {
      ...{ batch, mine, signal: noSignal },
    });
    expect(answer.kind).toBe('committed');
  }
  const files = [...writer.state().files.values()];
  const sum = (of: 'rows' | 'bytes'): number => files.reduce((all, file) => all + file[of], 0);
  const group: CompactionGroup = { feed: FEED, day: '2025-01-28', files, rows: sum('rows'), bytes: sum('bytes') };
  const parts = (more: Partial<CompactionParts> = {}): CompactionParts => ({
    ...{
      writer,
      mine,
      batch: newId(),
      topic: 'shop.orders',
      schemaVersion: 2,
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'added', type: 'VARCHAR' },
      ],
      eventTime: null,
      ...more,
    },
  });
  return {
    ...{ lake, connection, group, parts, writer },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await database[Symbol.asyncDispose]();
      await lake[Symbol.asyncDispose]();
    },
  };
}

test('columns of a newer schema are NULL in older rows, types are the wider ones, and the schema gives the order', async () => {
  await using of = await scene([
    `SELECT (i * 10)::INTEGER AS id, ${lineage('i')}, 'x' AS extra FROM range(3) t(i)`,
    `SELECT 3000000000::BIGINT + i AS id, ['a', NULL] AS added, ${lineage('3 + i')} FROM range(2) t(i)`,
  ]);
  const written = await writeCompacted(of.connection, of.group, of.parts());
  const local = of.lake.store.localPath(written.staged);
  const names = await query(of.connection, `DESCRIBE SELECT * FROM ${parquetScan([local])}`);
  expect(names.map((row) => `${row['column_name']} ${row['column_type']}`)).toEqual([
    ...['id BIGINT', 'added VARCHAR[]', 'kafka_partition INTEGER', 'kafka_offset BIGINT'],
    ...['kafka_timestamp TIMESTAMP WITH TIME ZONE', 'extra VARCHAR'],
  ]);
  const rows = await query(
    of.connection,
    `SELECT id, added IS NULL AS is_old FROM ${parquetScan([local])} ORDER BY file_row_number`,
  );
  // By the message's time, which goes back with the offset here.
  expect(rows.map((row) => `${row['id']} ${row['is_old']}`)).toEqual([
    ...['3000000001 false', '3000000000 false', '20 true', '10 true', '0 true'],
  ]);
  expect(written).toMatchObject({ rows: 5, values: DAY, eventTimeMin: '2025-01-28T00:00:00.000000Z', eventTimeMax: null });
});

test('rows are sorted by event time where there is one, and the footer says whose file it is', async () => {
  await using of = await scene([
    `SELECT i::BIGINT AS id, CASE WHEN i = 1 THEN NULL ELSE '2025-01-28 00:00:00Z'::TIMESTAMPTZ + to_seconds((i * 7) % 5) END AS at,
       ${lineage('i')} FROM range(5) t(i)`,
    `SELECT 5 + i::BIGINT AS id, '2025-01-28 00:00:02.5Z'::TIMESTAMPTZ AS at, ${lineage('5 + i')} FROM range(1) t(i)`,
  ]);
  const written = await writeCompacted(of.connection, of.group, of.parts({ eventTime: 'at' }));
  const local = of.lake.store.localPath(written.staged);
  const rows = await query(of.connection, `SELECT id FROM ${parquetScan([local])} ORDER BY file_row_number`);
  expect(rows.map((row) => Number(row['id']))).toEqual([0, 3, 5, 4, 2, 1].sort((a, b) => orderOf(a) - orderOf(b)));
  const footer = (await readFooters(of.connection, [local])).get(local);
  const metadata = footer && 'metadata' in footer ? Object.fromEntries(footer.metadata) : {};
  expect(metadata).toMatchObject({ lake_feed: FEED, lake_schema_version: '2', lake_ranges: '[]', lake_topic: 'shop.orders' });
});

/** 1 has no event time, and comes by its message's: the last. */
const orderOf = (id: number): number => (id === 1 ? 999 : id === 5 ? 2.5 : (id * 7) % 5);

test('where the files do not hold the rows that the log says, nothing is to be committed', async () => {
  await using of = await scene([
    `SELECT i::BIGINT AS id, ${lineage('i')} FROM range(3) t(i)`,
    `SELECT 9::BIGINT AS id, ${lineage('3')}`,
  ]);
  const wrong = { ...of.group, rows: of.group.rows + 1 };
  const failing = writeCompacted(of.connection, wrong, of.parts());
  await expect(failing).rejects.toMatchObject({ code: 'lake_damaged', message: expect.stringContaining('the log says 5') });
});

test('what is larger than the memory of the engine spills', async () => {
  const text = `${Array.from({ length: 8 }, (_, n) => `sha256('${n}' || i)`).join(' || ')} AS text`;
  const many = (from: number): string =>
    `SELECT i::BIGINT AS id, ${text}, ${lineage('i')} FROM range(${from}, ${from + 150_000}) t(i)`;
  await using of = await scene([many(0), many(150_000)]);
  await using small = await openDatabase({ memoryBytesMax: 128 * 1024 * 1024, tempFolder: `${of.lake.root}/spill-small` });
  const written = await writeCompacted(await small.connect(), of.group, of.parts());
  expect(written.rows).toBe(300_000);
});
