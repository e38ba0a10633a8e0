// The transaction of a retry (PROTOCOL M3): a letter is closed once, and a copy of the snapshot that does not have its row is not opened.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { toOffset } from '../../src/model/offsets.ts';
import { firstRule } from '../../src/model/snapshot-rules.ts';
import { LettersMoved, type WarehouseLetter, warehouseLetters } from '../../src/warehouse/dead-letters.ts';
import { openSnapshotOf, selectOpenSnapshot } from '../../src/warehouse/open-snapshot.ts';
import { PositionsMoved } from '../../src/warehouse/positions.ts';
import { retryLetters } from '../../src/warehouse/retry-letters.ts';
import { sealSnapshot } from '../../src/warehouse/seal.ts';
import { readBatch } from '../../src/warehouse/staged-batch.ts';
import { mysqlEngines } from '../helpers/mysql.ts';
import { feedPlace, row } from './feed-helpers.ts';
import { NOW_MS, never } from './setup-helpers.ts';

setDefaultTimeout(120_000);

const ANY = { place: null, field: null, reason: null, sinceMs: null, limit: null };

describe.each(mysqlEngines)('%s', (engine) => {
  /** Offsets 0 and 2 are rows, 1 is an open letter that converts to id 3; the position is 3. */
  const scene = async () => {
    const there = await feedPlace(engine);
    const { warehouse, sql, fact, connection } = there;
    await there.commitOf(await there.writer(), [row(0, 1), row(2, 2)]);
    await sql.query(
      "INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, reason) VALUES ('totals', 'totals', 0, 1, '2025-01-28', 'x')",
    );
    await sql.query('UPDATE lake_positions SET messages = messages + 1, dead_letters = 1');
    const of = { feed: 'totals', topic: 'totals' };
    const letters = (): Promise<readonly WarehouseLetter[]> =>
      warehouseLetters(warehouse, of, { selection: ANY, states: ['open'], signal: never });
    const retry = async (chosen: readonly WarehouseLetter[]) => {
      const rows = await readBatch(connection, await there.stage([row(1, 3)]), { fact, engine: (work) => work(connection) });
      const snapshots = firstRule({ snapshotEvery: 'day', timezone: 'UTC' });
      const list = chosen.map((letter) => ({ ...letter, isTombstone: false }));
      const whole = { warehouse, ...of, fact, snapshots, schemaVersion: 1, letters: list, rows, nowMs: NOW_MS };
      return await warehouse.transaction((tx) => retryLetters(tx, whole), never);
    };
    const counts = async () =>
      (await there.rows('SELECT row_count AS r, dead_letters AS d, messages AS m FROM lake_positions')).map(({ r, d, m }) =>
        [r, d, m].map(Number),
      );
    return { ...there, letters, retry, counts, [Symbol.asyncDispose]: () => there[Symbol.asyncDispose]() };
  };

  test('19: whoever comes second changes nothing', async () => {
    await using at = await scene();
    const chosen = await at.letters();
    expect((await at.retry(chosen)).map(({ as }) => as)).toEqual(['row']);
    expect(await at.counts()).toEqual([[3, 0, 3]]);
    await expect(at.retry(chosen)).rejects.toBeInstanceOf(LettersMoved);
    expect(await at.counts()).toEqual([[3, 0, 3]]);
    expect(await at.letters()).toEqual([]);
  });

  test('a copy of the snapshot that was begun before is not opened; the next seal has the row', async () => {
    await using at = await scene();
    const { warehouse, fact } = at;
    const sealed = openSnapshotOf(await warehouse.run(selectOpenSnapshot(warehouse.dialect, 'totals'), never));
    if (!sealed) throw new Error('no open snapshot');
    const positions = new Map([[0, toOffset(3n)]]);
    const opens = { date: '2030-01-01', version: 1, endsAtMs: Date.UTC(2030, 0, 2) };
    const cut = { feed: 'totals', boundaryMs: sealed.endsAtMs, positions, opens, missed: [], by: 'warehouse', at: '' } as const;
    const order = { sealed, cut, positions, kind: 'at_cut' } as const;
    const chosen = await at.letters();
    let works = 0;
    const seal = (before: () => Promise<unknown>) =>
      sealSnapshot(
        {
          ...{ warehouse, feed: 'totals', topic: 'totals', fact, order, nowMs: () => NOW_MS },
          // Begun, and not finished.
          patiently: async (work) => {
            works += 1;
            if (works === 3) await before();
            return await work();
          },
        },
        never,
      );
    await expect(seal(() => at.retry(chosen))).rejects.toBeInstanceOf(PositionsMoved);
    works = 100;
    await seal(async () => undefined);
    const held = await at.rows("SELECT id FROM fact_totals WHERE snapshot_date = '2030-01-01' ORDER BY id");
    expect(held.map(({ id }) => Number(id))).toEqual([1, 2, 3]);
  });
});
