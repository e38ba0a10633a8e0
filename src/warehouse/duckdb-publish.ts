// The copy of the embedded warehouse for readers: made whole under another name, then renamed. Tables without keys and indexes,
// which readers do not need and which take three quarters of the time; the views as they are.
// Invariant: whoever opens the path finds one state as a transaction left it, and keeps it for as long as it is open.

import { existsSync } from 'node:fs';
import { chmod, mkdir, open, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Connection, type Database, query, run } from '../duckdb/connection.ts';
import { quoteName, quoteText } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Queue } from './duckdb-queue.ts';

export type PublisherOptions = {
  readonly path: string;
  readonly everyMs: number;
  /** Nothing is written to the database while it is copied. */
  readonly queue: Queue;
  readonly database: () => Promise<Database>;
  readonly nowMs: () => number;
  readonly log: Log;
};

export type Publisher = {
  /** The copy is old from here on. */
  changed(): void;
  /** What there is now is whole, and is copied if it is new: at once, or when enough time has passed since the last time. */
  mayPublish(): void;
  /** Makes the last one, if any is due. Throws LakeError. */
  close(): Promise<void>;
  /** The database is closed, and the copy is still of its last state. */
  settle(): Promise<void>;
};

/** Of the time at most; so a copy waits for this many times as long as the one before took. */
const SHARE = 10;
const ATTACHED = 'published';
const WAL = '.wal';
const partialOf = (path: string): string => `${path}.partial`;

/** Whether the copy is newer than the private file, which nobody has open: after a kill it is not. */
export async function isPublished(statePath: string, path: string): Promise<boolean> {
  const changedMs = async (file: string): Promise<number> => (existsSync(file) ? (await stat(file)).mtimeMs : 0);
  const stateMs = Math.max(await changedMs(statePath), await changedMs(`${statePath}${WAL}`));
  return stateMs > 0 && (await changedMs(path)) >= stateMs;
}

export async function createPublisher(options: PublisherOptions): Promise<Publisher> {
  const { path, everyMs, queue, database, nowMs, log } = options;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isDue = false;
  let isCurrent = false;
  let closed = false;
  let nextMs = Number.NEGATIVE_INFINITY;
  await mkdir(dirname(path), { recursive: true });
  await removePartial(path);

  const publish = async (): Promise<void> => {
    const startMs = nowMs();
    isDue = false;
    try {
      await makeCopy(await database(), path);
      isCurrent = true;
      log.debug('warehouse_published', { target: 'warehouse', path, duration_ms: nowMs() - startMs });
    } catch (error) {
      isDue = true;
      await removePartial(path);
      throw error;
    } finally {
      const endMs = nowMs();
      nextMs = endMs + Math.max(everyMs, (SHARE - 1) * (endMs - startMs));
    }
  };
  const beat = async (): Promise<void> => {
    try {
      await queue(null, publish);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn('warehouse_not_published', {
        target: 'warehouse',
        path,
        reason,
        todo: 'readers see the copy before; tried again',
      });
    } finally {
      timer = undefined;
      arm();
    }
  };
  const arm = (): void => {
    if (timer !== undefined || !isDue || closed) return;
    timer = setTimeout(() => void beat(), Math.max(0, nextMs - nowMs()));
  };
  return {
    changed: () => {
      isDue = true;
      isCurrent = false;
    },
    mayPublish: arm,
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await queue(null, async () => {
        if (isDue) await publish();
      });
    },
    settle: async () => {
      if (isCurrent) await utimes(path, new Date(), new Date());
    },
  };
}

const removePartial = async (path: string): Promise<void> => {
  for (const file of [partialOf(path), `${partialOf(path)}${WAL}`]) await rm(file, { force: true });
};

async function makeCopy(database: Database, path: string): Promise<void> {
  const partial = partialOf(path);
  const connection = await database.connect();
  try {
    await run(connection, `ATTACH ${quoteText(partial)} AS ${ATTACHED}`);
    await copyAll(connection);
    await run(connection, `DETACH ${ATTACHED}`);
  } catch (error) {
    // One that stays attached could not be made again.
    await run(connection, `DETACH DATABASE IF EXISTS ${ATTACHED}`).catch(() => undefined);
    throw error;
  } finally {
    connection.closeSync();
  }
  try {
    await putInPlace(partial, path);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new LakeError('warehouse_failed', `the copy of the warehouse for readers cannot be written: ${words}`, {
      where: { target: 'warehouse', path },
      todo: 'free space there, or correct warehouse.path; what was taken in is safe',
      cause,
    });
  }
}

async function copyAll(connection: Connection): Promise<void> {
  const [own] = await query(connection, 'SELECT current_database() AS name');
  const home = quoteName(String(own?.['name']));
  const isHere = `WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal AND NOT temporary`;
  const tables = await query(connection, `SELECT table_name AS name FROM duckdb_tables() ${isHere} ORDER BY 1`);
  const views = await query(connection, `SELECT sql FROM duckdb_views() ${isHere} ORDER BY view_oid`);
  await run(connection, 'BEGIN TRANSACTION');
  try {
    for (const { name } of tables) {
      const table = quoteName(String(name));
      await run(connection, `CREATE TABLE ${ATTACHED}.main.${table} AS FROM ${home}.main.${table}`);
    }
    await run(connection, `USE ${ATTACHED}`);
    for (const { sql } of views) await run(connection, String(sql));
    await run(connection, 'COMMIT');
  } catch (error) {
    await run(connection, 'ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    await run(connection, `USE ${home}`);
  }
}

/** For reading alone: what somebody wrote there would go with the next copy, and its log would stay beside it. */
const READ_ONLY = 0o444;

async function putInPlace(partial: string, path: string): Promise<void> {
  await chmod(partial, READ_ONLY);
  await sync(partial);
  await rm(`${path}${WAL}`, { force: true });
  await rename(partial, path);
  await sync(dirname(path));
}

async function sync(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}
