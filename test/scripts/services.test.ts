// scripts/services, in a checkout of its own: what is started runs until it is stopped, and comes back with its data.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import mysql2 from 'mysql2/promise';
import { root } from '../../scripts/common.ts';
import { endProcess, endWithParent, freePort } from '../../scripts/service/process.ts';
import { tempDir } from '../helpers/services.ts';

// Bun keeps the default of the helpers for the first file that imports them only.
setDefaultTimeout(300_000);

type Answer = { readonly code: number; readonly out: string; readonly err: string };
type Checkout = {
  readonly services: (args: string, environment?: Record<string, string>) => Promise<Answer>;
  readonly record: (service: string) => Promise<{ pid: number; identity: string; address: string }>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** A copy of the scripts: the services of this checkout are its user's. */
async function checkout(): Promise<Checkout> {
  const folder = await tempDir();
  cpSync(join(root, 'scripts'), join(folder.path, 'scripts'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder.path, 'node_modules'));
  // Docker is out of it (its place is a refusal), and so is what the environment names.
  const own = Object.entries(process.env).filter(([name]) => !/^(MYSQL|MARIADB|KAFKA|DOCKER)_/.test(name));
  const base = { ...Object.fromEntries(own), DOCKER_HOST: 'tcp://127.0.0.1:1' };
  const state = (): Promise<Record<string, { pid: number; identity: string; address: string }>> =>
    Bun.file(join(folder.path, '.services/state.json'))
      .json()
      .catch(() => ({}));
  const services = async (args: string, environment: Record<string, string> = {}): Promise<Answer> => {
    const command = [process.execPath, 'scripts/services.ts', ...args.split(' ')];
    const child = Bun.spawn(command, { cwd: folder.path, env: { ...base, ...environment }, stderr: 'pipe' });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    const code = await child.exited;
    if (args.startsWith('start')) for (const ref of Object.values(await state())) endWithParent(ref, folder.path);
    return { code, out, err };
  };
  return {
    services,
    record: async (service) => (await state())[service] ?? { pid: 0, identity: '', address: '' },
    [Symbol.asyncDispose]: async () => {
      for (const ref of Object.values(await state())) await endProcess(ref, 'SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What `services start` prints for a shell. */
function exported(out: string): Record<string, string> {
  return Object.fromEntries([...out.matchAll(/^export (\w+)=(.*)$/gm)].map((match) => [match[1] ?? '', match[2] ?? '']));
}

test.each(['kafka', 'mysql', 'mariadb'])('%s is started once, seen, stopped and started again at its address', async (name) => {
  await using mine = await checkout();
  expect(await mine.services(`status ${name}`)).toEqual({ code: 3, out: `${name}\tnot running\n`, err: '' });
  const first = await mine.services(`start ${name}`);
  expect(first).toMatchObject({ code: 0 });
  const { pid, address } = await mine.record(name);
  const again = await mine.services(`start ${name}`);
  expect(again.out).toBe(first.out);
  expect((await mine.record(name)).pid).toBe(pid);
  const status = await mine.services('status');
  expect(status.code).toBe(0);
  expect(status.out).toContain(`${name}\trunning\t${address}\tpid ${pid}`);

  expect((await mine.services(`stop ${name}`)).err).toContain(`${name} stopped`);
  expect((await mine.services('status')).code).toBe(3);
  expect((await mine.services(`stop ${name}`)).err).toContain(`${name}: nothing of ours runs`);
  expect((await mine.services(`start ${name}`)).out).toBe(first.out);
  expect(await mine.record(name)).toMatchObject({ address });
  expect((await mine.record(name)).pid).not.toBe(pid);
});

test.each(['mysql', 'mariadb'])('%s keeps its data over a stop and over a kill', async (name) => {
  await using mine = await checkout();
  const variables = exported((await mine.services(`start ${name}`)).out);
  const prefix = name.toUpperCase();
  const connect = () =>
    mysql2.createConnection({
      host: variables[`${prefix}_HOST`] ?? '',
      port: Number(variables[`${prefix}_PORT`]),
      user: variables[`${prefix}_USER`] ?? '',
      password: variables[`${prefix}_PASSWORD`] ?? 'none printed',
    });
  let connection = await connect();
  await connection.query('create database kept');
  await connection.query('create table kept.t (id int primary key)');
  for (const [id, end] of [
    [1, async () => void (await mine.services(`stop ${name}`))],
    [2, async () => void (await endProcess(await mine.record(name), 'SIGKILL'))],
  ] as const) {
    await connection.query('insert into kept.t values (?)', [id]);
    connection.on('error', () => {});
    await end();
    expect((await mine.services(`status ${name}`)).code).toBe(3);
    expect(await mine.services(`start ${name}`)).toMatchObject({ code: 0 });
    connection = await connect();
    const [rows] = await connection.query('select max(id) as id, count(*) as count from kept.t');
    expect(rows).toMatchObject([{ id, count: id }]);
  }
  connection.destroy();
});

test('a server that the environment names is used, never stopped, and told apart when it does not answer', async () => {
  await using mine = await checkout();
  const { MARIADB_PORT: port = '' } = exported((await mine.services('start mariadb')).out);
  const named = { MYSQL_HOST: 'localhost', MYSQL_PORT: port };
  expect(await mine.services('start mysql', named)).toMatchObject({
    code: 0,
    out: `export MYSQL_HOST=127.0.0.1\nexport MYSQL_PORT=${port}\n`,
  });
  expect((await mine.services('stop mysql', named)).err).toContain('mysql: nothing of ours runs');
  expect((await mine.services('status mysql', named)).code).toBe(0);

  const stranger = await mine.services('start mysql', { ...named, MYSQL_USER: 'nobody_known' });
  expect(stranger).toMatchObject({ code: 1, out: '' });
  expect(stranger.err).toContain("Access denied for user 'nobody_known'");
  const nothing = await mine.services('start mysql', { MYSQL_PORT: String(await freePort()) });
  expect(nothing.err).toMatch(/^error: MySQL does not answer at 127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): start it, or unset MYSQL/);
});

test('an unknown service is refused by name', async () => {
  await using mine = await checkout();
  expect(await mine.services('start mysqll')).toEqual({
    code: 1,
    out: '',
    err: 'error: no service mysqll: there is kafka, mysql, mariadb\n',
  });
});
