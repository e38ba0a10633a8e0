// The files of a publish: the next data and state file of a table's open snapshot, made of the published ones and the delta, and
// its dead letters. The published files are scanned where they lie; only the delta is hashed (duckdb/collapse).
// Invariant: nothing is visible before the entry names it, and data and state file are written both or neither.

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DELETED_COLUMN, publishSql } from '../duckdb/collapse.ts';
import { type Connection, query, run } from '../duckdb/connection.ts';
import type { EngineTable } from '../duckdb/keyed-state.ts';
import { parquetScan, quoteName } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import type { Column } from '../model/columns.ts';
import type { LiveFile } from '../model/feed-state.ts';
import { stateFilePath, tableFilePath } from '../model/paths.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { snapshotValues } from '../model/snapshot-files.ts';
import type { FeedWriter } from './feed-writer.ts';
import type { FeedLog } from './log.ts';
import { copyParquet, type FileOrigin, flushParquet, type WrittenFile } from './parquet.ts';
import { resolveFile } from './resolve-file.ts';

export type PublishParts = {
  readonly writer: Pick<FeedWriter, 'store' | 'compression'>;
  /** The log under whose writer the files are staged. */
  readonly mine: Pick<FeedLog, 'stagingFolder'>;
  readonly origin: FileOrigin;
  readonly snapshot: SnapshotName;
  /** What is published of this snapshot; null: nothing yet. */
  readonly base: { readonly data: LiveFile; readonly state: LiveFile } | null;
  /** null: no key has changed; neither file is written unless the table is written as a whole. */
  readonly delta: EngineTable | null;
  readonly isWhole: boolean;
  readonly deadLetters: EngineTable | null;
  /** Files of dead letters that may be among these: those are not written again. */
  readonly filedLetters: readonly LiveFile[];
  readonly keyColumns: readonly string[];
  readonly columns: readonly Column[];
};

/** Stages the files. Throws disk_full, engine_failed, lake_damaged (a published file is nowhere; fold again before believing it). */
export async function writePublish(connection: Connection, parts: PublishParts): Promise<readonly WrittenFile[]> {
  const { writer, mine, origin, delta, isWhole, columns } = parts;
  const deadLetters = await newLetters(connection, parts);
  const flush = { stagingFolder: mine.stagingFolder, localPath: writer.store.localPath, compression: writer.compression };
  const letters = await flushParquet(
    connection,
    {
      ...origin,
      epoch: 0,
      tables: { rows: '', deadLetters: deadLetters?.table ?? '', tombstones: null },
      rows: 0,
      deadLetters: deadLetters?.rows ?? 0,
      bytes: deadLetters?.bytes ?? 0,
      eventTime: null,
    },
    flush,
  );
  if (delta) return [...(await writeKeyed(connection, { ...parts, delta })), ...letters];
  // Without a schema there is no table yet.
  if (!isWhole || columns.length === 0) return letters;
  return [...(await withNoRows(connection, parts, (empty) => writeKeyed(connection, { ...parts, delta: empty }))), ...letters];
}

/** A delta without a row in it. */
async function withNoRows<T>(
  connection: Connection,
  { origin, columns }: Pick<PublishParts, 'origin' | 'columns'>,
  work: (delta: EngineTable) => Promise<T>,
): Promise<T> {
  const table = quoteName(`empty_${origin.id}`);
  const shape = columns.map(({ name, type }) => `${quoteName(name)} ${type}`).join(', ');
  await run(connection, `CREATE TABLE ${table} (${shape}, ${DELETED_COLUMN} BOOLEAN)`);
  try {
    return await work({ table, rows: 0, bytes: 0 });
  } finally {
    await run(connection, `DROP TABLE ${table}`).catch(() => undefined);
  }
}

/** What is read a second time is refused a second time. */
async function newLetters(connection: Connection, parts: PublishParts): Promise<EngineTable | null> {
  const { deadLetters, filedLetters } = parts;
  if (deadLetters === null || filedLetters.length === 0) return deadLetters;
  const filed = await Promise.all(filedLetters.map((file) => scanOf(parts, file)));
  const coordinates = filed.map((from) => `SELECT kafka_partition, kafka_offset FROM ${from}`).join(' UNION ALL ');
  const { table, bytes } = deadLetters;
  await run(connection, `DELETE FROM ${table} WHERE (kafka_partition, kafka_offset) IN (${coordinates})`);
  const [left] = await query(connection, `SELECT count(*) AS count FROM ${table}`);
  return { table, rows: Number(left?.['count']), bytes };
}

async function writeKeyed(connection: Connection, parts: PublishParts & { readonly delta: EngineTable }): Promise<WrittenFile[]> {
  const { base, delta, keyColumns, columns, origin, snapshot } = parts;
  const losers = quoteName(`losers_${origin.id}`);
  const sql = publishSql({
    delta: delta.table,
    losers,
    base: base && (await scanOf(parts, base.data)),
    tombstones: base && (await scanOf(parts, base.state)),
    keyColumns,
    columns,
  });
  await run(connection, sql.losers);
  try {
    return [
      await writeFile(connection, parts, {
        kind: 'data',
        path: tableFilePath(origin.feed, snapshot, origin.id),
        select: sql.data,
      }),
      await writeFile(connection, parts, { kind: 'state', path: stateFilePath(origin.feed, origin.id), select: sql.state }),
    ];
  } finally {
    await run(connection, `DROP TABLE ${losers}`).catch(() => undefined);
  }
}

async function writeFile(
  connection: Connection,
  { writer, mine, origin, snapshot, delta }: PublishParts,
  { kind, path, select }: { readonly kind: 'data' | 'state'; readonly path: string; readonly select: string },
): Promise<WrittenFile> {
  const staged = `${mine.stagingFolder}/${origin.id}/${path}`;
  const local = writer.store.localPath(staged);
  await mkdir(dirname(local), { recursive: true });
  const bytesPerRow = (delta?.bytes ?? 0) / Math.max(1, delta?.rows ?? 0);
  const { rows, bytes } = await copyParquet(connection, { select, local, origin, compression: writer.compression, bytesPerRow });
  return { kind, staged, path, rows, bytes, values: snapshotValues(snapshot), eventTimeMin: null, eventTimeMax: null };
}

const scanOf = async ({ writer, origin }: PublishParts, file: LiveFile): Promise<string> =>
  parquetScan([await locate({ store: writer.store, feed: origin.feed }, file)]);

/** Where a published file lies, on this host. Throws lake_damaged: nowhere; fold again before believing it. */
export async function locate({ store, feed }: Pick<FeedWriter, 'store' | 'feed'>, file: LiveFile): Promise<string> {
  const key = await resolveFile(store, feed, file);
  if (key !== null) return store.localPath(key);
  throw new LakeError('lake_damaged', `${file.path} is neither staged nor in place, and the log names it`, {
    where: { feed, version: file.version, file: file.path },
  });
}
