// scripts/quickstart in a checkout of its own, against a Kafka and a MySQL that the environment names: lake and warehouse agree,
// a second run adds nothing, and a warehouse that differs by a cent is said loudly.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/common.ts';
import { BINARY } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { startPrivateKafka, tempDir } from '../helpers/services.ts';

setDefaultTimeout(300_000);

type Said = { readonly code: number; readonly out: string; readonly err: string };

test('shows a lake and a warehouse that agree, twice the same, and ends with 1 when they do not', async () => {
  await using kafka = await startPrivateKafka();
  await using mysql = await testMysql();
  await using folder = await tempDir();
  for (const name of ['scripts', 'src', 'sql', 'feeds.json', 'package.json', 'package-lock.json'])
    cpSync(join(root, name), join(folder.path, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder.path, 'node_modules'));
  // Last, so that it is newer than its sources and is not built again.
  cpSync(BINARY, join(folder.path, 'dist/lake'));
  const own = Object.entries(process.env).filter(([name]) => !/^(MYSQL|MARIADB|KAFKA|DOCKER)_/.test(name));
  const { host, port, user, password } = mysql.login;
  const named = { MYSQL_HOST: host, MYSQL_PORT: String(port), MYSQL_USER: user, MYSQL_PASSWORD: password };
  const env = {
    ...Object.fromEntries(own),
    ...named,
    MYSQL_DATABASE: mysql.database,
    KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap,
  };
  const quickstart = async (): Promise<Said> => {
    const child = Bun.spawn([process.execPath, 'scripts/quickstart.ts'], { cwd: folder.path, env, stderr: 'pipe' });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, out, err };
  };
  /** From the lake on: what came before differs in the second run, as it should. */
  const shown = ({ out }: Said): string => out.slice(out.indexOf('The lake is in'));

  const first = await quickstart();
  expect(first).toMatchObject({ code: 0 });
  expect(first.out).toContain('All of it is exactly what the samples add up to, in both.');
  expect(first.out).toMatch(/fact_user_transaction_summary +2958 +fact_user_transaction_summary_latest/);
  expect(first.out).toMatch(/ total_amount +8295625\.73 .*8295625\.73 +yes\n/);
  expect(first.out).toMatch(/dim_users +2960 /);
  expect(first.out).not.toContain(' NO\n');

  const second = await quickstart();
  expect(second).toMatchObject({ code: 0 });
  expect(second.err).toContain('no new samples');
  expect(second.err).toContain('ingest_ended messages=0');
  expect(shown(second)).toBe(shown(first));

  const connection = await mysql.connect();
  const add = 'update fact_user_transaction_summary set total_amount = total_amount';
  await connection.query(`${add} + 0.01 where user_id = 'user_00042'`);
  await connection.query(`${add} - 0.01 where user_id = 'user_00043'`);
  const third = await quickstart();
  expect(third.code).toBe(1);
  expect(third.out).toContain('DIFFERENT in fact_user_transaction_summary: 2 rows');
  expect(third.out).toContain("NOT the same in MySQL as over the lake's transactions: fact_user_transaction_summary\n");
  expect(third.out).not.toContain('All of it is exactly');
});
