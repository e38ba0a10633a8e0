// Flush: a staged batch becomes Parquet files under the writer's staging folder, one a day, with the facts that its
// log entry needs. Nothing here is visible to readers before the entry names it.

import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
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

/** A written file without its checksum. */
export type WrittenFile = Omit<LakeFile, 'sha256'>;

/** Writes rows and dead letters; an empty batch writes nothing. Throws disk_full, engine_failed. */
export async function flushParquet(
  connection: Connection,
  batch: StagedBatch,
  options: FlushOptions,
): Promise<readonly WrittenFile[]> {
  const files: WrittenFile[] = [];
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
): Promise<WrittenFile[]> {
  const table = kind === 'data' ? batch.tables.rows : batch.tables.deadLetters;
  const days = await daysOf(connection, table, kind === 'data' ? batch.eventTime : null);
  const files: WrittenFile[] = [];
  for (const day of days) {
    const path =
      kind === 'data'
        ? streamFilePath(batch.feed, day.values, batch.id, 0)
        : deadLettersFilePath(batch.feed, day.values, batch.id);
    const staged = `${options.stagingFolder}/${batch.id}/${path}`;
    const local = options.localPath(staged);
    await mkdir(dirname(local), { recursive: true });
    const bytes = await copyDay(connection, {
      table,
      day,
      local,
      batch,
      compression: options.compression,
      isOnly: days.length === 1,
    });
    const { rows, values, eventTimeMin, eventTimeMax } = day;
    files.push({
      kind,
      staged,
      path,
      rows,
      bytes,
      values: { ...values },
      eventTimeMin,
      eventTimeMax,
    });
  }
  const expected = kind === 'data' ? batch.rows : batch.deadLetters;
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  assert(rows === expected, `batch ${batch.id} staged ${expected} ${kind} rows and wrote ${rows}`);
  return files;
}

/** The rows of one day, and the smallest and largest of their times (the log keeps them for data files). */
type Day = Pick<LakeFile, 'rows' | 'eventTimeMin' | 'eventTimeMax'> & { readonly values: DayValues };

async function daysOf(connection: Connection, table: string, eventTime: string | null): Promise<Day[]> {
  const time = `${eventTime === null ? 'kafka_timestamp' : quoteName(eventTime)}::TIMESTAMPTZ`;
  const iso = (expression: string): string => `strftime(${expression}, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  const rows = await query(
    connection,
    `SELECT format('{:04d}', year(_day)) AS year, format('{:02d}', month(_day)) AS month, format('{:02d}', day(_day)) AS day,
       count(*) AS rows, ${iso(`min(${time})`)} AS lowest, ${iso(`max(${time})`)} AS highest
     FROM ${table} GROUP BY _day ORDER BY _day`,
  );
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return rows.map((row) => ({
    values: { year: String(row['year']), month: String(row['month']), day: String(row['day']) },
    rows: Number(row['rows']),
    eventTimeMin: text(row['lowest']),
    eventTimeMax: text(row['highest']),
  }));
}

type DayCopy = {
  readonly table: string;
  readonly day: Day;
  readonly local: string;
  readonly batch: StagedBatch;
  readonly compression: Compression;
  readonly isOnly: boolean;
};

const READ_BYTES = 256 * 1024;
const ROW_GROUP_BYTES = 8 * 1024 * 1024;
const ROW_GROUP_ROWS_MAX = 122_880;
const VECTOR_ROWS = 2_048;

/** A row group is held in memory whole while it is written: wide rows make small groups. In rows, a multiple of DuckDB's vector. */
function rowGroupRows(bytesPerRow: number): number {
  const rows = Math.min(ROW_GROUP_ROWS_MAX, ROW_GROUP_BYTES / Math.max(1, bytesPerRow));
  return Math.max(1, Math.floor(rows / VECTOR_ROWS)) * VECTOR_ROWS;
}

/** A COPY a day: DuckDB's PARTITION_BY costs twice as much for the few days of a batch. Returns the file's bytes. */
async function copyDay(connection: Connection, { table, day, local, batch, compression, isOnly }: DayCopy): Promise<number> {
  const { year, month, day: dayOfMonth } = day.values;
  const where = isOnly ? '' : `WHERE _day = make_date(${year}, ${month}, ${dayOfMonth})`;
  const { rows, bytes } = await copyParquet(connection, {
    select: `SELECT * EXCLUDE (_day) FROM ${table} ${where}`,
    local,
    origin: batch,
    compression,
    bytesPerRow: batch.bytes / Math.max(1, batch.rows + batch.deadLetters),
  });
  assert(rows === day.rows, `${local} holds ${rows} rows instead of ${day.rows}`);
  return bytes;
}

/** What a file says of itself in its footer. */
export type FileOrigin = Pick<StagedBatch, 'id' | 'feed' | 'topic' | 'schemaVersion' | 'ranges'>;

/** Writes the rows of a query into one file, whose folder must be there. Throws disk_full, lake_not_writable, engine_failed. */
export async function copyParquet(
  connection: Connection,
  copy: {
    readonly select: string;
    readonly local: string;
    readonly origin: FileOrigin;
    readonly compression: Compression;
    readonly bytesPerRow: number;
  },
): Promise<{ readonly rows: number; readonly bytes: number }> {
  const { select, local, origin, compression } = copy;
  const ranges = JSON.stringify(origin.ranges.map(({ partition, start, end }) => [partition, String(start), String(end)]));
  const metadata = {
    lake_feed: origin.feed,
    lake_batch: origin.id,
    lake_topic: origin.topic,
    lake_schema_version: String(origin.schemaVersion),
    lake_ranges: ranges,
  };
  const pairs = Object.entries(metadata).map(([name, value]) => `${name}: ${quoteText(value)}`);
  try {
    const [written] = await query(
      connection,
      `COPY (${select})
       TO ${quoteText(local)} (FORMAT parquet, COMPRESSION ${compression === 'none' ? 'uncompressed' : compression}, RETURN_STATS,
         ROW_GROUP_SIZE ${rowGroupRows(copy.bytesPerRow)}, KV_METADATA { ${pairs.join(', ')} })`,
    );
    return { rows: Number(written?.['count']), bytes: Number(written?.['file_size_bytes']) };
  } catch (error) {
    throw diskError(error, local);
  }
}

/** Reads the files once, while they are still in the system's cache. */
export async function withChecksums(
  files: readonly WrittenFile[],
  localPath: (key: string) => string,
): Promise<readonly LakeFile[]> {
  const summed: LakeFile[] = [];
  for (const file of files) summed.push({ ...file, sha256: await sha256Of(localPath(file.staged)) });
  return summed;
}

/** Lower-case hex. One buffer for the whole file: a read stream would leave its size in garbage. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  await using file = await open(path, 'r');
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
  }
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
