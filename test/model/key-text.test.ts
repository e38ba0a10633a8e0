// Canonical key texts: by table, and the hash that DuckDB computes is that of the reference for random values of every type.
import { afterAll, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { keyHashSql } from '../../src/duckdb/collapse.ts';
import { fillTempTable, openDatabase, query } from '../../src/duckdb/connection.ts';
import { duckdbType, typeName } from '../../src/model/columns.ts';
import type { FieldType } from '../../src/model/feed.ts';
import { keyHashInput, keyText } from '../../src/model/key-text.ts';
import { random } from '../helpers/random.ts';

const database = await openDatabase();
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

const VARCHAR: FieldType = { kind: 'varchar', charsMax: null };
const decimal = (precision: number, scale: number): FieldType => ({ kind: 'decimal', precision, scale });
const hashOf = (texts: readonly string[]): string => createHash('sha256').update(keyHashInput(texts)).digest('hex');

const TEXTS: readonly [FieldType, string, string][] = [
  [VARCHAR, 'a\0b 😀', 'a\0b 😀'],
  [VARCHAR, '', ''],
  [{ kind: 'integer' }, '-12', '-12'],
  [{ kind: 'bigint' }, '100', '100'],
  [decimal(15, 2), '1.50', '1.5'],
  [decimal(15, 2), '100.00', '100'],
  [decimal(15, 2), '-0.05', '-0.05'],
  [decimal(15, 2), '0.00', '0'],
  [decimal(3, 3), '-0.500', '-0.5'],
  [decimal(15, 0), '100', '100'],
  [{ kind: 'date' }, '-1', '1969-12-31'],
  [{ kind: 'date' }, '-719162', '0001-01-01'],
  [{ kind: 'timestamp' }, '-1', '-1'],
  [{ kind: 'boolean' }, 'true', '1'],
  [{ kind: 'boolean' }, 'false', '0'],
  [{ kind: 'blob' }, 'AKv/', '00ABFF'],
  [{ kind: 'blob' }, '', ''],
];
test.each(TEXTS.map(([type, value, text]) => ({ name: typeName(type), type, value, text })))(
  '$name $value has the text $text',
  ({ type, value, text }) => expect(keyText(type, value)).toBe(text),
);

const NO_KEYS: readonly FieldType[] = [
  { kind: 'double' },
  { kind: 'json' },
  { kind: 'list', item: VARCHAR },
  { kind: 'struct', fields: [] },
];
test.each(NO_KEYS.map((type) => ({ type, kind: type.kind })))('a $kind is no key', ({ type }) => {
  expect(() => keyText(type, '1')).toThrow('is no key');
  expect(() => keyHashSql([{ name: 'k', type }])).toThrow('is no key');
});

test('the bytes to hash carry each length in bytes, so that no two keys share them', () => {
  expect(Buffer.from(keyHashInput(['é', ''])).toString('utf8')).toBe('2:é0:');
  const keys = [['ab'], ['a', 'b'], ['a1:b'], ['', 'ab'], ['ab', ''], ['a', '1:b'], ['1:a', 'b'], ['']];
  expect(new Set(keys.map((texts) => Buffer.from(keyHashInput(texts)).toString('hex'))).size).toBe(keys.length);
  expect(() => keyHashInput(['\ud83d'])).toThrow('surrogate');
});

describe('DuckDB computes the same hash', () => {
  /** Of rows of canonical values, cast as decode casts them. */
  async function hashes(types: readonly FieldType[], rows: readonly (readonly string[])[]): Promise<string[]> {
    const columns = Object.fromEntries(
      types.map((_, index) => [`t${index}`, { type: 'VARCHAR' as const, values: rows.map((row) => row[index] ?? null) }]),
    );
    await fillTempTable(connection, 'texts', { count: rows.length, columns });
    const typed = types.map((type, index) => `${castOf(`t${index}`, type)} AS k${index}`).join(', ');
    const hash = keyHashSql(types.map((type, index) => ({ name: `k${index}`, type })));
    const found = await query(connection, `SELECT hex(${hash}) AS hash FROM (SELECT ${typed} FROM texts)`);
    return found.map((row) => String(row['hash']).toLowerCase());
  }

  function castOf(text: string, type: FieldType): string {
    if (type.kind === 'timestamp') return `make_timestamptz(CAST(${text} AS BIGINT))`;
    if (type.kind === 'date') return `DATE '1970-01-01' + CAST(${text} AS INTEGER)`;
    if (type.kind === 'blob') return `from_base64(${text})`;
    return `CAST(${text} AS ${duckdbType(type)})`;
  }

  const dice = random();
  const upTo = (count: number): number => Math.floor(dice.between(0, count));
  const digits = (max: number): string => Array.from({ length: 1 + upTo(max) }, () => upTo(10)).join('');
  const whole = (max: number): string => {
    const text = String(BigInt(digits(max)));
    return text !== '0' && upTo(2) ? `-${text}` : text;
  };
  const PIECES = [
    'a',
    'A',
    'é',
    'e\u0301',
    '😀',
    '\0',
    ':',
    '1',
    '12:',
    ' ',
    '"',
    "'",
    '\\',
    '\n',
    'ß',
    'longer than twelve bytes',
  ];
  const TYPES: readonly (readonly [FieldType, () => string])[] = [
    [VARCHAR, () => Array.from({ length: upTo(5) }, () => PIECES[upTo(PIECES.length)]).join('')],
    [{ kind: 'integer' }, () => whole(9)],
    [{ kind: 'bigint' }, () => (upTo(20) ? whole(18) : '-9223372036854775808')],
    [decimal(15, 2), () => `${whole(13)}.${upTo(10)}${upTo(2) ? 0 : upTo(10)}`.replace('-0.00', '0.00')],
    [decimal(38, 10), () => `${whole(28)}.${String(upTo(2) ? 0 : upTo(100)).padEnd(10, '0')}`],
    [decimal(38, 0), () => whole(38)],
    [decimal(3, 3), () => `${upTo(2) ? '-' : ''}0.${1 + upTo(9)}${upTo(2) ? 0 : upTo(10)}0`],
    [{ kind: 'date' }, () => String(upTo(3_652_058) - 719_162)],
    [
      { kind: 'timestamp' },
      () => String(BigInt(Math.floor(dice.between(-62_135_596_800, 253_402_300_799))) * 1_000_000n + BigInt(upTo(1_000_000))),
    ],
    [{ kind: 'boolean' }, () => String(upTo(2) === 0)],
    [{ kind: 'blob' }, () => Buffer.from(Array.from({ length: upTo(20) }, () => upTo(256))).toString('base64')],
  ];

  test(`for every type (seed ${dice.seed})`, async () => {
    for (const [type, make] of TYPES) {
      const values = Array.from({ length: 300 }, make);
      const found = await hashes(
        [type],
        values.map((value) => [value]),
      );
      for (const [index, value] of values.entries())
        expect({ type: typeName(type), value, hash: found[index] }).toEqual({
          type: typeName(type),
          value,
          hash: hashOf([keyText(type, value)]),
        });
    }
  });

  test(`for keys of several parts (seed ${dice.seed})`, async () => {
    for (let round = 0; round < 20; round += 1) {
      const parts = Array.from({ length: 2 + upTo(3) }, () => TYPES[upTo(TYPES.length)] ?? TYPES[0]).filter(
        (part) => part !== undefined,
      );
      const types = parts.map(([type]) => type);
      const rows = Array.from({ length: 50 }, () => parts.map(([, make]) => make()));
      const found = await hashes(types, rows);
      const wanted = rows.map((row) => hashOf(types.map((type, index) => keyText(type, row[index] ?? ''))));
      expect({ types, found }).toEqual({ types, found: wanted });
    }
  });

  test('and it stays when the type is widened', async () => {
    const same = async (value: string, types: readonly FieldType[]) => {
      const all: (string | undefined)[] = [];
      for (const type of types) all.push(...(await hashes([type], [[value]])));
      expect({ value, hashes: new Set(all).size }).toEqual({ value, hashes: 1 });
    };
    for (const value of ['5', '-120', '0', '2147483647'])
      await same(value, [{ kind: 'integer' }, { kind: 'bigint' }, decimal(19, 0), decimal(21, 2), decimal(38, 10)]);
    for (const value of ['0.5', '-0.05', '0', '0.120']) await same(value, [decimal(3, 3), decimal(4, 3), decimal(38, 20)]);
    await same('x ', [{ kind: 'varchar', charsMax: 5 }, VARCHAR]);
  });

  test('keys that collations equate have different hashes, a NULL part has none', async () => {
    const keys = ['user1', 'USER1', 'usér1', 'user1 ', 'use\u0301r1', 'user1\0', 'straße', 'strasse'];
    expect(
      new Set(
        await hashes(
          [VARCHAR],
          keys.map((key) => [key]),
        ),
      ).size,
    ).toBe(keys.length);
    const hash = keyHashSql([
      { name: 'a', type: VARCHAR },
      { name: 'b', type: VARCHAR },
    ]);
    expect(await query(connection, `SELECT ${hash} IS NULL AS none FROM (SELECT 'x' AS a, NULL::VARCHAR AS b)`)).toEqual([
      { none: true },
    ]);
  });
});
