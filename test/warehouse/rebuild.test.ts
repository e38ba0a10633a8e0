// A table that is read anew beside the one in the warehouse: what replaces it, what it voids, and what stays.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { assert } from '../../src/errors.ts';
import { toOffset } from '../../src/model/offsets.ts';
import type { TableRebuild } from '../../src/model/rebuild.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { feedPlace, gone, row, type Writer } from './feed-helpers.ts';
import { NOW_MS, never } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const FACTS = 'SELECT id, text, kafka_offset AS o FROM fact_totals_latest ORDER BY id';
const POSITIONS = 'SELECT position AS o, start_offset AS s, epoch AS e, messages AS m FROM lake_positions';

const rebuildOf = ({ feed }: Writer): TableRebuild => {
  assert(feed.rebuild, 'a table can be rebuilt');
  return feed.rebuild;
};
const begin = (by: Writer, start: number, end: number): Promise<boolean> =>
  rebuildOf(by).begin({
    ways: new Map([[0, { start: toOffset(BigInt(start)), end: toOffset(BigInt(end)) }]]),
    reason: 'gap',
    startedAtMs: NOW_MS,
  });

describe.each([...mysqlEngines])('%s', (engine) => {
  test('nothing is there before all of it is, then it replaces rows, tombstones and positions', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1, { at: '2025-01-29 00:00:00+00' }), row(1, 2), gone(2, 3), row(3, 4)]);
    await begin(a, 3, 6);
    expect([rebuildOf(a).phase(), a.feed.state().positions.size, a.feed.publishDue()]).toEqual(['reading', 0, false]);
    expect(await at.commitOf(a, [row(3, 4)])).toBe('applied');
    expect(await a.feed.publish(never)).toBeNull();
    expect(await at.commitOf(a, [row(4, 1), gone(5, 4)])).toBe('applied');
    expect(await at.commitOf(a, [row(9, 1)])).toBe('conflict');
    expect(await at.rows(FACTS)).toHaveLength(3);
    expect(await at.rows(POSITIONS)).toMatchObject([{ o: 4, s: 0, e: 0, m: 4 }]);
    expect([rebuildOf(a).phase(), a.feed.publishDue()]).toEqual(['complete', true]);
    const published = await a.feed.publish(never);
    expect(published).toMatchObject({ answer: { kind: 'committed' }, snapshot: { rows: 1 }, rebuild: { reason: 'gap' } });
    // What was there of key 1 had a later time: of a message that is gone.
    expect(await at.rows(FACTS)).toMatchObject([{ id: 1, text: '4 of 1', o: 4 }]);
    expect(await at.rows('SELECT kafka_offset AS o FROM lake_tombstones')).toMatchObject([{ o: 5 }]);
    expect(await at.rows(POSITIONS)).toMatchObject([{ o: 6, s: 3, e: 1, m: 3 }]);
    expect([rebuildOf(a).phase(), rebuildOf(a).facts()]).toEqual(['none', { gaps: [], isRewound: false, caughtUpAtMs: NOW_MS }]);
    expect(await at.commitOf(a, [row(6, 5)])).toBe('committed');
  });

  test('voids what an older owner has in hand, though the positions are the same again', async () => {
    await using at = await feedPlace(engine);
    const [a, b] = [await at.writer(), await at.writer()];
    await at.commitOf(a, [row(0, 1), row(1, 2)]);
    await b.feed.refresh();
    await begin(a, 0, 2);
    await at.commitOf(a, [row(0, 1), gone(1, 1)]);
    expect((await a.feed.publish(never))?.answer.kind).toBe('committed');
    expect(await at.commitOf(b, [row(2, 9)])).toBe('conflict');
    expect(await at.commitOf(b, [row(2, 9)])).toBe('committed');
    expect(await at.rows(FACTS)).toMatchObject([{ id: 9 }]);
  });

  test('is void itself when somebody has committed meanwhile, and is begun again', async () => {
    await using at = await feedPlace(engine);
    const [a, b] = [await at.writer(), await at.writer()];
    await at.commitOf(a, [row(0, 1)]);
    await b.feed.refresh();
    await begin(a, 0, 1);
    await at.commitOf(a, [row(0, 1)]);
    expect(await at.commitOf(b, [row(1, 2)])).toBe('committed');
    expect((await a.feed.publish(never))?.answer).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect([rebuildOf(a).phase(), (await at.rows(FACTS)).length]).toEqual(['none', 2]);
  });

  test('does not begin when the positions are beyond its ways by now', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1), row(1, 2)]);
    expect([await begin(a, 0, 1), rebuildOf(a).phase(), a.feed.state().positions.size]).toEqual([false, 'none', 1]);
    expect(await begin(a, 0, 2)).toBe(true);
  });

  test('positions that a fail-over set back are not said to have caught up, and are known', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1), row(1, 2)]);
    const noted = async () => (await at.rows('SELECT CAST(caught_up_at AS CHAR) AS c FROM lake_positions'))[0]?.['c'];
    const position = () => a.feed.state().positions.get(0)?.position;
    await rebuildOf(a).noteCaughtUp(NOW_MS + 1_000, never);
    expect([await noted(), rebuildOf(a).facts().caughtUpAtMs]).toEqual(['2025-01-28 12:00:01.000000', NOW_MS + 1_000]);
    await at.rows('UPDATE lake_positions SET position = 1');
    await rebuildOf(a).noteCaughtUp(NOW_MS + 9_000, never);
    expect([await noted(), rebuildOf(a).facts().caughtUpAtMs, position()]).toEqual([
      '2025-01-28 12:00:01.000000',
      NOW_MS + 1_000,
      toOffset(1n),
    ]);
  });

  test('a copy for the next snapshot is begun anew after it', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1)]);
    await at.rows(`INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, positions, copy_id)
      VALUES ('totals', '2030-01-01', 1, 'opening', 1, '{"0":"1"}', 'other')`);
    await begin(a, 0, 1);
    await at.commitOf(a, [row(0, 1)]);
    await a.feed.publish(never);
    expect(await at.rows(`SELECT positions, copy_id FROM lake_snapshots WHERE state = 'opening'`)).toMatchObject([
      { positions: null, copy_id: null },
    ]);
  });

  test('its dimensions know every message that it read, and those from before', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    await at.commitOf(a, [row(0, 1, { who: 'ann', at: '2025-01-01 00:00:00+00' })]);
    await begin(a, 1, 5);
    await at.commitOf(a, [row(1, 1, { who: 'bob', at: '2025-01-02 00:00:00+00' }), row(2, 1, { who: 'ann' })]);
    await at.commitOf(a, [row(3, 1, { who: 'bob' }), row(4, 1, { who: 'eve' })]);
    await a.feed.publish(never);
    const seen =
      'SELECT who, text, CAST(DATE(first_seen_at) AS CHAR) AS f, CAST(DATE(last_seen_at) AS CHAR) AS l FROM dim_people';
    expect(await at.rows(`${seen} ORDER BY who`)).toMatchObject([
      { who: 'ann', text: '2 of 1', f: '2025-01-01', l: '2025-01-28' },
      { who: 'bob', text: '3 of 1', f: '2025-01-02', l: '2025-01-28' },
      { who: 'eve', text: '4 of 1', f: '2025-01-28', l: '2025-01-28' },
    ]);
    expect(await at.rows('SELECT who FROM fact_totals_latest')).toMatchObject([{ who: 'eve' }]);
  });

  test('a COMMIT without an answer is done when positions and epoch say so', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    for (const when of ['before', 'after'] as const) {
      const a = await at.writer({ port: proxy.port });
      const start = Number((await at.rows(POSITIONS))[0]?.['o'] ?? 0);
      if (start === 0) await at.commitOf(a, [row(0, 1)]);
      await begin(a, 0, 1);
      await at.commitOf(a, [row(0, 1)]);
      const struck = proxy.strike({ at: 'COMMIT', when });
      const published = await a.feed.publish(never);
      await struck;
      expect(published?.answer.kind).toBe('committed');
    }
    expect(await at.rows(POSITIONS)).toMatchObject([{ o: 1, s: 0, e: 2, m: 1 }]);
  });
});
