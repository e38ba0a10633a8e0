// What every Warehouse promises: values that do not change on the way, transactions that are there as a whole or not at all.
// One body, run against each engine.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { join } from 'node:path';
import type { MysqlConfig } from '../../src/config/config.ts';
import { LakeError } from '../../src/errors.ts';
import { openDuckdbWarehouse } from '../../src/warehouse/duckdb-warehouse.ts';
import { openMysqlWarehouse } from '../../src/warehouse/mysql-warehouse.ts';
import { type SqlScalar, type Statement, type Tx, type Warehouse, WarehouseFailure } from '../../src/warehouse/warehouse.ts';
import { testMysql } from '../helpers/mysql.ts';
import { random } from '../helpers/random.ts';
import { tempDir } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

setDefaultTimeout(300_000);

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const mysqlConfig = (login: Omit<MysqlConfig, 'engine' | 'database' | 'ssl'>, database: string): MysqlConfig => ({
  engine: 'mysql',
  ...login,
  database,
  ssl: false,
});

type Place = { readonly open: () => Promise<Warehouse>; readonly [Symbol.asyncDispose]: () => Promise<void> };
type Engine = {
  readonly name: string;
  readonly place: () => Promise<Place>;
  /** Column types and table options where the engines differ. */
  readonly sql: {
    readonly text: string;
    readonly bytes: string;
    readonly instant: string;
    readonly table: string;
    readonly forUpdate: string;
    readonly bytesOf: (column: string) => string;
  };
  /** A transaction waits before it begins, not at its first lock. */
  readonly oneWriter: boolean;
};

const mysqlSql = {
  ...{ text: 'LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', bytes: 'LONGBLOB', instant: 'DATETIME(6)' },
  ...{ table: 'ENGINE=InnoDB', forUpdate: 'FOR UPDATE', bytesOf: (column: string) => `OCTET_LENGTH(${column})` },
};
const duckdbSql = {
  ...{ text: 'VARCHAR', bytes: 'BLOB', instant: 'TIMESTAMP' },
  ...{ table: '', forUpdate: '', bytesOf: (column: string) => `octet_length(${column})` },
};
/** Each opening is the same one: a process has it open once. */
const duckdbPlace = async (): Promise<Place> => {
  const folder = await tempDir();
  const files = { statePath: join(folder.path, 'engine/state.duckdb'), path: join(folder.path, 'warehouse.duckdb') };
  const warehouse = await openDuckdbWarehouse({ ...files, publishEveryMs: 1_000, nowMs: Date.now, log: silent });
  return { open: async () => warehouse, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
};
const mysqlPlace = async (engine: 'mysql' | 'mariadb'): Promise<Place> => {
  const database = await testMysql(engine);
  return {
    open: () => openMysqlWarehouse(mysqlConfig(database.login, database.database), { log: silent }),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
};
const ENGINES: readonly Engine[] = [
  { name: 'mysql', place: () => mysqlPlace('mysql'), sql: mysqlSql, oneWriter: false },
  { name: 'mariadb', place: () => mysqlPlace('mariadb'), sql: mysqlSql, oneWriter: false },
  { name: 'duckdb', place: duckdbPlace, sql: duckdbSql, oneWriter: true },
];

const never = new AbortController().signal;
const sql = (text: string, ...values: SqlScalar[]): Statement => ({ text, values });
const failureOf = async (work: Promise<unknown>): Promise<WarehouseFailure> => {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof WarehouseFailure)) throw error ?? new Error('it succeeded');
  return error;
};

