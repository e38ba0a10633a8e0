// The Warehouse on MySQL and MariaDB: transactions on a few connections that are kept.
// Invariant: a connection goes back only with no transaction open and no doubt about it; every other one is dropped, and the
// server rolls back what it held.

import type { MysqlConfig } from '../config/config.ts';
import { assert } from '../errors.ts';
import type { Log } from '../log.ts';
import { aborted, type MysqlSession } from './mysql-connect.ts';
import { mysqlDialect } from './mysql-dialect.ts';
import { openRefused } from './mysql-open.ts';
import { createMysqlPool, type MysqlPool, type PoolLimits } from './mysql-pool.ts';
import { type RowsInsert, type Statement, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

export type MysqlOptions = Partial<PoolLimits> & { readonly log: Log; readonly signal?: AbortSignal };

const LIMITS: PoolLimits = {
  /** Feeds beside each other, and the reads of a check; far below what a server allows (151). */
  connectionsMax: 8,
  connectMsMax: 10_000,
  /** Longer than any statement of ours; a server that hangs is found out in the end. */
  statementMsMax: 600_000,
};

/** A server that hangs is not waited for longer than this when there is nothing left to do but end a transaction. */
const END_MS_MAX = 5_000;

const plain = (text: string): Statement => ({ text, values: [] });
const BEGIN = plain('START TRANSACTION');
const COMMIT = plain('COMMIT');
const ROLLBACK = plain('ROLLBACK');
const NOTHING = plain('DO 0');

/** Connects once. Throws LakeError: `warehouse_unreachable` when waiting may help, else `warehouse_refused`, or `aborted`. */
export async function openMysqlWarehouse(config: MysqlConfig, options: MysqlOptions): Promise<Warehouse> {
  const { log, signal = new AbortController().signal } = options;
  const pool = createMysqlPool(config, { ...LIMITS, ...given(options), log });
  const first = await pool.take(NOTHING, signal).catch((error: unknown) => {
    throw error instanceof WarehouseFailure ? openRefused(error, config) : error;
  });
  const { engine, version } = first;
  let { statementBytesMax } = first;
  pool.give(first);
  log.info('warehouse_opened', { target: 'warehouse', engine, server_version: version, host: config.host, port: config.port });
  const taken = async (opening: Statement, abort: AbortSignal): Promise<MysqlSession> => {
    const session = await pool.take(opening, abort);
    statementBytesMax = session.statementBytesMax;
    return session;
  };
  return {
    engine,
    dialect: mysqlDialect,
    get statementBytesMax() {
      return statementBytesMax;
    },
    transaction: async (work, abort) => await runTransaction(await taken(BEGIN, abort), { work, signal: abort, pool }),
    run: async (statement, abort) => {
      const session = await taken(NOTHING, abort);
      try {
        return (await session.run(statement, abort)).rows;
      } finally {
        pool.give(session);
      }
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

const given = ({ connectionsMax, connectMsMax, statementMsMax }: MysqlOptions): Partial<PoolLimits> => ({
  ...(connectionsMax === undefined ? {} : { connectionsMax }),
  ...(connectMsMax === undefined ? {} : { connectMsMax }),
  ...(statementMsMax === undefined ? {} : { statementMsMax }),
});

type Run<T> = { readonly work: (tx: Tx) => Promise<T>; readonly signal: AbortSignal; readonly pool: MysqlPool };

async function runTransaction<T>(session: MysqlSession, { work, signal, pool }: Run<T>): Promise<T> {
  const state = createTx(session, signal);
  try {
    let result: T;
    try {
      result = await work(state.tx);
      state.check();
    } catch (error) {
      state.close();
      await undo(session);
      throw error;
    }
    state.close();
    await commit(session, signal);
    return result;
  } finally {
    pool.give(session);
  }
}

/**
 * A deadlock has rolled the whole transaction back, and what follows would each be committed by itself: after it, and after
 * all that takes the connection away, nothing more is sent, also when `work` has caught the failure.
 */
function createTx(session: MysqlSession, signal: AbortSignal) {
  let open = true;
  let ended: unknown = null;
  const check = (): void => {
    if (ended !== null) throw ended;
    if (signal.aborted) throw aborted();
  };
  const send = async (command: Statement | RowsInsert) => {
    assert(open, 'a statement after the end of its transaction');
    check();
    try {
      return await session.run(command, signal);
    } catch (error) {
      if (!(error instanceof WarehouseFailure) || error.class === 'retry' || !session.alive()) ended = error;
      throw error;
    }
  };
  const tx: Tx = {
    change: async (statement) => (await send(statement)).matched,
    rows: async (statement) => (await send(statement)).rows,
    insert: async (insert) => (await send(insert)).matched,
  };
  return {
    tx,
    check,
    close: () => {
      open = false;
    },
  };
}

async function undo(session: MysqlSession): Promise<void> {
  try {
    if (session.alive()) await session.run(ROLLBACK, null, END_MS_MAX);
  } catch {
    // What was thrown before is what counts; without its connection the server rolls back by itself.
    session.drop();
  }
}

/** Its answer is worth waiting for, also a while after the work was given up; then the positions tell. */
async function commit(session: MysqlSession, signal: AbortSignal): Promise<void> {
  // Lost before COMMIT was sent: there is no doubt.
  if (!session.alive()) throw new WarehouseFailure('wait', 'the connection to the server was lost before COMMIT');
  const late = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const givenUp = (): void => {
    timer = setTimeout(() => late.abort(), END_MS_MAX);
  };
  signal.addEventListener('abort', givenUp, { once: true });
  if (signal.aborted) givenUp();
  try {
    await session.run(COMMIT, late.signal);
  } catch (error) {
    session.drop();
    if (!(error instanceof WarehouseFailure) || error.class === 'retry') throw error;
    throw new WarehouseFailure('in_doubt', `COMMIT has no answer: ${error.message}`, { number: error.number, cause: error });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', givenUp);
  }
}
