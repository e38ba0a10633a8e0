// Which class each error has: the table, and the real thing provoked on MySQL 8 and MariaDB 10.11.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { classify } from '../../src/warehouse/mysql-error.ts';
import type { FailureClass, Warehouse } from '../../src/warehouse/warehouse.ts';
import { mysqlEngines, type PrivateMysql, startPrivateMysql, type TestDatabase } from '../helpers/mysql.ts';
import { until } from '../helpers/until.ts';
import { failureOf, lakeErrorOf, never, openOn, shown, sql } from './mysql-helpers.ts';

setDefaultTimeout(300_000);

const serverError = (errno: number, message: string) => Object.assign(new Error(message), { errno, code: `ER_${errno}` });

describe('the table', () => {
  test.each<[FailureClass, number[]]>([
    ['retry', [1213, 1205, 1020, 1412, 1615]],
    ['wait', [1226, 1053, 1836, 1792, 1040, 1203, 1047, 1158, 1161, 1152, 1184, 1927, 4031, 1317, 1114, 1021, 1037, 1041]],
    ['row', [1406, 1264, 1265, 1366, 1292, 1411, 1048, 1364, 1690, 3819, 4025, 1452, 1644, 1118]],
    ['packet', [1153, 2020]],
    ['duplicate', [1062]],
    ['missing', [1146, 1054, 1136, 1049]],
    ['denied', [1044, 1045, 1142, 1143, 1227, 1698]],
    ['stop', [1064, 1665, 99_999]],
  ])('%s', (expected, numbers) => {
    expect(numbers.map((number) => classify(serverError(number, 'words')).class)).toEqual(
      numbers.map((): FailureClass => expected),
    );
  });

  test('1290 passes for a read-only server, and for no other option', () => {
    const words = (option: string) => `The MySQL server is running with the ${option} option so it cannot execute this statement`;
    const classes = ['--read-only', '--super-read-only', '--secure-file-priv'].map((option) =>
      classify(serverError(1290, words(option))),
    );
    expect(classes.map((failure) => failure.class)).toEqual(['wait', 'wait', 'stop']);
  });

  test('a full disk passes, another error of the engine does not', () => {
    const texts = [
      'Got error 28 from storage engine',
      'Got error 281 from storage engine',
      "Got error 122 - 'x' from storage engine",
    ];
    expect(texts.map((text) => classify(serverError(1030, text)).class)).toEqual(['wait', 'stop', 'stop']);
  });

  test('a connection that broke is waited for, a certificate is not, an error of ours is neither', () => {
    const coded = (code: string) => classify(Object.assign(new Error('words'), { code, errno: -111 })).class;
    expect(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'PROTOCOL_CONNECTION_LOST'].map(coded)).toEqual(
      Array(5).fill('wait'),
    );
    expect(['SELF_SIGNED_CERT_IN_CHAIN', 'ERR_TLS_CERT_ALTNAME_INVALID', 'HANDSHAKE_NO_SSL_SUPPORT'].map(coded)).toEqual(
      Array(3).fill('denied'),
    );
    expect(classify(new TypeError('x is not a function')).class).toBe('stop');
  });

  test.each([
    [1062, "Duplicate entry 'it's for key 'x'-7' for key 'uk'"],
    [1366, "Incorrect integer value: 'secret' for column 'x' at row 1' for column 'c' at row 3"],
    [1292, "Truncated incorrect DOUBLE value: 'secret'"],
    [1411, "Incorrect datetime value: 'secret' for function str_to_date"],
    [1644, 'secret'],
    [1064, "You have an error in your SQL syntax; check … near 'secret','more' at line 1"],
    [4242, 'nobody foresaw "secret" and \'secret\''],
    [1690, "BIGINT UNSIGNED value is out of range in '(1 - secret)'"],
  ])('no value of a row is in the words of %d', (number, message) => {
    expect(classify(serverError(number, message)).message).not.toMatch(/secret|it's|-7/);
  });

  test('the key, the column and the place in the statement stay in the words', () => {
    const words = (number: number, message: string) => classify(serverError(number, message)).message;
    expect([
      words(1062, "Duplicate entry 'secret' for key 'uk'"),
      words(1366, "Incorrect integer value: 'secret' for column 'c' at row 3"),
      words(1366, "Incorrect integer value: 'secret' for column `d`.`t`.`c` at row 3"),
      words(1406, "Data too long for column 'c' at row 3"),
    ]).toEqual([
      "a row with this key is there already, key 'uk'",
      "Incorrect integer value for column 'c' at row 3",
      'Incorrect integer value for column `d`.`t`.`c` at row 3',
      "Data too long for column 'c' at row 3",
    ]);
  });

  test('the statement is not kept with the failure', () => {
    const error = Object.assign(serverError(1062, "Duplicate entry 'a' for key 'k'"), { sql: 'INSERT … secret' });
    expect(classify(error).cause).toBeUndefined();
  });
});