for (const engine of ENGINES) {
  describe(engine.name, () => {
    let place: Place;
    let a: Warehouse;
    let b: Warehouse;
    let tables = 0;
    beforeAll(async () => {
      place = await engine.place();
      [a, b] = [await place.open(), await place.open()];
    });
    afterAll(async () => {
      await a[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    });
    const table = async (columns: string): Promise<string> => {
      const name = `t${++tables}`;
      await a.run(sql(`CREATE TABLE ${name} (${columns}) ${engine.sql.table}`), never);
      return name;
    };
    const column = async (warehouse: Warehouse, name: string, what = 'v'): Promise<unknown[]> =>
      (await warehouse.run(sql(`SELECT ${what} AS v FROM ${name} ORDER BY id`), never)).map((row) => row['v']);

    const roundTrip = async (type: string, values: readonly SqlScalar[]): Promise<unknown[]> => {
      const name = await table(`id INT PRIMARY KEY, v ${type}`);
      const places = values.map(() => '(?, ?)').join(', ');
      const pairs = values.flatMap((value, id): SqlScalar[] => [id, value]);
      const matched = await a.transaction(
        (tx) => tx.change(sql(`INSERT INTO ${name} (id, v) VALUES ${places}`, ...pairs)),
        never,
      );
      expect(matched).toBe(values.length);
      return await column(b, name);
    };

    test('texts of any characters come back as they were', async () => {
      const alphabet = [
        "'",
        "''",
        '"',
        '\\',
        '\\\\',
        "\\'",
        '\0',
        '\n',
        '\r',
        '\t',
        '\b',
        '\x1a',
        '%',
        '_',
        '`',
        '?',
        ';',
        '--',
        '/*',
        '#',
      ];
      alphabet.push('a', 'é', 'ß', '中', '😀', '👩‍👩‍👧', '\u{10ffff}', '\ufeff', '\u2028', ' ', '$1', '$&');
      const { seed, between } = random();
      const texts = Array.from({ length: 3000 }, () =>
        Array.from({ length: between(0, 12) }, () => alphabet[Math.floor(between(0, alphabet.length))]).join(''),
      );
      texts.push('', ...alphabet, 'x'.repeat(100_000), '\\'.repeat(1001), "'".repeat(1001));
      expect({ seed, texts: await roundTrip(engine.sql.text, texts) }).toEqual({ seed, texts });
    });

    test('bytes of all values come back as they were', async () => {
      const all = Uint8Array.from({ length: 256 }, (_, index) => index);
      const blobs = [
        all,
        all.subarray(39, 93),
        new Uint8Array(0),
        Uint8Array.of(0),
        Uint8Array.of(0xff, 0xfe),
        Uint8Array.of(0xc3, 0x28),
      ];
      const back = await roundTrip(engine.sql.bytes, blobs);
      expect(back.map((value) => (value instanceof Uint8Array ? [...value] : value))).toEqual(blobs.map((blob) => [...blob]));
    });

    test('BIGINT is exact from end to end', async () => {
      const values = [0n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)];
      expect(await roundTrip('BIGINT', values)).toEqual(values.map(String));
      expect(await roundTrip('BIGINT', values.map(String))).toEqual(values.map(String));
    });

    test('DECIMAL is exact in all its digits', async () => {
      const values = [
        '0.0000000001',
        '9999999999999999999999999999.9999999999',
        '-9999999999999999999999999999.9999999999',
        '1.0000000000',
      ];
      expect(await roundTrip('DECIMAL(38,10)', values)).toEqual(values);
    });

    test('DOUBLE is exact to the last bit, as a number and as a text', async () => {
      const { seed, between } = random();
      const bits = new DataView(new ArrayBuffer(8));
      const anyDouble = (): number => {
        bits.setUint32(0, between(0, 2 ** 32));
        bits.setUint32(4, between(0, 2 ** 32));
        const value = bits.getFloat64(0);
        return Number.isFinite(value) ? value : 1;
      };
      const values = [
        0,
        -0,
        0.1,
        1 / 3,
        5e-324,
        2.2250738585072014e-308,
        Number.MAX_VALUE,
        -Number.MAX_VALUE,
        1e21,
        2 ** 53,
        0.3,
      ];
      values.push(123456789.123456, -1.2345678901234568e-300, ...Array.from({ length: 1000 }, anyDouble));
      // 16 digits that are more than 2^53 without their point.
      values.push(...Array.from({ length: 1000 }, () => between(9.01, 9.99)));
      values.push(...Array.from({ length: 1000 }, () => Math.round(between(-1e6, 1e6)) / 10 ** Math.round(between(0, 6))));
      expect({ seed, values: await roundTrip('DOUBLE', values) }).toEqual({ seed, values });
      expect({
        seed,
        values: await roundTrip(
          'DOUBLE',
          values.map((v) => (Object.is(v, -0) ? '-0' : String(v))),
        ),
      }).toEqual({ seed, values });
    });

    test('instants are texts in UTC with microseconds', async () => {
      const values = [
        '2025-01-28 23:59:59.999999',
        '0001-01-01 00:00:00.000001',
        '9999-12-31 23:59:59.999999',
        '2025-03-30 02:30:00.000000',
      ];
      expect((await roundTrip(engine.sql.instant, values)).map(String)).toEqual(values);
    });

    test('NULL stays NULL in every type', async () => {
      for (const type of ['INT', 'DOUBLE', 'DECIMAL(10,2)', engine.sql.text, engine.sql.bytes, engine.sql.instant]) {
        expect(await roundTrip(type, [null])).toEqual([null]);
      }
    });

    test('a text with half of a surrogate pair is a row error and nothing is sent', async () => {
      const name = await table(`id INT PRIMARY KEY, v ${engine.sql.text}`);
      const failure = await a.transaction(async (tx) => {
        const failed = await failureOf(tx.change(sql(`INSERT INTO ${name} VALUES (1, ?)`, 'a\ud800b')));
        await tx.change(sql(`INSERT INTO ${name} VALUES (2, ?)`, 'kept'));
        return failed;
      }, never);
      expect(failure.class).toBe('row');
      expect(await column(b, name)).toEqual(['kept']);
    });

    test('a question mark in quotes is no place for a value', async () => {
      const rows = await a.run(sql("SELECT '?''?' AS a, ? AS b", 'x'), never);
      expect(rows).toEqual([{ a: "?'?", b: 'x' }]);
    });

    test('what a transaction did is there for others when it has ended, and not before', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      await a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (1, 10)`));
        expect(await tx.rows(sql(`SELECT id, v FROM ${name}`))).toEqual([{ id: 1, v: 10 }]);
        expect(await column(b, name)).toEqual([]);
      }, never);
      expect(await column(b, name)).toEqual([10]);
    });

    test('anything thrown rolls back and is thrown on', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      const reason = new Error('mine');
      const work = a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (1, 10)`));
        throw reason;
      }, never);
      expect(await work.catch((error: unknown) => error)).toBe(reason);
      expect(await column(b, name)).toEqual([]);
      await a.transaction((tx) => tx.change(sql(`INSERT INTO ${name} VALUES (1, 11)`)), never);
      expect(await column(b, name)).toEqual([11]);
    });

    test('an update counts the rows it matched, changed or not', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      await a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (1, 10), (2, 20)`));
        expect(await tx.change(sql(`UPDATE ${name} SET v = 10 WHERE id = 1`))).toBe(1);
        expect(await tx.change(sql(`UPDATE ${name} SET v = 10 WHERE id = 3`))).toBe(0);
      }, never);
    });

    test('of two that move a position one wins; the other waits for it and matches nothing', async () => {
      const name = await table('id INT PRIMARY KEY, v BIGINT NOT NULL, epoch INT NOT NULL');
      await a.transaction((tx) => tx.change(sql(`INSERT INTO ${name} VALUES (0, 100, 1)`)), never);
      const move = (tx: Tx, to: bigint) =>
        tx.change(sql(`UPDATE ${name} SET v = ? WHERE id = 0 AND v = ? AND epoch = 1`, to, 100n));
      let others: Promise<number> | null = null;
      let answered = false;
      await a.transaction(async (tx) => {
        expect(await move(tx, 150n)).toBe(1);
        others = b.transaction(async (second) => {
          const matched = await move(second, 130n);
          answered = true;
          return matched;
        }, never);
        // The same wait on the server, seen from a third statement that gives up at once, would need its own dialect.
        for (let turn = 0; turn < 20; turn++) await tx.rows(sql(`SELECT v FROM ${name}`));
        expect(answered).toBe(false);
      }, never);
      expect(await (others ?? 0)).toBe(0);
      expect(await column(b, name)).toEqual(['150']);
    });

    test('twenty movers of one position: each step is won once', async () => {
      const name = await table('id INT PRIMARY KEY, v BIGINT NOT NULL');
      await a.transaction((tx) => tx.change(sql(`INSERT INTO ${name} VALUES (0, 0)`)), never);
      const won: bigint[] = [];
      const mover = async (warehouse: Warehouse): Promise<void> => {
        for (let step = 0n; step < 10n; step++) {
          const matched = await warehouse.transaction(
            (tx) => tx.change(sql(`UPDATE ${name} SET v = ? WHERE id = 0 AND v = ?`, step + 1n, step)),
            never,
          );
          if (matched === 1) won.push(step);
        }
      };
      await Promise.all(Array.from({ length: 20 }, (_, index) => mover(index % 2 === 0 ? a : b)));
      expect(won).toEqual([...new Set(won)]);
      expect(await column(b, name)).toEqual([String(won.length)]);
    });

    test('a second key is a duplicate and leaves the transaction usable', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      await a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (1, 10)`));
        expect((await failureOf(tx.change(sql(`INSERT INTO ${name} VALUES (2, 20), (1, 11)`)))).class).toBe('duplicate');
        await tx.change(sql(`INSERT INTO ${name} VALUES (3, 30)`));
      }, never);
      expect(await column(b, name, 'id')).toEqual([1, 3]);
    });

    test('a refused row leaves the transaction usable, and none of its statement behind', async () => {
      const name = await table('id INT PRIMARY KEY, v DECIMAL(4,2) NOT NULL');
      const sizes = await a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (?, ?)`, 1, '1.00'));
        const failure = await failureOf(tx.change(sql(`INSERT INTO ${name} VALUES (?, ?), (?, ?)`, 2, '2.00', 3, '12345.00')));
        expect({ class: failure.class, quoted: failure.message.includes('12345') }).toEqual({ class: 'row', quoted: false });
        return await tx.change(sql(`INSERT INTO ${name} VALUES (?, ?)`, 4, '4.00'));
      }, never);
      expect(sizes).toBe(1);
      expect(await column(b, name, 'id')).toEqual([1, 4]);
    });

    test('many rows go in at once as what they are, and one that is refused takes all of them along', async () => {
      const { text, bytes, instant } = engine.sql;
      const name = await table(`id INT PRIMARY KEY, v ${text}, b ${bytes}, n DECIMAL(20,3), d DOUBLE, moment ${instant}`);
      const columns = ['id', 'v', 'b', 'n', 'd', 'moment'];
      const rowOf = (id: number): SqlScalar[] => [
        ...[String(id), `'\\\ufeff${id}?`, Uint8Array.of(id & 255, 0), `${id}.125`, '0.1', '2025-01-28 23:59:59.999999'],
        'beyond the columns',
      ];
      const nothing: SqlScalar[] = ['9999', null, null, null, null, null];
      const rows = [...Array.from({ length: 500 }, (_, id) => rowOf(id)), nothing];
      await a.transaction(async (tx) => {
        expect(await tx.insert({ table: name, columns, rows, tail: '' })).toBe(501);
        const refused = tx.insert({ table: name, columns, rows: [rowOf(600), rowOf(0)], tail: '' });
        expect((await failureOf(refused)).class).toBe('duplicate');
        const wrong = ['601', null, null, 'no number', null, null];
        expect((await failureOf(tx.insert({ table: name, columns, rows: [rowOf(602), wrong], tail: '' }))).class).toBe('row');
        expect(await tx.insert({ table: name, columns, rows: [rowOf(603)], tail: '' })).toBe(1);
      }, never);
      const found = await b.run(sql(`SELECT * FROM ${name} WHERE id IN (7, 600, 601, 602, 603, 9999) ORDER BY id`), never);
      const [seven, , last] = found;
      expect(found.map((row) => row['id'])).toEqual([7, 603, 9999]);
      expect([seven?.['v'], [...new Uint8Array(Buffer.from(seven?.['b'] as Uint8Array))]]).toEqual(["'\\\ufeff7?", [7, 0]]);
      expect([seven?.['n'], seven?.['d'], String(seven?.['moment'])]).toEqual(['7.125', 0.1, '2025-01-28 23:59:59.999999']);
      expect(last).toMatchObject({ v: null, b: null, n: null, d: null, moment: null });
    });

    test('a table that is not there is missing', async () => {
      expect((await failureOf(a.run(sql('SELECT * FROM no_such_table'), never))).class).toBe('missing');
    });

    test('two statements in one text are refused', async () => {
      expect((await failureOf(a.run(sql('SELECT 1; SELECT 2'), never))).class).toBe('stop');
    });

    test('an abort between statements rolls back and says so', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      const controller = new AbortController();
      const work = a.transaction(async (tx) => {
        await tx.change(sql(`INSERT INTO ${name} VALUES (1, 10)`));
        controller.abort();
      }, controller.signal);
      const error = await work.catch((reason: unknown) => reason);
      expect(error instanceof LakeError && error.code).toBe('aborted');
      await b.transaction((tx) => tx.change(sql(`INSERT INTO ${name} VALUES (1, 11)`)), never);
      expect(await column(b, name)).toEqual([11]);
    });

    test('an abort while a statement waits ends it at once', async () => {
      const name = await table('id INT PRIMARY KEY, v INT');
      await a.transaction((tx) => tx.change(sql(`INSERT INTO ${name} VALUES (1, 10)`)), never);
      const controller = new AbortController();
      await a.transaction(async (tx) => {
        await tx.rows(sql(`SELECT * FROM ${name} WHERE id = 1 ${engine.sql.forUpdate}`));
        const startMs = performance.now();
        let began = false;
        const waiting = b
          .transaction(async (second) => {
            began = true;
            await second.change(sql(`UPDATE ${name} SET v = 99 WHERE id = 1`));
          }, controller.signal)
          .catch((reason: unknown) => reason);
        await until(() => began || engine.oneWriter);
        controller.abort();
        const error = await waiting;
        expect(error instanceof LakeError && error.code).toBe('aborted');
        expect(performance.now() - startMs).toBeLessThan(20_000);
      }, never);
      expect(await column(b, name)).toEqual([10]);
    });

    test('a work that was aborted before it began does nothing', async () => {
      const error = await a.transaction(async () => expect.unreachable(), AbortSignal.abort()).catch((reason: unknown) => reason);
      expect(error instanceof LakeError && error.code).toBe('aborted');
    });

    test('a statement after the end of its transaction is our bug', async () => {
      let kept: Tx | null = null;
      await a.transaction(async (tx) => {
        kept = tx;
      }, never);
      const late = (kept as Tx | null)?.rows(sql('SELECT 1'));
      const error = await late?.catch((reason: unknown) => reason);
      expect(error instanceof LakeError && error.code).toBe('bug');
    });

    test('a statement as large as allowed passes; a larger one is a packet error before it is sent', async () => {
      const name = await table(`id INT PRIMARY KEY, v ${engine.sql.bytes}`);
      const text = `INSERT INTO ${name} VALUES (1, ?)`;
      const room = Math.min(a.statementBytesMax, 8_000_000);
      const fits = new Uint8Array(Math.floor((room - text.length) / 2) - 8);
      await a.transaction((tx) => tx.change(sql(text, fits)), never);
      expect(await column(b, name, engine.sql.bytesOf('v'))).toEqual([expect.anything()]);
      if (a.statementBytesMax > 1e9) return;
      const failure = await a.transaction(async (tx) => {
        const failed = await failureOf(tx.change(sql(text, new Uint8Array(a.statementBytesMax / 2))));
        // A server that had been sent it would have closed the connection.
        await tx.rows(sql(`SELECT id FROM ${name}`));
        return failed;
      }, never);
      expect(failure.class).toBe('packet');
    });
  });
}
