// Rows of a message, or of its key, in the files of a feed. Reads only the files it is given, wherever they lie now (R6).

import { keyHashSql } from '../duckdb/collapse.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import type { Exact } from '../duckdb/exact.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { parquetScan, quoteName } from '../duckdb/sql.ts';
import { prepareAll } from '../duckdb/statement.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { ObjectStore } from '../lake/store.ts';
import { duckdbType } from '../model/columns.ts';
import type { LakeFile } from '../model/log-entry.ts';
import type { MessagePlace } from '../model/trace.ts';

export type Hit<F> = {
  readonly file: F;
  /** Where the file lies now, relative to the lake. */
  readonly path: string;
  /** From 0. */
  readonly row: number;
  readonly columns: Readonly<Record<string, Exact>>;
};

/** A file moved or went while it was looked for: fold again. */
export class FileMoved extends Error {}

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;

export type Finder = AsyncDisposable & {
  byPlace<F extends LakeFile>(files: readonly F[], place: MessagePlace): Promise<readonly Hit<F>[]>;
  byKey<F extends LakeFile>(files: readonly F[], key: readonly KeyColumn[], hash: Uint8Array): Promise<readonly Hit<F>[]>;
};

/** Its searches throw FileMoved. */
export async function openFinder(store: ObjectStore, feed: string): Promise<Finder> {
  const database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX });
  const connection = await database.connect();
  const find = async <F extends LakeFile>(files: readonly F[], where: string, select = '*'): Promise<Hit<F>[]> => {
    const hits: Hit<F>[] = [];
    for (const file of files) {
      const path = await resolveFile(store, feed, file);
      if (path === null) throw new FileMoved(file.path);
      try {
        for (const { row, columns } of await rowsIn(connection, store.localPath(path), { select, where }))
          hits.push({ file, path, row, columns });
      } catch (error) {
        if ((await store.size(path)) === null) throw new FileMoved(file.path);
        throw error;
      }
    }
    return hits;
  };
  return {
    byPlace: (files, { partition, offset }) => find(files, `kafka_partition = ${partition} AND kafka_offset = ${offset}`),
    // A file from before a type was widened has the text of the wider one.
    byKey: (files, key, hash) => {
      const cast = key.map(({ name, type }) => `CAST(${quoteName(name)} AS ${duckdbType(type)}) AS ${quoteName(name)}`);
      const where = `${keyHashSql(key)} = unhex('${Buffer.from(hash).toString('hex')}')`;
      return find(files, where, `* REPLACE (${cast.join(', ')})`);
    },
    [Symbol.asyncDispose]: async () => {
      connection.closeSync();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** A file at a time: few are looked at, and each says its own columns. */
async function rowsIn(
  connection: Connection,
  path: string,
  { select, where }: { readonly select: string; readonly where: string },
) {
  const scan = parquetScan([path]).replace(/\)$/, ', file_row_number = true)');
  const statement = await (await prepareAll(connection, `FROM (SELECT ${select} FROM ${scan}) WHERE ${where}`)).prepare(0);
  const { columns, batches } = await statement.run();
  const found: { readonly row: number; readonly columns: Record<string, Exact> }[] = [];
  for await (const batch of batches())
    for (const cells of batch) {
      const named = Object.fromEntries(columns.map(({ name }, index) => [name, cells[index] ?? null]));
      const { file_row_number: row, ...rest } = named;
      found.push({ row: Number(row), columns: rest });
    }
  statement.close();
  return found;
}
