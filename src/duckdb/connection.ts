// The embedded DuckDB: opened lazily, bounded, in UTC. Its package is loaded on first use, so that `lake --help` never needs it.
// Invariant: every database has a memory limit, one place for spilled data, and no access to the network for extensions.
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { LakeError } from '../errors.ts';

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

const load = () => import('@duckdb/node-api');

/** Opens a database. Throws engine_failed. Connections die with it. */
export async function openDatabase(options: DatabaseOptions = {}): Promise<Database> {
  const { DuckDBInstance } = await load();
  const settings: Record<string, string> = {
    autoinstall_known_extensions: 'false',
    threads: String(options.threads ?? 1),
    memory_limit: `${Math.ceil((options.memoryBytesMax ?? 1 << 30) / 1024)}KiB`,
    temp_directory: options.tempFolder ?? '',
  };
  if (options.readOnly) settings['access_mode'] = 'READ_ONLY';
  const path = options.path ?? ':memory:';
  const instance = await guarded(() => DuckDBInstance.create(path, settings), `the database ${path} cannot be opened`);
  return {
    connect: async () => {
      const connection = await guarded(() => instance.connect(), `the database ${path} gives no connection`);
      await run(connection, "SET TimeZone = 'UTC'");
      return connection;
    },
    [Symbol.asyncDispose]: async () => instance.closeSync(),
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

const firstLine = (sql: string): string => `DuckDB refused: ${sql.trim().slice(0, 120).replaceAll(/\s+/g, ' ')}`;

async function guarded<T>(work: () => Promise<T>, subject: string): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const words = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new LakeError('engine_failed', `${subject}: ${words}`, { cause });
  }
}
