// The embedded DuckDB: opened lazily, bounded, in UTC. Its package is loaded on first use, so that `lake --help` never needs it.
// Invariant: every database has a memory limit, one place for spilled data, and no access to the network for extensions.
import { mkdir, rm } from 'node:fs/promises';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBPreparedStatement, DuckDBValue } from '@duckdb/node-api';
import { LakeError } from '../errors.ts';
import { quoteName } from './sql.ts';

export type Connection = DuckDBConnection;
export type SqlValue = DuckDBValue;

export type DatabaseOptions = {
  /** A file, or ':memory:' (default). */
  readonly path?: string;
  readonly readOnly?: boolean;
  readonly memoryBytesMax?: number;
  readonly threads?: number;
  /** Where DuckDB spills what does not fit into memory; null: it fails instead. */
  readonly tempFolder?: string | null;
};

export type Database = AsyncDisposable & {
  connect(): Promise<Connection>;
};

/** With a decoder that keeps a text's leading U+FEFF: the package's own takes it for a mark and drops it. */
const load = async () => {
  const [api, accessors] = await Promise.all([
    import('@duckdb/node-api'),
    import('@duckdb/node-api/lib/vectors/dataAccessors.js'),
  ]);
  Object.assign(accessors.default, { textDecoder: KEEPING });
  return api;
};
const KEEPING = new TextDecoder('utf-8', { ignoreBOM: true });

/** Opens a database. Throws engine_failed. Connections die with it. The folder for spilled data is made, and taken away with it. */
export async function openDatabase(options: DatabaseOptions = {}): Promise<Database> {
  const { DuckDBInstance } = await load();
  const settings: Record<string, string> = {
    autoinstall_known_extensions: 'false',
    threads: String(options.threads ?? 1),
    memory_limit: `${Math.ceil((options.memoryBytesMax ?? 1 << 30) / 1024)}KiB`,
    temp_directory: options.tempFolder ?? '',
    // Memory of dropped tables goes back to the system at once; by default DuckDB keeps up to 512 MiB of it.
    allocator_flush_threshold: '16MiB',
    allocator_bulk_deallocation_flush_threshold: '16MiB',
    write_buffer_row_group_count: '1',
  };
  if (options.readOnly) settings['access_mode'] = 'READ_ONLY';
  const path = options.path ?? ':memory:';
  // DuckDB makes only the last folder of the path, and only when it spills.
  if (options.tempFolder) await mkdir(options.tempFolder, { recursive: true });
  const instance = await guarded(() => DuckDBInstance.create(path, settings), `the database ${path} cannot be opened`);
  return {
    connect: async () => {
      const connection = await guarded(() => instance.connect(), `the database ${path} gives no connection`);
      await run(connection, "SET TimeZone = 'UTC'");
      return connection;
    },
    [Symbol.asyncDispose]: async () => {
      instance.closeSync();
      if (options.tempFolder) await rm(options.tempFolder, { recursive: true, force: true });
    },
  };
}

/** Runs statements; `values` bind $1, $2, … Throws engine_failed with DuckDB's words as the cause. */
export async function run(connection: Connection, sql: string, values?: SqlValue[]): Promise<number> {
  const result = await guarded(() => connection.run(sql, values), firstLine(sql));
  return result.rowsChanged;
}

/** The rows as objects of plain JavaScript values: bigint for BIGINT, DuckDB's own value classes for the rest. */
export async function query(connection: Connection, sql: string, values?: SqlValue[]): Promise<Record<string, SqlValue>[]> {
  const reader = await guarded(() => connection.runAndReadAll(sql, values), firstLine(sql));
  return reader.getRowObjects();
}

export type PlainValue = string | number | bigint | Uint8Array | null;

/** One statement with its values at `?`, each bound as what it is. BIGINTs and DECIMALs come back as texts of all their digits,
 *  instants as texts in UTC with microseconds, booleans as 0 or 1. Throws engine_failed with DuckDB's words as the cause. */
export async function execute(
  connection: Connection,
  { text, values }: { readonly text: string; readonly values: readonly PlainValue[] },
): Promise<{ readonly changed: number; readonly rows: Record<string, string | number | Uint8Array | null>[] }> {
  return guarded(async () => {
    const statement = await connection.prepare(text);
    try {
      for (const [index, value] of values.entries()) bind(statement, index + 1, value);
      const reader = await statement.runAndReadAll();
      const rows = reader
        .getRowObjects()
        .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])));
      return { changed: reader.rowsChanged, rows };
    } finally {
      statement.destroySync();
    }
  }, firstLine(text));
}

function bind(statement: DuckDBPreparedStatement, index: number, value: PlainValue): void {
  if (value === null) statement.bindNull(index);
  else if (typeof value === 'string') statement.bindVarchar(index, value);
  else if (typeof value === 'bigint') statement.bindBigInt(index, value);
  else if (typeof value === 'object') statement.bindBlob(index, value);
  else if (Number.isSafeInteger(value) && !Object.is(value, -0)) statement.bindBigInt(index, BigInt(value));
  else statement.bindDouble(index, value);
}

