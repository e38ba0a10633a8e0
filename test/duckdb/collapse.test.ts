// Keyed state in SQL against a plain fold: few keys, several partitions, tombstones, any order of arrival, any batches, any publishes.
import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COORDINATE_COLUMNS, collapseSql, mergeSql, publishSql } from '../../src/duckdb/collapse.ts';
import { fillTempTable, openDatabase, query, run } from '../../src/duckdb/connection.ts';
import { quoteName, quoteText } from '../../src/duckdb/sql.ts';
import type { Column } from '../../src/model/columns.ts';
import { type Random, random } from '../helpers/random.ts';

const database = await openDatabase();
const connection = await database.connect();
const folder = mkdtempSync(join(tmpdir(), 'lake-collapse-'));
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** `value` null: a tombstone. `micros` is the effective timestamp. */
type Message = {
  readonly text: string;
  readonly number: bigint;
  readonly partition: number;
  readonly offset: bigint;
  readonly micros: bigint;
  readonly value: { readonly note: string | null; readonly amount: string | null } | null;
};

const KEY = ['a "text"', 'number'];
const KEY_COLUMNS: readonly Column[] = [
  { name: 'a "text"', type: 'VARCHAR' },
  { name: 'number', type: 'BIGINT' },
];
const COLUMNS: readonly Column[] = [
  ...KEY_COLUMNS,
  { name: 'note', type: 'VARCHAR' },
  { name: 'amount', type: 'DECIMAL(15,2)' },
  ...COORDINATE_COLUMNS,
];

/** Makes tables of a batch as decode stages them. */
async function stage(messages: readonly Message[], rows: string, tombstones: string): Promise<void> {
  await fillTempTable(connection, 'staged', {
    count: messages.length,
    columns: {
      text: { type: 'VARCHAR', values: messages.map(({ text }) => text) },
      number: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ number }) => number) },
      note: { type: 'VARCHAR', values: messages.map(({ value }) => value?.note ?? null) },
      amount: { type: 'VARCHAR', values: messages.map(({ value }) => value?.amount ?? null) },
      partition: { type: 'INTEGER', values: Int32Array.from(messages, ({ partition }) => partition) },
      offset: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ offset }) => offset) },
      micros: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ micros }) => micros) },
      deleted: { type: 'INTEGER', values: Int32Array.from(messages, ({ value }) => (value === null ? 1 : 0)) },
    },
  });
  const key = `text AS ${quoteName('a "text"')}, number`;
  const lineage = `"partition" AS kafka_partition, "offset" AS kafka_offset, make_timestamptz(micros) AS kafka_timestamp`;
  const values = 'note, CAST(amount AS DECIMAL(15,2)) AS amount';
  await run(connection, `CREATE TABLE ${rows} AS SELECT ${key}, ${values}, ${lineage} FROM staged WHERE deleted = 0`);
  await run(connection, `CREATE TABLE ${tombstones} AS SELECT ${lineage}, ${key} FROM staged WHERE deleted = 1`);
}

/** A table's state as DESIGN §5 has it: key → latest message, tombstones included. */
function fold(messages: readonly Message[]): { live: Message[]; deleted: Message[] } {
  const winners = new Map<string, Message>();
  for (const message of messages) {
    const key = JSON.stringify([message.text, String(message.number)]);
    const best = winners.get(key);
    if (!best || isLater(message, best)) winners.set(key, message);
  }
  const all = [...winners.values()];
  return { live: all.filter(({ value }) => value !== null), deleted: all.filter(({ value }) => value === null) };
}

function isLater(a: Message, b: Message): boolean {
  if (a.micros !== b.micros) return a.micros > b.micros;
  return a.partition !== b.partition ? a.partition > b.partition : a.offset > b.offset;
}

const keyed = (state: { live: readonly Message[]; deleted: readonly Message[] }) => ({
  live: state.live.map(lineOf).sort(),
  deleted: state.deleted.map((message) => lineOf({ ...message, value: null })).sort(),
});
const lineOf = ({ text, number, partition, offset, micros, value }: Message): string =>
  JSON.stringify([text, String(number), partition, String(offset), String(micros), value && [value.note, value.amount]]);

