// One real MySQL or MariaDB as a process: its data folder, settings, start, readiness. Used for the daily services, for the
// tests' own and for servers that a test kills. It listens on loopback only; its user is root without a password.
// Invariant: a data folder under its final name is complete.

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import mysql2 from 'mysql2/promise';
import { ScriptError } from '../common.ts';
import { ensureMysqlFiles, type MysqlEngine, type MysqlFiles, titleOf } from './mysql-files.ts';
import { endProcess, isAlive, type ProcessRef, startDetached } from './process.ts';

const readyMsMax = 90_000;
const connectMsMax = 2_000;
/** Relative, so to the data folder: the path of a socket may have 107 bytes at most. */
const socket = 'server.sock';

/** Options of the server that hold however it is started; '' for one that takes no value. */
export const serverSettings: Readonly<Record<MysqlEngine, Readonly<Record<string, string>>>> = {
  mysql: {
    // The second protocol has a port of its own, which a second server would find taken.
    mysqlx: 'OFF',
    // A single server replicates to nobody.
    'skip-log-bin': '',
  },
  // As Debian's package and the container set them.
  mariadb: { 'character-set-server': 'utf8mb4', 'collation-server': 'utf8mb4_general_ci' },
};

export const settingArguments = (settings: Readonly<Record<string, string>>): string[] =>
  Object.entries(settings).map(([name, value]) => (value === '' ? `--${name}` : `--${name}=${value}`));

export type MysqlPlace = {
  readonly engine: MysqlEngine;
  readonly folder: string;
  readonly port: number;
  /** More options of the server, names as on its command line. */
  readonly settings?: Readonly<Record<string, string>>;
};

export type MysqlLogin = { readonly host: string; readonly port: number; readonly user: string; readonly password: string };

/** MariaDB's own script for this needs a shell and its other programs: these are the files it feeds to the server. */
const mariadbTables = [
  'mysql_system_tables.sql',
  'mysql_performance_tables.sql',
  'mysql_system_tables_data.sql',
  'fill_help_tables.sql',
  'maria_add_gis_sp_bootstrap.sql',
  'mysql_sys_schema.sql',
];

function mariadbScript({ base }: MysqlFiles): string {
  const tables = mariadbTables.map((name) => readFileSync(join(base, 'share', name), 'utf8'));
  return ['create database if not exists mysql;', 'use mysql;', 'set @auth_root_socket=NULL;', ...tables].join('\n');
}

function baseCommand({ base, program }: MysqlFiles, data: string): string[] {
  // It refuses to run as root unless told to; the files are then root's, as Kafka's are.
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  return [
    program,
    '--no-defaults',
    `--basedir=${base}`,
    `--datadir=${data}`,
    `--lc-messages-dir=${join(base, 'share')}`,
    ...user,
  ];
}

/** Makes the data folder with the system tables and a root that may come in over loopback without a password. */
function initialize({ engine, folder }: MysqlPlace, files: MysqlFiles): void {
  const data = join(folder, 'data');
  if (existsSync(data)) return;
  const partial = `${data}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { mode: 0o700 });
  const base = baseCommand(files, partial);
  const made =
    engine === 'mysql'
      ? Bun.spawnSync([...base, '--initialize-insecure'], { stderr: 'pipe' })
      : Bun.spawnSync([...base, '--bootstrap', '--max_allowed_packet=8M'], {
          stdin: Buffer.from(mariadbScript(files)),
          stderr: 'pipe',
        });
  if (made.exitCode !== 0) {
    throw new ScriptError(`${titleOf(engine)} cannot make its data folder:\n${`${made.stdout}${made.stderr}`.slice(-3000)}`);
  }
  renameSync(partial, data);
}

/** Starts the server on its port with its data, made the first time, and waits until it answers. */
export async function startMysqlServer(place: MysqlPlace): Promise<ProcessRef & { readonly logPath: string }> {
  const { engine, folder, port, settings = {} } = place;
  const files = await ensureMysqlFiles(engine);
  const tmp = join(folder, 'tmp');
  mkdirSync(tmp, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  initialize(place, files);
  // One that a killed server left stops MySQL while its pid is still a zombie's, or anyone else's by now.
  rmSync(join(folder, 'data', `${socket}.lock`), { force: true });
  // MariaDB lets a second server write to the same data: this lock, which the server inherits, does not. One that was killed
  // holds it until the last of its threads is gone.
  const flock = Bun.which('flock');
  const command = [
    ...(flock === null ? [] : [flock, '--timeout=5', '--no-fork', '--verbose', join(folder, 'lock')]),
    ...baseCommand(files, join(folder, 'data')),
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${socket}`,
    '--pid-file=server.pid',
    `--tmpdir=${tmp}`,
    // Everybody on the machine may log in: they shall not read or write files through it.
    `--secure-file-priv=${tmp}`,
    ...settingArguments({ ...serverSettings[engine], ...settings }),
  ];
  const logPath = join(folder, `${engine}.log`);
  const ref = startDetached({ command, folder, logPath });
  try {
    await untilReady({
      title: titleOf(engine),
      login: { host: '127.0.0.1', port, user: 'root', password: '' },
      goneWhy: () =>
        isAlive(ref) ? null : `${titleOf(engine)} ended while starting:\n${readFileSync(logPath, 'utf8').slice(-3000)}`,
    });
  } catch (error) {
    await endProcess(ref, 'SIGKILL');
    throw error;
  }
  return { ...ref, logPath };
}

/** Why no server lets us in there; null when one does. */
export async function whyNoAnswer(login: MysqlLogin): Promise<string | null> {
  try {
    const connection = await mysql2.createConnection({ ...login, connectTimeout: connectMsMax });
    try {
      await connection.query('select 1');
    } finally {
      connection.destroy();
    }
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export type Readiness = { readonly title: string; readonly login: MysqlLogin; readonly goneWhy: () => string | null };

/** Waits until the server answers; `goneWhy` says when there is no more use in waiting. */
export async function untilReady({ title, login, goneWhy }: Readiness): Promise<void> {
  const endMs = performance.now() + readyMsMax;
  for (;;) {
    const reason = await whyNoAnswer(login);
    if (reason === null) return;
    const gone = goneWhy();
    if (gone !== null) throw new ScriptError(gone);
    if (performance.now() > endMs) {
      throw new ScriptError(`${title} on ${login.host}:${login.port} did not answer within ${readyMsMax / 1000} s: ${reason}`);
    }
    await Bun.sleep(50);
  }
}
