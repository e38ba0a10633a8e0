// The end of a table's periods (DESIGN §5, PROTOCOL 15): what is sealed is the fold of what lies before the cut, what is open is the
// fold of everything, whenever and however often somebody runs.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readJournal } from '../../src/lake/audit.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { testEmbedded } from '../helpers/embedded.ts';
import { FIELDS, runLake } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { at, same, shown, snapshotScene } from '../helpers/snapshot-scene.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

/** The warehouse's side of a scene: on a server, or embedded. */
const engines = {
  mysql: {},
  get duckdb() {
    return { database: testEmbedded() };
  },
};
const places = [
  { target: 'lake', engine: 'mysql' },
  { target: 'warehouse', engine: 'mysql' },
  { target: 'warehouse', engine: 'duckdb' },
] as const;

for (const { target, engine } of places)
  describe(target === 'lake' ? 'in the lake' : `in the warehouse on ${engine}`, () => {
    test('a period that ends in the middle of a batch, with an idle partition, is sealed at the first messages of the next', async () => {
      await using one = await snapshotScene(engines[engine]);
      await one.change(at(23, 5), at(23, 20), 300, [0, 1, 2]);
      await one.run(at(23, 30), target);
      expect(shown(await one.snapshots[target]())).toEqual(['2025-01-28/24 open null']);
      // Partition 2 gets nothing more before the boundary, partition 1 nothing after it.
      await one.change(at(23, 40), at(24, 0) - 1, 200, [0, 1]);
      await one.change(at(24, 0), at(24, 4), 200, [0, 2]);
      await one.run(at(24, 5), target);
      const snapshots = await one.snapshots[target]();
      expect(shown(snapshots)).toEqual(['2025-01-28/24 sealed at_cut', '2025-01-29/1 open null']);
      expect(one.cuts()).toEqual({ '20250129T0000': one.offsetsAt(at(24)) });
      expect(Object.fromEntries([...(snapshots[0]?.positions ?? [])].map(([p, o]) => [String(p), String(o)]))).toEqual(
        one.offsetsAt(at(24)),
      );
      one.check(snapshots);
      await one.run(at(24, 6), target);
      expect(shown(await one.snapshots[target]())).toEqual(shown(snapshots));
    });

    test('a period whose end nobody saw is sealed late, and those between are missed', async () => {
      await using one = await snapshotScene(engines[engine]);
      await one.change(at(22, 5), at(22, 20), 200, [0, 1, 2]);
      await one.run(at(22, 30), target);
      await one.change(at(22, 40), at(26, 10), 600, [0, 1, 2]);
      await one.run(at(26, 20), target);
      const snapshots = await one.snapshots[target]();
      expect(shown(snapshots)).toEqual(['2025-01-28/23 sealed at_cut', '2025-01-29/3 open null']);
      expect(JSON.parse(snapshots[0]?.missed ?? 'null')).toHaveLength(2);
      expect(one.cuts()).toEqual({ '20250128T2300': one.offsetsAt(at(23)) });
      one.check(snapshots);
    });

    test('the end of a period is met on a quiet topic, too', async () => {
      await using one = await snapshotScene({ partitions: 2, ...engines[engine] });
      await one.change(at(22, 5), at(22, 20), 100, [0]);
      await one.run(at(22, 30), target);
      await one.run(at(23, 0, 1), target);
      const snapshots = await one.snapshots[target]();
      expect(shown(snapshots)).toEqual(['2025-01-28/23 sealed at_cut', '2025-01-28/24 open null']);
      expect(snapshots[1]?.rows.length).toBe(snapshots[0]?.rows.length ?? -1);
      one.check(snapshots);
    });

    test('a message from the future is taken when it comes; the cut is then where Kafka ends, and not below a position', async () => {
      await using one = await snapshotScene({ partitions: 2, ...engines[engine] });
      await one.change(at(22, 5), at(22, 20), 100, [0, 1]);
      await one.change(at(29), at(29, 1), 10, [0]);
      await one.run(at(22, 30), target);
      await one.change(at(22, 40), at(23, 10), 100, [0, 1]);
      await one.run(at(23, 20), target);
      const snapshots = await one.snapshots[target]();
      expect(shown(snapshots)).toEqual(['2025-01-28/23 sealed at_cut', '2025-01-28/24 open null']);
      const [cut] = Object.values(one.cuts());
      expect(cut?.['1']).toBe(one.offsetsAt(at(23))['1'] ?? '');
      one.check(snapshots);
    });
  });

