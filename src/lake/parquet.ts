// Flush: a staged batch becomes Parquet files under the writer's staging folder, one or more a day, with the facts that its
// log entry needs. Nothing here is visible to readers before the entry names it.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { Compression } from '../config/config.ts';
import { type Connection, query } from '../duckdb/connection.ts';
import { quoteName, quoteText } from '../duckdb/sql.ts';
import { assert, LakeError } from '../errors.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { LakeFile } from '../model/log-entry.ts';
import { type DayValues, deadLettersFilePath, streamFilePath } from '../model/paths.ts';

export type FlushOptions = {
  /** The store's key of this writer's staging folder, and the same as a path on this host. */
  readonly stagingFolder: string;
  readonly localPath: (key: string) => string;
  readonly compression: Compression;
};

/** Writes rows and dead letters; an empty batch writes nothing. Throws disk_full, engine_failed. */
export async function flushParquet(
  connection: Connection,
  batch: StagedBatch,
  options: FlushOptions,
): Promise<readonly LakeFile[]> {
  const files: LakeFile[] = [];
  for (const kind of ['data', 'dead_letters'] as const) {
    if ((kind === 'data' ? batch.rows : batch.deadLetters) === 0) continue;
    files.push(...(await flushTable(connection, batch, kind, options)));
  }
  return files;
}

async function flushTable(
  connection: Connection,
  batch: StagedBatch,
  kind: LakeFile['kind'],
  options: FlushOptions,
): Promise<LakeFile[]> {
  const table = kind === 'data' ? batch.tables.rows : batch.tables.deadLetters;
  const folder = `${options.stagingFolder}/${batch.id}/${kind}`;
  const local = options.localPath(folder);
  await mkdir(local, { recursive: true });
  const written = await copy(connection, { table, local, batch, compression: options.compression });
  const times = kind === 'data' ? await eventTimes(connection, table, batch.eventTime) : new Map<string, TimeRange>();
  const files: LakeFile[] = [];
  for (const file of written) {
    const day: DayValues = { year: file.year, month: file.month, day: file.day };
    const [lowest, highest] = times.get(`${day.year}-${day.month}-${day.day}`) ?? [null, null];
    const path =
      kind === 'data' ? streamFilePath(batch.feed, day, batch.id, file.n) : deadLettersFilePath(batch.feed, day, batch.id);
    assert(kind === 'data' || file.n === 0, 'dead letters of one day fill one file');
    files.push({
      kind,
      staged: `${folder}/year=${day.year}/month=${day.month}/day=${day.day}/data_${batch.id}_${file.n}.parquet`,
      path,
      rows: file.rows,
      bytes: file.bytes,
      sha256: await sha256Of(file.local),
      values: { ...day },
      eventTimeMin: lowest,
      eventTimeMax: highest,
    });
  }
  const expected = kind === 'data' ? batch.rows : batch.deadLetters;
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  assert(rows === expected, `batch ${batch.id} staged ${expected} ${kind} rows and wrote ${rows}`);
  return files;
}

type WrittenFile = DayValues & { readonly local: string; readonly n: number; readonly rows: number; readonly bytes: number };

async function copy(
  connection: Connection,
  to: { table: string; local: string; batch: StagedBatch; compression: Compression },
): Promise<WrittenFile[]> {
  const { batch } = to;
  const ranges = JSON.stringify(batch.ranges.map(({ partition, start, end }) => [partition, String(start), String(end)]));
  const compression = to.compression === 'none' ? 'uncompressed' : to.compression;
  try {
    const rows = await query(
      connection,
      `COPY (
         SELECT * EXCLUDE (_day), format('{:04d}', year(_day)) AS year, format('{:02d}', month(_day)) AS month, format('{:02d}', day(_day)) AS day
         FROM ${to.table}
       ) TO ${quoteText(to.local)} (
         FORMAT parquet, COMPRESSION ${compression}, PARTITION_BY (year, month, day), FILENAME_PATTERN ${quoteText(`data_${batch.id}_{i}`)},
         OVERWRITE_OR_IGNORE, RETURN_STATS,
         KV_METADATA { lake_feed: ${quoteText(batch.feed)}, lake_batch: ${quoteText(batch.id)}, lake_topic: ${quoteText(batch.topic)},
           lake_schema_version: ${quoteText(String(batch.schemaVersion))}, lake_ranges: ${quoteText(ranges)} })`,
    );
    return rows.map((row) => writtenFile(String(row['filename']), Number(row['count']), Number(row['file_size_bytes'])));
  } catch (error) {
    throw diskError(error, to.local);
  }
}

function writtenFile(local: string, rows: number, bytes: number): WrittenFile {
  const match = /year=(\d+)\/month=(\d+)\/day=(\d+)\/data_[0-9a-f]+_(\d+)\.parquet$/.exec(local);
  assert(match, `DuckDB wrote ${local}, which is no name of ours`);
  const [, year = '', month = '', day = '', n = ''] = match;
  return { local, rows, bytes, year, month, day, n: Number(n) };
}

type TimeRange = readonly [string | null, string | null];

/** Per day the smallest and largest event time, as ISO 8601 in UTC. */
async function eventTimes(connection: Connection, table: string, column: string | null): Promise<Map<string, TimeRange>> {
  const time = `${column === null ? 'kafka_timestamp' : quoteName(column)}::TIMESTAMPTZ`;
  const iso = (expression: string): string => `strftime(${expression}, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  const rows = await query(
    connection,
    `SELECT format('{:04d}-{:02d}-{:02d}', year(_day), month(_day), day(_day)) AS day,
       ${iso(`min(${time})`)} AS lowest, ${iso(`max(${time})`)} AS highest FROM ${table} GROUP BY _day`,
  );
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return new Map(rows.map((row) => [String(row['day']), [text(row['lowest']), text(row['highest'])]]));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** DuckDB tells the operating system's errors only in words. */
export function diskError(error: unknown, path: string): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (/no space left|disk quota/i.test(text)) {
    return new LakeError('disk_full', `the disk of ${path} is full`, { where: { path }, cause: error });
  }
  if (/permission denied|read-only file system/i.test(text)) {
    return new LakeError('lake_not_writable', `${path} cannot be written`, { where: { path }, cause: error });
  }
  return error;
}
