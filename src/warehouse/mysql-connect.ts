// One connection to MySQL or MariaDB: how it is made, what its session is set to, one statement at a time.
// Invariant: a session that is handed out has all of SETTINGS; one that broke, or was left in the middle, is never alive again.

import { connect as connectSocket, type Socket } from 'node:net';
import type { Connection, ConnectionOptions } from 'mysql2';
import type { MysqlConfig } from '../config/config.ts';
import { assert, LakeError } from '../errors.ts';
import { classify } from './mysql-error.ts';
import { commandTexts } from './mysql-text.ts';
import { type Engine, type Row, type RowsInsert, type Statement, WarehouseFailure } from './warehouse.ts';

/** A process that sleeps in the middle of a transaction holds its locks no longer; the pool lets go of idle connections before. */
const ASLEEP_S_MAX = 10;

/** What a text means, what is refused, what is seen and how long it waits must not hang on the server's own settings. */
const SETTINGS = [
  `SET NAMES utf8mb4 COLLATE utf8mb4_bin, autocommit = 1, time_zone = '+00:00', sql_mode = '${[
    'STRICT_TRANS_TABLES',
    'NO_ZERO_IN_DATE',
    'NO_ZERO_DATE',
    'ERROR_FOR_DIVISION_BY_ZERO',
    'NO_ENGINE_SUBSTITUTION',
  ].join(',')}', innodb_lock_wait_timeout = 5, lock_wait_timeout = 30, wait_timeout = ${ASLEEP_S_MAX}`,
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
];
/** The command's byte, the attributes of a query, and room for what a newer protocol adds. */
const PACKET_OVERHEAD_BYTES = 1024;
const KEEP_ALIVE_MS = 10_000;
const QUIT_MS_MAX = 500;

export type ConnectLimits = { readonly connectMsMax: number; readonly statementMsMax: number };
export type Answer = { readonly matched: number; readonly rows: readonly Row[] };

export type MysqlSession = {
  readonly engine: Engine;
  readonly version: string;
  readonly statementBytesMax: number;
  readonly alive: () => boolean;
  /** Throws WarehouseFailure; LakeError `aborted` when the signal ends it, and then the connection is gone as well. */
  readonly run: (command: Statement | RowsInsert, signal: AbortSignal | null, msMax?: number) => Promise<Answer>;
  /** Leaves at once; the server rolls back what is open. */
  readonly drop: () => void;
  /** Says goodbye first, so that the server does not count and log a client that broke off. */
  readonly quit: () => Promise<void>;
};

function connectionOptions(config: MysqlConfig, ssl: NonNullable<ConnectionOptions['ssl']> | null): ConnectionOptions {
  return {
    host: config.host,
    port: config.port,
    user: config.user,
    password: config.password,
    database: config.database,
    ...(ssl === null ? {} : { ssl }),
    charset: 'UTF8MB4_BIN',
    // FOUND_ROWS: an UPDATE counts what it matched, or a position set to the value it has would look like a conflict.
    flags: ['FOUND_ROWS', '-LOCAL_FILES'],
    multipleStatements: false,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    jsonStrings: true,
    trace: false,
    connectAttributes: { program_name: 'lake' },
    // mysql2 reads a short DOUBLE digit by digit, and rounds on the way.
    typeCast: (field, next) => (field.type === 'DOUBLE' || field.type === 'FLOAT' ? exactNumber(field.string()) : next()),
  };
}

const exactNumber = (text: string | null): number | null => (text === null ? null : Number(text));

/** One copy for all connections, which share what is parsed from it; mysql2 writes into it. */
export function tlsOptions({ ssl }: MysqlConfig): NonNullable<ConnectionOptions['ssl']> | null {
  if (ssl === false) return null;
  const given = ssl === true ? { rejectUnauthorized: true } : ssl;
  return { ...given, verifyIdentity: given.rejectUnauthorized };
}

const isRows = (result: unknown): result is Row[] => Array.isArray(result);

/** Runs `start` until it answers, the signal aborts or the time is up; in the last two cases `leave` is called first. */
function limited<T>(
  start: (done: (error: unknown, value?: T) => void) => void,
  limit: { readonly msMax: number; readonly signal: AbortSignal | null; readonly what: string; readonly leave: () => void },
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const finish = (act: () => void): void => {
      clearTimeout(timer);
      limit.signal?.removeEventListener('abort', abort);
      act();
    };
    const giveUp = (error: Error): void => {
      limit.leave();
      finish(() => reject(error));
    };
    const abort = (): void => giveUp(aborted());
    const timer = setTimeout(
      () => giveUp(new WarehouseFailure('wait', `${limit.what} did not answer within ${limit.msMax} ms`)),
      limit.msMax,
    );
    limit.signal?.addEventListener('abort', abort, { once: true });
    start((error, value) => finish(() => (value === undefined ? reject(error) : resolve(value))));
  });
}

