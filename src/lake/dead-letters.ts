// Dead letters in the lake: which files hold them, what is kept of each, and the files that are left when some are closed.
// Invariant: a letter is read from a file that the log names, and what is left of a file is every letter of it that was not closed.

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Connection, fillTempTable, query, queryColumns } from '../duckdb/connection.ts';
import { parquetScan, quoteText } from '../duckdb/sql.ts';
import type { Letter, LetterMessage, LetterPlace, Selection } from '../model/dead-letters.ts';
import { type FeedState, type LiveFile, liveFiles } from '../model/feed-state.ts';
import { deadLettersFilePath } from '../model/paths.ts';
import type { FeedWriter } from './feed-writer.ts';
import type { FeedLog } from './log.ts';
import { copyParquet, type FileOrigin, type WrittenFile } from './parquet.ts';
import { locate } from './publish.ts';

export type LakeLetter = Letter & { readonly file: LiveFile };

type Of = Pick<FeedWriter, 'store' | 'feed'> & { readonly topic: string; readonly state: FeedState };

/** Oldest file first. Throws lake_damaged (a file is nowhere; fold again before believing it), engine_failed. */
export async function lakeLetters(connection: Connection, of: Of, selection: Selection): Promise<readonly LakeLetter[]> {
  const found: LakeLetter[] = [];
  const limit = selection.limit ?? Number.POSITIVE_INFINITY;
  for (const file of letterFiles(of.state)) {
    if (found.length >= limit) break;
    const columns = `${HEAD}, CAST(coalesce(octet_length(kafka_key), 0) + coalesce(octet_length(value), 0)
      + coalesce(strlen(headers), 0) AS VARCHAR)`;
    const rows = await rowsIn(connection, of, { file, columns, where: conditionOf(selection) });
    for (const row of rows) found.push({ ...headOf(row, of), bytes: Number(row[7]) + 24, file });
  }
  return found.slice(0, Math.min(limit, found.length));
}

/** A dead letters' file is named by the day of its messages, and no other is read for one place. */
export const letterFiles = (state: FeedState): readonly LiveFile[] =>
  liveFiles(state)
    .filter(({ kind }) => kind === 'dead_letters')
    .sort((a, b) => a.version - b.version || (a.path < b.path ? -1 : 1));

/** With their bytes; `letters` are of one file. */
export async function lakeMessages(
  connection: Connection,
  of: Of,
  letters: readonly LakeLetter[],
): Promise<readonly LetterMessage[]> {
  const [first] = letters;
  if (!first) return [];
  const where = `(kafka_partition, kafka_offset) IN (${letters.map(({ partition, offset }) => `(${partition}, ${offset})`).join(', ')})`;
  const rows = await rowsIn(connection, of, { file: first.file, columns: `${HEAD}, kafka_key, value, headers`, where });
  return rows.map((row) => {
    const [key = null, value = null, headers = null] = row.slice(7);
    const head = headOf(row, of);
    return { ...head, bytes: 0, key: bytesOf(key), value: bytesOf(value), headers: headers === null ? null : String(headers) };
  });
}

type Cell = string | Uint8Array | null;

const HEAD = `CAST(kafka_partition AS VARCHAR), CAST(kafka_offset AS VARCHAR), CAST(epoch_ms(kafka_timestamp) AS VARCHAR),
  CAST(epoch_ms(coalesce(effective_timestamp, kafka_timestamp)) AS VARCHAR), field, reason, CAST(schema_version AS VARCHAR)`;

const bytesOf = (cell: Cell): Uint8Array | null => (typeof cell === 'string' ? Buffer.from(cell) : cell);

async function rowsIn(
  connection: Connection,
  of: Of,
  { file, columns, where }: { readonly file: LiveFile; readonly columns: string; readonly where: string },
): Promise<readonly (readonly Cell[])[]> {
  const scan = await scanOf(of, [file]);
  const found = await queryColumns(
    connection,
    `SELECT ${columns} FROM ${scan} WHERE ${where} ORDER BY kafka_partition, kafka_offset`,
  );
  return Array.from({ length: found[0]?.length ?? 0 }, (_, row) => found.map((column) => column[row] ?? null));
}

