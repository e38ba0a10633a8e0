// The MySQL and the MariaDB a test talks to: databases of its own on the servers all tests share, or a server of its own to
// kill. scripts/test names the shared ones in the environment; under a bare `bun test` they are started for this run.

import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import mysql2, { type Connection, type ConnectionOptions } from 'mysql2/promise';
import type { MysqlEngine } from '../../scripts/service/mysql-files.ts';
import { type MysqlLogin, startMysqlServer } from '../../scripts/service/mysql-server.ts';
import { endProcess, endWithParent, freePort, isAlive, type ProcessRef } from '../../scripts/service/process.ts';
import { uniqueName } from './kafka.ts';
import { baseFolder, type PrivateServer } from './services.ts';

export const mysqlEngines: readonly MysqlEngine[] = ['mysql', 'mariadb'];

/** A database nobody else uses. */
export type TestDatabase = {
  readonly engine: MysqlEngine;
  readonly login: MysqlLogin;
  readonly database: string;
  /** A new connection to it, with mysql2's own options on top; all are closed at the end. */
  readonly connect: (options?: ConnectionOptions) => Promise<Connection>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

async function connectTo(login: MysqlLogin, options: ConnectionOptions = {}): Promise<Connection> {
  const connection = await mysql2.createConnection({ ...login, connectTimeout: 5_000, ...options });
  // A server that is killed ends idle connections too; their next query says so.
  connection.on('error', () => {});
  return connection;
}

/** Longer than a transaction that ends takes; a test that left one open fails instead of hanging. */
const dropSecondsMax = 10;

async function createDatabase(engine: MysqlEngine, login: MysqlLogin, drop: boolean): Promise<TestDatabase> {
  const database = uniqueName('lake_test');
  const connections: Connection[] = [];
  const once = async (...statements: string[]): Promise<void> => {
    const connection = await connectTo(login);
    try {
      for (const statement of statements) await connection.query(statement);
    } finally {
      connection.destroy();
    }
  };
  await once(`create database ${database}`);
  return {
    engine,
    login,
    database,
    connect: async (options = {}) => {
      const connection = await connectTo(login, { database, ...options });
      connections.push(connection);
      return connection;
    },
    [Symbol.asyncDispose]: async () => {
      for (const connection of connections) connection.destroy();
      if (drop) await once(`set lock_wait_timeout = ${dropSecondsMax}`, `drop database ${database}`);
    },
  };
}

const shared = new Map<MysqlEngine, Promise<MysqlLogin>>();

async function sharedLogin(engine: MysqlEngine): Promise<MysqlLogin> {
  const given = process.env[`LAKE_TEST_${engine.toUpperCase()}`];
  if (!given) return (await startPrivateMysql(engine)).login;
  const { hostname, port, username, password } = new URL(given);
  return { host: hostname, port: Number(port), user: decodeURIComponent(username), password: decodeURIComponent(password) };
}

/** A fresh database on the server all tests share, dropped at the end: `await using`. Never stop that server. */
export async function testMysql(engine: MysqlEngine = 'mysql'): Promise<TestDatabase> {
  const login = shared.get(engine) ?? sharedLogin(engine);
  shared.set(engine, login);
  return await createDatabase(engine, await login, true);
}

export type PrivateMysql = PrivateServer & {
  readonly engine: MysqlEngine;
  readonly login: MysqlLogin;
  /** A fresh database; it goes with the server. */
  readonly createDatabase: () => Promise<TestDatabase>;
};

/** A server for one test that stops, kills or pauses it; up in about 4 s (MariaDB: 1 s). `settings` are its own options. */
export async function startPrivateMysql(
  engine: MysqlEngine = 'mysql',
  { settings = {} }: { readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<PrivateMysql> {
  const folder = mkdtempSync(join(baseFolder(), `${engine}-`));
  const port = await freePort();
  const start = async (): Promise<ProcessRef> => {
    const ref = await startMysqlServer({ engine, folder, port, settings });
    endWithParent(ref, folder);
    return ref;
  };
  let ref = await start();
  const login: MysqlLogin = { host: '127.0.0.1', port, user: 'root', password: '' };
  return {
    engine,
    login,
    createDatabase: () => createDatabase(engine, login, false),
    pid: () => ref.pid,
    stop: async ({ signal = 'SIGTERM' } = {}) => void (await endProcess(ref, signal)),
    start: async () => {
      if (!isAlive(ref)) ref = await start();
    },
    pause: () => void process.kill(ref.pid, 'SIGSTOP'),
    resume: () => void process.kill(ref.pid, 'SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      await endProcess(ref, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
