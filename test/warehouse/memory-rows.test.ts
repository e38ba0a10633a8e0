// Random batches of all types: in memory they become the same rows, tombstones, dimensions and dead letters as through DuckDB.
// A failure names its seed; set LAKE_FUZZ_SEED to run it again, LAKE_FUZZ_ROUNDS for longer runs.

import { afterAll, expect, test } from 'bun:test';
import { openDatabase } from '../../src/duckdb/connection.ts';
import type { BuiltChunk } from '../../src/ingest/chunk-builder.ts';
import { createStagedTables, decodePlan } from '../../src/ingest/decode.ts';
import { decodeToMemory, decodeToTables, fitsMemory } from '../../src/ingest/decode-batch.ts';
import type { StagedBatch } from '../../src/model/batch.ts';
import type { Feed, Field, FieldType } from '../../src/model/feed.ts';
import { factTable } from '../../src/warehouse/fact-table.ts';
import { memoryRows } from '../../src/warehouse/memory-rows.ts';
import { mysqlDialect } from '../../src/warehouse/mysql-dialect.ts';
import { type BatchRows, type RowSource, readBatch } from '../../src/warehouse/staged-batch.ts';
import type { Values } from '../../src/warehouse/warehouse.ts';
import { chunkOf, decimal, feedOf, field, list, MESSAGE_MS, struct, varchar } from '../ingest/decode-helpers.ts';
import { type Dice, diceOf, fittingText, randomMessage, SCALARS } from '../ingest/fuzz-messages.ts';

