// Members that die, leave, join and wake at the end of a period (PROTOCOL 11, 13): the snapshots of both targets stay the same, and what a
// zombie had in hand goes into what is open, or nowhere.

import { describe, expect, test } from 'bun:test';
import { expectSealed } from '../helpers/expect-sealed.ts';
import { type RunningLake, startLake } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { at, snapshotScene } from '../helpers/snapshot-scene.ts';
import { until } from '../helpers/until.ts';
import { rowsOf } from '../helpers/warehouse.ts';

const holds = (lake: RunningLake): boolean => String(lake.events('partitions_assigned').at(-1)?.['partitions'] ?? '') !== '';

test('one killed, one leaving and one joining while a period ends', async () => {
  await using one = await snapshotScene();
  console.log(`seed ${one.chance.seed}`);
  await one.change(at(0, 5), at(0, 30), 100, [0, 1, 2]);
  await one.run(at(0, 35), 'all');
  for (let hour = 1; hour <= 3; hour++) {
    await one.change(at(hour, -20), at(hour) - 1, 60, [0, 1, 2]);
    await one.change(at(hour), at(hour) + 2_000, 40, [0, 1, 2]);
    const startedMs = performance.now();
    const start = (): RunningLake =>
      startLake(one.setup, ['ingest', '--mode', 'all'], {
        clockMs: Math.round(at(hour) - 2_500 + performance.now() - startedMs),
      });
    const [first, second] = [start(), start()];
    await until(() => [first, second].some((lake) => lake.events('cut_met').length > 0), { everyMs: 1 });
    const [owner, other] = holds(first) ? [first, second] : [second, first];
    const third = start();
    await until(() => performance.now() - startedMs > 2_500 + one.chance.between(0, 100), { everyMs: 1 });
    owner.kill('SIGKILL');
    await until(() => third.events('partitions_assigned').length > 0);
    other.kill('SIGTERM');
    expect((await other.ended).code).toBe(0);
    await until(async () => {
      const states = await rowsOf(one.database, "SELECT 1 FROM lake_snapshots WHERE state = 'sealed'");
      return states.length === hour;
    });
    third.kill('SIGTERM');
    const { code, stderr } = await third.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
  }
  expect(await expectSealed(one, at(3, 30))).toBe(3);
  // Nobody took a message of the next period too early.
  expect(Object.values(one.cuts())).toEqual([1, 2, 3].map((hour) => one.offsetsAt(at(hour))));
});

/** A member with a message of the next period in its hands, from a clock that is a minute behind; asleep before its transaction. */
async function zombieScene(value: string | null) {
  const database = await testMysql('mariadb');
  const proxy = await mysqlProxy(database.login.port);
  const one = await snapshotScene({ partitions: 1, database, port: proxy.port });
  const send = (id: number, text: string | null, timestampMs: number) =>
    one.sent.send([{ partition: 0, key: String(id), value: text === null ? null : JSON.stringify({ id, text }), timestampMs }]);
  for (const id of [1, 2, 3]) await send(id, 'first', at(0, 10, id));
  await one.run(at(0, 35), 'all');
  const zombie = startLake(one.setup, ['ingest', '--mode', 'warehouse'], { clockMs: at(0, 58) });
  await until(() => holds(zombie));
  // It has seen the snapshot that is open now.
  await send(9, 'before', at(0, 40));
  await until(async () => (await rowsOf(database, 'SELECT 1 FROM fact_totals_latest')).length === 4);
  const struck = proxy.strike({ at: 'START TRANSACTION', when: 'before', goesOn: true, act: () => zombie.kill('SIGSTOP') });
  await send(1, value, at(1, 0, 1));
  await struck;
  return {
    ...{ one, proxy, zombie },
    /** What the warehouse's open snapshot has of the key. */
    key: async () => (await rowsOf(database, 'SELECT text FROM fact_totals_latest WHERE id = 1')).map((row) => row['text']),
    [Symbol.asyncDispose]: async () => {
      proxy[Symbol.dispose]();
      await one[Symbol.asyncDispose]();
    },
  };
}

describe('asleep with a message of the next period in hand', () => {
  test('11: it wakes when the next owner has sealed at its position and died; the row goes into what is open', async () => {
    await using scene = await zombieScene('late');
    const { one, proxy, zombie } = scene;
    let owner: RunningLake | null = null;
    let killed: Promise<void> | null = null;
    const switched = proxy.strike({
      ...{ at: "SET state = 'open'", when: 'before', goesOn: true },
      act: () => {
        killed = proxy.strike({ at: 'COMMIT', when: 'after', act: () => owner?.kill('SIGKILL') });
      },
    });
    owner = startLake(one.setup, ['ingest', '--mode', 'warehouse'], { clockMs: at(1, 0, 30) });
    await switched;
    await killed;
    zombie.kill('SIGCONT');
    await until(async () => (await scene.key()).join() === 'late');
    zombie.kill('SIGTERM');
    await zombie.ended;
    expect(await expectSealed(one, at(1, 30))).toBe(1);
  });

  test('13: a tombstone comes while the next snapshot is copied: the key is not back', async () => {
    await using scene = await zombieScene(null);
    const { one, proxy, zombie } = scene;
    const woken = proxy.strike({
      ...{ at: 'SELECT copy_id FROM lake_snapshots', when: 'after', goesOn: true },
      act: async () => {
        zombie.kill('SIGCONT');
        await until(async () => (await rowsOf(one.database, 'SELECT 1 FROM lake_tombstones')).length > 0, {
          timeoutMs: 4_000,
        }).catch(() => {});
      },
    });
    const owner = startLake(one.setup, ['ingest', '--mode', 'warehouse'], { clockMs: at(1, 0, 30) });
    await woken;
    await until(async () => (await rowsOf(one.database, "SELECT 1 FROM lake_snapshots WHERE state = 'sealed'")).length === 1);
    await until(async () => (await scene.key()).length === 0);
    for (const lake of [zombie, owner]) lake.kill('SIGTERM');
    for (const lake of [zombie, owner]) await lake.ended;
    await one.run(at(1, 30), 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    one.check(lake);
    one.check(warehouse);
    expect(await scene.key()).toEqual([]);
  });
});
