// Tombstones that nobody needs any more, in MySQL and MariaDB: which of them go, and that none goes that may be needed again.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Forgetting, forgetTombstones } from '../../src/warehouse/forget.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { NOW_MS, never, place } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const text = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('Z', '');

describe.each([...mysqlEngines])('%s', (engine) => {
  /** Tombstones of `summary` and of another feed, one a millisecond up to NOW_MS; partitions 0 and 1, one is 100 ms behind. */
  const scene = async (count: number) => {
    const there = await place(engine);
    await setUpWarehouse(there.warehouse, { lakeId: 'l1', feeds: [], nowMs: NOW_MS }, never);
    const { sql } = there;
    for (const feed of ['summary', 'other']) {
      const rows = Array.from(
        { length: count },
        (_, n) => `('${feed}', UNHEX(SHA2('u${n}', 256)), 0, ${n}, '${text(NOW_MS - count + n + 1)}')`,
      );
      await sql.query(`INSERT INTO lake_tombstones VALUES ${rows.join(', ')}`);
      for (const [partition, behindMs] of [0, 100].entries())
        await sql.query(
          `INSERT INTO lake_positions (feed, topic, kafka_partition, position, start_offset, timestamp_ms_max) VALUES ('${feed}', 't', ?, 5, 0, ?)`,
          [partition, NOW_MS - behindMs],
        );
    }
    const forget = (more: Partial<Forgetting> = {}) =>
      forgetTombstones(
        {
          ...{ warehouse: there.warehouse, feed: 'summary', topic: 't', beforeMs: NOW_MS - 100, stop: never },
          patiently: (work) => work(),
          ...more,
        },
        never,
      );
    const left = async (feed: string) =>
      (await there.rows(`SELECT COUNT(*) AS n FROM lake_tombstones WHERE feed = '${feed}'`))[0]?.['n'];
    const back = () => sql.query("UPDATE lake_positions SET timestamp_ms_max = ? WHERE feed = 'summary'", [NOW_MS - 5_000]);
    return { ...there, forget, left, back };
  };

  test('go in small pieces, those of the other feed stay', async () => {
    await using at = await scene(2_500);
    expect(await at.forget()).toBe(2_399);
    expect([await at.left('summary'), await at.left('other')]).toEqual([101, 2_500]);
    const [oldest] = await at.rows("SELECT CAST(MIN(kafka_timestamp) AS CHAR) AS at FROM lake_tombstones WHERE feed = 'summary'");
    expect(oldest?.['at']).toBe(`${text(NOW_MS - 100)}000`);
    expect(await at.forget()).toBe(0);
  });

  test('stay when a position went back meanwhile, as after a fail-over', async () => {
    await using at = await scene(2_500);
    let works = 0;
    // The first piece: a look and a transaction; then the second look.
    const patiently: Forgetting['patiently'] = async (work) => {
      if (++works === 4) await at.back();
      return await work();
    };
    expect(await at.forget({ patiently })).toBe(1_000);
    expect(await at.left('summary')).toBe(1_500);
  });

  test('those after an open dead letter stay: it may be tried again, and bring a row from before them', async () => {
    await using at = await scene(500);
    await at.sql.query(
      `INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, reason)
       VALUES ('summary', 't', 0, 1, '${text(NOW_MS - 400)}', 'x'), ('other', 't', 0, 1, '${text(NOW_MS - 450)}', 'x')`,
    );
    expect([await at.forget(), await at.left('summary')]).toEqual([99, 401]);
    await at.sql.query("UPDATE lake_dead_letters SET state = 'dropped' WHERE feed = 'summary'");
    expect([await at.forget(), await at.left('summary')]).toEqual([300, 101]);
  });

  test('no more of them once the run is told to stop', async () => {
    await using at = await scene(10);
    expect([await at.forget({ stop: AbortSignal.abort() }), await at.left('summary')]).toEqual([0, 10]);
  });
});
