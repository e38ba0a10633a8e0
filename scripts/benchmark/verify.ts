// How long `lake verify` looks at a lake of 100, 1,000 and 10,000 files: the lake's own checks, quick and with every byte read.
// One commit a file, as a quiet feed makes them.

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Connection, openDatabase, run } from '../../src/duckdb/connection.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLakeFeed } from '../../src/lake/lake.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import type { StagedBatch } from '../../src/model/batch.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { verifyContent } from '../../src/operations/verify-deep.ts';
import { verifyLake } from '../../src/operations/verify-lake.ts';
import { say } from '../common.ts';
import { benchFolder } from './kafka.ts';

const FEED = 'events';
const FILE_ROWS = 1_000;
const newId = createIdSource({ nowMs: Date.now, randomBytes });

export async function benchVerify(counts: readonly number[]): Promise<string> {
  const root = join(benchFolder, 'verify');
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  await using database = await openDatabase({ memoryBytesMax: 2 ** 28 });
  const connection = await database.connect();
  const rows: string[][] = [];
  try {
    let files = 0;
    for (const count of counts) {
      say(`a lake of ${count} files`);
      await grow(root, connection, { from: files, to: count });
      files = count;
      rows.push(await measured(root, connection, count));
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const titles = ['files', 'rows', 'MB', 'quick ms', 'ms a file', 'deep, also: ms', 'MB/s'];
  return [line(titles), line(titles.map(() => '---:')), ...rows.map(line)].join('\n');
}

async function grow(root: string, connection: Connection, { from, to }: { from: number; to: number }): Promise<void> {
  const store = await openLocalStore({ root, access: 'write' });
  const given = { store, feed: FEED, topic: FEED, clusterId: 'bench', compression: 'snappy', nowMs: Date.now, newId } as const;
  const lake = await openLakeFeed(given);
  for (let index = from; index < to; index++) {
    const start = index * FILE_ROWS;
    await run(
      connection,
      `CREATE OR REPLACE TABLE staged AS SELECT ${start} + range AS id, md5(range::VARCHAR) AS text, 0 AS kafka_partition,
         ${start} + range AS kafka_offset, TIMESTAMPTZ '2025-01-28 00:00:00+00' AS kafka_timestamp, NULL::BLOB AS kafka_key,
         DATE '2025-01-28' AS _day FROM range(${FILE_ROWS})`,
    );
    const written = await lake.write(connection, batchOf(start));
    const answer = await written.commit(new AbortController().signal);
    if (answer.kind !== 'committed') throw new Error(`a commit ended as ${answer.kind}`);
  }
  await lake.close();
}

function batchOf(start: number): StagedBatch {
  const end = start + FILE_ROWS;
  const counts = { messages: FILE_ROWS, rows: FILE_ROWS, deadLetters: 0, tombstones: 0 };
  const last = { offset: toOffset(BigInt(end - 1)), timestampMs: Date.UTC(2025, 0, 28), hash: '00' };
  const range = { partition: 0, start: toOffset(BigInt(start)), end: toOffset(BigInt(end)), ...counts, last };
  return {
    id: newId(),
    feed: FEED,
    topic: FEED,
    eventTime: null,
    epoch: 0,
    schemaVersion: 0,
    ranges: [{ ...range, timestampMsMax: last.timestampMs }],
    tables: { rows: 'staged', deadLetters: '', tombstones: null },
    rows: FILE_ROWS,
    deadLetters: 0,
    bytes: FILE_ROWS * 60,
  };
}

async function measured(root: string, connection: Connection, count: number): Promise<string[]> {
  const store = await openLocalStore({ root, access: 'read' });
  const startedMs = performance.now();
  const { log, results } = await verifyLake({ store, connection, feed: FEED, nowMs: Date.now() });
  const quickMs = performance.now() - startedMs;
  const found = results.flatMap(({ findings }) => findings);
  if (found.length > 0) throw new Error(`verify found ${found[0]?.what} in a good lake`);
  let bytes = 0;
  const deepFromMs = performance.now();
  await verifyContent({ store, connection, state: log.state, read: (more) => (bytes += more) });
  const deepMs = performance.now() - deepFromMs;
  const mb = bytes / 1e6;
  const figures = [
    mb.toFixed(1),
    quickMs.toFixed(0),
    (quickMs / count).toFixed(2),
    deepMs.toFixed(0),
    (mb / (deepMs / 1000)).toFixed(0),
  ];
  return [String(count), String(count * FILE_ROWS), ...figures];
}