describe.each(['mysql', 'duckdb'] as const)('in both, with %s', (engine) => {
  test('side by side, the snapshots of a busy table are cut at the same offsets and are the same', async () => {
    await using one = await snapshotScene(engines[engine]);
    await one.change(at(22, 5), at(22, 20), 300, [0, 1, 2]);
    await one.run(at(22, 30), 'all');
    await one.change(at(22, 40), at(23, 20), 400, [0, 1, 2]);
    await one.run(at(23, 25), 'all');
    await one.change(at(23, 40), at(24, 20), 400, [0, 1, 2]);
    await one.run(at(24, 25), 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    expect(shown(lake)).toEqual(['2025-01-28/23 sealed at_cut', '2025-01-28/24 sealed at_cut', '2025-01-29/1 open null']);
    expect(same(lake)).toEqual(same(warehouse));
    one.check(lake);
    one.check(warehouse);
    const sealed = ['2025-01-28/23', '2025-01-28/24'];
    const journal = await readJournal(await openLocalStore({ root: one.setup.lakePath, access: 'read' }));
    const told = journal.filter(({ action }) => action === 'snapshot_sealed');
    for (const target of ['lake', 'warehouse'])
      expect(told.filter((line) => line.target === target).map(({ resource }) => resource)).toEqual(sealed);
    expect(new Set(told.map(({ details }) => details['checksum'])).size).toBe(2);
    const rows = await rowsOf(one.database, "SELECT resource FROM audit_log WHERE action = 'snapshot_sealed' ORDER BY audit_id");
    expect(rows.map(({ resource }) => resource)).toEqual(sealed);
    expect(journal.filter(({ action }) => action === 'table_created').map(({ resource }) => resource)).toContain('fact_totals');
  });

  for (const late of ['lake', 'warehouse'] as const) {
    test(`one that was away for two periods meets the same cuts when it catches up: the ${late}`, async () => {
      const early = late === 'lake' ? 'warehouse' : 'lake';
      await using one = await snapshotScene(engines[engine]);
      await one.change(at(21, 5), at(21, 20), 200, [0, 1, 2]);
      await one.run(at(21, 30), 'all');
      for (const hour of [21, 22]) {
        await one.change(at(hour, 40), at(hour + 1, 20), 300, [0, 1, 2]);
        await one.run(at(hour + 1, 30), early);
      }
      await one.change(at(23, 20), at(23, 40), 100, [1]);
      await one.run(at(23, 50), late);
      await one.run(at(23, 51), early);
      const found = { lake: await one.snapshots.lake(), warehouse: await one.snapshots.warehouse() };
      expect(shown(found[late])).toEqual([
        '2025-01-28/22 sealed at_cut',
        '2025-01-28/23 sealed at_cut',
        '2025-01-28/24 open null',
      ]);
      expect(same(found.lake)).toEqual(same(found.warehouse));
      one.check(found.lake);
      one.check(found.warehouse);
    });
  }

  test('both away for two periods: the first one back makes the cut, the other meets it', async () => {
    await using one = await snapshotScene(engines[engine]);
    await one.change(at(20, 5), at(20, 20), 200, [0, 1, 2]);
    await one.run(at(20, 30), 'all');
    await one.change(at(20, 40), at(23, 20), 400, [0, 1, 2]);
    await one.run(at(23, 30), 'warehouse');
    await one.change(at(23, 31), at(23, 32), 50, [0, 1, 2]);
    await one.run(at(23, 40), 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    expect(shown(lake)).toEqual(['2025-01-28/21 sealed at_cut', '2025-01-28/24 open null']);
    expect(same(lake)).toEqual(same(warehouse));
    one.check(lake);
    one.check(warehouse);
  });
});

describe('by the hour in Berlin', () => {
  const HOUR_MS = 3_600_000;
  /** The day's first instant; how many hours it has. */
  const nights = [
    { day: '2025-03-30', next: '2025-03-31', firstMs: Date.UTC(2025, 2, 29, 23), hours: 23 },
    { day: '2025-10-26', next: '2025-10-27', firstMs: Date.UTC(2025, 9, 25, 22), hours: 25 },
  ];
  test.each(nights)('the night of $day has as many snapshots as hours, equal in both', async ({ day, next, firstMs, hours }) => {
    await using one = await snapshotScene({ partitions: 2, timezone: 'Europe/Berlin' });
    const hour = (count: number): number => firstMs + count * HOUR_MS;
    // Before, in and behind the hour that is missing or comes twice; then the end of the day.
    const runs = [1.5, 2.5, 3.5, hours - 0.5, hours + 0.5];
    for (const [index, at] of runs.entries()) {
      await one.change(hour(runs[index - 1] ?? 1), hour(at - 0.1), 60, [0, 1]);
      if (index === 2) await one.run(hour(at), 'warehouse');
      await one.run(hour(at) + 60_000, 'all');
    }
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    const sealed = [2, 3, 4, hours].map((version) => `${day}/${version} sealed at_cut`);
    expect(shown(lake)).toEqual([...sealed, `${next}/1 open null`]);
    expect(same(lake)).toEqual(same(warehouse));
    expect(Object.values(one.cuts())).toEqual([2, 3, 4, hours].map((count) => one.offsetsAt(hour(count))));
    one.check(lake);
    one.check(warehouse);
  });
});

describe('in both', () => {
  test('a clock that steps back opens nothing twice: what was sealed stays, and the next end is met once', async () => {
    await using one = await snapshotScene({ partitions: 2 });
    await one.change(at(21, 40), at(22, 20), 100, [0, 1]);
    await one.run(at(22, 30), 'all');
    await one.change(at(22, 40), at(23, 10), 100, [0, 1]);
    await one.run(at(23, 20), 'lake');
    // Before the boundary that is sealed in the lake, for the warehouse still to come.
    await one.change(at(23, 21), at(23, 30), 100, [0, 1]);
    await one.run(at(22, 45), 'all');
    const names = ['2025-01-28/23 sealed at_cut', '2025-01-28/24 open null'];
    expect(shown(await one.snapshots.lake())).toEqual(names);
    await one.run(at(23, 35), 'warehouse');
    expect(shown(await one.snapshots.warehouse())).toEqual([expect.stringMatching(/^2025-01-28\/23 sealed/), names[1] ?? '']);
    await one.change(at(23, 40), at(24, 10), 100, [0, 1]);
    for (const clock of [at(24, 15), at(23, 50), at(24, 20)]) await one.run(clock, 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    expect(shown(lake)).toEqual([names[0] ?? '', '2025-01-28/24 sealed at_cut', '2025-01-29/1 open null']);
    expect(warehouse.map(({ name }) => name)).toEqual(lake.map(({ name }) => name));
    one.check(lake);
    one.check(warehouse);
    // What the warehouse took by the wrong clock is beyond the cut of 23, and said to be; all others are equal.
    expect(same(lake.slice(1))).toEqual(same(warehouse.slice(1)));
  });

  test('from days to hours: it begins with the next day, in both, whoever is first', async () => {
    await using one = await snapshotScene();
    one.configure({ snapshot_every: 'day' });
    await one.change(at(20, 5), at(20, 20), 200, [0, 1, 2]);
    await one.run(at(20, 30), 'all');
    one.configure({ snapshot_every: 'hour' });
    await one.change(at(20, 40), at(22, 20), 200, [0, 1, 2]);
    await one.run(at(22, 30), 'lake');
    await one.run(at(22, 31), 'warehouse');
    expect(shown(await one.snapshots.lake())).toEqual(['2025-01-28/1 open null']);
    await one.change(at(23, 40), at(25, 20), 300, [0, 1, 2]);
    await one.run(at(25, 25), 'warehouse');
    await one.change(at(25, 30), at(26, 10), 100, [0, 1]);
    await one.run(at(26, 15), 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    expect(shown(lake)).toEqual(['2025-01-28/1 sealed at_cut', '2025-01-29/2 sealed at_cut', '2025-01-29/3 open null']);
    expect(JSON.parse(lake[0]?.missed ?? 'null')).toEqual([{ date: '2025-01-29', versionFirst: 1, versionLast: 1 }]);
    expect(same(lake)).toEqual(same(warehouse));
    expect(one.cuts()).toEqual({ '20250129T0000': one.offsetsAt(at(24)), '20250129T0200': one.offsetsAt(at(26)) });
    one.check(lake);
    one.check(warehouse);
  });

  test('from hours to days: the day that has begun goes on by the hour', async () => {
    await using one = await snapshotScene();
    await one.change(at(20, 5), at(20, 20), 200, [0, 1, 2]);
    await one.run(at(20, 30), 'all');
    one.configure({ snapshot_every: 'day' });
    await one.change(at(20, 40), at(22, 20), 300, [0, 1, 2]);
    await one.run(at(22, 30), 'lake');
    await one.run(at(23, 30), 'warehouse');
    await one.change(at(23, 40), at(25, 20), 300, [0, 1, 2]);
    await one.run(at(25, 25), 'all');
    const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
    const sealed = ['2025-01-28/21 sealed at_cut', '2025-01-28/23 sealed at_cut', '2025-01-28/24 sealed at_cut'];
    expect(shown(lake)).toEqual([...sealed, '2025-01-29/1 open null']);
    expect((await stateOf(one.setup.lakePath, 'totals')).snapshot?.endsAtMs).toBe(at(48));
    expect(same(lake)).toEqual(same(warehouse));
    one.check(lake);
    one.check(warehouse);
  });
});

test('another key is refused by name, with the way out, before anything is taken', async () => {
  await using one = await snapshotScene({ partitions: 1 });
  await one.change(at(20, 5), at(20, 20), 50, [0]);
  await one.run(at(20, 30), 'all');
  const before = await one.snapshots.warehouse();
  await one.change(at(20, 31), at(20, 32), 50, [0]);
  for (const schema of [
    { key_field: 'text', fields: { id: 'BIGINT', text: 'VARCHAR(20)' } },
    { key_field: 'id', key_from: 'message_key', fields: FIELDS },
    { key_field: 'id', fields: { ...FIELDS, id: { type: 'BIGINT', from: 'number' } } },
    { key_field: 'id', fields: { ...FIELDS, id: 'VARCHAR(20)' } },
  ]) {
    one.configure({ schema });
    for (const mode of ['lake', 'warehouse'])
      expect(await runLake(one.setup, ['ingest', '--until-caught-up', '--mode', mode])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/the key of table totals has changed in feeds\.json: .*another feed_name/s),
      });
  }
  expect(same(await one.snapshots.warehouse())).toEqual(same(before));
});
