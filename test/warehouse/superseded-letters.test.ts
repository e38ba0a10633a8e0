// Dead letters that a rebuild did not find again, on each engine: which are closed, and what becomes of those that are found later.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { applyBatch } from '../../src/warehouse/commit-batch.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { inMemory, NO_ROWS } from '../../src/warehouse/staged-batch.ts';
import { supersedeOthers } from '../../src/warehouse/superseded-letters.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { embeddedPlace, NOW_MS, never, place } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const AT = '2025-01-28 12:00:00';

describe.each([...mysqlEngines, 'duckdb'] as const)('%s', (engine) => {
  const scene = async () => {
    const there = engine === 'duckdb' ? await embeddedPlace() : await place(engine);
    const { warehouse } = there;
    await setUpWarehouse(warehouse, { lakeId: 'l1', feeds: [], nowMs: NOW_MS }, never);
    const change = (text: string) => warehouse.transaction((tx) => tx.change({ text, values: [] }), never);
    const file = (feed: string, ...at: readonly (readonly [partition: number, offset: number])[]) =>
      change(
        `INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, reason)
          VALUES ${at.map(([partition, offset]) => `('${feed}', 't', ${partition}, ${offset}, '${AT}', 'wrong')`).join(', ')}`,
      );
    const letter = ([partition, offset]: readonly [number, number]) =>
      [`${partition}`, `${offset}`, AT, null, null, null, null, 'again', '2', AT] as const;
    /** What a rebuild finds, in statements of two. */
    const found = (...at: readonly (readonly [partition: number, offset: number])[]) =>
      warehouse.transaction(async (tx) => {
        const letters = inMemory(at.map(letter));
        const rows = { facts: NO_ROWS, tombstones: NO_ROWS, deadLetters: letters, dimensions: [], drop: async () => undefined };
        const of = { feed: 'totals', topic: 't', nowMs: NOW_MS };
        await applyBatch(tx, { ...of, rows, fact: null, snapshots: null, warehouse, isWhole: true });
        await supersedeOthers(tx, { ...of, letters, rowsMax: 2 });
      }, never);
    const letters = async (feed: string) =>
      (
        await there.rows(
          `SELECT kafka_partition AS p, kafka_offset AS o, state AS s, CASE WHEN closed_at IS NULL THEN '' ELSE ' closed' END AS c
            FROM lake_dead_letters WHERE feed = '${feed}' ORDER BY 1, 2`,
        )
      ).map(({ p, o, s, c }) => `${p}:${o} ${s}${c}`);
    return { ...there, change, file, found, letters };
  };

  test('those that are not found are closed, between and behind the others, and in other partitions', async () => {
    await using at = await scene();
    await at.file('totals', [0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6], [0, 9], [1, 1], [2, 7]);
    await at.file('other', [0, 1], [3, 1]);
    await at.change("UPDATE lake_dead_letters SET state = 'dropped', closed_at = created_at WHERE kafka_offset IN (2, 3)");
    await at.found([0, 2], [0, 4], [0, 6], [2, 7], [2, 8]);
    expect(await at.letters('totals')).toEqual([
      '0:1 superseded closed',
      '0:2 dropped closed',
      '0:3 superseded closed',
      '0:4 open',
      '0:5 superseded closed',
      '0:6 open',
      '0:9 superseded closed',
      '1:1 superseded closed',
      '2:7 open',
      '2:8 open',
    ]);
    expect(await at.letters('other')).toEqual(['0:1 open', '3:1 open']);
  });

  test('none is found: all are closed; what a later rebuild finds again is open again', async () => {
    await using at = await scene();
    await at.file('totals', [0, 1], [1, 1]);
    await at.found();
    expect(await at.letters('totals')).toEqual(['0:1 superseded closed', '1:1 superseded closed']);
    await at.found([1, 1]);
    expect(await at.letters('totals')).toEqual(['0:1 superseded closed', '1:1 open']);
  });
});
