// A stage whose target takes batches in memory: what goes there, what goes into tables, and that both are counted alike.
import { expect, test } from 'bun:test';
import { decodePlan } from '../../src/ingest/decode.ts';
import { feedOf, field, varchar } from './decode-helpers.ts';
import { feed, large, openStage, order, wrong } from './stage-helpers.ts';

const openMemoryStage = () => openStage(() => ({ takesMemory: () => true }));

test('a small batch is in memory, whichever partitions it came from, and nothing of it in DuckDB', async () => {
  await using bench = await openMemoryStage();
  await bench.take([order(0), wrong(1)], { partition: 1 });
  await bench.take([order(7, { value: '' }), order(8, { key: 'k' })], { partition: 2 });
  const { memory, ranges, rows, deadLetters } = await bench.closed();
  expect(await bench.tables()).toEqual([]);
  expect({ rows, deadLetters, columns: memory?.columns }).toEqual({ rows: 2, deadLetters: 2, columns: ['id', 'name'] });
  expect(memory?.rows.map(({ values, message }) => [message.partition, message.offset, ...values])).toEqual([
    [1, 0n, '0', null],
    [2, 8n, '8', null],
  ]);
  const letters = memory?.deadLetters.map(({ partition, offset, reason }) => `${partition}:${offset} ${reason}`).sort();
  expect(letters).toEqual(['1:1 id: "x" is no BIGINT', '2:7 the value is empty']);
  expect(ranges.map((range) => [range.partition, range.rows, range.deadLetters])).toEqual([
    [1, 1, 1],
    [2, 1, 1],
  ]);
  expect(bench.told.widened).toHaveLength(1);
});

test('a batch of which a chunk is in tables goes there to its end', async () => {
  await using bench = await openMemoryStage();
  await bench.take([large(0)]);
  await bench.take([order(1)]);
  const { memory, tables, rows } = await bench.closed();
  expect({ memory, rows, ids: await bench.ids(tables.rows) }).toEqual({ memory: null, rows: 2, ids: [0, 1] });
});

test('a batch of many messages, or a target that takes none from memory, means tables', async () => {
  await using many = await openMemoryStage();
  await many.take(Array.from({ length: 1_001 }, (_, offset) => order(offset)));
  const batch = await many.closed();
  expect({ memory: batch.memory, count: (await many.ids(batch.tables.rows)).length }).toEqual({ memory: null, count: 1_001 });
  await using lake = await openStage();
  await lake.take([order(0)]);
  expect((await lake.closed()).memory).toBeNull();
});

test('tombstones of a table are in memory with their keys, those that have none are dead letters', async () => {
  const table = feedOf(feed.fields ?? [field('id', varchar())], { type: 'table', keyFields: ['id'] });
  const inForce = { plan: decodePlan(table, { timezone: 'UTC', schemaVersion: 1 }), epoch: 0 };
  await using bench = await openStage(() => ({ takesMemory: () => true, inForce: () => inForce, highestMs: () => null }));
  await bench.take([order(0), order(1, { key: '0', value: null }), order(2, { value: null })]);
  const { memory, ranges, rows, deadLetters } = await bench.closed();
  expect({ rows, deadLetters, tombstones: ranges[0]?.tombstones }).toEqual({ rows: 1, deadLetters: 1, tombstones: 1 });
  expect(memory?.keyColumns).toEqual(['id']);
  expect(memory?.tombstones.map(({ values, message }) => [message.offset, ...values])).toEqual([[1n, '0']]);
  expect(memory?.deadLetters.map(({ offset, value }) => [offset, value])).toEqual([[2n, null]]);
});

test('a batch that is dropped while it is small leaves the next one untouched', async () => {
  await using bench = await openMemoryStage();
  await bench.take([order(0), wrong(1)]);
  await bench.stage.drop();
  await bench.take([order(0)]);
  const { memory, rows, deadLetters } = await bench.closed();
  expect({ rows, deadLetters, count: memory?.rows.length }).toEqual({ rows: 1, deadLetters: 0, count: 1 });
});