function plain(value: DuckDBValue): string | number | Uint8Array | null {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'object' && 'bytes' in value && value.bytes instanceof Uint8Array) return value.bytes;
  if (typeof value === 'object' && 'micros' in value && typeof value.micros === 'bigint') return instantText(value.micros);
  return String(value);
}

const MICROS = 1_000_000n;

function instantText(micros: bigint): string {
  const fraction = ((micros % MICROS) + MICROS) % MICROS;
  const seconds = new Date(Number((micros - fraction) / 1000n)).toISOString();
  return `${seconds.slice(0, 10)} ${seconds.slice(11, 19)}.${String(fraction).padStart(6, '0')}`;
}

/** The result by columns: texts, bytes of BLOBs, and NULL; of other types nothing may be asked. Throws engine_failed. */
export async function queryColumns(connection: Connection, sql: string): Promise<(string | Uint8Array | null)[][]> {
  const reader = await guarded(() => connection.runAndReadAll(sql), firstLine(sql));
  return reader.getColumns().map((column) => column.map(textOrBytes));
}

function textOrBytes(value: DuckDBValue): string | Uint8Array | null {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'object' && 'bytes' in value && value.bytes instanceof Uint8Array) return value.bytes;
  throw new LakeError('bug', `a column of DuckDB holds ${typeof value} where texts and bytes were asked for`);
}

/** Makes or fills a table with bytes bound to $1, $2, …, which are freed at once, not when the garbage collector finds them.
 *  Returns how many rows it has got. Throws engine_failed. */
export async function runWithBytes(connection: Connection, sql: string, values: readonly Uint8Array[]): Promise<number> {
  return guarded(async () => {
    const statement = await connection.prepare(sql);
    try {
      for (const [index, value] of values.entries()) statement.bindBlob(index + 1, value);
      const [count] = await (await statement.run()).getRows();
      return Number(count?.[0]);
    } finally {
      statement.destroySync();
    }
  }, firstLine(sql));
}

const firstLine = (sql: string): string => `DuckDB refused: ${sql.trim().slice(0, 120).replaceAll(/\s+/g, ' ')}`;

async function guarded<T>(work: () => Promise<T>, subject: string): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const words = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new LakeError('engine_failed', `${subject}: ${words}`, { cause });
  }
}

/** Values of one column; typed arrays are copied as they are (no NULLs), the others value by value. */
export type ColumnValues =
  | { readonly type: 'INTEGER'; readonly values: Int32Array }
  | { readonly type: 'BIGINT'; readonly values: BigInt64Array }
  | { readonly type: 'VARCHAR'; readonly values: readonly (string | null)[] }
  | { readonly type: 'BLOB'; readonly values: readonly (Uint8Array | null)[] };

/** What DuckDB takes in one data chunk. */
const CHUNK_ROWS = 2048;

/** (Re)makes a temporary table of this connection from columns that hold at least `count` values each. Throws engine_failed. */
export async function fillTempTable(
  connection: Connection,
  table: string,
  content: { readonly count: number; readonly columns: Readonly<Record<string, ColumnValues>> },
): Promise<void> {
  const { DuckDBDataChunk, BIGINT, BLOB, INTEGER, VARCHAR, blobValue } = await load();
  const types = { INTEGER, BIGINT, VARCHAR, BLOB };
  const columns = Object.entries(content.columns);
  const list = columns.map(([name, { type }]) => `${quoteName(name)} ${type}`).join(', ');
  await run(connection, `CREATE OR REPLACE TEMP TABLE ${quoteName(table)} (${list})`);
  const appender = await guarded(() => connection.createAppender(table, 'main', 'temp'), `table ${table} takes no rows`);
  try {
    for (let from = 0; from < content.count; from += CHUNK_ROWS) {
      const to = Math.min(content.count, from + CHUNK_ROWS);
      const chunk = DuckDBDataChunk.create(
        columns.map(([, { type }]) => types[type]),
        to - from,
      );
      for (const [index, [, column]] of columns.entries()) {
        if (column.type === 'INTEGER' || column.type === 'BIGINT') setNumbers(chunk, index, column, { from, to });
        else if (column.type === 'VARCHAR') chunk.setColumnValues(index, column.values.slice(from, to));
        else
          chunk.setColumnValues(
            index,
            column.values.slice(from, to).map((bytes) => (bytes === null ? null : blobValue(bytes))),
          );
      }
      appender.appendDataChunk(chunk);
    }
  } finally {
    appender.closeSync();
  }
}

/** Straight into the vector's memory: a value at a time costs ten times as much. */
function setNumbers(
  chunk: DuckDBDataChunk,
  index: number,
  column: ColumnValues & { type: 'INTEGER' | 'BIGINT' },
  rows: { readonly from: number; readonly to: number },
): void {
  const vector = chunk.getColumnVector(index);
  const target: unknown = 'items' in vector ? vector.items : undefined;
  if (column.type === 'INTEGER' && target instanceof Int32Array) target.set(column.values.subarray(rows.from, rows.to));
  else if (column.type === 'BIGINT' && target instanceof BigInt64Array) target.set(column.values.subarray(rows.from, rows.to));
  else throw new LakeError('bug', `a ${column.type} vector of DuckDB has another memory than expected`);
  vector.flush();
}
