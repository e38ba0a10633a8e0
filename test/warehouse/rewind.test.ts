// A rewind in MySQL and MariaDB: what one transaction leaves, of many rows several, and who is kept out by the epoch (PROTOCOL M4, 6).

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { toOffset } from '../../src/model/offsets.ts';
import { patiently } from '../../src/warehouse/patience.ts';
import { type Rewinding, rewindStep } from '../../src/warehouse/rewind.ts';
import type { Json } from '../config/helpers.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { feedPlace, row, type Writer } from './feed-helpers.ts';
import { NOW_MS, never } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const STREAM: Json = {
  feed_name: 'orders',
  feed_type: 'stream',
  destination: 'data_warehouse',
  mysql_table: 'fact_orders',
  schema: { fields: { id: 'BIGINT', text: 'VARCHAR', who: 'VARCHAR' } },
};
const POSITIONS =
  'SELECT kafka_partition AS p, position AS o, epoch AS e, messages AS m, row_count AS r FROM lake_positions ORDER BY 1';
const FACTS = 'SELECT kafka_partition AS p, kafka_offset AS o FROM fact_orders ORDER BY 1, 2';
const at = (offset: number) => toOffset(BigInt(offset));
const rows = (from: number, end: number, partition = 0) =>
  Array.from({ length: end - from }, (_, index) => row(from + index, from + index, { partition }));

type Place = Awaited<ReturnType<typeof feedPlace>>;
const rewind = async (
  place: Place,
  { warehouse, feed }: Writer,
  wanted: Readonly<Record<number, number>>,
  { rowsMax = 1_000, isTable = false } = {},
) => {
  const { fact } = place;
  const of: Rewinding = {
    ...{ warehouse, feed: fact.feed, topic: fact.feed, fact, isTable, tombstones: new Map() },
    wanted: new Map(Object.entries(wanted).map(([partition, offset]) => [Number(partition), at(offset)])),
    audit: { feed: fact.feed, action: 'feed_rewound', resource: fact.name, atMs: NOW_MS },
  };
  expect(feed.name).toBe('warehouse');
  const log = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined };
  const patience = { feed: fact.feed, log, nowMs: Date.now, stop: never, waitMsMax: null };
  return await patiently(() => rewindStep(of, rowsMax, never), patience, never);
};