/** The engine's side: a delta, and what was published, in tables or in Parquet files. */
class Keyed {
  private count = 0;
  private delta: string | null = null;
  private base: string | null = null;
  private tombstones: string | null = null;
  private readonly made: string[] = [];

  private readonly format: 'table' | 'parquet';

  constructor(format: 'table' | 'parquet') {
    this.format = format;
  }

  private name(what: string): string {
    this.count += 1;
    const name = quoteName(`${what} ${this.count}`);
    this.made.push(name);
    return name;
  }

  async take(messages: readonly Message[]): Promise<void> {
    const [rows, tombstones, winners, into] = [this.name('rows'), this.name('tombs'), this.name('winners'), this.name('delta')];
    await stage(messages, rows, tombstones);
    const hasTombstones = messages.some(({ value }) => value === null);
    await run(connection, collapseSql({ into: winners, rows, tombstones: hasTombstones ? tombstones : null, keyColumns: KEY }));
    await run(connection, mergeSql({ into, delta: this.delta, winners, keyColumns: KEY }));
    this.delta = into;
  }

  async publish(): Promise<void> {
    if (this.delta === null) return;
    const [base, state] = [await this.target('base'), await this.target('state')];
    const { delta, tombstones } = this;
    const losers = this.name('losers');
    const sql = publishSql({ delta, losers, base: this.base, tombstones, keyColumns: KEY, columns: COLUMNS });
    await run(connection, sql.losers);
    this.base = await base(sql.data);
    this.tombstones = await state(sql.state);
    this.delta = null;
  }

  /** Keeps a query's rows, and says what to read them from. */
  private async target(what: string): Promise<(select: string) => Promise<string>> {
    const name = this.name(what);
    if (this.format === 'table') {
      return async (select) => {
        await run(connection, `CREATE TABLE ${name} AS ${select}`);
        return name;
      };
    }
    const file = quoteText(join(folder, `${what}_${crypto.randomUUID()}.parquet`));
    return async (select) => {
      await run(connection, `COPY (${select}) TO ${file} (FORMAT parquet)`);
      return `read_parquet(${file}, hive_partitioning = false)`;
    };
  }

  async state() {
    await this.publish();
    const read = async (from: string | null, value: string): Promise<Message[]> => {
      if (from === null) return [];
      const rows = await query(connection, `SELECT *, epoch_us(kafka_timestamp) AS micros, ${value} FROM ${from}`);
      return rows.map((row) => ({
        text: String(row['a "text"']),
        number: BigInt(String(row['number'])),
        partition: Number(row['kafka_partition']),
        offset: BigInt(String(row['kafka_offset'])),
        micros: BigInt(String(row['micros'])),
        value: row['live'] ? { note: textOf(row['note']), amount: textOf(row['sum']) } : null,
      }));
    };
    const found = {
      live: await read(this.base, 'CAST(amount AS VARCHAR) AS sum, true AS live'),
      deleted: await read(this.tombstones, 'false AS live'),
    };
    for (const name of this.made) await run(connection, `DROP TABLE IF EXISTS ${name}`);
    return keyed(found);
  }
}

const textOf = (value: unknown): string | null => (value === null ? null : String(value));

/** Equal under MySQL's collations, or to whoever stops at a NUL. */
const TEXTS = [
  'user1',
  'USER1',
  'usér1',
  'use\u0301r1',
  'user1 ',
  'user1\0',
  '',
  '\0',
  'longer than twelve bytes',
  'longer than twelve bytes\0',
];

/** Messages in the order of their partitions, with effective timestamps: the running maximum of times that also go back. */
function produce(
  dice: Random,
  options: { count: number; partitions: number; deletes: (partition: number) => number },
): Message[] {
  const upTo = (count: number): number => Math.floor(dice.between(0, count));
  const micros = new Array<bigint>(options.partitions).fill(-1_000_000n);
  const offsets = new Array<bigint>(options.partitions).fill(9_007_199_254_740_993n);
  return Array.from({ length: options.count }, (_, index) => {
    const partition = upTo(options.partitions);
    const own = BigInt(Math.floor(index / 8) + upTo(6) - 3) * 1000n - 20_000n;
    micros[partition] = own > (micros[partition] ?? 0n) ? own : (micros[partition] ?? 0n);
    offsets[partition] = (offsets[partition] ?? 0n) + BigInt(1 + upTo(3));
    const note = upTo(3) ? `note ${index}` : null;
    const amount = upTo(3) ? `${upTo(1000)}.${10 + upTo(90)}` : null;
    return {
      text: TEXTS[upTo(TEXTS.length)] ?? '',
      number: BigInt(upTo(2)),
      partition,
      offset: offsets[partition] ?? 0n,
      micros: micros[partition] ?? 0n,
      value: dice.next() < options.deletes(partition) ? null : { note, amount },
    };
  });
}