/** Files from before there were retries lack a column. */
async function scanOf(of: Pick<Of, 'store' | 'feed'>, files: readonly LiveFile[]): Promise<string> {
  const paths: string[] = [];
  for (const file of files) paths.push(await locate(of, file));
  return `(SELECT * FROM ${parquetScan(paths)} UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS effective_timestamp WHERE false)`;
}

const numberOf = (cell: Cell | undefined): number | null => (cell === null || cell === undefined ? null : Number(cell));

function headOf(row: readonly Cell[], { feed, topic }: Of): Omit<Letter, 'bytes'> {
  const [partition, offset, timestampMs, effectiveMs, field = null, reason, schemaVersion] = row;
  return {
    ...{ feed, target: 'lake', topic, state: 'open', isWhole: true },
    ...{ partition: Number(partition), offset: BigInt(String(offset)) },
    ...{ timestampMs: numberOf(timestampMs), effectiveMs: numberOf(effectiveMs) },
    ...{ field: field === null ? null : String(field), reason: String(reason), schemaVersion: Number(schemaVersion) },
  };
}

function conditionOf({ place, field, reason, sinceMs }: Selection): string {
  const all = ['true'];
  if (place) all.push(`kafka_partition = ${place.partition} AND kafka_offset = ${place.offset}`);
  if (field !== null) all.push(`field = ${quoteText(field)}`);
  if (reason !== null) all.push(`contains(lower(reason), lower(${quoteText(reason)}))`);
  if (sinceMs !== null) all.push(`(kafka_timestamp IS NULL OR epoch_ms(kafka_timestamp) >= ${sinceMs})`);
  return all.join(' AND ');
}

export type LeftParts = {
  readonly writer: Pick<FeedWriter, 'store' | 'compression' | 'feed'>;
  readonly mine: Pick<FeedLog, 'stagingFolder'>;
  readonly origin: FileOrigin;
  /** From which letters are closed. */
  readonly files: readonly LiveFile[];
  readonly closed: readonly LetterPlace[];
};

/** Stages what is left of the files, one a day; a day that nothing is left of has none. Throws disk_full, engine_failed, lake_damaged. */
export async function writeLettersLeft(connection: Connection, parts: LeftParts): Promise<readonly WrittenFile[]> {
  const { writer, mine, origin, closed } = parts;
  await fillTempTable(connection, CLOSED, {
    count: closed.length,
    columns: {
      p: { type: 'INTEGER', values: Int32Array.from(closed, ({ partition }) => partition) },
      o: { type: 'BIGINT', values: BigInt64Array.from(closed, ({ offset }) => offset) },
    },
  });
  const written: WrittenFile[] = [];
  for (const files of Map.groupBy(parts.files, ({ values }) => JSON.stringify(values)).values()) {
    const { year = '', month = '', day = '' } = files[0]?.values ?? {};
    const left = `SELECT l.* FROM ${await scanOf(writer, files)} l ANTI JOIN temp.${CLOSED} c
      ON l.kafka_partition = c.p AND l.kafka_offset = c.o`;
    const iso = (of: string): string => `strftime(${of}(kafka_timestamp), '%Y-%m-%dT%H:%M:%S.%fZ')`;
    const [found] = await query(
      connection,
      `SELECT count(*) AS rows, ${iso('min')} AS lowest, ${iso('max')} AS highest FROM (${left})`,
    );
    if (Number(found?.['rows']) === 0) continue;
    const path = deadLettersFilePath(writer.feed, { year, month, day }, origin.id);
    const staged = `${mine.stagingFolder}/${origin.id}/${path}`;
    const local = writer.store.localPath(staged);
    await mkdir(dirname(local), { recursive: true });
    const sum = (of: 'rows' | 'bytes'): number => files.reduce((all, file) => all + file[of], 0);
    const copy = { local, origin, compression: writer.compression, bytesPerRow: sum('bytes') / Math.max(1, sum('rows')) };
    const { rows, bytes } = await copyParquet(connection, { select: left, ...copy });
    const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
    const times = { eventTimeMin: text(found?.['lowest']), eventTimeMax: text(found?.['highest']) };
    written.push({ kind: 'dead_letters', staged, path, rows, bytes, values: { year, month, day }, ...times });
  }
  return written;
}

const CLOSED = 'lake_letters_closed';
