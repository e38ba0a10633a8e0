// Files of a stream, or of dead letters, beside the points that a feed is rewound to: what of each lies beyond them, and the files without
// those rows (PROTOCOL M4). Invariant: only what has rows on both sides is written again, with every value of every row that stays.

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Connection, query } from '../duckdb/connection.ts';
import { parquetScan } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import type { LiveFile } from '../model/feed-state.ts';
import type { LakeFile } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import { deadLettersFilePath, streamFilePath } from '../model/paths.ts';
import type { FileCounts, Points } from '../model/rewind.ts';
import type { FeedWriter } from './feed-writer.ts';
import { copyParquet, withChecksums } from './parquet.ts';
import { locate } from './publish.ts';

const pointOf = (offsets: Points): string =>
  `CASE kafka_partition ${[...offsets].map(([partition, offset]) => `WHEN ${partition} THEN ${offset}`).join(' ')} END`;

/** NULL of partitions that stay, and of rows that are of no message: those are not beyond it. */
const beyondSql = (points: Points): string => `coalesce(kafka_offset >= ${pointOf(points)}, false)`;

export type LookInto = {
  readonly connection: Connection;
  readonly writer: Pick<FeedWriter, 'store' | 'feed'>;
  readonly points: Points;
  /** By partition: the offset from which on rows before the point are to be counted. */
  readonly marks: ReadonlyMap<number, Offset>;
};

/** Reads two columns. Throws engine_failed (also when the file was moved meanwhile), lake_damaged. */
export async function lookInto({ connection, writer, points, marks }: LookInto, file: LiveFile): Promise<FileCounts> {
  const beyond = beyondSql(points);
  const rows = await query(
    connection,
    `SELECT kafka_partition, count(*) FILTER (${beyond}) AS beyond, count(*) FILTER (NOT ${beyond} AND kafka_offset >= ${pointOf(marks)}) AS near
     FROM ${parquetScan([await locate(writer, file)])} WHERE kafka_partition IS NOT NULL GROUP BY kafka_partition`,
  );
  return {
    beyond: rows.reduce((sum, row) => sum + Number(row['beyond']), 0),
    near: new Map(rows.map((row) => [Number(row['kafka_partition']), Number(row['near'])])),
  };
}

export type WriteKept = {
  readonly connection: Connection;
  readonly writer: FeedWriter;
  readonly points: Points;
  readonly topic: string;
  readonly schemaVersion: number;
  /** Under the writer's staging folder. */
  readonly folder: string;
};

/** Stages the file without what lies beyond the points. Throws as `lookInto`, disk_full. */
export async function writeKept(
  { connection, writer, points, topic, schemaVersion, folder }: WriteKept,
  { file, rowsKept }: { readonly file: LiveFile; readonly rowsKept: number },
): Promise<LakeFile> {
  const { store, feed } = writer;
  const id = writer.newId();
  const { year = '', month = '', day = '' } = file.values;
  const of = { year, month, day };
  const path = file.kind === 'data' ? streamFilePath(feed, of, id, 0) : deadLettersFilePath(feed, of, id);
  const staged = `${folder}/${path}`;
  const local = store.localPath(staged);
  await mkdir(dirname(local), { recursive: true });
  const { rows, bytes } = await copyParquet(connection, {
    select: `SELECT * FROM ${parquetScan([await locate(writer, file)])} WHERE NOT ${beyondSql(points)}`,
    local,
    // Its rows are some of those of many ranges: the footer claims none.
    origin: { id, feed, topic, schemaVersion, ranges: [] },
    compression: writer.compression,
    bytesPerRow: (UNPACKED * file.bytes) / Math.max(1, file.rows),
  });
  if (rows !== rowsKept)
    throw new LakeError('lake_damaged', `${file.path} has ${rows} rows that stay, ${rowsKept} were counted`, {
      where: { feed, file: file.path },
    });
  const { kind, values, eventTimeMin, eventTimeMax } = file;
  const [written] = await withChecksums(
    [{ kind, staged, path, rows, bytes, values, eventTimeMin, eventTimeMax }],
    store.localPath,
  );
  if (!written) throw new LakeError('bug', `${path} was written and has no checksum`);
  return written;
}

/** A row group is larger unpacked than in its file. */
const UNPACKED = 4;
