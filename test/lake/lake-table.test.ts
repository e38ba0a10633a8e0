// A table's publishes in a real lake: what the files hold, what a restart finds, what another writer, a full disk or a new schema
// version does to what was applied, and when a publish is due.

import { describe, expect, test } from 'bun:test';
import { cpSync, rmSync } from 'node:fs';
import { LakeError } from '../../src/errors.ts';
import { resolveFile } from '../../src/lake/resolve-file.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { failOnce, faulty } from '../helpers/faulty-store.ts';
import { noSignal, positionsOf } from '../helpers/lake-folder.ts';
import { FIELDS, gone, refused, row, tableScene } from './table-helpers.ts';

const APPLIED = { kind: 'applied' } as const;
const SUPERSEDED = '_lake/feeds/totals/removed/superseded';

describe('a publish', () => {
  test('makes durable what was applied: nothing of it is there before', async () => {
    const scene = tableScene();
    const one = await scene.open();
    expect(await one.take([row(0, 1, 10), row(1, 2, 20), gone(2, 3, 30), row(3, 1, 40), refused(4, 50)])).toEqual(APPLIED);
    expect([one.table.state().positions.size, scene.files('tables'), await scene.live()]).toEqual([0, [], null]);
    expect(await one.publish()).toMatchObject({ kind: 'committed', version: 1, files: 3 });
    expect([await scene.live(), await scene.deleted()]).toEqual([
      [
        ['1', '3'],
        ['2', '1'],
      ],
      [['3', '2']],
    ]);
    const state = await scene.state();
    expect([positionsOf(state), positionsOf(one.lake.state())]).toEqual([{ 0: 5 }, { 0: 5 }]);
    // 10:30 in periods of an hour.
    const name = { date: '2025-01-28', version: 11, endsAtMs: Date.UTC(2025, 0, 28, 11) };
    expect(state.snapshot).toEqual({ ...name, rows: 2, caughtUpAt: '2025-01-28T10:30:00.000Z' });
    expect(scene.files('tables')[0]).toMatch(
      /^tables\/totals\/snapshot_date=2025-01-28\/snapshot_version=11\/data_\w+\.parquet$/,
    );
    expect([scene.files('dead_letters').length, scene.files('_lake/feeds/totals/staging').length, await one.tables()]).toEqual([
      1, 0, 0,
    ]);
  });

  test('of nothing is none', async () => {
    const one = await tableScene().open();
    expect(await one.table.publish(noSignal)).toBeNull();
  });

  test('has the columns of the feed in its data file, and key and coordinates in its state file', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    const coordinates = ['kafka_partition INTEGER', 'kafka_offset BIGINT', 'kafka_timestamp TIMESTAMP WITH TIME ZONE'];
    expect(await scene.columns('data')).toEqual(['id INTEGER', 'text VARCHAR', ...coordinates, 'kafka_key BLOB']);
    expect(await scene.columns('state')).toEqual(['id INTEGER', ...coordinates]);
  });

  test('writes a state that has become empty, and one without tombstones', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    expect([await scene.live(), await scene.deleted()]).toEqual([[['1', '0']], []]);
    await one.take([gone(1, 1, 20)]);
    await one.publish();
    expect([await scene.live(), await scene.deleted(), (await scene.state()).snapshot?.rows]).toEqual([[], [['1', '1']], 0]);
    await one.take([row(2, 1, 30)]);
    await one.publish();
    expect([await scene.live(), await scene.deleted()]).toEqual([[['1', '2']], []]);
  });

  test('keeps the snapshot that is open, also when its period is over', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    scene.clock.ms += 86_400_000;
    await one.take([row(1, 2, 20)]);
    await one.publish();
    expect((await scene.state()).snapshot).toMatchObject({ date: '2025-01-28', version: 11, rows: 2 });
    expect(scene.files('tables').length).toBe(1);
  });

  test('knows since when it is read, notes when it has caught up, and changes nothing else with it', async () => {
    const scene = tableScene();
    const one = await scene.open();
    const known = async () => (await scene.state()).snapshot?.caughtUpAt;
    await one.take([row(0, 1, 10), refused(1, 10)]);
    scene.clock.ms += 60_000;
    await one.publish();
    expect(await known()).toBe('2025-01-28T10:30:00.000Z');
    const before = await scene.state();
    await one.take([row(2, 2, 20)]);
    await one.table.rebuild.noteCaughtUp(scene.clock.ms, noSignal);
    const { version, snapshot } = before;
    const caughtUpAt = '2025-01-28T10:31:00.000Z';
    expect(await scene.state()).toEqual({ ...before, version: version + 1, snapshot: snapshot && { ...snapshot, caughtUpAt } });
    await one.publish();
    expect(await known()).toBe('2025-01-28T10:31:00.000Z');
    expect(one.table.rebuild.facts()).toEqual({ gaps: [], isRewound: false, caughtUpAtMs: scene.clock.ms });
  });

  test('reads a lake whose path DuckDB would take for a pattern, and nothing else that fits it', async () => {
    const scene = tableScene({ prefix: "lake ? 'q' * " });
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    const copy = scene.root.replace('?', '!').replace('*', 'copy');
    cpSync(scene.root, copy, { recursive: true });
    await one.take([row(1, 2, 20)]);
    await one.publish();
    rmSync(copy, { recursive: true });
    expect(await scene.live()).toEqual([
      ['1', '0'],
      ['2', '1'],
    ]);
  });
});