const shuffled = <T>(items: readonly T[], dice: Random): T[] =>
  items
    .map((item) => ({ item, at: dice.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);

describe('the state is that of a plain fold', () => {
  const dice = random();
  test.each([
    ['deletes everywhere', () => 0.4],
    ['tombstones in one partition, rows in the others', (partition: number) => (partition === 0 ? 1 : 0)],
    ['no tombstone', () => 0],
    ['only tombstones', () => 1],
  ])(
    `whatever the batches and publishes: %s (seed ${dice.seed})`,
    async (_, deletes) => {
      for (let round = 0; round < 4; round += 1) {
        const count = Math.floor(dice.between(1, 120));
        const messages = produce(dice, { count, partitions: 3, deletes });
        const wanted = keyed(fold(messages));
        for (const publishes of [0, 0.3, 1]) {
          const engine = new Keyed(round % 2 ? 'parquet' : 'table');
          const left = shuffled(messages, dice);
          const batchMax = Math.ceil((2 * count) / dice.between(1, 8));
          while (left.length > 0) {
            await engine.take(left.splice(0, 1 + Math.floor(dice.between(0, batchMax))));
            if (dice.next() < publishes) await engine.publish();
          }
          expect({ seed: dice.seed, round, publishes, ...(await engine.state()) }).toEqual({
            seed: dice.seed,
            round,
            publishes,
            ...wanted,
          });
        }
      }
    },
    300_000,
  );
});

describe('a key in two partitions', () => {
  const message = (partition: number, offset: number, micros: number, note: string | null): Message => ({
    text: 'k',
    number: 1n,
    partition,
    offset: BigInt(offset),
    micros: BigInt(micros),
    value: note === null ? null : { note, amount: null },
  });
  const row = (note: string, at: [number, number, number]) => message(...at, note);
  const tombstone = (at: [number, number, number]) => message(...at, null);

  test.each<[string, Message, Message]>([
    ['the greater timestamp', row('old', [9, 9, 5]), row('new', [0, 0, 6])],
    ['at equal timestamps the greater partition', row('old', [1, 9, 5]), row('new', [2, 0, 5])],
    ['in one partition the greater offset', row('old', [1, 9, 5]), row('new', [1, 10, 5])],
    ['a later tombstone', row('old', [1, 9, 5]), tombstone([0, 0, 6])],
    ['a row after a tombstone', tombstone([1, 9, 5]), row('new', [0, 0, 6])],
    ['the later of two tombstones', tombstone([1, 9, 5]), tombstone([0, 0, 6])],
  ])('%s wins, in one batch, over two, and over a publish, in either order', async (_, loser, winner) => {
    const wanted = keyed(fold([loser, winner]));
    expect(wanted).toEqual(keyed({ live: winner.value ? [winner] : [], deleted: winner.value ? [] : [winner] }));
    for (const messages of [
      [loser, winner],
      [winner, loser],
    ]) {
      for (const steps of ['one batch', 'two batches', 'a publish between'] as const) {
        const engine = new Keyed('table');
        if (steps === 'one batch') await engine.take(messages);
        else {
          await engine.take(messages.slice(0, 1));
          if (steps === 'a publish between') await engine.publish();
          await engine.take(messages.slice(1));
        }
        expect({ steps, ...(await engine.state()) }).toEqual({ steps, ...wanted });
      }
    }
  });
});

describe('files of an older schema', () => {
  test('a column added since is NULL in older rows, a type widened since holds them', async () => {
    await run(
      connection,
      `CREATE TABLE "old base" AS SELECT 1::INTEGER AS number, 'x' AS kept, 0::INTEGER AS kafka_partition,
      1::BIGINT AS kafka_offset, make_timestamptz(1) AS kafka_timestamp`,
    );
    await run(connection, 'CREATE TABLE "old tombs" AS SELECT * EXCLUDE (kept) REPLACE (2::INTEGER AS number) FROM "old base"');
    await run(
      connection,
      `CREATE TABLE "new delta" AS SELECT 5000000000::BIGINT AS number, 'y' AS kept, 7 AS added, 0::INTEGER AS kafka_partition,
      2::BIGINT AS kafka_offset, make_timestamptz(1) AS kafka_timestamp, false AS _deleted`,
    );
    const columns = [
      { name: 'number', type: 'BIGINT' },
      { name: 'kept', type: 'VARCHAR' },
      { name: 'added', type: 'INTEGER' },
      ...COORDINATE_COLUMNS,
    ];
    const parts = {
      delta: '"new delta"',
      losers: '"none lost"',
      base: '"old base"',
      tombstones: '"old tombs"',
      keyColumns: ['number'],
    };
    const sql = publishSql({ ...parts, columns });
    await run(connection, sql.losers);
    expect(await query(connection, `SELECT number, kept, added FROM (${sql.data}) ORDER BY number`)).toEqual([
      { number: 1n, kept: 'x', added: null },
      { number: 5_000_000_000n, kept: 'y', added: 7 },
    ]);
    const types = (await query(connection, `DESCRIBE ${sql.data}`)).map((row) => `${row['column_name']} ${row['column_type']}`);
    expect(types.join(', ')).toBe(
      'number BIGINT, kept VARCHAR, added INTEGER, kafka_partition INTEGER, kafka_offset BIGINT, kafka_timestamp TIMESTAMP WITH TIME ZONE',
    );
    expect(await query(connection, `SELECT number FROM (${sql.state})`)).toEqual([{ number: 2n }]);
  });

  test('a column that no file and no delta has yet is there as NULL, and every column has the feed’s type', async () => {
    const columns = [
      { name: 'number', type: 'BIGINT' },
      { name: 'kept', type: 'DECIMAL(5,2)' },
      { name: 'later', type: 'DATE' },
      ...COORDINATE_COLUMNS,
    ];
    await run(connection, `CREATE TABLE "narrow base" AS SELECT * REPLACE (1::INTEGER AS kept) FROM "old base"`);
    await run(connection, 'CREATE TABLE "narrow delta" AS SELECT * EXCLUDE (added) REPLACE (2.5 AS kept) FROM "new delta"');
    const parts = {
      delta: '"narrow delta"',
      losers: '"still none"',
      base: '"narrow base"',
      tombstones: null,
      keyColumns: ['number'],
    };
    const sql = publishSql({ ...parts, columns });
    await run(connection, sql.losers);
    expect(await query(connection, `SELECT kept::VARCHAR AS kept, later FROM (${sql.data}) ORDER BY number`)).toEqual([
      { kept: '1.00', later: null },
      { kept: '2.50', later: null },
    ]);
    const types = (await query(connection, `DESCRIBE ${sql.data}`)).map((row) => row['column_type']);
    expect(types.slice(0, 3)).toEqual(['BIGINT', 'DECIMAL(5,2)', 'DATE']);
  });

  test('the first publish has nothing to compare with, and gives an empty state its columns', async () => {
    await run(connection, 'CREATE TABLE "empty delta" AS SELECT * FROM "new delta" WHERE false');
    const columns = [{ name: 'number', type: 'BIGINT' }, ...COORDINATE_COLUMNS];
    const sql = publishSql({
      delta: '"empty delta"',
      losers: '"no losers"',
      base: null,
      tombstones: null,
      keyColumns: ['number'],
      columns,
    });
    await run(connection, sql.losers);
    for (const select of [sql.data, sql.state]) {
      expect(await query(connection, select)).toEqual([]);
      expect((await query(connection, `DESCRIBE ${select}`)).map((row) => row['column_name'])).toEqual(
        columns.map(({ name }) => name),
      );
    }
  });
});
