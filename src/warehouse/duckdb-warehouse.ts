// The Warehouse in an embedded DuckDB: state in a file that is this process's alone, and a copy of it for readers.
// Invariant: one transaction at a time, the others wait their turn; what is outside of one reads what was committed. A database
// that DuckDB gave up is opened again before the next transaction, with exactly what was committed.

import { type Connection, type Database, execute, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { DUCKDB_SEQUENCES, duckdbDialect } from './duckdb-dialect.ts';
import { classifyEmbedded, isInvalidated } from './duckdb-error.ts';
import { createPublisher, isPublished } from './duckdb-publish.ts';
import { createQueue } from './duckdb-queue.ts';
import { createTransaction } from './duckdb-transaction.ts';
import { type Row, type Statement, type Warehouse, WarehouseFailure } from './warehouse.ts';

export type DuckdbOptions = {
  /** The private file. */
  readonly statePath: string;
  /** Where readers find the copy. */
  readonly path: string;
  /** A copy is not made more often than this. */
  readonly publishEveryMs: number;
  readonly nowMs: () => number;
  readonly log: Log;
};

/** For what a statement joins and sorts, and for pages of the file; more is spilled. */
const MEMORY_BYTES_MAX = 128 * 1024 * 1024;
/** A statement is not sent anywhere: what bounds it is the batch. */
const STATEMENT_BYTES_MAX = 2 ** 31;

const plain = (text: string): Statement => ({ text, values: [] });
const READS = /^\s*(?:SELECT|WITH)\b/i;

type Opened = { readonly database: Database; readonly writer: Connection; readonly reader: Connection };

/** Throws LakeError `warehouse_busy` when another process has it open, `warehouse_failed` when it cannot be opened. */
export async function openDuckdbWarehouse(options: DuckdbOptions): Promise<Warehouse> {
  const { statePath, path, publishEveryMs, nowMs, log } = options;
  const isCurrent = await isPublished(statePath, path);
  let opened: Opened | null = await open(statePath);
  const queue = createQueue();
  const reads = createQueue();
  const publisher = await createPublisher({
    ...{ path, everyMs: publishEveryMs, nowMs, log, queue },
    database: async () => (await current()).database,
  });
  log.info('warehouse_opened', { target: 'warehouse', engine: 'duckdb', path });
  if (!isCurrent) publisher.changed();

  /** To be asked within the queue alone. */
  const current = async (): Promise<Opened> => {
    opened ??= await open(statePath);
    return opened;
  };
  const giveUp = async (): Promise<void> => {
    const before = opened;
    opened = null;
    if (before === null) return;
    // A connection keeps its database, and the file, until the collector finds it: another one on the same file would ruin it.
    await reads(null, async () => before.reader.closeSync());
    before.writer.closeSync();
    await before.database[Symbol.asyncDispose]();
  };
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WarehouseFailure && isInvalidated(error)) await giveUp();
      throw error;
    }
  };
  const read = async (from: Opened, statement: Statement, signal: AbortSignal): Promise<readonly Row[]> => {
    try {
      return await reads(signal, async () => {
        if (opened !== from) throw new WarehouseFailure('wait', 'the database was given up, and is opened again');
        return await rowsOf(from.reader, statement);
      });
    } catch (error) {
      // After the turn, which giving up waits for. Another one may have done it by then.
      if (error instanceof WarehouseFailure && isInvalidated(error))
        await queue(null, async () => {
          if (opened === from) await giveUp();
        });
      throw error;
    }
  };
  return {
    engine: 'duckdb',
    dialect: duckdbDialect,
    statementBytesMax: STATEMENT_BYTES_MAX,
    transaction: (work, signal) =>
      queue(signal, () =>
        guarded(async () => {
          const { writer } = await current();
          const { result, changed } = await createTransaction(writer, signal).run(work, giveUp);
          if (changed) publisher.changed();
          // Never between the steps of a set-up: DDL is no transaction.
          publisher.mayPublish();
          return result;
        }),
      ),
    run: async (statement, signal) => {
      if (READS.test(statement.text) && opened) return await read(opened, statement, signal);
      return await queue(signal, () =>
        guarded(async () => {
          const rows = await rowsOf((await current()).writer, statement);
          publisher.changed();
          return rows;
        }),
      );
    },
    [Symbol.asyncDispose]: async () => {
      try {
        await publisher.close();
      } finally {
        await queue(null, giveUp);
      }
      await publisher.settle();
    },
  };
}

async function rowsOf(connection: Connection, statement: Statement): Promise<readonly Row[]> {
  try {
    return (await execute(connection, statement)).rows;
  } catch (error) {
    throw classifyEmbedded(error);
  }
}

async function open(statePath: string): Promise<Opened> {
  let database: Database;
  try {
    database = await openDatabase({ path: statePath, memoryBytesMax: MEMORY_BYTES_MAX, tempFolder: `${statePath}.spill` });
  } catch (error) {
    throw openRefused(error, statePath);
  }
  const [writer, reader] = [await database.connect(), await database.connect()];
  for (const text of DUCKDB_SEQUENCES) await execute(writer, plain(text));
  return { database, writer, reader };
}

function openRefused(error: unknown, statePath: string): LakeError {
  const words = classifyEmbedded(error).message;
  const where = { target: 'warehouse', path: statePath };
  if (!/Could not set lock/.test(words)) {
    return new LakeError('warehouse_failed', `the embedded warehouse cannot be opened: ${words}`, { where, cause: error });
  }
  const [, pid] = /\(PID (\d+)\)/.exec(words) ?? [];
  const who = pid === undefined ? 'another process' : `process ${pid}`;
  return new LakeError('warehouse_busy', `the embedded warehouse is open in ${who}, and has one writer`, {
    where,
    todo: `stop ${who}, run this one with --mode lake, or name a MySQL server in warehouse`,
    cause: error,
  });
}