describe.each(mysqlEngines)('%s', (engine) => {
  let server: PrivateMysql;
  let database: TestDatabase;
  let root: Warehouse;
  let user: Warehouse;
  const login = { user: 'lake_user', password: 'right' };
  beforeAll(async () => {
    server = await startPrivateMysql(engine, { settings: { 'max-allowed-packet': '1M' } });
    database = await server.createDatabase();
    root = await openOn({}, database);
    expect(root.engine).toBe(engine);
    await root.run(sql(`CREATE USER lake_user IDENTIFIED BY 'right'`), never);
    await root.run(sql(`GRANT ALL PRIVILEGES ON ${database.database}.* TO lake_user`), never);
    user = await openOn(login, database);
  });
  afterAll(async () => {
    for (const part of [user, root, database, server]) await part?.[Symbol.asyncDispose]();
  });
  const ddl = async (...statements: string[]): Promise<void> => {
    for (const statement of statements) await root.run(sql(statement), never);
  };

  const other = engine === 'mariadb';
  const cases: readonly (readonly [what: string, ddl: readonly string[], insert: string, expected: string])[] = [
    ['a text too long', ['CREATE TABLE r1 (v VARCHAR(3))'], 'INSERT INTO r1 VALUES (?)', 'row 1406'],
    ['a number out of range', ['CREATE TABLE r2 (v TINYINT)'], 'INSERT INTO r2 VALUES (LENGTH(?) + 70000)', 'row 1264'],
    ['no date', ['CREATE TABLE r3 (v DATETIME(6))'], 'INSERT INTO r3 VALUES (?)', 'row 1292'],
    ['a zero date', ['CREATE TABLE r4 (v DATE)'], "INSERT INTO r4 VALUES (IF(? = '', NULL, '0000-00-00'))", 'row 1292'],
    ['no integer', ['CREATE TABLE r5 (v INT)'], 'INSERT INTO r5 VALUES (?)', 'row 1366'],
    ['no decimal', ['CREATE TABLE r6 (v DECIMAL(4,2))'], 'INSERT INTO r6 VALUES (?)', 'row 1366'],
    ['no double', ['CREATE TABLE r7 (v DOUBLE)'], 'INSERT INTO r7 VALUES (?)', other ? 'row 1366' : 'row 1265'],
    ['not one of an ENUM', ["CREATE TABLE r8 (v ENUM('a'))"], 'INSERT INTO r8 VALUES (?)', 'row 1265'],
    ['NULL in NOT NULL', ['CREATE TABLE r9 (v INT NOT NULL)'], 'INSERT INTO r9 VALUES (NULLIF(?, ?))', 'row 1048'],
    ['no default', ['CREATE TABLE r10 (v INT NOT NULL, w TEXT)'], 'INSERT INTO r10 (w) VALUES (?)', 'row 1364'],
    [
      'bytes that are no text',
      ['CREATE TABLE r11 (v TEXT CHARACTER SET utf8mb4)'],
      "INSERT INTO r11 VALUES (CONCAT(?, x'ff'))",
      'row 1366',
    ],
    [
      'characters latin1 lacks',
      ['CREATE TABLE r12 (v TEXT CHARACTER SET latin1)'],
      "INSERT INTO r12 VALUES (CONCAT(?, '😀'))",
      'row 1366',
    ],
    ['a cast that cuts', ['CREATE TABLE r13 (v INT)'], 'INSERT INTO r13 VALUES (CAST(? AS SIGNED))', 'row 1292'],
    ['below zero', ['CREATE TABLE r14 (v INT)'], 'INSERT INTO r14 SELECT CAST(0 AS UNSIGNED) - LENGTH(?)', 'row 1690'],
    [
      'no parent',
      ['CREATE TABLE p15 (id VARCHAR(50) PRIMARY KEY)', 'CREATE TABLE r15 (v VARCHAR(50), FOREIGN KEY (v) REFERENCES p15 (id))'],
      'INSERT INTO r15 VALUES (?)',
      'row 1452',
    ],
    [
      'a trigger that says no',
      [
        'CREATE TABLE r16 (v TEXT)',
        "CREATE TRIGGER no16 BEFORE INSERT ON r16 FOR EACH ROW BEGIN SET @m = CONCAT('no: ', NEW.v); SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @m; END",
      ],
      'INSERT INTO r16 VALUES (?)',
      'row 1644',
    ],
    [
      'no partition',
      ['CREATE TABLE r17 (v INT) PARTITION BY RANGE (v) (PARTITION p VALUES LESS THAN (1))'],
      'INSERT INTO r17 VALUES (LENGTH(?))',
      'row 1526',
    ],
    ['no JSON', ['CREATE TABLE r18 (v JSON)'], 'INSERT INTO r18 VALUES (?)', other ? 'row 4025' : 'row 3140'],
    // MySQL 8.0.15 reads CHECK and does nothing about it: 8.0.16 brought 3819.
    ...(other
      ? [
          [
            'a CHECK',
            ['CREATE TABLE r19 (v TEXT, CHECK (LENGTH(v) > 0))'],
            'INSERT INTO r19 VALUES (LEFT(?, 0))',
            'row 4025',
          ] as const,
        ]
      : []),
    [
      'a second unique key',
      ['CREATE TABLE d1 (v VARCHAR(50) PRIMARY KEY)', `INSERT INTO d1 VALUES ('''SECRET'' for key ''x''')`],
      'INSERT INTO d1 VALUES (?)',
      'duplicate 1062',
    ],
    ['no such table', [], 'INSERT INTO gone VALUES (?)', 'missing 1146'],
    ['no such column', ['CREATE TABLE m2 (v TEXT)'], 'INSERT INTO m2 (w) VALUES (?)', 'missing 1054'],
    ['a column too few', ['CREATE TABLE m3 (v TEXT, w TEXT)'], 'INSERT INTO m3 VALUES (?)', 'missing 1136'],
    ['no such database', [], 'CREATE TABLE no_such_database.t AS SELECT ? AS v', 'missing 1049'],
    ['no statement', [], 'INSERT INTO INTO x VALUES (?)', 'stop 1064'],
  ];
  test.each(cases)('%s', async (_what, prepare, text, expected) => {
    await ddl(...prepare);
    const secret = "'SECRET' for key 'x'";
    const values = Array.from({ length: text.split('?').length - 1 }, () => secret);
    const failure = await failureOf(root.transaction((tx) => tx.change(sql(text, ...values)), never));
    expect(shown(failure)).toBe(expected);
    expect(failure.message).not.toContain('SECRET');
    expect(failure.message.length).toBeGreaterThan(5);
  });

  test('a full table is waited for', async () => {
    await ddl('SET GLOBAL max_heap_table_size = 16384');
    await using fresh = await openOn({}, database);
    await fresh.run(sql('CREATE TABLE full1 (v CHAR(200)) ENGINE=MEMORY'), never);
    const fill = fresh.transaction(async (tx) => {
      for (let row = 0; row < 1000; row++) await tx.change(sql('INSERT INTO full1 VALUES (?)', `${row}`));
    }, never);
    expect(shown(await failureOf(fill))).toBe('wait 1114');
  });

  test('a deadlock ends one of the two, and nothing more of its work is done, even if it was caught', async () => {
    await ddl('CREATE TABLE l1 (id INT PRIMARY KEY, v INT) ENGINE=InnoDB', 'INSERT INTO l1 VALUES (1, 0), (2, 0)');
    let locked = 0;
    const cross = (first: number, second: number) =>
      root.transaction(async (tx) => {
        await tx.change(sql('UPDATE l1 SET v = v + 1 WHERE id = ?', first));
        locked++;
        await until(() => locked === 2);
        await tx.change(sql('UPDATE l1 SET v = v + 1 WHERE id = ?', second)).catch(() => {});
        await tx.change(sql('INSERT INTO l1 VALUES (?, 0)', 10 + first));
      }, never);
    const ends = await Promise.allSettled([cross(1, 2), cross(2, 1)]);
    const lost = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
    expect(lost.map(shown)).toEqual(['retry 1213']);
    const rows = await root.run(sql('SELECT id, v FROM l1 ORDER BY id'), never);
    expect(rows.map((row) => row['v'])).toEqual([1, 1, 0]);
  });

  test('a lock that stays taken for 5 s is tried again', async () => {
    await ddl('CREATE TABLE l2 (id INT PRIMARY KEY, v INT) ENGINE=InnoDB', 'INSERT INTO l2 VALUES (1, 0)');
    await root.transaction(async (tx) => {
      await tx.change(sql('UPDATE l2 SET v = 1'));
      const failure = await failureOf(user.transaction((second) => second.change(sql('UPDATE l2 SET v = 2')), never));
      expect(shown(failure)).toBe('retry 1205');
    }, never);
  });

  test.each(['CONNECTION', 'QUERY'])('KILL %s while a statement waits is waited for', async (what) => {
    const name = `l3_${what.toLowerCase()}`;
    await ddl(`CREATE TABLE ${name} (id INT PRIMARY KEY, v INT) ENGINE=InnoDB`, `INSERT INTO ${name} VALUES (1, 0)`);
    await root.transaction(async (tx) => {
      await tx.change(sql(`UPDATE ${name} SET v = 1`));
      let thread = 0;
      const waiting = failureOf(
        user.transaction(async (second) => {
          thread = Number((await second.rows(sql('SELECT CONNECTION_ID() AS id')))[0]?.['id']);
          await second.change(sql(`UPDATE ${name} SET v = 2`));
        }, never),
      );
      const running = sql('SELECT 1 FROM information_schema.processlist WHERE id = ? AND info LIKE ?', thread, 'UPDATE%');
      await until(async () => thread > 0 && (await root.run({ ...running, values: [thread, 'UPDATE%'] }, never)).length === 1);
      await root.run(sql(`KILL ${what} ${thread}`), never);
      const failure = await waiting;
      expect({ class: failure.class, answers: [null, 1317, 1927, 1053].includes(failure.number) }).toEqual({
        class: 'wait',
        answers: true,
      });
    }, never);
    expect(await root.run(sql(`SELECT v FROM ${name}`), never)).toEqual([{ v: 1 }]);
  });

  test('a statement that the server ends for its time is tried again', async () => {
    const text = other
      ? 'SET STATEMENT max_statement_time=0.05 FOR SELECT SLEEP(5)'
      : 'SELECT /*+ MAX_EXECUTION_TIME(50) */ COUNT(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c';
    expect(shown(await failureOf(root.transaction((tx) => tx.rows(sql(text)), never)))).toBe(other ? 'retry 1969' : 'retry 3024');
  });

  test('a read-only server is waited for', async () => {
    await ddl('CREATE TABLE ro (v INT)', 'SET GLOBAL read_only = 1');
    try {
      expect(shown(await failureOf(user.transaction((tx) => tx.change(sql('INSERT INTO ro VALUES (1)')), never)))).toBe(
        'wait 1290',
      );
      if (!other) {
        await ddl('SET GLOBAL super_read_only = 1');
        expect(shown(await failureOf(root.transaction((tx) => tx.change(sql('INSERT INTO ro VALUES (1)')), never)))).toBe(
          'wait 1290',
        );
      }
    } finally {
      if (!other) await ddl('SET GLOBAL super_read_only = 0');
      await ddl('SET GLOBAL read_only = 0');
    }
    await user.transaction((tx) => tx.change(sql('INSERT INTO ro VALUES (1)')), never);
    const readOnly = root.transaction(async (tx) => {
      await tx.rows(sql('COMMIT'));
      await tx.rows(sql('START TRANSACTION READ ONLY'));
      await tx.change(sql('INSERT INTO ro VALUES (1)'));
    }, never);
    expect(shown(await failureOf(readOnly))).toBe('wait 1792');
  });

  test('a server that turned read-only during a transaction refuses its COMMIT: in doubt, and nothing is there', async () => {
    await ddl('CREATE TABLE ro2 (v INT) ENGINE=InnoDB');
    try {
      const work = user.transaction(async (tx) => {
        await tx.change(sql('INSERT INTO ro2 VALUES (1)'));
        await ddl('SET GLOBAL read_only = 1');
      }, never);
      expect(shown(await failureOf(work))).toBe('in_doubt 1290');
    } finally {
      await ddl('SET GLOBAL read_only = 0');
    }
    expect(await root.run(sql('SELECT * FROM ro2'), never)).toEqual([]);
  });

  test('too many connections are waited for, of all and of one user', async () => {
    await ddl(
      'SET GLOBAL max_connections = 10',
      'CREATE USER one_user',
      'GRANT ALL PRIVILEGES ON *.* TO one_user WITH MAX_USER_CONNECTIONS 1'.replace(
        other ? '' : ' WITH MAX_USER_CONNECTIONS 1',
        '',
      ),
    );
    if (!other) await ddl('ALTER USER one_user WITH MAX_USER_CONNECTIONS 1');
    const open: Warehouse[] = [];
    try {
      open.push(await openOn({ user: 'one_user', password: '' }, database));
      const second = await lakeErrorOf(openOn({ user: 'one_user', password: '' }, database));
      expect([second.code, second.cause].map((part) => (part instanceof Error ? shown(part as never) : part))).toEqual([
        'warehouse_unreachable',
        'wait 1226',
      ]);
      const crowd = (async () => {
        for (;;) open.push(await openOn(login, database));
      })();
      const error = await lakeErrorOf(crowd);
      expect([error.code, shown(error.cause as never)]).toEqual(['warehouse_unreachable', 'wait 1040']);
    } finally {
      for (const warehouse of open) await warehouse[Symbol.asyncDispose]();
      await ddl('SET GLOBAL max_connections = 151');
    }
  });

  test('a grant that is missing is denied', async () => {
    await ddl('CREATE TABLE secret_table (v INT)', `CREATE USER poor`, `GRANT CREATE ON ${database.database}.ro TO poor`);
    await using poor = await openOn({ user: 'poor', password: '' }, database);
    expect(shown(await failureOf(poor.run(sql('SELECT * FROM secret_table'), never)))).toBe('denied 1142');
    expect(shown(await failureOf(poor.run(sql('SET GLOBAL max_connections = 1'), never)))).toBe('denied 1227');
    expect(shown(await failureOf(poor.run(sql('CREATE DATABASE other_one'), never)))).toBe('denied 1044');
  });

  test('what the server says to a packet that is too large', async () => {
    const raw = await database.connect();
    const error = await raw.query(`SELECT '${'x'.repeat(2_000_000)}'`).catch((reason: unknown) => reason);
    // It closes the connection too, and which of the two is seen first is chance: that is why we count before we send.
    expect(['packet', 'wait']).toContain(classify(error).class);
    const text = sql('SELECT LENGTH(?) AS v', 'x'.repeat(2_000_000));
    expect(shown(await failureOf(root.run(text, never)))).toBe('packet 1153');
    const most = sql('SELECT LENGTH(?) AS v', 'x'.repeat(root.statementBytesMax - "SELECT LENGTH('') AS v".length));
    expect(Number((await root.run(most, never))[0]?.['v'])).toBe(root.statementBytesMax - 22);
  });
});