export const aborted = (): LakeError =>
  new LakeError('aborted', 'the work in the warehouse was given up', { where: { target: 'warehouse' } });

/** Throws WarehouseFailure, `wait` when the server is not there, or LakeError `aborted`. */
export async function connectMysql(
  config: MysqlConfig,
  more: ConnectLimits & {
    readonly ssl: ReturnType<typeof tlsOptions>;
    readonly signal: AbortSignal;
    readonly onGone: () => void;
  },
): Promise<MysqlSession> {
  if (more.signal.aborted) throw aborted();
  const { createConnection } = await import('mysql2');
  // A socket of our own: mysql2 only says goodbye, which a server that hangs does not hear.
  const socket = connectSocket({
    ...{ host: config.host, port: config.port },
    ...{ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
  });
  const link = createLink(
    createConnection({ ...connectionOptions(config, more.ssl), stream: socket, connectTimeout: 0 }),
    socket,
    more.onGone,
  );
  const limit = { signal: more.signal, what: `${config.host}:${config.port}`, leave: link.drop };
  try {
    await limited<true>((done) => link.connection.connect((error) => done(error, error ? undefined : true)), {
      ...limit,
      msMax: more.connectMsMax,
    });
    const ask = (text: string) => link.query(text, { ...limit, msMax: more.connectMsMax });
    for (const text of SETTINGS) await ask(text);
    const { rows } = await ask('SELECT VERSION() AS version, @@session.max_allowed_packet AS packet');
    const version = String(rows[0]?.['version']);
    const statementBytesMax = Number(rows[0]?.['packet']) - PACKET_OVERHEAD_BYTES;
    assert(statementBytesMax >= 0, 'the server names its largest packet');
    const texts = commandTexts(statementBytesMax);
    return {
      engine: /mariadb/i.test(version) ? 'mariadb' : 'mysql',
      version,
      statementBytesMax,
      alive: link.alive,
      run: async (command, signal, msMax = more.statementMsMax) => {
        if (signal?.aborted) throw aborted();
        const text = texts.of(command);
        const answer = link.query(text, { ...limit, signal, msMax });
        // It is on its way; what comes after it is written meanwhile.
        texts.prepare(command);
        return await answer;
      },
      drop: link.drop,
      quit: link.quit,
    };
  } catch (error) {
    link.drop();
    throw error instanceof LakeError ? error : classify(error);
  }
}

type Link = {
  readonly connection: Connection;
  readonly alive: () => boolean;
  readonly drop: () => void;
  readonly quit: () => Promise<void>;
  readonly query: (text: string, limit: Parameters<typeof limited>[1]) => Promise<Answer>;
};

function createLink(connection: Connection, socket: Socket, onGone: () => void): Link {
  let alive = true;
  let busy = false;
  const gone = (): void => {
    if (!alive) return;
    alive = false;
    onGone();
  };
  const drop = (): void => {
    gone();
    connection.destroy();
    socket.destroy();
  };
  // Also what ends an idle connection: the server's end, a kill, its limit for idle ones.
  connection.on('error', gone);
  connection.on('end', gone);
  socket.on('close', gone);
  const query = async (text: string, limit: Parameters<typeof limited>[1]): Promise<Answer> => {
    assert(!busy, 'two statements at once on one connection of the warehouse');
    if (!alive) throw new WarehouseFailure('wait', 'the connection to the server is lost');
    busy = true;
    try {
      return await limited<Answer>(
        (done) => connection.query(text, (error, result) => (error ? done(error) : done(null, toAnswer(result)))),
        limit,
      );
    } catch (error) {
      if (error instanceof LakeError) throw error;
      const failure = classify(error);
      if (failure.class === 'wait' || failure.class === 'packet') drop();
      throw failure;
    } finally {
      busy = false;
    }
  };
  const quit = async (): Promise<void> => {
    const limit = { msMax: QUIT_MS_MAX, signal: null, what: 'goodbye', leave: drop };
    // Whatever becomes of it, the connection is not needed any more.
    if (alive) await limited<true>((done) => connection.end(() => done(null, true)), limit).catch(() => {});
    drop();
  };
  return { connection, alive: () => alive, drop, quit, query };
}

function toAnswer(result: unknown): Answer {
  if (isRows(result)) return { matched: 0, rows: result };
  const matched = result !== null && typeof result === 'object' && 'affectedRows' in result ? Number(result.affectedRows) : 0;
  return { matched, rows: [] };
}