const seed = Number(process.env['LAKE_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env['LAKE_FUZZ_ROUNDS'] ?? 40);
const MESSAGES = 200;
const database = await openDatabase();
const connection = await database.connect();
afterAll(() => database[Symbol.asyncDispose]());

const KEYS: readonly FieldType[] = SCALARS.filter(({ kind }) => kind !== 'double' && kind !== 'json');

const NESTED: readonly FieldType[] = [
  ...SCALARS.map(list),
  ...SCALARS.map((type) => struct({ a: type, 'b "c\'': varchar() })),
  list(struct({ a: decimal(3, 3), b: { kind: 'json' }, c: list({ kind: 'double' }) })),
  struct({ a: struct({ b: list(list({ kind: 'timestamp' })) }), c: { kind: 'json' } }),
];

function randomFeed(dice: Dice): { feed: Feed; fields: readonly Field[] } {
  const isTable = dice.next() < 0.8;
  const keyNames = isTable ? ['f0', 'f1'].slice(0, 1 + dice.upTo(2)) : [];
  const fields = ['n', 't', 'u', 'N', 'extra one'].map((from, index) => {
    const name = `f${index}`;
    const isKey = keyNames.includes(name);
    const type = dice.pick(isKey ? KEYS : dice.next() < 0.3 ? NESTED : SCALARS);
    return field(name, type, {
      from: [from],
      required: isKey,
      format: { kind: type.kind === 'timestamp' ? dice.pick(['iso8601', 'iso8601', 'epoch_ms', 'epoch_s'] as const) : 'iso8601' },
      onExcess: dice.next() < 0.2 ? 'round' : 'dead_letter',
    });
  });
  const dimensional = fields.filter(({ type }) => type !== null && KEYS.includes(type)).map(({ name }) => name);
  const dimensions = dimensional.length === 0 ? [] : [{ table: 'dim', key: dice.pick(dimensional), attributes: ['f2', 'f3'] }];
  const more: Partial<Feed> = {
    ...{ type: isTable ? 'table' : 'stream', destination: 'data_warehouse', mysqlTable: 'fact', keyFields: keyNames },
    ...{ keyFrom: isTable && dice.next() < 0.3 ? 'message_key' : 'value', unknownFields: dice.next() < 0.3 ? 'keep' : 'ignore' },
    dimensions: dimensions.map((one) => ({ ...one, attributes: one.attributes.filter((name) => name !== one.key) })),
  };
  return { feed: feedOf(fields, more), fields };
}

/** Few keys, which come often; partitions and timestamps in any order, many of them equal. */
function randomBatch(dice: Dice, fields: readonly Field[], feed: Feed): BuiltChunk {
  const keyFields = fields.filter(({ name }) => feed.keyFields.includes(name));
  const keys = Array.from({ length: 12 }, () =>
    keyFields.map(({ from, type }) => `"${from[0]}":${fittingText(dice, type ?? varchar())}`).join(','),
  );
  const values = Array.from({ length: MESSAGES }, () => {
    const text = randomMessage(dice, fields);
    // Of equal names the first one counts.
    return feed.keyFields.length > 0 && text.startsWith('{"') && dice.next() < 0.8
      ? `{${dice.pick(keys)},${text.slice(1)}`
      : text;
  });
  const ms = (): bigint =>
    dice.next() < 0.02 ? 10n ** 17n : MESSAGE_MS + BigInt(dice.upTo(5)) - (dice.next() < 0.1 ? 10n ** 13n : 0n);
  const times = values.map(ms);
  const chunk = chunkOf(values, {
    keys: values.map(() => (dice.next() < 0.1 ? null : `{${dice.pick(keys)}}`)),
    partitions: values.map(() => dice.upTo(3)),
    ms: times,
    effectiveMs: times.map((one) => (one > MESSAGE_MS * 2n ? MESSAGE_MS : one)),
    headers: new Map([[3, '[["a","b"]]']]),
  });
  const outside = (index: number) => ({
    ...{ partition: dice.upTo(3), offset: BigInt(MESSAGES + index), timestampMs: ms(), headers: dice.pick([null, '[]']) },
    key: dice.next() < 0.1 ? null : Buffer.from(`{${dice.pick(keys)}}`),
  });
  const isTable = feed.type === 'table';
  const tombstones = Array.from({ length: isTable ? 30 : 0 }, (_, index) => ({
    ...outside(index),
    effectiveMs: MESSAGE_MS + BigInt(dice.upTo(5)),
  }));
  const refused = Array.from({ length: 3 }, (_, index) => ({
    ...{
      ...outside(100 + index),
      effectiveMs: MESSAGE_MS,
      field: null,
      reason: 'the target refuses it',
      value: Buffer.from([0xff, index]),
    },
  }));
  return { chunk, refused, tombstones, bytes: 1, release: () => undefined };
}

const all = async (source: RowSource): Promise<Values[]> => (await Array.fromAsync(source.slices())).flat();
/** Rows of a stream come in any order; here by their offset, the last value but one. */
async function tablesOf({ facts, tombstones, deadLetters, dimensions }: BatchRows, isStream: boolean): Promise<Values[][]> {
  const [rows = [], ...others] = await Promise.all([facts, tombstones, deadLetters, ...dimensions].map(all));
  return [isStream ? rows.toSorted((one, other) => Number(one.at(-2)) - Number(other.at(-2))) : rows, ...others];
}

/** Bytes as hexadecimal; a number may be written in two ways. */
const shown = (tables: readonly Values[][], kinds: ReadonlyMap<string, string>): unknown =>
  tables.map((rows, table) =>
    rows.map((values) =>
      values.map((value, column) => {
        if (value instanceof Uint8Array) return `x${Buffer.from(value).toString('hex')}`;
        const kind = value === null ? undefined : kinds.get(`${table}:${column}`);
        // DuckDB's arg_max forgets the sign of zero.
        if (kind === 'double') return table < 3 ? Number(value) : Number(value) + 0;
        if (table >= 3 && (kind === 'struct' || kind === 'list')) return String(value).replaceAll('-0.0', '0.0');
        return kind === 'decimal' ? String(value).replace(/^(-?)\./, '$10.') : value;
      }),
    ),
  );

test(`a batch in memory is the batch through DuckDB (seed ${seed})`, async () => {
  let [live, deleted, refused] = [0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const dice = diceOf(seed + round);
    const { feed, fields } = randomFeed(dice);
    const plan = decodePlan(feed, { timezone: 'UTC', schemaVersion: 3 });
    const fact = factTable(
      feed,
      fields.flatMap((one) => (one.type === null ? [] : [{ ...one, type: one.type }])),
      mysqlDialect,
    );
    const built = randomBatch(dice, fields, feed);
    expect(fitsMemory(built)).toBe(true);
    const tables = await createStagedTables(connection, plan, `fuzz_${round}`);
    const through = await decodeToTables(connection, plan, built, tables);
    const { memory, decoded } = decodeToMemory(plan, built);
    const isStream = feed.type === 'stream';
    const context = { seed: seed + round, fields, key: feed.keyFields };
    expect({ ...context, ...decoded, fastError: null }).toEqual({ ...context, ...through, fastError: null });
    const count = [...decoded.deadLetters.values()].reduce((sum, one) => sum + one, 0);
    const about = {
      id: `f${round}`,
      feed: feed.name,
      topic: feed.topic,
      epoch: 0,
      schemaVersion: 3,
      ranges: [],
      eventTime: null,
    };
    const batch: StagedBatch = { ...about, tables, rows: decoded.rows, deadLetters: count, bytes: 1 };
    const expected = await tablesOf(await readBatch(connection, batch, { fact, engine: (work) => work(connection) }), isStream);
    const found = await tablesOf(memoryRows(memory, { fact, schemaVersion: 3 }), isStream);
    const kinds = new Map<string, string>();
    const note = (table: number) => (column: { holds: { kind: string } }, index: number) =>
      kinds.set(`${table}:${index}`, column.holds.kind);
    fact.values.forEach(note(0));
    fact.dimensions.forEach((dimension, index) => {
      [dimension.key, ...dimension.attributes].forEach(note(3 + index));
    });
    expect({ ...context, rows: shown(found, kinds) }).toEqual({ ...context, rows: shown(expected, kinds) });
    live += found[0]?.length ?? 0;
    deleted += found[1]?.length ?? 0;
    refused += count;
  }
  // Each kind is there, whatever the dice say: a type that takes little makes few rows.
  expect({ live: live > rounds / 2, deleted: deleted > 0, refused: refused > rounds / 2 }).toEqual({
    live: true,
    deleted: true,
    refused: true,
  });
});

test('batches that are not small are left to DuckDB', () => {
  const built = (count: number): BuiltChunk => ({
    ...{ chunk: chunkOf(Array.from({ length: count }, () => '{}')), refused: [], tombstones: [], bytes: count },
    release: () => undefined,
  });
  expect(fitsMemory(built(1_000))).toBe(true);
  expect(fitsMemory(built(1_001))).toBe(false);
  expect(fitsMemory({ ...built(1), bytes: 1024 * 1024 })).toBe(false);
});