test('a rebuild does not begin when others have moved the positions beyond its ways, and nothing is lost by it', async () => {
  const scene = tableScene();
  const [one, other] = [await scene.open(), await scene.open()];
  await other.take([row(0, 1, 10), row(1, 2, 20), row(0, 3, 10, { partition: 1 })]);
  await other.publish();
  await one.table.refresh();
  const begin = (...ends: readonly (readonly [partition: number, end: bigint])[]) =>
    one.table.rebuild.begin({
      ways: new Map(ends.map(([partition, end]) => [partition, { start: toOffset(0n), end: toOffset(end) }])),
      ...{ reason: 'gap', startedAtMs: scene.clock.ms },
    });
  expect([await begin([0, 1n], [1, 1n]), await begin([0, 2n])]).toEqual([false, false]);
  expect([one.table.rebuild.phase(), positionsOf(one.lake.state())]).toEqual(['none', { 0: 2, 1: 1 }]);
  expect([await begin([0, 2n], [1, 1n]), one.table.rebuild.phase()]).toEqual([true, 'reading']);
});

describe('a restart', () => {
  test('goes on from the published files: an older row of a deleted key stays hidden, a newer one is back', async () => {
    const scene = tableScene();
    const first = await scene.open();
    await first.take([row(0, 1, 10), gone(1, 1, 50), row(2, 2, 50)]);
    await first.publish();
    const second = await scene.open();
    await second.take([row(0, 1, 40, { partition: 1 }), row(1, 3, 60, { partition: 1 })]);
    await second.publish();
    expect([await scene.live(), await scene.deleted()]).toEqual([
      [
        ['2', '2'],
        ['3', '1'],
      ],
      [['1', '1']],
    ]);
    const third = await scene.open();
    await third.take([row(3, 1, 70)]);
    await third.publish();
    expect([(await scene.live())?.length, await scene.deleted()]).toEqual([3, []]);
  });

  test('reads again what was applied and not published', async () => {
    const scene = tableScene();
    const first = await scene.open();
    await first.take([row(0, 1, 10)]);
    await first.publish();
    await first.take([row(1, 2, 20)]);
    const second = await scene.open();
    expect(positionsOf(await scene.state())).toEqual({ 0: 1 });
    expect(await second.take([row(1, 2, 20), row(2, 2, 30)])).toEqual(APPLIED);
    await second.publish();
    expect(await scene.live()).toEqual([
      ['1', '0'],
      ['2', '2'],
    ]);
  });

  test('reads a column that a new schema version added as NULL in older rows, and casts a widened one', async () => {
    const scene = tableScene();
    const first = await scene.open();
    expect((await first.lake.pinSchema({ version: 1, fields: [] }, noSignal)).kind).toBe('committed');
    await first.take([row(0, 1, 10), gone(1, 9, 10)]);
    await first.publish();
    await first.lake.pinSchema({ version: 2, fields: [] }, noSignal);
    const wider = [{ name: 'id', type: 'BIGINT' }, ...FIELDS.slice(1), { name: 'added', type: 'VARCHAR' }];
    const second = await scene.open({ fields: wider });
    await second.take([row(2, 2, 20), gone(3, 8, 20)]);
    await second.publish();
    expect(await scene.live('added')).toEqual([
      ['1', '0', null],
      ['2', '2', 'added 2'],
    ]);
    expect([(await scene.columns('data'))?.slice(0, 3), await scene.deleted()]).toEqual([
      ['id BIGINT', 'text VARCHAR', 'added VARCHAR'],
      [
        ['8', '3'],
        ['9', '1'],
      ],
    ]);
  });
});

