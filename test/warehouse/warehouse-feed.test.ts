// A feed's commits in MySQL and MariaDB: positions by compare-and-set, rows by the greatest coordinates, every doubt resolved.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { LakeError } from '../../src/errors.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { random } from '../helpers/random.ts';
import { until } from '../helpers/until.ts';
import { type Change, feedPlace, gone, row } from './feed-helpers.ts';
import { errorOf } from './setup-helpers.ts';

setDefaultTimeout(300_000);

const POSITIONS = 'SELECT kafka_partition AS p, position AS o, messages AS m FROM lake_positions ORDER BY 1';
const FACTS = 'SELECT id, text FROM fact_totals_latest ORDER BY id';

describe.each([...mysqlEngines])('%s', (engine) => {
  test('a batch is taken from exactly where the positions are, else it is a conflict', async () => {
    await using at = await feedPlace(engine);
    const [a, b] = [await at.writer(), await at.writer()];
    expect(await at.commitOf(a, [row(0, 1), row(1, 2), row(2, 1)])).toBe('committed');
    expect(await at.commitOf(b, [row(0, 7), row(1, 8)])).toBe('conflict');
    expect(b.feed.state()).toEqual(a.feed.state());
    expect(await at.commitOf(b, [row(3, 3)])).toBe('committed');
    expect(await at.commitOf(a, [row(3, 9), row(4, 9)])).toBe('conflict');
    expect(await at.commitOf(a, [row(5, 9)])).toBe('conflict');
    expect(await at.commitOf(a, [row(4, 4)], { 0: 4 })).toBe('committed');
    expect(await at.rows(FACTS)).toMatchObject([
      { id: 1, text: '2 of 1' },
      { id: 2, text: '1 of 2' },
      { id: 3, text: '3 of 3' },
      { id: 4, text: '4 of 4' },
    ]);
    expect(await at.rows(POSITIONS)).toMatchObject([{ p: 0, o: 5, m: 5 }]);
    expect(a.feed.state().positions.get(0)?.totals.messages).toBe(5);
  });

  test('of writers that begin at the same moment one is first, each time', async () => {
    await using at = await feedPlace(engine);
    const writers = [await at.writer(), await at.writer(), await at.writer()];
    for (let offset = 0; offset < 10; offset++) {
      const answers = await Promise.all(writers.map(async (one) => await at.commitOf(one, [row(offset, offset)])));
      expect(answers.sort()).toEqual(['committed', 'conflict', 'conflict']);
      for (const { feed } of writers) await feed.refresh();
    }
    expect(await at.rows(POSITIONS)).toMatchObject([{ p: 0, o: 10, m: 10 }]);
  });

  for (const when of ['before', 'after'] as const) {
    test(`a COMMIT that is cut off ${when} the server hears of it is done once`, async () => {
      await using at = await feedPlace(engine);
      using proxy = await mysqlProxy(at.database.login.port);
      const a = await at.writer({ port: proxy.port });
      for (const [offset, id] of [
        [0, 1],
        [1, 1],
      ] as const) {
        const struck = proxy.strike({ at: 'COMMIT', when });
        expect(await at.commitOf(a, [row(offset, id)])).toBe('committed');
        await struck;
        expect(await at.rows(POSITIONS)).toMatchObject([{ p: 0, o: offset + 1, m: offset + 1 }]);
        expect(a.feed.state().positions.get(0)?.totals.messages).toBe(offset + 1);
      }
      expect(await at.rows(FACTS)).toMatchObject([{ id: 1, text: '1 of 1' }]);
      expect(proxy.seen.filter((text) => text.startsWith('COMMIT')).length).toBe(when === 'after' ? 4 : 6);
    });
  }

  test('a COMMIT in doubt is a conflict when another writer went on from there meanwhile', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    const [a, b] = [await at.writer({ port: proxy.port }), await at.writer()];
    const struck = proxy.strike({ at: 'COMMIT', when: 'before', act: proxy.close });
    const answer = at.commitOf(a, [row(0, 1), row(1, 1)]);
    await struck;
    expect(await at.commitOf(b, [row(0, 1), row(1, 1), row(2, 2)])).toBe('committed');
    proxy.open();
    expect(await answer).toBe('conflict');
    expect(a.feed.state()).toEqual(b.feed.state());
  });

  test('the victim of a deadlock begins again', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    const a = await at.writer({ port: proxy.port });
    await at.commitOf(a, [row(0, 1)]);
    await at.sql.query('CREATE TABLE heavy (n INT)');
    await at.sql.query("BEGIN; UPDATE fact_totals SET text = 'held' WHERE id = 1");
    await at.sql.query(`INSERT INTO heavy VALUES ${Array.from({ length: 200 }, (_, n) => `(${n})`).join(',')}`);
    const before = proxy.seen.length;
    const answer = at.commitOf(a, [row(1, 1)]);
    // It has the positions by now, and waits for the row.
    await until(() => proxy.seen.slice(before).some((text) => text.includes('INSERT INTO `fact_totals`')));
    await at.sql.query('SELECT * FROM lake_positions FOR UPDATE');
    await at.sql.query('ROLLBACK');
    expect(await answer).toBe('committed');
    expect(proxy.seen.slice(before).filter((text) => text.startsWith('UPDATE lake_positions')).length).toBe(2);
    expect(await at.rows(FACTS)).toMatchObject([{ id: 1, text: '1 of 1' }]);
  });

  test('a server that is away is waited for, and said once', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    const a = await at.writer({ port: proxy.port });
    proxy.close();
    const answer = at.commitOf(a, [row(0, 1)]);
    await until(() => a.events.includes('warehouse_waited_for'));
    proxy.open();
    expect(await answer).toBe('committed');
    expect(a.events.filter((event) => event.startsWith('warehouse_'))).toEqual([
      'warehouse_opened',
      'warehouse_waited_for',
      'warehouse_back',
    ]);
  });

  test('waiting for the server ends when the run is told to stop, or after its limit', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    const stop = new AbortController();
    let nowMs = 0;
    const a = await at.writer({ port: proxy.port, stop: stop.signal });
    const b = await at.writer({ port: proxy.port, nowMs: () => nowMs, waitMsMax: 280_000 });
    proxy.close();
    const batch = await at.stage([row(0, 1)]);
    const [given, limited] = [errorOf(at.commit(a, batch)), errorOf(at.commit(b, await at.stage([row(0, 1)])))];
    await until(() => [a, b].every(({ events }) => events.includes('warehouse_waited_for')));
    stop.abort();
    expect((await given).code).toBe('warehouse_unreachable');
    nowMs = 279_000;
    expect(await Promise.race([limited, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))])).toBe('waits');
    nowMs = 280_000;
    expect(await limited).toMatchObject({ code: 'warehouse_unreachable', message: expect.stringContaining('280 s') });
    expect(new LakeError('warehouse_unreachable', '').exit).toBe(4);
  });

  test('what was decoded by an older schema is not committed once a newer one is in use', async () => {
    await using at = await feedPlace(engine);
    let version = 1;
    const old = await at.writer({ schemaVersion: () => version });
    expect(await at.commitOf(old, [row(0, 1)])).toBe('committed');
    await at.writer({ schemaVersion: () => 2 });
    expect(await at.commit(old, await at.stage([row(1, 1)]))).toMatchObject({ kind: 'conflict', reason: 'schema' });
    version = 2;
    expect(await at.commit(old, await at.stage([row(1, 1)]))).toMatchObject({ kind: 'conflict', reason: 'schema' });
    expect(await at.commit(old, { ...(await at.stage([row(1, 1)])), schemaVersion: 2 })).toMatchObject({ kind: 'committed' });
  });

  test('a gap may be the first thing of a partition, and the batch goes on from its end', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    const gap = { partition: 0, start: 0n, end: 20n, reason: 'expired' } as never;
    expect((await a.feed.recordGaps([gap], new AbortController().signal)).kind).toBe('committed');
    expect(await at.commitOf(a, [row(20, 1)])).toBe('committed');
    expect(await at.rows('SELECT start_offset AS s, position AS o, messages AS m FROM lake_positions')).toMatchObject([
      { s: 0, o: 21, m: 1 },
    ]);
    expect(await at.rows('SELECT start_offset AS s, end_offset AS e, reason FROM lake_gaps')).toMatchObject([
      { s: 0, e: 20, reason: 'expired' },
    ]);
    const state = a.feed.state();
    expect(await a.feed.refresh()).toEqual(state);
  });

  test('a row and a tombstone of one key from two writers at once: the later one counts', async () => {
    await using at = await feedPlace(engine);
    using proxy = await mysqlProxy(at.database.login.port);
    const [a, b] = [await at.writer(), await at.writer({ port: proxy.port })];
    await at.commitOf(a, [row(0, 7)]);
    await b.feed.refresh();
    const waits = async (): Promise<boolean> =>
      (await at.rows("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")).length > 0;
    let other: Promise<unknown> = Promise.resolve();
    // It has looked for rows to delete and not committed its tombstone: the row comes now, and must not pass it.
    const act = async (): Promise<void> => {
      other = at.commitOf(a, [row(1, 1)]);
      // InnoDB shows what it saw when it was last asked, unless a tenth of a second has passed.
      await Promise.race([other, until(waits, { everyMs: 200 })]);
    };
    const struck = proxy.strike({ at: 'COMMIT', when: 'before', act, goesOn: true });
    const tombstone = gone(0, 1, { partition: 1, at: '2025-01-28 00:00:01+00' });
    expect(await at.commitOf(b, [tombstone])).toBe('committed');
    await struck;
    expect(await other).toBe('committed');
    expect(await at.rows(FACTS)).toMatchObject([{ id: 7 }]);
  });

  test('however batches and partitions interleave, the greatest coordinates of a key win', async () => {
    const { seed, between, next } = random();
    console.log(`seed ${seed}`);
    await using at = await feedPlace(engine);
    const a = await at.writer();
    const whole = (to: number): number => Math.floor(between(0, to));
    const offsets = [0, 0, 0];
    const winners = new Map<number, Change>();
    for (let batch = 0; batch < 40; batch++) {
      const changes = Array.from({ length: 1 + whole(12) }, (): Change => {
        const partition = whole(3);
        const offset = offsets[partition] ?? 0;
        offsets[partition] = offset + 1;
        // Few instants, some of them apart by a microsecond alone: partition and offset have to decide as well.
        const at = `2025-01-28 00:00:00.00000${whole(6)}+00`;
        return next() < 0.3 ? gone(offset, whole(8), { partition, at }) : row(offset, whole(8), { partition, at });
      });
      for (const change of changes) {
        const before = winners.get(change.id);
        const isLater = (c: Change, d: Change): boolean =>
          c.at !== d.at ? c.at > d.at : c.partition !== d.partition ? c.partition > d.partition : c.offset > d.offset;
        if (!before || isLater(change, before)) winners.set(change.id, change);
      }
      // As if it were large: then it comes out of the engine in slices, here of a row or a few.
      const bytes = next() < 0.5 ? 1 : changes.length * 2 ** whole(24);
      expect((await at.commit(a, await at.stage(changes, {}, bytes))).kind).toBe('committed');
      const live = [...winners.values()].filter(({ text }) => text !== undefined).sort((c, d) => c.id - d.id);
      expect(await at.rows(FACTS)).toMatchObject(live.map(({ id, text }) => ({ id, text })) as never);
    }
  });

  test('a dimension has each key once, its newest attributes, and when it was first and last seen', async () => {
    await using at = await feedPlace(engine);
    const a = await at.writer();
    const on = (day: number): string => `2025-01-${day} 00:00:00+00`;
    await at.commitOf(a, [
      row(0, 1, { who: 'ann', text: 'first', at: on(12) }),
      row(1, 2, { who: 'ann', text: 'newest', at: on(14) }),
      row(2, 3, { who: 'Ann ', text: 'other', at: on(13) }),
      row(3, 4, { who: null, text: 'nobody', at: on(13) }),
    ]);
    await at.commitOf(a, [row(4, 5, { who: 'ann', text: 'older', at: on(11) })]);
    const seen = await at.rows('SELECT who, text, DAY(first_seen_at) AS f, DAY(last_seen_at) AS l FROM dim_people ORDER BY text');
    expect(seen).toMatchObject([
      { who: 'ann', text: 'newest', f: 11, l: 14 },
      { who: 'Ann ', text: 'other', f: 13, l: 13 },
    ]);
    await at.commitOf(a, [row(5, 1, { who: 'ann', text: 'and on', at: on(15) })]);
    expect(await at.rows("SELECT text, DAY(last_seen_at) AS l FROM dim_people WHERE BINARY who = 'ann'")).toMatchObject([
      { text: 'and on', l: 15 },
    ]);
  });
});
