// A few connections that are kept between transactions, until a quiet while has passed.
// Invariant: at most connectionsMax are there; one is with one holder; one that is not alive is never kept, and one that was
// idle has answered before it is handed out.

import type { MysqlConfig } from '../config/config.ts';
import { assert } from '../errors.ts';
import type { Log } from '../log.ts';
import { aborted, type ConnectLimits, connectMysql, type MysqlSession, tlsOptions } from './mysql-connect.ts';
import { type Statement, WarehouseFailure } from './warehouse.ts';

export type PoolLimits = ConnectLimits & { readonly connectionsMax: number };

export type MysqlPool = {
  /** A session that has just run `opening`. Waits while all are taken. Throws WarehouseFailure or LakeError `aborted`. */
  readonly take: (opening: Statement, signal: AbortSignal) => Promise<MysqlSession>;
  readonly give: (session: MysqlSession) => void;
  /** Idle ones at once, the others when they come back. */
  readonly close: () => Promise<void>;
};

/** Well before the server ends it (mysql-connect), so that it does not count and log a client that broke off. */
const IDLE_MS_MAX = 5_000;

export function createMysqlPool(config: MysqlConfig, limits: PoolLimits & { readonly log: Log }): MysqlPool {
  const ssl = tlsOptions(config);
  const idle: { readonly session: MysqlSession; readonly timer: ReturnType<typeof setTimeout> }[] = [];
  const waiting: (() => void)[] = [];
  let takenCount = 0;
  let closed = false;

  const takeIdle = (): MysqlSession | undefined => {
    const one = idle.pop();
    clearTimeout(one?.timer);
    return one?.session;
  };
  const dropIdle = (): void => {
    for (let session = takeIdle(); session !== undefined; session = takeIdle()) session.drop();
  };
  const keep = (session: MysqlSession): void => {
    const leave = (): void => {
      const index = idle.findIndex((one) => one.session === session);
      if (index >= 0) idle.splice(index, 1);
      void session.quit();
    };
    idle.push({ session, timer: setTimeout(leave, IDLE_MS_MAX).unref() });
  };
  const connect = async (signal: AbortSignal): Promise<MysqlSession> => {
    const onGone = (): void => limits.log.debug('warehouse_connection_ended', { target: 'warehouse' });
    return await connectMysql(config, { ...limits, ssl, signal, onGone });
  };
  const opened = async (opening: Statement, signal: AbortSignal): Promise<MysqlSession> => {
    for (let session = takeIdle(); session !== undefined; session = takeIdle()) {
      if (!session.alive()) continue;
      try {
        await session.run(opening, signal, limits.connectMsMax);
        return session;
      } catch (error) {
        session.drop();
        if (!(error instanceof WarehouseFailure) || error.class !== 'wait') throw error;
        // The server went away, and with it the others that were idle; nothing was begun, so a new one does as well.
        dropIdle();
      }
    }
    const session = await connect(signal);
    try {
      await session.run(opening, signal, limits.connectMsMax);
    } catch (error) {
      session.drop();
      throw error;
    }
    return session;
  };
  const free = (): void => {
    takenCount--;
    waiting.shift()?.();
  };

  return {
    take: async (opening, signal) => {
      assert(!closed, 'the warehouse is closed');
      while (takenCount >= limits.connectionsMax) await turn(waiting, signal);
      takenCount++;
      try {
        return await opened(opening, signal);
      } catch (error) {
        free();
        throw error;
      }
    },
    give: (session) => {
      if (closed) void session.quit();
      else if (session.alive()) keep(session);
      free();
    },
    close: async () => {
      closed = true;
      await Promise.all(
        idle.splice(0).map(({ session, timer }) => {
          clearTimeout(timer);
          return session.quit();
        }),
      );
    },
  };
}

/** Resolves when one was given back to this waiter. */
function turn(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    const called = (): void => {
      signal.removeEventListener('abort', abort);
      resolve();
    };
    const abort = (): void => {
      waiting.splice(waiting.indexOf(called), 1);
      reject(aborted());
    };
    signal.addEventListener('abort', abort, { once: true });
    waiting.push(called);
  });
}