describe('what was applied', () => {
  test('is forgotten when told, and what was written before is void', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    const written = await one.write([row(1, 2, 20)]);
    await one.table.forget();
    expect(await written.commit(noSignal)).toMatchObject({ kind: 'conflict' });
    expect([await one.table.publish(noSignal), await one.tables()]).toEqual([null, 0]);
  });

  test('must follow on from the position, and from what was applied before', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    expect(await one.take([row(2, 1, 10)])).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect(await one.take([row(1, 1, 10)])).toEqual(APPLIED);
    expect(await one.take([row(3, 1, 10)])).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect(await one.take([row(2, 1, 10)])).toEqual(APPLIED);
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    expect(await one.tables()).toBe(0);
  });

  test('is of one schema: a batch of another is refused, and a publish of an old one conflicts', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    const written = await one.write([row(1, 1, 20)]);
    await one.lake.pinSchema({ version: 1, fields: [] }, noSignal);
    expect(await one.take([row(1, 1, 20)])).toMatchObject({ kind: 'conflict', reason: 'schema' });
    await written.discard();
    expect(await one.publish()).toMatchObject({ kind: 'conflict', reason: 'epoch' });
    expect([await scene.live(), await one.tables(), scene.files('_lake/feeds/totals/staging')]).toEqual([null, 0, []]);
  });

  test('is dropped when another published first, with its files and what was written after it', async () => {
    const scene = tableScene();
    const [one, other] = [await scene.open(), await scene.open()];
    await one.take([row(0, 1, 10)]);
    const written = await one.write([row(1, 2, 20)]);
    await other.take([row(0, 1, 10), row(1, 2, 20)]);
    await other.publish();
    expect(await one.publish()).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect(await written.commit(noSignal)).toMatchObject({ kind: 'conflict' });
    expect([await one.tables(), scene.files('_lake/feeds/totals/staging'), scene.files('tables').length]).toEqual([0, [], 1]);
    expect(await one.take([row(2, 2, 30)])).toEqual(APPLIED);
    expect(await one.publish()).toMatchObject({ kind: 'committed', version: 2 });
    expect(await scene.live()).toEqual([
      ['1', '0'],
      ['2', '2'],
    ]);
  });

  test('is dropped with what was written after it when its writer is fenced: no offset is passed over', async () => {
    const scene = tableScene();
    const [one, other] = [await scene.open(), await scene.open()];
    await one.take([row(0, 1, 10)]);
    const written = await one.write([row(1, 2, 20)]);
    await other.lake.writer.log().fence(one.lake.writer.log().writer);
    expect(await one.publish()).toMatchObject({ kind: 'fenced' });
    // Nothing of this partition is durable, so that any offset would do as its first.
    expect(await written.commit(noSignal)).toMatchObject({ kind: 'conflict' });
    await one.take([row(0, 1, 10), row(1, 2, 20)]);
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    expect(positionsOf(await scene.state())).toEqual({ 0: 2 });
  });

  test('conflicts, and breaks nothing, when the files it is based on were published over and swept', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10)]);
    await one.publish();
    await one.take([row(1, 2, 20)]);
    const other = await scene.open();
    await other.take([row(1, 2, 20)]);
    await other.publish();
    await other.lake.writer.log().sweepRemoved({ ageMsMin: -1, supersededAgeMsMin: -86_400_000_000 });
    expect(scene.files(SUPERSEDED)).toEqual([]);
    expect(await one.publish()).toMatchObject({ kind: 'conflict' });
    expect((await scene.live())?.length).toBe(2);
  });

  test('is kept when the disk is full, and published again', async () => {
    const scene = tableScene();
    const full = failOnce(
      ({ method, key }) => method === 'makeDurable' && key.includes('/staging/'),
      () => new LakeError('disk_full', 'the disk of the lake is full'),
    );
    const one = await scene.open({ wrap: (store) => faulty(store, { before: full }) });
    await one.take([row(0, 1, 10), gone(1, 2, 10)]);
    expect(await one.publish().catch((error: LakeError) => error.code)).toBe('disk_full');
    expect([scene.files('_lake/feeds/totals/staging'), scene.files('tables'), one.table.state().positions.size]).toEqual([
      [],
      [],
      0,
    ]);
    expect(await one.publish()).toMatchObject({ kind: 'committed', files: 2 });
    expect([await scene.live(), await scene.deleted()]).toEqual([[['1', '0']], [['2', '1']]]);
  });

  test('is kept when the disk is full between the two files, and no half of them stays', async () => {
    const scene = tableScene();
    let fulls = 1;
    const one = await scene.open({
      wrap: (store) => ({
        ...store,
        localPath: (key) => {
          if (key.includes('/state/state_') && fulls-- > 0) throw new LakeError('disk_full', 'the disk of the lake is full');
          return store.localPath(key);
        },
      }),
    });
    await one.take([row(0, 1, 10)]);
    expect(await one.publish().catch((error: LakeError) => error.code)).toBe('disk_full');
    expect([scene.files('_lake/feeds/totals/staging'), await one.tables()]).toEqual([[], 1]);
    expect(await one.publish()).toMatchObject({ kind: 'committed', files: 2 });
  });

  test('spills: it may be larger than the memory of the engine', async () => {
    const scene = tableScene();
    const one = await scene.open({ memoryBytesMax: 40_000_000 });
    const rows = 400_000;
    const wide = `range::INTEGER AS id, repeat(md5(range::VARCHAR), 8) AS text, 0 AS kafka_partition, range AS kafka_offset,
      make_timestamptz(range * 1000) AS kafka_timestamp, NULL::BLOB AS kafka_key, make_date(2025, 1, 28) AS _day`;
    for (let start = 0; start < rows; start += rows / 4)
      await one.takeSql(`SELECT ${wide} FROM range(${start}, ${start + rows / 4})`, start, rows / 4);
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    await one.takeSql(
      `SELECT ${wide.replace('range AS kafka_offset', `range + ${rows} AS kafka_offset`)} FROM range(0, 1000)`,
      rows,
      1_000,
    );
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    expect((await scene.state()).snapshot?.rows).toBe(rows);
  });
});

