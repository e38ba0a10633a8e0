// A snapshot's end in MySQL and MariaDB: the copy, the switch, and everyone who may come in between (PROTOCOL M2, 11).

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { currentActor } from '../../src/config/actor.ts';
import type { SealOrder } from '../../src/model/cut.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { PositionsMoved } from '../../src/warehouse/positions.ts';
import { sealSnapshot } from '../../src/warehouse/seal.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { feedOf } from '../config/helpers.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { NOW_MS, never, place, SUMMARY, tableOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const BOUNDARY_MS = Date.UTC(2025, 0, 29);
const SEALED = { date: '2025-01-28', version: 1 };
const OPENS = { date: '2025-01-29', version: 1, endsAtMs: Date.UTC(2025, 0, 30) };
const at = (offsets: Record<number, bigint>): ReadonlyMap<number, Offset> =>
  new Map(Object.entries(offsets).map(([partition, offset]) => [Number(partition), toOffset(offset)]));

type Patiently = <T>(work: () => Promise<T>) => Promise<T>;
const orderAt = (offsets: Record<number, bigint>, kind: SealOrder['kind'] = 'at_cut'): SealOrder => ({
  sealed: SEALED,
  cut: {
    feed: 'summary',
    boundaryMs: BOUNDARY_MS,
    positions: at(offsets),
    opens: OPENS,
    missed: [],
    by: 'warehouse',
    at: '2025-01-29T00:00:00.000Z',
  },
  positions: at(offsets),
  kind,
});

for (const engine of mysqlEngines) {
  describe(engine, () => {
    /** Rows u0…, positions {0: 10, 1: 7}. */
    const openTable = async (count: number) => {
      const there = await place(engine);
      const { warehouse, sql } = there;
      const feed = feedOf(SUMMARY);
      await setUpWarehouse(warehouse, { lakeId: 'l1', feeds: [feed], nowMs: NOW_MS }, never);
      const fact = tableOf(SUMMARY);
      await setUpFactTable(warehouse, fact, never);
      await sql.query(
        "INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms) VALUES ('summary', '2025-01-28', 1, 'open', ?)",
        [BOUNDARY_MS],
      );
      for (const [partition, position] of [
        [0, 10],
        [1, 7],
      ])
        await sql.query(
          "INSERT INTO lake_positions (feed, topic, kafka_partition, position, start_offset) VALUES ('summary', 'summary', ?, ?, 0)",
          [partition, position],
        );
      for (let from = 0; from < count; from += 1000) {
        const rows = Array.from({ length: Math.min(1000, count - from) }, (_, index) => from + index).map(
          (n) => `('u${n}', ${n}, '2025-01-28', 1, UNHEX(SHA2('u${n}', 256)), 0, ${n}, '2025-01-28 01:02:03.000004')`,
        );
        await sql.query(
          `INSERT INTO fact_summary (user_id, transaction_count, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp) VALUES ${rows.join(',')}`,
        );
      }
      const seal = (
        order: SealOrder,
        by: Warehouse = warehouse,
        before: () => Promise<void> = async () => {},
        once: Patiently = (work) => work(),
      ) => {
        let works = 0;
        return sealSnapshot(
          {
            warehouse: by,
            feed: 'summary',
            topic: 'summary',
            fact,
            order,
            nowMs: () => NOW_MS,
            // `before` runs ahead of every piece of work but the first.
            patiently: async (work) => {
              if (works++ > 0) await before();
              return await once(work);
            },
          },
          never,
        );
      };
      const shown = async (date: string) =>
        await there.rows(
          `SELECT COUNT(*) AS n, CAST(COALESCE(SUM(transaction_count), 0) AS CHAR) AS sum FROM fact_summary WHERE snapshot_date = '${date}'`,
        );
      const states = async () =>
        (
          await there.rows(
            'SELECT snapshot_date AS d, state, cut_kind AS k, positions AS p, row_count AS n FROM lake_snapshots ORDER BY 1',
          )
        ).map(({ d, state, k, p, n }) => [new Date(d).toISOString().slice(0, 10), state, k, p, n]);
      return { ...there, seal, shown, states, [Symbol.asyncDispose]: () => there[Symbol.asyncDispose]() };
    };

    test('copies every row over several chunks, seals the old one and opens the new one', async () => {
      await using table = await openTable(12_001);
      await table.seal(orderAt({ 0: 10n, 1: 7n }));
      const sum = String((12_001 * 12_000) / 2);
      expect([await table.shown('2025-01-28'), await table.shown('2025-01-29')]).toEqual([
        [{ n: 12_001, sum }],
        [{ n: 12_001, sum }],
      ] as never);
      expect(await table.states()).toEqual([
        ['2025-01-28', 'sealed', 'at_cut', '{"0":"10","1":"7"}', 12_001],
        ['2025-01-29', 'open', null, '{"0":"10","1":"7"}', null],
      ]);
      const [latest] = await table.rows('SELECT COUNT(*) AS n, MIN(snapshot_date) AS d FROM fact_summary_latest');
      expect([latest?.['n'], new Date(latest?.['d']).toISOString().slice(0, 10)]).toEqual([12_001, '2025-01-29']);
      const [copied] = await table.rows(
        'SELECT COUNT(*) AS n FROM (SELECT 1 FROM fact_summary GROUP BY key_hash, user_id, kafka_partition, kafka_offset, kafka_timestamp HAVING COUNT(*) = 2) pairs',
      );
      expect(copied?.['n']).toBe(12_001);
    });

    test('done again, and at the same time by two members, changes nothing more', async () => {
      await using table = await openTable(50);
      const other = await table.open();
      const answers = await Promise.allSettled([
        table.seal(orderAt({ 0: 10n, 1: 7n })),
        table.seal(orderAt({ 0: 10n, 1: 7n }), other),
      ]);
      expect(answers.some(({ status }) => status === 'fulfilled')).toBe(true);
      for (const answer of answers) if (answer.status === 'rejected') expect(answer.reason).toBeInstanceOf(PositionsMoved);
      await table.seal(orderAt({ 0: 10n, 1: 7n }));
      expect([(await table.shown('2025-01-29'))[0]?.['n'], (await table.states()).map(([, state]) => state)]).toEqual([
        50,
        ['sealed', 'open'],
      ]);
    });

    test('is in the audit once, and told once, when the answer of its COMMIT is lost and when it is done again', async () => {
      await using table = await openTable(50);
      const other = await table.open();
      const order = orderAt({ 0: 10n, 1: 7n });
      // Every piece of work is done twice, as after a COMMIT without an answer.
      const twice: Patiently = async (work) => {
        await work();
        return await work();
      };
      const told = [await table.seal(order, table.warehouse, undefined, twice), await table.seal(order, other)];
      expect(told.map((entry) => entry?.resource)).toEqual(['2025-01-28/1', undefined]);
      const rows = await table.rows("SELECT * FROM audit_log WHERE action = 'snapshot_sealed'");
      expect(rows).toMatchObject([{ feed_name: 'summary', resource: '2025-01-28/1', row_count: 50, actor: currentActor() }]);
      expect(JSON.parse(JSON.stringify(rows[0]?.['details']))).toMatchObject({ cut: 'at_cut', positions: { 0: '10', 1: '7' } });
    });

    test('an empty state is sealed and opened, too', async () => {
      await using table = await openTable(0);
      await table.seal(orderAt({ 0: 10n, 1: 7n }, 'past_cut'));
      expect((await table.states()).map(([date, state, kind, , n]) => [date, state, kind, n])).toEqual([
        ['2025-01-28', 'sealed', 'past_cut', 0],
        ['2025-01-29', 'open', null, null],
      ]);
    });

    test('is refused at other positions than those of the order, before anything is copied', async () => {
      await using table = await openTable(20);
      await expect(table.seal(orderAt({ 0: 10n, 1: 6n }))).rejects.toBeInstanceOf(PositionsMoved);
      await expect(table.seal(orderAt({ 0: 10n }))).rejects.toBeInstanceOf(PositionsMoved);
      expect((await table.states()).map(([, state]) => state)).toEqual(['open']);
    });

    test('a batch that moves a position while rows are copied makes the switch fail; the next seal copies again', async () => {
      await using table = await openTable(20);
      let moved = false;
      const before = async (): Promise<void> => {
        if (moved) return;
        moved = true;
        await table.sql.query('UPDATE lake_positions SET position = 11 WHERE kafka_partition = 0');
        await table.sql.query(
          "UPDATE fact_summary SET transaction_count = 1000 WHERE user_id = 'u0' AND snapshot_date = '2025-01-28'",
        );
        await table.sql.query("DELETE FROM fact_summary WHERE user_id = 'u1' AND snapshot_date = '2025-01-28'");
      };
      await expect(table.seal(orderAt({ 0: 10n, 1: 7n }), table.warehouse, before)).rejects.toBeInstanceOf(PositionsMoved);
      expect((await table.states()).map(([, state]) => state)).toEqual(['open', 'opening']);
      await table.seal(orderAt({ 0: 11n, 1: 7n }, 'past_cut'));
      const sum = String((20 * 19) / 2 + 1000 - 1);
      expect(await table.shown('2025-01-29')).toEqual([{ n: 19, sum }] as never);
      expect((await table.states()).map(([, state]) => state)).toEqual(['sealed', 'open']);
    });

    test('rows of a copy that was begun at other positions are taken away first', async () => {
      await using table = await openTable(3);
      await table.sql.query(
        "INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, positions, copy_id) VALUES ('summary', '2025-01-29', 1, 'opening', 0, '{\"0\":\"3\"}', 'x')",
      );
      await table.sql.query(
        "INSERT INTO fact_summary (user_id, transaction_count, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp) VALUES ('gone', 5, '2025-01-29', 1, UNHEX(SHA2('gone', 256)), 0, 1, '2025-01-28'), ('u1', 99, '2025-01-29', 1, UNHEX(SHA2('u1', 256)), 0, 1, '2025-01-28')",
      );
      await table.seal(orderAt({ 0: 10n, 1: 7n }));
      expect(await table.shown('2025-01-29')).toEqual([{ n: 3, sum: '3' }] as never);
    });

    test('who comes after a kill in the midst of taking them away takes the rest away', async () => {
      await using table = await openTable(3);
      await table.sql.query(
        'INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, positions, copy_id) VALUES (?)',
        [['summary', '2025-01-29', 1, 'opening', 0, '{"0":"3"}', 'x']],
      );
      await table.sql.query(
        "INSERT INTO fact_summary (user_id, transaction_count, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp) VALUES ('gone', 5, '2025-01-29', 1, UNHEX(SHA2('gone', 256)), 0, 1, '2025-01-28'), ('u1', 99, '2025-01-29', 1, UNHEX(SHA2('u1', 256)), 0, 1, '2025-01-28')",
      );
      const killed = async (): Promise<void> => {
        throw new Error('killed');
      };
      await expect(table.seal(orderAt({ 0: 10n, 1: 7n }), table.warehouse, killed)).rejects.toThrow('killed');
      await table.seal(orderAt({ 0: 10n, 1: 7n }));
      expect(await table.shown('2025-01-29')).toEqual([{ n: 3, sum: '3' }] as never);
    });

    test('who has lost the copy deletes none of its rows', async () => {
      await using table = await openTable(3);
      await table.sql.query(
        'INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, positions, copy_id) VALUES (?)',
        [['summary', '2025-01-29', 1, 'opening', 0, '{"0":"3"}', 'x']],
      );
      const other = await table.open();
      let isOver = false;
      const overtaken = async (): Promise<void> => {
        if (isOver) return;
        isOver = true;
        await table.seal(orderAt({ 0: 10n, 1: 7n }), other);
      };
      await expect(table.seal(orderAt({ 0: 10n, 1: 7n }), table.warehouse, overtaken)).rejects.toBeInstanceOf(PositionsMoved);
      expect(await table.shown('2025-01-29')).toEqual([{ n: 3, sum: '3' }] as never);
      expect((await table.states()).map(([, state]) => state)).toEqual(['sealed', 'open']);
    });

    test('a copy that was begun at the same positions goes on', async () => {
      await using table = await openTable(7_000);
      let works = 0;
      const stop = async (): Promise<void> => {
        if (++works > 2) throw new Error('killed');
      };
      await expect(table.seal(orderAt({ 0: 10n, 1: 7n }), table.warehouse, stop)).rejects.toThrow('killed');
      expect((await table.shown('2025-01-29'))[0]?.['n']).toBe(5_000);
      await table.seal(orderAt({ 0: 10n, 1: 7n }));
      expect((await table.shown('2025-01-29'))[0]?.['n']).toBe(7_000);
    });
  });
}
