// permissions of a feed: who may read its tables in the database and its files in the lake, now and later, and what verify says of it.

import { expect, test } from 'bun:test';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import mysql2 from 'mysql2/promise';
import { drain, FIELDS, runLake, startLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

const modesOf = (root: string): string[] =>
  readdirSync(root, { recursive: true, withFileTypes: true }).map((entry) => {
    const { mode } = statSync(join(entry.parentPath, entry.name));
    return `${entry.isDirectory() ? 'folder' : 'file'} ${(mode & 0o777).toString(8)}`;
  });

const findingsOf = (stdout: string): string[] =>
  JSON.parse(stdout).feeds.flatMap(({ checks }: { checks: { check: string; findings: { what: string }[] }[] }) =>
    checks.filter(({ check }) => check === 'permissions').flatMap(({ findings }) => findings.map(({ what }) => what)),
  );

test('files and folders have the group and mode of feeds.json, those made later too; verify tells what differs and sync sets it', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const [topic, keyed] = [await kafka.createTopic(), await kafka.createTopic()];
  const groupId = uniqueName('group');
  const setup = (permissions: Record<string, unknown>) =>
    writeSetup({
      ...{ folder: folder.path, kafka, groupId },
      feeds: [streamFeed('orders', topic, { permissions }), tableFeed('totals', keyed, { permissions })],
    });
  const ownGroup = Bun.spawnSync(['id', '-gn']).stdout.toString().trim();
  const one = setup({ lake_group: ownGroup, lake_mode: '0640' });
  for (const round of [1, 2]) {
    await kafka.produce(topic, [{ value: `{"id":${round},"text":"a"}` }, { value: 'no json' }]);
    await kafka.produce(keyed, [{ value: `{"id":${round},"text":"a"}` }]);
    await drain(one);
    for (const root of ['streams/orders', 'dead_letters/orders', 'tables/totals'])
      expect([round, root, ...new Set(modesOf(join(one.lakePath, root)))].sort()).toEqual(
        [round, root, 'file 640', 'folder 750'].sort(),
      );
  }
  expect((await runLake(one, ['verify'])).code).toBe(0);
  for (const name of readdirSync(join(one.lakePath, 'streams/orders')))
    chmodSync(join(one.lakePath, 'streams/orders', name), 0o777);
  const wrong = await runLake(one, ['verify', 'orders', '--json']);
  expect([wrong.code, findingsOf(wrong.stdout)]).toEqual([3, [expect.stringContaining('1 files and folders')]]);
  expect((await runLake(one, ['feeds', 'sync', '--yes'])).code).toBe(0);
  expect((await runLake(one, ['verify'])).code).toBe(0);
  // A start sets what is there, and says at once what cannot be.
  const wider = setup({ lake_mode: '0644' });
  await drain(wider);
  expect(new Set(modesOf(join(one.lakePath, 'streams')))).toEqual(new Set(['file 644', 'folder 755']));
  const unknown = await runLake(setup({ lake_group: 'no_such_group' }), ['ingest', '--until-caught-up']);
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    expect.stringContaining('lake_group no_such_group is no group of this host'),
  ]);
});

test.each(mysqlEngines)('readers of %s see the table, its view and its dimensions, and nothing else', async (engine) => {
  await using folder = await tempDir();
  await using database = await testMysql(engine);
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await kafka.produce(topic, [{ value: '{"id":1,"text":"a"}' }]);
  const [reader, groupId] = [uniqueName('r').slice(0, 16), uniqueName('group')];
  const feed = (readers: readonly string[]) =>
    tableFeed('totals', topic, {
      ...{ destination: 'data_warehouse', mysql_table: 'fact_totals', dimensions: [{ table: 'dim_texts', key: 'text' }] },
      ...{ schema: { key_field: 'id', fields: { ...FIELDS, text: 'VARCHAR(20)' } }, permissions: { mysql_readers: readers } },
    });
  const write = (readers: readonly string[]) =>
    warehouseSetup({ ...{ folder: folder.path, kafka, database, groupId }, feeds: [feed(readers)] });
  const setup = write([reader]);
  // Nobody of that name yet: told, and no row waits for it.
  const before = await runLake(setup, ['ingest', '--until-caught-up']);
  expect([before.code, before.stderr]).toEqual([0, expect.stringContaining(`${reader} is no user of the database server`)]);
  const missing = await runLake(setup, ['verify', '--json']);
  expect([missing.code, findingsOf(missing.stdout)]).toEqual([3, [expect.stringContaining(`${reader}@% was not given`)]]);
  const admin = await database.connect();
  const admins = async () => (await rowsOf(database, 'select count(*) as n from mysql.user where user = ?', [reader]))[0]?.['n'];
  expect(Number(await admins())).toBe(0);
  await admin.query(`create user '${reader}'@'%' identified by 'secret'`);
  try {
    expect((await runLake(setup, ['feeds', 'sync', '--yes'])).code).toBe(0);
    const as = await mysql2.createConnection({
      ...{ host: database.login.host, port: database.login.port, user: reader, password: 'secret', database: database.database },
    });
    for (const table of ['fact_totals', 'fact_totals_latest', 'dim_texts']) await as.query(`select * from ${table}`);
    expect(as.query('select * from lake_positions')).rejects.toThrow();
    expect(as.query('delete from fact_totals')).rejects.toThrow();
    await as.query('select 1');
    as.destroy();
    expect((await runLake(setup, ['verify', '--json'])).code).toBe(0);
    const named = await rowsOf(database, 'select grantee, permission from feed_permissions');
    expect(named.map((row) => ({ ...row }))).toEqual([{ grantee: `${reader}@%`, permission: 'read' }]);
    await admin.query(`revoke select on fact_totals from '${reader}'@'%'`);
    const lost = await runLake(setup, ['verify', '--json']);
    expect([lost.code, findingsOf(lost.stdout)]).toEqual([
      3,
      [expect.stringContaining('has no right to read fact_totals any more')],
    ]);
    const lake = startLake(setup, ['ingest']);
    await lake.event('partitions_assigned');
    lake.kill('SIGTERM');
    await lake.ended;
    expect((await runLake(setup, ['verify', '--json'])).code).toBe(0);
  } finally {
    await admin.query(`drop user '${reader}'@'%'`);
  }
});