describe.each([...mysqlEngines])('%s', (engine) => {
  test('rows, letters and gaps beyond the points go, and counts and positions with them', async () => {
    await using place = await feedPlace(engine, STREAM);
    const a = await place.writer();
    await place.commitOf(a, [...rows(0, 10), ...rows(0, 4, 1)]);
    await a.feed.recordGaps([{ partition: 0, start: at(10), end: at(20), reason: 'expired' }], never);
    await place.commitOf(a, rows(20, 25));
    expect(await rewind(place, a, { 0: 15, 1: 9, 2: 0 })).toMatchObject({ rows: 5, isDone: true, partitions: [{ to: at(15) }] });
    expect(await place.rows(POSITIONS)).toMatchObject([
      { p: 0, o: 15, e: 1, m: 10, r: 10 },
      { p: 1, o: 4, e: 1, m: 4, r: 4 },
    ]);
    expect(await place.rows('SELECT start_offset AS s, end_offset AS t FROM lake_gaps')).toMatchObject([{ s: 10, t: 15 }]);
    expect(await rewind(place, a, { 0: 3, 1: 0 })).toMatchObject({ rows: 11, isDone: true });
    expect(await place.rows(FACTS)).toHaveLength(3);
    expect(await place.rows(POSITIONS)).toMatchObject([
      { p: 0, o: 3, e: 2, m: 3, r: 3 },
      { p: 1, o: 0, e: 2, m: 0, r: 0 },
    ]);
    expect(await place.rows('SELECT 1 FROM lake_gaps')).toEqual([]);
    // Again there is nothing to do, and nothing is done.
    expect(await rewind(place, a, { 0: 3, 1: 0 })).toMatchObject({ rows: 0, isDone: true, partitions: [] });
    expect(await place.rows(POSITIONS)).toMatchObject([{ e: 2 }, { e: 2 }]);
    expect(await place.rows("SELECT row_count AS n FROM audit_log WHERE action = 'feed_rewound'")).toMatchObject([{ n: 16 }]);
  });

  test('of many rows several, from the end on, each of which is whole', async () => {
    await using place = await feedPlace(engine, STREAM);
    const a = await place.writer();
    await place.commitOf(a, [...rows(0, 10), ...rows(0, 10, 1)]);
    const states: unknown[] = [];
    for (let isDone = false; !isDone; ) {
      isDone = (await rewind(place, a, { 0: 2, 1: 5 }, { rowsMax: 6 })).isDone;
      const positions = await place.rows(POSITIONS);
      states.push(positions.map(({ o }) => Number(o)));
      const held = await place.rows(
        'SELECT kafka_partition AS p, COUNT(*) AS n, MAX(kafka_offset) + 1 AS o FROM fact_orders GROUP BY 1 ORDER BY 1',
      );
      expect(held.map(({ n, o }) => [Number(n), Number(o)])).toEqual(positions.map(({ r, o }) => [Number(r), Number(o)]));
    }
    expect(states).toEqual([
      [4, 10],
      [2, 6],
      [2, 5],
    ]);
  });

  test('what retention had deleted beyond the point is counted no more: it is read again', async () => {
    await using place = await feedPlace(engine, STREAM);
    const a = await place.writer();
    await place.commitOf(a, rows(0, 10));
    // Four rows and two dead letters of the ten messages went with their days.
    await a.warehouse.transaction(async (tx) => {
      await tx.change({ text: 'DELETE FROM fact_orders WHERE kafka_offset < 6', values: [] });
      await tx.change({
        text: 'UPDATE lake_positions SET row_count = 8, dead_letters = 2, retained_rows = 4, retained_dead_letters = 2',
        values: [],
      });
    }, never);
    const counts =
      'SELECT messages AS m, row_count AS r, dead_letters AS d, retained_rows AS x, retained_dead_letters AS y FROM lake_positions';
    await rewind(place, a, { 0: 6 });
    expect(await place.rows(counts)).toMatchObject([{ m: 6, r: 4, d: 2, x: 4, y: 2 }]);
    await rewind(place, a, { 0: 1 });
    expect(await place.rows(counts)).toMatchObject([{ m: 1, r: 0, d: 1, x: 0, y: 1 }]);
    await rewind(place, a, { 0: 0 });
    expect(await place.rows(counts)).toMatchObject([{ m: 0, r: 0, d: 0, x: 0, y: 0 }]);
  });

  test('6: what was staged before it is refused, though the positions are the same again', async () => {
    await using place = await feedPlace(engine, STREAM);
    const [a, b] = [await place.writer(), await place.writer()];
    await place.commitOf(b, rows(0, 100));
    await a.feed.refresh();
    const staged = await a.feed.write(place.connection, await place.stage(rows(100, 200)));
    await b.feed.refresh();
    expect(await place.commitOf(b, rows(100, 200))).toBe('committed');
    await rewind(place, b, { 0: 100 });
    expect(await place.rows(POSITIONS)).toMatchObject([{ o: 100, r: 100 }]);
    // It may hear of it before, and that does not let in what it has.
    expect(await a.feed.look()).toBe(true);
    expect(await staged.commit(never)).toMatchObject({ kind: 'conflict', reason: 'epoch' });
    expect(await place.rows(FACTS)).toHaveLength(100);
    await a.feed.refresh();
    expect(await a.feed.look()).toBe(false);
    expect(await place.commitOf(a, rows(100, 200))).toBe('committed');
  });

  test('a partition that is read for the first time does not come in by the old epoch', async () => {
    await using place = await feedPlace(engine, STREAM);
    const [a, b] = [await place.writer(), await place.writer()];
    await place.commitOf(b, rows(0, 10));
    await a.feed.refresh();
    const staged = await a.feed.write(place.connection, await place.stage(rows(0, 5, 1)));
    await rewind(place, b, { 0: 0 });
    expect(await staged.commit(never)).toMatchObject({ kind: 'conflict', reason: 'epoch' });
    expect(await place.rows(FACTS)).toEqual([]);
    await a.feed.refresh();
    expect(await place.commitOf(a, rows(0, 5, 1))).toBe('committed');
    expect(await place.commitOf(a, rows(0, 10))).toBe('committed');
    expect(await place.rows(POSITIONS)).toMatchObject([
      { p: 0, o: 10, e: 1 },
      { p: 1, o: 5, e: 1 },
    ]);
  });

  test('a table stays as it is, and is to be read anew', async () => {
    await using place = await feedPlace(engine);
    const [a, b] = [await place.writer(), await place.writer()];
    await place.commitOf(b, [row(0, 1), row(1, 2)]);
    await a.feed.refresh();
    const staged = await a.feed.write(place.connection, await place.stage([row(2, 3)]));
    await rewind(place, b, {}, { isTable: true });
    expect(await place.rows('SELECT id FROM fact_totals')).toHaveLength(2);
    expect(await staged.commit(never)).toMatchObject({ kind: 'conflict', reason: 'epoch' });
    await a.feed.refresh();
    expect(a.feed.rebuild?.facts()).toMatchObject({ gaps: [], isRewound: true });
  });
});
