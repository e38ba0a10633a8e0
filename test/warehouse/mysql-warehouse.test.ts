// The warehouse on a server that goes away, comes back, hangs, or does not let us in.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { connect, createServer, type Socket } from 'node:net';
import { freePort } from '../../scripts/service/process.ts';
import { mysqlEngines, startPrivateMysql, testMysql } from '../helpers/mysql.ts';
import { until } from '../helpers/until.ts';
import { failureOf, lakeErrorOf, never, openOn, pauseWhole, shown, silent, sql } from './mysql-helpers.ts';

setDefaultTimeout(300_000);

type Pair = { readonly client: Socket; readonly upstream: Socket };

/** A way to the server that a test can break in its own manner. */
async function proxyTo(port: number, wire: (pair: Pair) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    client.on('close', () => void upstream.destroy());
    wire({ client, upstream });
  });
  const own = await freePort();
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
  return {
    port: own,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Passes COMMIT on too, and cuts the client off when the server answers it. */
function swallowCommits({ client, upstream }: Pair): void {
  let cut = false;
  client.on('data', (data) => {
    if (data.toString('latin1').endsWith('COMMIT')) cut = true;
    upstream.write(data);
  });
  upstream.on('data', (data) => (cut ? client.destroy() : client.write(data)));
}

/** The client hears of the server's end only when it says something. */
function hideTheEnd({ client, upstream }: Pair): void {
  let ended = false;
  upstream.on('data', (data) => client.write(data));
  upstream.on('end', () => {
    ended = true;
  });
  client.on('data', (data) => (ended ? client.destroy() : upstream.write(data)));
}

describe.each(mysqlEngines)('%s', (engine) => {
  test('a session does not hang on the settings of the server', async () => {
    const settings = {
      'sql-mode': 'ANSI,NO_BACKSLASH_ESCAPES',
      'default-time-zone': '+05:30',
      autocommit: '0',
      'character-set-server': 'latin1',
      'collation-server': 'latin1_swedish_ci',
    };
    await using server = await startPrivateMysql(engine, { settings });
    const database = await server.createDatabase();
    await using warehouse = await openOn({}, database);
    const [row] = await warehouse.run(
      sql(`SELECT @@session.sql_mode AS mode, CONCAT_WS(' ', @@session.time_zone, IF(@@session.autocommit, 1, 0), @@innodb_lock_wait_timeout,
        @@character_set_client, @@character_set_connection, @@character_set_results) AS others`),
      never,
    );
    expect(row?.['others']).toBe('+00:00 1 5 utf8mb4 utf8mb4 utf8mb4');
    expect(String(row?.['mode']).split(',').sort()).toEqual([
      'ERROR_FOR_DIVISION_BY_ZERO',
      'NO_ENGINE_SUBSTITUTION',
      'NO_ZERO_DATE',
      'NO_ZERO_IN_DATE',
      'STRICT_TRANS_TABLES',
    ]);
    const hostile = ["a\\'b", '\\', "''", '"', 'é😀', '\\\\0'];
    const [back] = await warehouse.run(sql('SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f', ...hostile), never);
    expect(Object.values(back ?? {})).toEqual(hostile);
    const isolation = engine === 'mysql' ? '@@session.transaction_isolation' : '@@session.tx_isolation';
    expect(await warehouse.run(sql(`SELECT ${isolation} AS v`), never)).toEqual([{ v: 'READ-COMMITTED' }]);
  });

  test('SIGKILL of the server in a transaction leaves nothing; the pool is good again when the server is back', async () => {
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    await using warehouse = await openOn({}, database);
    await warehouse.run(sql('CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB'), never);
    // Four idle connections, all of which die.
    let inside = 0;
    const four = [1, 2, 3, 4].map((id) =>
      warehouse.transaction(async (tx) => {
        await tx.change(sql('INSERT INTO t VALUES (?)', id));
        inside++;
        await until(() => inside === 4);
      }, never),
    );
    await Promise.all(four);
    const killed = warehouse.transaction(async (tx) => {
      await tx.change(sql('INSERT INTO t VALUES (9)'));
      await server.stop({ signal: 'SIGKILL' });
      await tx.change(sql('INSERT INTO t VALUES (10)'));
    }, never);
    expect((await failureOf(killed)).class).toBe('wait');
    expect((await failureOf(warehouse.transaction(async () => 1, never))).class).toBe('wait');
    await server.start();
    const rows = await Promise.all(
      [1, 2, 3, 4, 5].map(() => warehouse.transaction((tx) => tx.rows(sql('SELECT id FROM t ORDER BY id')), never)),
    );
    for (const ids of rows) expect(ids.map((row) => row['id'])).toEqual([1, 2, 3, 4]);
  });

  test('an idle connection that the server ended is not handed out, whether or not the news of it has come', async () => {
    await using database = await testMysql(engine);
    using proxy = await proxyTo(database.login.port, hideTheEnd);
    await using killer = await openOn({}, database);
    for (const port of [database.login.port, proxy.port]) {
      let ended = 0;
      const log = { ...silent, debug: () => void ended++ };
      await using warehouse = await openOn({ port, options: { log } }, database);
      const threadOf = async () => (await warehouse.run(sql('SELECT CONNECTION_ID() AS id'), never))[0]?.['id'];
      const thread = await threadOf();
      expect(await threadOf()).toBe(thread as never);
      await killer.run(sql(`KILL ${thread}`), never);
      if (port === database.login.port) await until(() => ended === 1);
      else
        await until(
          async () =>
            (await killer.run(sql('SELECT 1 FROM information_schema.processlist WHERE id = ?', Number(thread)), never)).length ===
            0,
        );
      expect(await threadOf()).not.toBe(thread as never);
      expect(ended).toBe(1);
    }
  });

  test('a connection that is not needed for a while is let go, with a goodbye, and made anew', async () => {
    // The count is of all clients of a server.
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    const watcher = await database.connect();
    let ended = 0;
    const log = { ...silent, debug: () => void ended++ };
    await using warehouse = await openOn({ options: { log } }, database);
    const threadOf = async () => (await warehouse.run(sql('SELECT CONNECTION_ID() AS id'), never))[0]?.['id'];
    const thread = await threadOf();
    const abortedCount = async () => JSON.stringify((await watcher.query("SHOW GLOBAL STATUS LIKE 'Aborted_clients'"))[0]);
    const before = await abortedCount();
    await until(() => ended === 1, { timeoutMs: 60_000 });
    expect(await threadOf()).not.toBe(thread as never);
    expect(await abortedCount()).toBe(before);
  });

  test('the server is killed while COMMIT is under way: in doubt', async () => {
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    await using warehouse = await openOn({}, database);
    await warehouse.run(sql('CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB'), never);
    let left = false;
    const work = failureOf(
      warehouse.transaction(async (tx) => {
        await tx.change(sql('INSERT INTO t VALUES (1)'));
        await pauseWhole(server);
        left = true;
      }, never),
    );
    // The next look is after the work's end, which sends COMMIT to a server that does not read it.
    await until(() => left);
    await new Promise((resolve) => setImmediate(resolve));
    await server.stop({ signal: 'SIGKILL' });
    expect((await work).class).toBe('in_doubt');
    await server.start();
    expect(await warehouse.run(sql('SELECT * FROM t'), never)).toEqual([]);
  });

  test('the answer of COMMIT is lost: in doubt, and the rows are there', async () => {
    await using database = await testMysql(engine);
    using proxy = await proxyTo(database.login.port, swallowCommits);
    await using through = await openOn({ port: proxy.port }, database);
    await through.run(sql('CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB'), never);
    const work = through.transaction((tx) => tx.change(sql('INSERT INTO t VALUES (1)')), never);
    expect((await failureOf(work)).class).toBe('in_doubt');
    expect(await through.run(sql('SELECT * FROM t'), never)).toEqual([{ id: 1 }]);
  });

  test('an abort does not end a COMMIT that is under way', async () => {
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    await using warehouse = await openOn({}, database);
    await warehouse.run(sql('CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB'), never);
    const controller = new AbortController();
    let left = false;
    const work = warehouse.transaction(async (tx) => {
      const matched = await tx.change(sql('INSERT INTO t VALUES (1)'));
      await pauseWhole(server);
      left = true;
      return matched;
    }, controller.signal);
    await until(() => left);
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    server.resume();
    expect(await work).toBe(1);
    expect(await warehouse.run(sql('SELECT * FROM t'), never)).toEqual([{ id: 1 }]);
  });

  test('a COMMIT without an answer is not waited for much longer than the work was wanted', async () => {
    await using database = await testMysql(engine);
    const given = new AbortController();
    using proxy = await proxyTo(database.login.port, ({ client, upstream }) => {
      client.on('data', (data) => {
        if (data.toString('latin1').endsWith('COMMIT')) given.abort();
        else upstream.write(data);
      });
      upstream.on('data', (data) => client.write(data));
    });
    await using through = await openOn({ port: proxy.port }, database);
    await through.run(sql('CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB'), never);
    const work = through.transaction((tx) => tx.change(sql('INSERT INTO t VALUES (1)')), given.signal);
    expect((await lakeErrorOf(work)).code).toBe('aborted');
  });

  test('a server that hangs is given up after the limit, and taken up again', async () => {
    await using server = await startPrivateMysql(engine);
    const database = await server.createDatabase();
    await using warehouse = await openOn({ options: { statementMsMax: 300, connectMsMax: 300 } }, database);
    await pauseWhole(server);
    expect(shown(await failureOf(warehouse.transaction(async () => 1, never)))).toBe('wait null');
    expect(shown(await failureOf(warehouse.run(sql('SELECT 1'), never)))).toBe('wait null');
    server.resume();
    expect(await until(() => warehouse.transaction(async () => 1, never).catch(() => null))).toBe(1);
  });

  test('no more connections than allowed; who waits for one can be told to stop', async () => {
    await using database = await testMysql(engine);
    await using warehouse = await openOn({ options: { connectionsMax: 2 } }, database);
    const threads = new Set<unknown>();
    const ask = async () => void threads.add((await warehouse.run(sql('SELECT CONNECTION_ID() AS id'), never))[0]?.['id']);
    await Promise.all(Array.from({ length: 20 }, ask));
    expect(threads.size).toBeLessThanOrEqual(2);
    const hold = new AbortController();
    await warehouse.transaction(
      () =>
        warehouse.transaction(async () => {
          const third = lakeErrorOf(warehouse.run(sql('SELECT 1'), hold.signal));
          hold.abort();
          expect((await third).code).toBe('aborted');
        }, never),
      never,
    );
    await ask();
  });

  test('who does not let us in, and what to do', async () => {
    await using database = await testMysql(engine);
    const name = `u${Date.now() % 1e9}`;
    await using admin = await openOn({}, database);
    await admin.run(sql(`CREATE USER ${name} IDENTIFIED BY 'right'`), never);
    try {
      const port = await freePort();
      const unreachable = await lakeErrorOf(openOn({ port }, database));
      expect([unreachable.code, unreachable.message]).toEqual([
        'warehouse_unreachable',
        expect.stringContaining(`127.0.0.1:${port}`),
      ]);
      const wrong = await lakeErrorOf(openOn({ user: name, password: 'wrong-word' }, database));
      expect([wrong.code, wrong.todo]).toEqual(['warehouse_refused', expect.stringContaining('warehouse.password')]);
      expect(wrong.message).not.toContain('wrong-word');
      const none = await lakeErrorOf(openOn({ database: 'no_such_one' }, database));
      expect([none.code, none.todo]).toEqual(['warehouse_refused', expect.stringContaining('CREATE DATABASE `no_such_one`')]);
      const poor = await lakeErrorOf(openOn({ user: name, password: 'right' }, database));
      expect([poor.code, poor.todo]).toEqual([
        'warehouse_refused',
        expect.stringContaining(`GRANT ALL PRIVILEGES ON \`${database.database}\`.*`),
      ]);
      expect((await lakeErrorOf(openOn({ options: { signal: AbortSignal.abort() } }, database))).code).toBe('aborted');
    } finally {
      await admin.run(sql(`DROP USER ${name}`), never);
    }
  });

  test('TLS: a certificate nobody vouches for is refused, and taken when told to', async () => {
    await using database = await testMysql(engine);
    const error = await lakeErrorOf(openOn({ ssl: true }, database));
    expect([error.code, error.todo]).toEqual(['warehouse_refused', expect.stringContaining('warehouse.ssl')]);
    if (engine === 'mariadb') return;
    await using warehouse = await openOn({ ssl: Object.freeze({ rejectUnauthorized: false }) }, database);
    const [row] = await warehouse.run(sql("SHOW STATUS LIKE 'Ssl_cipher'"), never);
    expect(row?.['Value']).toMatch(/\w+/);
  });
});
