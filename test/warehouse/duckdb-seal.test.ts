// A snapshot's end in the embedded warehouse, where no unique key keeps a row from being copied twice: who begins again after a kill
// copies what is missing, and who finds a copy of other positions empties it first.

import { expect, setDefaultTimeout, test } from 'bun:test';
import type { SealOrder } from '../../src/model/cut.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { duckdbDialect } from '../../src/warehouse/duckdb-dialect.ts';
import { sealSnapshot } from '../../src/warehouse/seal.ts';
import { setUpWarehouse } from '../../src/warehouse/setup.ts';
import { setUpFactTable } from '../../src/warehouse/setup-table.ts';
import { feedOf } from '../config/helpers.ts';
import { embeddedPlace, NOW_MS, never, SUMMARY, tableOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const ROWS = 3_000;
const orderAt = (offset: bigint): SealOrder => {
  const positions: ReadonlyMap<number, Offset> = new Map([[0, toOffset(offset)]]);
  const opens = { date: '2025-01-29', version: 1, endsAtMs: Date.UTC(2025, 0, 30) };
  const cut = {
    feed: 'summary',
    boundaryMs: Date.UTC(2025, 0, 29),
    positions,
    opens,
    missed: [],
    by: 'warehouse',
    at: '',
  } as const;
  return { sealed: { date: '2025-01-28', version: 1 }, cut, positions, kind: 'at_cut' };
};

async function openTable() {
  const there = await embeddedPlace();
  const { warehouse } = there;
  const feed = feedOf(SUMMARY);
  const fact = tableOf(SUMMARY, duckdbDialect);
  const change = (text: string) => warehouse.transaction((tx) => tx.change({ text, values: [] }), never);
  await setUpWarehouse(warehouse, { lakeId: 'l1', feeds: [feed], nowMs: NOW_MS }, never);
  await setUpFactTable(warehouse, fact, never);
  await change(`INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms)
    VALUES ('summary', '2025-01-28', 1, 'open', ${Date.UTC(2025, 0, 29)})`);
  await change(
    `INSERT INTO lake_positions (feed, topic, kafka_partition, position, start_offset) VALUES ('summary', 'summary', 0, 10, 0)`,
  );
  await change(`INSERT INTO fact_summary (user_id, snapshot_date, snapshot_version, key_hash, kafka_partition, kafka_offset, kafka_timestamp)
    SELECT 'u' || n, '2025-01-28', 1, unhex(sha256('u' || n)), 0, n, '2025-01-28 01:02:03' FROM range(${ROWS}) t(n)`);
  return {
    ...there,
    change,
    /** Ends before the piece of work of that number, as by a kill. */
    seal: (order: SealOrder, worksMax = Number.POSITIVE_INFINITY) => {
      let works = 0;
      const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
        if (works++ >= worksMax) throw new Error('killed');
        return await work();
      };
      const about = { feed: 'summary', topic: 'summary', fact, order, nowMs: () => NOW_MS };
      return sealSnapshot({ ...about, warehouse, patiently }, never);
    },
    held: () =>
      there.rows(`SELECT CAST(snapshot_date AS VARCHAR) AS d, CAST(count(*) AS INTEGER) AS n,
        CAST(count(DISTINCT key_hash) AS INTEGER) AS k FROM fact_summary GROUP BY 1 ORDER BY 1`),
    states: async () => (await there.rows('SELECT state FROM lake_snapshots ORDER BY snapshot_date')).map((row) => row['state']),
  };
}

const both = (rows: number, next: number) => [
  { d: '2025-01-28', n: rows, k: rows },
  { d: '2025-01-29', n: next, k: next },
];

test('ended at any step and done again, every row is copied once', async () => {
  await using table = await openTable();
  // Begun; the first chunk found; copied; all found; summed up.
  for (const worksMax of [1, 2, 3, 4, 5]) {
    expect(String(await table.seal(orderAt(10n), worksMax).catch((error: unknown) => error))).toContain('killed');
    expect(await table.states()).toEqual(['open', 'opening']);
  }
  expect(await table.held()).toEqual(both(ROWS, ROWS));
  await table.seal(orderAt(10n));
  expect([await table.states(), await table.held()]).toEqual([['sealed', 'open'], both(ROWS, ROWS)]);
  const [latest] = await table.rows('SELECT CAST(count(*) AS INTEGER) AS n FROM fact_summary_latest');
  expect(latest).toEqual({ n: ROWS });
});

test('a copy that was made at other positions is emptied, and nothing of it stays', async () => {
  await using table = await openTable();
  await table.seal(orderAt(10n), 4).catch(() => undefined);
  expect(await table.held()).toEqual(both(ROWS, ROWS));
  await table.change(`DELETE FROM fact_summary WHERE snapshot_date = '2025-01-28' AND kafka_offset < 7`);
  await table.change(`UPDATE fact_summary SET kafka_offset = 9000 WHERE snapshot_date = '2025-01-28' AND kafka_offset = 8`);
  await table.change('UPDATE lake_positions SET position = 20');
  await table.seal(orderAt(20n));
  expect([await table.states(), await table.held()]).toEqual([['sealed', 'open'], both(ROWS - 7, ROWS - 7)]);
  const [differing] =
    await table.rows(`SELECT CAST(count(*) AS INTEGER) AS n FROM (SELECT key_hash, kafka_offset FROM fact_summary
    GROUP BY ALL HAVING count(*) <> 2)`);
  expect(differing).toEqual({ n: 0 });
});
