// Each way to say MySQL's password: the environment, a file, the flag, which goes before both; and what a wrong one comes to.

import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runLake } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { expectFact, factFeed, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

const PASSWORD = `p'a"s\\s $w{o}rd é`;

test.each([...mysqlEngines])('%s: the password from the environment, a file and the flag', async (engine) => {
  await using folder = await tempDir();
  await using database = await testMysql(engine);
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds: [factFeed('totals', topic)] });
  const admin = await database.connect();
  const user = uniqueName('u');
  await admin.query(`CREATE USER '${user}'@'%' IDENTIFIED BY ${admin.escape(PASSWORD)}`);
  await admin.query(
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, CREATE VIEW, SHOW VIEW ON \`${database.database}\`.* TO '${user}'@'%'`,
  );
  try {
    const secret = join(folder.path, 'secret');
    writeFileSync(secret, `${PASSWORD}\n`);
    const config: unknown = JSON.parse(readFileSync(setup.configPath, 'utf8'));
    const run = async (password: string, args: readonly string[] = [], env: Record<string, string> = {}) => {
      const warehouse = { ...Object(Object(config).warehouse), user, password };
      writeFileSync(setup.configPath, JSON.stringify({ ...Object(config), warehouse }));
      await sent.send(messages(sent.messages.length, 5));
      return await runLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args, ...args], { env });
    };
    const ways: readonly (readonly [string, readonly string[], Record<string, string>])[] = [
      [`\${MYSQL_PASSWORD:-}`, [], { MYSQL_PASSWORD: PASSWORD }],
      [`\${file:${secret}}`, [], {}],
      ['wrong', ['--mysql-password', PASSWORD], { MYSQL_PASSWORD: 'wrong too' }],
    ];
    for (const [password, args, env] of ways) {
      const { code, stderr } = await run(password, args, env);
      expect([password, code, code === 0 ? '' : stderr]).toEqual([password, 0, '']);
      await expectFact(sent.messages, database, { feed: 'totals', topic }, { kafka });
      expect(stderr).not.toContain(PASSWORD);
    }
    const { code, stderr } = await run('wrong');
    expect([code, stderr]).toEqual([1, expect.stringContaining('--mysql-password')]);
    expect(stderr).toContain('code   warehouse_refused (exit 1)');
    const missing = await run(`\${file:/nowhere/secret}`);
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('/nowhere/secret')]);
  } finally {
    await admin.query(`DROP USER '${user}'@'%'`);
  }
});
