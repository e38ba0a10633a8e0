// scripts/month in small: what it goes through, and that it leaves nothing behind.

import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { testMysql } from '../helpers/mysql.ts';
import { testKafka } from '../helpers/services.ts';
import { rowsOf } from '../helpers/warehouse.ts';

test('ten days are taken in, compacted and retained, and verify finds nothing after each', async () => {
  const kafka = await testKafka();
  await using database = await testMysql();
  const { host, port, user, password } = database.login;
  const script = join(import.meta.dir, '../../scripts/month.ts');
  const child = Bun.spawn([process.execPath, script, '--days', '10', '--messages', '60'], {
    env: {
      ...process.env,
      ...{ KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap, MYSQL_HOST: host, MYSQL_PORT: String(port) },
      ...{ MYSQL_USER: user, MYSQL_PASSWORD: password },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect({ code: await child.exited, stderr: child.exitCode === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const verifies = stdout.split('\n').filter((line) => line.includes('lake verify'));
  expect(verifies.length).toBe(4);
  for (const line of verifies) expect(line).toContain(' 0 findings');
  expect(stdout).toContain('Every step ended well');
  const name = /month_[0-9a-f]{8}/.exec(stderr)?.[0] ?? 'month_';
  expect(await rowsOf(database, 'SHOW DATABASES LIKE ?', [name])).toEqual([]);
});
