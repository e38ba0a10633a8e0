// The process killed at each step of a batch's transaction and at random moments, its connections cut: MySQL has every message
// exactly once afterwards.

import { describe, expect, test } from 'bun:test';
import { type RunningLake, startLake } from '../helpers/ingest.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { until } from '../helpers/until.ts';
import { toWarehouse } from '../helpers/warehouse.ts';
import { warehouseScene } from '../helpers/warehouse-scene.ts';

/** In the order of the transaction; each comes in every one of the batches below, but for the first three, which come once. */
const FIRST = ['CREATE TABLE `fact_totals`', 'INSERT INTO lake_positions', 'INSERT INTO lake_snapshots'];
const EACH = [
  'UPDATE lake_positions',
  "WHERE open_feed = 'totals' FOR UPDATE",
  'INSERT INTO lake_tombstones',
  'INSERT INTO `fact_totals`',
  'DELETE f FROM',
  'INSERT INTO lake_dead_letters',
  'COMMIT',
];

async function scene(engine: 'mysql' | 'mariadb') {
  const database = await testMysql(engine);
  const inside = await warehouseScene(database, { batch_size: 200 });
  return {
    ...inside,
    check: () => inside.check(inside.direct),
    start: () => startLake(inside.setup, ['ingest', '--until-caught-up', ...toWarehouse.args]),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await inside[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

describe.each([...mysqlEngines])('%s', (engine) => {
  test('killed at each step of the transaction', async () => {
    await using at = await scene(engine);
    const sides = engine === 'mysql' ? (['before', 'after'] as const) : (['after'] as const);
    const steps = [...FIRST, ...EACH].flatMap((text) => sides.map((when) => ({ at: text, when })));
    for (const step of steps) {
      await at.send(120);
      let lake: RunningLake | null = null;
      const struck = at.proxy.strike({ ...step, act: () => lake?.kill('SIGKILL') });
      lake = at.start();
      const { code, stderr } = await lake.ended;
      // What comes once may be there by now.
      if (!FIRST.includes(step.at)) {
        expect([step, code, stderr]).toEqual([step, null, expect.any(String)]);
        await struck;
      }
    }
    await at.check();
  });
});

test('killed at 30 random moments', async () => {
  await using at = await scene('mysql');
  let endedCount = 0;
  for (let round = 0; round < 30; round++) {
    await at.send(200);
    const lake = at.start();
    // Longer than the start takes, so that most are in the middle of something.
    const timer = setTimeout(() => lake.kill('SIGKILL'), at.chance.between(250, 1_100));
    if ((await lake.ended).code === 0) endedCount++;
    clearTimeout(timer);
    if (round % 10 === 9) await at.check();
  }
  console.log(`${30 - endedCount} of 30 were killed before their end`);
});

test('connections that are cut again and again are made anew, and nothing is lost or doubled', async () => {
  await using at = await scene('mysql');
  await at.send(10);
  const lake = startLake(at.setup, ['ingest', ...toWarehouse.args]);
  await lake.event('batch_committed');
  let cutCount = 0;
  for (let round = 0; round < 40; round++) {
    await at.send(40);
    const before = at.proxy.seen.length;
    const wanted = before + Math.floor(at.chance.between(1, 15));
    await until(() => at.proxy.seen.length >= wanted || at.proxy.seen.at(-1) === 'COMMIT', { timeoutMs: 3_000 }).catch(() => {});
    at.proxy.cut();
    cutCount++;
  }
  expect(cutCount).toBe(40);
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await at.check();
});
