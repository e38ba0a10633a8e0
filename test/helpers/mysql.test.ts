// The servers that tests of the warehouse stand on: a database is alone and goes, a killed server keeps what was committed.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { mysqlEngines, startPrivateMysql, testMysql } from './mysql.ts';

setDefaultTimeout(300_000);

async function values(connection: Connection, sql: string): Promise<unknown[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return rows.map((row) => Object.values(row)[0]);
}

describe.each(mysqlEngines)('%s', (engine) => {
  test('a database is fresh, has a name of its own, and is gone after its scope', async () => {
    await using other = await testMysql(engine);
    const outside = await other.connect();
    let name = '';
    {
      await using mine = await testMysql(engine);
      name = mine.database;
      const [first, second] = [await mine.connect(), await mine.connect()];
      await first.query('create table t (id int primary key) engine=InnoDB');
      await first.query('insert into t values (1), (2)');
      expect(await values(second, 'select id from t order by id')).toEqual([1, 2]);
      expect(await values(outside, `show databases like '${name}'`)).toEqual([name]);
      expect(await values(outside, 'show tables')).toEqual([]);
    }
    expect(await values(outside, `show databases like '${name}'`)).toEqual([]);
  });

  test('it is the engine that was asked for', async () => {
    await using mine = await testMysql(engine);
    const [version] = await values(await mine.connect(), 'select version()');
    expect(String(version)).toMatch(engine === 'mysql' ? /^8\.(?!.*MariaDB)/ : /MariaDB/);
  });

  test('a killed server comes back on its port with the rows that were committed, and without the others', async () => {
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    const writer = await database.connect();
    await writer.query('create table t (id int primary key) engine=InnoDB');
    await writer.query('insert into t values (1)');
    await writer.beginTransaction();
    await writer.query('insert into t values (2)');
    await writer.commit();
    await writer.beginTransaction();
    await writer.query('insert into t values (3)');
    const pid = server.pid();
    await server.stop({ signal: 'SIGKILL' });
    expect(await writer.query('select 1').catch((error: Error) => error.message)).toMatch(/closed|lost|ECONNRESET/i);
    await server.start();
    expect(server.pid()).not.toBe(pid);
    expect(await values(await database.connect(), 'select id from t order by id')).toEqual([1, 2]);
  });
});

test('a paused server is silent until it is resumed', async () => {
  await using server = await startPrivateMysql('mariadb', { settings: { 'max-allowed-packet': '1M' } });
  const database = await server.createDatabase();
  const connection = await database.connect();
  server.pause();
  const unanswered = connection.query('select 1');
  const refused = await database.connect({ connectTimeout: 300 }).catch((error: Error) => error.message);
  expect(refused).toBe('connect ETIMEDOUT');
  server.resume();
  await unanswered;
  expect(await values(connection, 'select @@max_allowed_packet')).toEqual([1048576]);
});
