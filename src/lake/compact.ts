// One large file of a group of small ones: read by the log's names, sorted by time, written by DuckDB, which spills what does not fit,
// and compared with what it was made of before an entry may name it (PROTOCOL 5).
// Invariant: every row with every value, and no other, or no entry.

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { alikeFiles } from '../duckdb/adopted-files.ts';
import { type Connection, query } from '../duckdb/connection.ts';
import { parquetScan, quoteName } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import { isAdopted } from '../model/adopted.ts';
import type { Column } from '../model/columns.ts';
import type { CompactionGroup } from '../model/compaction.ts';
import type { LiveFile } from '../model/feed-state.ts';
import { streamFilePath } from '../model/paths.ts';
import type { FeedWriter } from './feed-writer.ts';
import type { FeedLog } from './log.ts';
import { copyParquet, type WrittenFile } from './parquet.ts';
import { locate } from './publish.ts';

export type CompactionParts = {
  readonly writer: FeedWriter;
  readonly mine: FeedLog;
  readonly batch: string;
  readonly topic: string;
  readonly schemaVersion: number;
  /** In the order of the schema, lineage last; columns of older files that it does not have follow. */
  readonly columns: readonly Column[];
  /** null: by the message's time alone. */
  readonly eventTime: string | null;
};

/** DuckDB's memory is for sorting; a row group is larger unpacked than in its file. */
const UNPACKED = 4;

/** Stages the file. Throws disk_full, engine_failed (also when a file was moved meanwhile: look again), lake_damaged. */
export async function writeCompacted(
  connection: Connection,
  group: CompactionGroup,
  parts: CompactionParts,
): Promise<WrittenFile> {
  const { writer, mine, batch, topic, schemaVersion } = parts;
  const { store, feed } = writer;
  const paths: string[] = [];
  for (const file of group.files) paths.push(await locate({ store, feed }, file));
  const source = await sourceOf(connection, { files: group.files, paths }, parts.columns);
  const columns = await columnsOf(
    connection,
    source,
    parts.columns.map(({ name }) => name),
  );
  const [first] = group.files;
  const { year = '', month = '', day = '' } = first?.values ?? {};
  const path = streamFilePath(feed, { year, month, day }, batch, 0);
  const staged = `${mine.stagingFolder}/${batch}/${path}`;
  const local = store.localPath(staged);
  await mkdir(dirname(local), { recursive: true });
  const { bytes } = await copyParquet(connection, {
    select: `SELECT ${columns.map(quoteName).join(', ')} FROM ${source} ORDER BY ${orderOf(parts.eventTime, columns)}`,
    local,
    // Its rows are some of those of many ranges: the footer claims none.
    origin: { id: batch, feed, topic, schemaVersion, ranges: [] },
    compression: writer.compression,
    bytesPerRow: (UNPACKED * group.bytes) / Math.max(1, group.rows),
  });
  const [before, after] = [
    await totalsOf(connection, source, columns),
    await totalsOf(connection, parquetScan([local]), columns),
  ];
  if (before.rows !== group.rows || after.rows !== before.rows || after.checksum !== before.checksum)
    throw new LakeError(
      'lake_damaged',
      `${group.files.length} files of ${group.day} hold ${before.rows} rows (${before.checksum}), the log says ${group.rows}; written were ${after.rows} (${after.checksum})`,
      {
        where: { feed, file: first?.path ?? '' },
        todo: 'nothing was changed; see what  lake verify --deep  says of these files',
      },
    );
  return { kind: 'data', staged, path, rows: group.rows, bytes, values: { year, month, day }, ...timesOf(group.files) };
}

/** Files that were adopted are read as the schema has them, each group of alike ones by itself; the others as they are. */
async function sourceOf(
  connection: Connection,
  { files, paths }: { readonly files: readonly LiveFile[]; readonly paths: readonly string[] },
  columns: readonly Column[],
): Promise<string> {
  const isOld = (index: number): boolean => files[index] !== undefined && isAdopted(files[index]);
  const own = paths.filter((_, index) => !isOld(index));
  if (own.length === paths.length) return parquetScan(paths);
  const adopted = await alikeFiles(
    connection,
    paths.filter((_, index) => isOld(index)),
  );
  const scans: string[] = own.length === 0 ? [] : [`SELECT * FROM ${parquetScan(own)}`];
  for (const group of adopted) {
    const found = new Set(
      (await query(connection, `DESCRIBE SELECT * FROM ${parquetScan(group)}`)).map((row) => String(row['column_name'])),
    );
    const cast = columns.map(
      ({ name, type }) => `CAST(${found.has(name) ? quoteName(name) : 'NULL'} AS ${type}) AS ${quoteName(name)}`,
    );
    const rest = [...found].filter((name) => !columns.some((column) => column.name === name)).map(quoteName);
    scans.push(`SELECT ${[...cast, ...rest].join(', ')} FROM ${parquetScan(group)}`);
  }
  return `(${scans.join(' UNION ALL BY NAME ')})`;
}

async function columnsOf(connection: Connection, source: string, wanted: readonly string[]): Promise<readonly string[]> {
  const found = (await query(connection, `DESCRIBE SELECT * FROM ${source}`)).map((row) => String(row['column_name']));
  return [...wanted.filter((name) => found.includes(name)), ...found.filter((name) => !wanted.includes(name))];
}

function orderOf(eventTime: string | null, columns: readonly string[]): string {
  const ofRow = eventTime !== null && columns.includes(eventTime) ? `${quoteName(eventTime)}::TIMESTAMPTZ, ` : '';
  return `coalesce(${ofRow}kafka_timestamp), kafka_partition, kafka_offset`;
}

/** Over all values of all rows, in whatever order they are. */
async function totalsOf(connection: Connection, source: string, columns: readonly string[]) {
  const [totals] = await query(
    connection,
    `SELECT count(*) AS rows, CAST(coalesce(sum(hash(${columns.map(quoteName).join(', ')})), 0) AS VARCHAR) AS checksum FROM ${source}`,
  );
  return { rows: Number(totals?.['rows']), checksum: String(totals?.['checksum']) };
}

function timesOf(files: readonly LiveFile[]): Pick<WrittenFile, 'eventTimeMin' | 'eventTimeMax'> {
  const lowest = files.flatMap(({ eventTimeMin }) => eventTimeMin ?? []).sort();
  const highest = files.flatMap(({ eventTimeMax }) => eventTimeMax ?? []).sort();
  return { eventTimeMin: lowest[0] ?? null, eventTimeMax: highest.at(-1) ?? null };
}
