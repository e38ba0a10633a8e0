import { expect, test } from 'bun:test';
import { createIdSource } from '../../src/lake/ids.ts';
import {
  batchIdOf,
  batchOfPath,
  checkpointPath,
  deadLettersFilePath,
  entryPath,
  isPublishedPath,
  removedPath,
  stagingFolder,
  stateFilePath,
  streamFilePath,
  supersededPath,
  tableFilePath,
  versionOfKey,
  writerOfStagedKey,
} from '../../src/model/paths.ts';

const DAY = { year: '2025', month: '01', day: '28' };
const BATCH = batchIdOf({ ms: 1_738_000_000_000, count: 1, random: new Uint8Array(6) });

test('the layout is the documented one', () => {
  expect(streamFilePath('orders', DAY, BATCH, 2)).toBe(`streams/orders/year=2025/month=01/day=28/data_${BATCH}_2.parquet`);
  expect(deadLettersFilePath('orders', DAY, BATCH)).toBe(`dead_letters/orders/year=2025/month=01/day=28/data_${BATCH}.parquet`);
  expect(entryPath('orders', 1)).toBe('_lake/feeds/orders/log/00000000000000000000/00000000000000000001.json');
  expect(checkpointPath('orders', 100)).toBe('_lake/feeds/orders/checkpoints/00000000000000000100.json');
  expect(stagingFolder('orders', 'w1')).toBe('_lake/feeds/orders/staging/w1');
  expect(removedPath('orders', 'streams/orders/x')).toBe('_lake/feeds/orders/removed/streams/orders/x');
  expect(supersededPath('orders', 'tables/orders/x')).toBe('_lake/feeds/orders/removed/superseded/tables/orders/x');
  expect(tableFilePath('totals', { date: '2025-01-28', version: 3 }, BATCH)).toBe(
    `tables/totals/snapshot_date=2025-01-28/snapshot_version=3/data_${BATCH}.parquet`,
  );
  expect(stateFilePath('totals', BATCH)).toBe(`_lake/feeds/totals/state/state_${BATCH}.parquet`);
});

test('a folder of the log holds 10,000 versions', () => {
  expect(entryPath('o', 9_999)).toContain('/00000000000000000000/');
  expect(entryPath('o', 10_000)).toContain('/00000000000000010000/');
});

test('names are read back, foreign ones are not', () => {
  expect(versionOfKey(entryPath('o', 12_345))).toBe(12_345);
  expect(versionOfKey('log/12345.json')).toBeNull();
  expect(versionOfKey(`${entryPath('o', 1)}.tmp`)).toBeNull();
  expect(batchOfPath(streamFilePath('o', DAY, BATCH, 2))).toBe(BATCH);
  expect(batchOfPath(deadLettersFilePath('o', DAY, BATCH))).toBe(BATCH);
  expect(batchOfPath(stateFilePath('o', BATCH))).toBe(BATCH);
  expect(batchOfPath('streams/o/data_20250128.parquet')).toBeNull();
  expect(writerOfStagedKey('o', '_lake/feeds/o/staging/w1/b/x.parquet')).toBe('w1');
  expect(writerOfStagedKey('o', '_lake/feeds/p/staging/w1/x')).toBeNull();
});

test('a file may only be published among those of its feed', () => {
  for (const path of [streamFilePath('o', DAY, BATCH, 2), stateFilePath('o', BATCH)])
    expect(isPublishedPath('o', path)).toBe(true);
  for (const path of [
    'streams/p/x',
    '_lake/feeds/o/x',
    '_lake/feeds/o/log/x',
    '_lake/feeds/o/state/../x',
    '_lake/feeds/p/state/x',
    'streams/o/../p/x',
    '/streams/o/x',
  ])
    expect(isPublishedPath('o', path)).toBe(false);
});

test('a name that leaves its folder is a bug', () => {
  for (const name of ['..', 'a/b', '', '.x', 'a b']) expect(() => stagingFolder('o', name)).toThrow();
});

test('batch ids are unique and in order of time, even when the clock stands or steps back', () => {
  const clock = [5, 5, 5, 4, 3, 6, 6, 2];
  const newId = createIdSource({ nowMs: () => clock.shift() ?? 0, randomBytes: () => new Uint8Array(6) });
  const ids = Array.from({ length: 8 }, newId);
  expect(new Set(ids).size).toBe(8);
  expect([...ids].sort()).toEqual(ids);
  expect(ids.every((id) => /^[0-9a-f]{28}$/.test(id))).toBe(true);
});

test('more ids in a millisecond than the counter holds stay in order', () => {
  const newId = createIdSource({ nowMs: () => 1, randomBytes: () => new Uint8Array(6) });
  const ids = Array.from({ length: 70_000 }, newId);
  expect(new Set(ids).size).toBe(70_000);
  expect([...ids].sort()).toEqual(ids);
});