test('a publish that takes no time is due at its pace', async () => {
  const scene = tableScene();
  const { clock } = scene;
  const one = await scene.open();
  await one.take([row(0, 1, 10)]);
  clock.ms += 29_999;
  expect(one.table.publishDue(clock.ms)).toBe(false);
  clock.ms += 1;
  expect(one.table.publishDue(clock.ms)).toBe(true);
});

test('a publish is due at nine times the duration of the one before, and when the delta is large', async () => {
  const scene = tableScene();
  const { clock } = scene;
  // Publishing takes 10 s: that much passes with the entry.
  const one = await scene.open({
    table: { publishEveryMs: 30_000, deltaBytesMax: 150 },
    wrap: (store) => ({
      ...store,
      createExclusive: async (...entry) => {
        clock.ms += 10_000;
        return await store.createExclusive(...entry);
      },
    }),
  });
  const due = () => one.table.publishDue(clock.ms);
  clock.ms += 3_600_000;
  expect(due()).toBe(false); // nothing is applied
  await one.take([row(0, 1, 10)]);
  expect(due()).toBe(true);
  await one.publish();
  await one.take([row(1, 2, 20)]);
  clock.ms += 89_999;
  expect(due()).toBe(false);
  clock.ms += 1;
  expect(due()).toBe(true);
  clock.ms -= 50_000;
  await one.take([row(2, 1, 30), row(3, 1, 40)]);
  expect(due()).toBe(false); // three messages, two keys: 200 bytes, and the published file has more
  await one.take(Array.from({ length: 30 }, (_, n) => row(4 + n, 10 + n, 50)));
  expect(due()).toBe(true);
});

describe('superseded files', () => {
  test('are found by who folded before, for ten minutes; what else was removed for a day', async () => {
    const scene = tableScene({ startMs: Date.now() });
    const one = await scene.open();
    await one.take([row(0, 1, 10), refused(1, 20)]);
    await one.publish();
    const before = await scene.state();
    const letters = [...before.files.values()].filter(({ kind }) => kind === 'dead_letters').map(({ path }) => path);
    const { writer } = one.lake;
    expect((await writer.commit(writer.propose({ kind: 'retain', removed: letters }), noSignal)).kind).toBe('committed');
    await one.take([row(2, 1, 30)]);
    await one.publish();
    const found = async () => Promise.all([...before.files.values()].map((file) => resolveFile(one.store, 'totals', file)));
    expect((await found()).filter((key) => key?.startsWith(`${SUPERSEDED}/`)).length).toBe(2);
    expect((await found()).every((key) => key !== null)).toBe(true);
    scene.clock.ms = Date.now() + 9 * 60_000;
    await one.table.tidy();
    expect((await found()).every((key) => key !== null)).toBe(true);
    scene.clock.ms = Date.now() + 11 * 60_000;
    await one.table.tidy();
    expect((await found()).filter((key) => key !== null).length).toBe(1);
    expect(scene.files(SUPERSEDED)).toEqual([]);
    scene.clock.ms = Date.now() + 25 * 3_600_000;
    await one.table.tidy();
    expect((await found()).filter((key) => key !== null)).toEqual([]);
  });
});
