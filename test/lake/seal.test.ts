// A snapshot's end in a real lake: what is sealed and what is opened, and who may come in between (PROTOCOL R3, R4, R6, 11).

import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase, query } from '../../src/duckdb/connection.ts';
import { quoteText } from '../../src/duckdb/sql.ts';
import { LakeError } from '../../src/errors.ts';
import { readEntry } from '../../src/lake/read-log.ts';
import type { SealOrder } from '../../src/model/cut.ts';
import { keyHashInput } from '../../src/model/key-text.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { failOnce, faulty, type StoreCall } from '../helpers/faulty-store.ts';
import { noSignal, positionsOf } from '../helpers/lake-folder.ts';
import { gone, type Process, refused, row, type TableScene, tableScene } from './table-helpers.ts';

const COORDINATES = ['kafka_partition INTEGER', 'kafka_offset BIGINT', 'kafka_timestamp TIMESTAMP WITH TIME ZONE'];
const HOUR_MS = 3_600_000;
const BOUNDARY_MS = Date.UTC(2025, 0, 28, 11);
const SEALED = { date: '2025-01-28', version: 11 };
const OPENS = { date: '2025-01-28', version: 13, endsAtMs: BOUNDARY_MS + 2 * HOUR_MS };
const MISSED = [{ date: '2025-01-28', versionFirst: 12, versionLast: 12 }];
const entryOf = (version: number) => `log/00000000000000000000/${String(version).padStart(20, '0')}.json`;

const orderAt = (offsets: Record<number, bigint>, more: Partial<SealOrder> = {}): SealOrder => {
  const positions = new Map(Object.entries(offsets).map(([partition, offset]) => [Number(partition), toOffset(offset)]));
  const cut = { feed: 'totals', boundaryMs: BOUNDARY_MS, positions, opens: OPENS, missed: MISSED, by: 'lake', at: '' } as const;
  return { sealed: SEALED, cut, positions, kind: 'at_cut', ...more };
};

/** Keys 1 and 2 live, 3 deleted; positions {0: 3, 1: 9}. */
const published = async (scene: TableScene): Promise<Process> => {
  const one = await scene.open();
  await one.take([row(0, 1, 10), row(8, 2, 20, { partition: 1 }), row(1, 3, 20), gone(2, 3, 30)]);
  expect(await one.publish()).toMatchObject({ kind: 'committed' });
  return one;
};
const ORDER = orderAt({ 0: 3n, 1: 9n });
const seal = (one: Process, order: SealOrder = ORDER) => one.table.seal(order, noSignal);

/** Keys and offsets of a snapshot, as somebody finds them who globs. */
const glob = async ({ root }: TableScene, version: number): Promise<string[]> => {
  await using database = await openDatabase();
  const connection = await database.connect();
  const files = `tables/totals/snapshot_date=2025-01-28/snapshot_version=${version}/*.parquet`;
  const from = `read_parquet(${quoteText(join(root, files))}, hive_partitioning = false)`;
  const rows = await query(connection, `SELECT id || '@' || kafka_offset AS one FROM ${from} ORDER BY ALL`);
  return rows.map(({ one }) => String(one));
};
const contents = ({ root, files }: TableScene, folder: string): string[] =>
  files(folder).map(
    (path) =>
      `${path} ${createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest('hex')}`,
  );
/** Nothing is staged, in two places at once, or in place without a name in the log. */
const expectTidy = async (scene: TableScene): Promise<void> => {
  const live = [...(await scene.state()).files.keys()].sort();
  const there = [...scene.files('_lake/feeds/totals/state'), ...scene.files('dead_letters'), ...scene.files('tables')];
  expect([there, scene.files('_lake/feeds/totals/staging')]).toEqual([live, []]);
};
/** DESIGN §5's checksum, apart from the program's SQL. */
const checksumOf = (rows: readonly { id: number; partition: number; offset: number }[]): string => {
  const hex = (input: string | Uint8Array) => createHash('sha256').update(input).digest('hex');
  const parts = rows.map(({ id, partition, offset }) =>
    BigInt(`0x${hex(`${hex(keyHashInput([String(id)]))}:${partition}:${offset}`).slice(0, 16)}`),
  );
  return String(parts.reduce((xor, part) => xor ^ part, 0n));
};

describe('a seal', () => {
  test('opens the next snapshot as a copy, and says what it sealed', async () => {
    const scene = tableScene();
    const one = await published(scene);
    expect(one.table.snapshot()).toEqual({ ...SEALED, endsAtMs: BOUNDARY_MS });
    const before = await scene.state();
    expect(await seal(one)).toMatchObject({ kind: 'committed', version: 2, files: 2 });
    expect(one.table.snapshot()).toEqual(OPENS);
    const state = await scene.state();
    expect(state.sealed).toEqual([
      {
        ...{ ...SEALED, boundaryMs: BOUNDARY_MS, cut: 'at_cut', positions: ORDER.positions, opens: OPENS, missed: MISSED },
        ...{ rows: 2, forgets: null, entryVersion: 2, path: scene.files('tables')[0] ?? '' },
        checksum: checksumOf([
          { id: 1, partition: 0, offset: 0 },
          { id: 2, partition: 1, offset: 8 },
        ]),
      },
    ]);
    expect([state.snapshot?.rows, positionsOf(state)]).toEqual([2, { 0: 3, 1: 9 }]);
    const sha256 = (of: typeof state, kind: string) =>
      [...of.files.values()].filter((file) => file.kind === kind).map((file) => file.sha256);
    expect([sha256(state, 'data'), sha256(state, 'state')]).toEqual([
      [...sha256(before, 'data'), ...sha256(before, 'data')],
      sha256(before, 'state'),
    ]);
    expect([await glob(scene, 11), await glob(scene, 13)]).toEqual([
      ['1@0', '2@8'],
      ['1@0', '2@8'],
    ]);
    await expectTidy(scene);
  });

  test('leaves out tombstones that no partition can bring an older row for, and keeps the others', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10), gone(1, 3, 30), gone(2, 4, 40), row(3, 2, 50), row(8, 5, 40, { partition: 1 })]);
    await one.publish();
    expect(await seal(one, orderAt({ 0: 4n, 1: 9n }))).toMatchObject({ kind: 'committed' });
    expect(await scene.deleted()).toEqual([['4', '2']]);
    const { sealed, snapshot } = await scene.state();
    expect(sealed[0]?.forgets).toEqual({ rows: 1, beforeMs: 40 });
    expect(await scene.columns('state')).toEqual(['id INTEGER', ...COORDINATES]);
    // What comes late in the partition that was behind is not newer than what is kept, and does not need what is gone.
    await one.take([row(9, 4, 39, { partition: 1 }), row(10, 3, 41, { partition: 1 })]);
    await one.publish();
    expect(await glob(scene, 13)).toEqual(['1@0', '2@3', '3@10', '5@8']);
    expect([snapshot?.version, await scene.deleted()]).toEqual([13, [['4', '2']]]);
    await expectTidy(scene);
  });

  test('keeps every tombstone while a partition of the topic has had no message', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 1, 10), gone(1, 3, 30), row(2, 2, 50)]);
    await one.publish();
    const order = orderAt({ 0: 3n });
    const cut = { ...order.cut, positions: orderAt({ 0: 3n, 1: 0n }).positions };
    expect(await seal(one, { ...order, cut })).toMatchObject({ kind: 'committed' });
    expect(await scene.deleted()).toEqual([['3', '1']]);
  });

  test('past the cut says so', async () => {
    const scene = tableScene();
    const one = await published(scene);
    await seal(one, orderAt({ 0: 3n, 1: 9n }, { kind: 'past_cut', cut: orderAt({ 0: 2n, 1: 9n }).cut }));
    expect((await scene.state()).sealed[0]).toMatchObject({ cut: 'past_cut', positions: ORDER.positions });
  });

  test('leaves what it sealed as it is; what comes next goes into the next one, also after a restart', async () => {
    const scene = tableScene();
    const one = await published(scene);
    await seal(one);
    const sealed = contents(scene, 'tables/totals/snapshot_date=2025-01-28/snapshot_version=11');
    await one.take([row(3, 1, 40), gone(4, 2, 50)]);
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    const again = await scene.open();
    // 3 stays deleted: its tombstone was copied.
    await again.take([row(9, 4, 60, { partition: 1 }), row(10, 3, 25, { partition: 1 })]);
    expect(await again.publish()).toMatchObject({ kind: 'committed' });
    expect([await glob(scene, 11), await glob(scene, 13)]).toEqual([
      ['1@0', '2@8'],
      ['1@3', '4@9'],
    ]);
    expect(contents(scene, 'tables/totals/snapshot_date=2025-01-28/snapshot_version=11')).toEqual(sealed);
    await expectTidy(scene);
    const order = orderAt({ 0: 5n, 1: 11n });
    const opens = { ...OPENS, version: 14, endsAtMs: OPENS.endsAtMs + HOUR_MS };
    const cut = { ...order.cut, boundaryMs: OPENS.endsAtMs, opens, missed: [] };
    expect(await seal(again, { ...order, sealed: { date: OPENS.date, version: OPENS.version }, cut })).toMatchObject({
      kind: 'committed',
    });
    expect((await scene.state()).sealed.map(({ version, rows }) => [version, rows])).toEqual([
      [11, 2],
      [13, 2],
    ]);
    expect(await glob(scene, 14)).toEqual(['1@3', '4@9']);
    await expectTidy(scene);
  });

  test('of a snapshot that no key has come to has files as well', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([refused(0, 10)]);
    await one.publish();
    expect(scene.files('tables')).toEqual([]);
    expect(await seal(one, orderAt({ 0: 1n }))).toMatchObject({ kind: 'committed' });
    expect((await scene.state()).sealed[0]).toMatchObject({ rows: 0, checksum: '0', path: scene.files('tables')[0] });
    expect([await glob(scene, 11), await glob(scene, 13), await one.tables()]).toEqual([[], [], 0]);
    await one.take([row(1, 1, 20)]);
    await one.publish();
    expect(await glob(scene, 13)).toEqual(['1@1']);
    await expectTidy(scene);
  });

  test('of a table whose schema nobody knows yet has none', async () => {
    const scene = tableScene();
    const one = await scene.open({ table: { columns: () => null, keyTypes: () => [] } });
    await one.take([refused(0, 10)]);
    expect(await one.publish()).toMatchObject({ kind: 'committed' });
    expect(await seal(one, orderAt({ 0: 1n }))).toMatchObject({ kind: 'committed', files: 0 });
    expect((await scene.state()).sealed[0]).toMatchObject({ rows: 0, checksum: '0', path: null });
    expect(scene.files('tables')).toEqual([]);
  });

  test('has the checksum of the wider type when a key was widened since', async () => {
    const scene = tableScene();
    const one = await scene.open();
    await one.take([row(0, 10, 10)]);
    await one.publish();
    const wide = await scene.open({ table: { keyTypes: () => [{ kind: 'decimal', precision: 12, scale: 2 }] } });
    await seal(wide, orderAt({ 0: 1n }));
    expect((await scene.state()).sealed[0]?.checksum).toBe(checksumOf([{ id: 10, partition: 0, offset: 0 }]));
  });
});

describe('a seal conflicts', () => {
  test('while something is applied and not published, and with what it was made for gone', async () => {
    const scene = tableScene();
    const one = await published(scene);
    await one.take([row(3, 1, 40)]);
    expect(await seal(one)).toMatchObject({ kind: 'conflict', reason: 'positions' });
    await one.publish();
    expect(await seal(one)).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect(await seal(one, orderAt({ 0: 4n, 1: 9n }))).toMatchObject({ kind: 'committed' });
  });

  test.each<[string, SealOrder, string]>([
    ['at other positions', orderAt({ 0: 2n, 1: 9n }), 'positions'],
    ['at positions of fewer partitions', orderAt({ 0: 3n }), 'positions'],
    ['at positions of more partitions', orderAt({ 0: 3n, 1: 9n, 2: 0n }), 'positions'],
    ['with another snapshot', { ...ORDER, sealed: { ...SEALED, version: 10 } }, 'snapshot'],
    ['at another end', { ...ORDER, cut: { ...ORDER.cut, boundaryMs: BOUNDARY_MS - 1000 } }, 'snapshot'],
  ])('%s, and copies nothing', async (_, order, reason) => {
    const scene = tableScene();
    const one = await published(scene);
    expect(await seal(one, order)).toMatchObject({ kind: 'conflict', reason });
    expect([(await scene.state()).version, one.table.snapshot()?.version]).toEqual([1, 11]);
    await expectTidy(scene);
  });

  test('where nothing was ever published', async () => {
    const one = await tableScene().open();
    expect(one.table.snapshot()).toBeNull();
    expect(await seal(one, orderAt({}))).toMatchObject({ kind: 'conflict', reason: 'snapshot' });
  });

  test('when another seals at the same moment: one stands, and both go on', async () => {
    const scene = tableScene();
    const one = await published(scene);
    const other = await scene.open();
    const answers = await Promise.all([seal(one), seal(other)]);
    expect(answers.map(({ kind }) => kind).sort()).toEqual(['committed', 'conflict']);
    expect((await scene.state()).sealed.length).toBe(1);
    await Promise.all([one.table.refresh(), other.table.refresh()]);
    expect([one.table.snapshot(), other.table.snapshot()]).toEqual([OPENS, OPENS]);
    await expectTidy(scene);
    await other.take([row(3, 1, 40)]);
    expect(await other.publish()).toMatchObject({ kind: 'committed' });
    expect([await glob(scene, 11), await glob(scene, 13)]).toEqual([
      ['1@0', '2@8'],
      ['1@3', '2@8'],
    ]);
  });

  test('when another published between the copy and the entry, at positions that moved', async () => {
    const scene = tableScene();
    await published(scene);
    const other = await scene.open();
    let before = async () => {
      await other.take([row(3, 1, 40)]);
      expect(await other.publish()).toMatchObject({ kind: 'committed' });
    };
    const one = await scene.open({
      wrap: (store) =>
        faulty(store, {
          before: async ({ method }) => {
            if (method !== 'createExclusive') return;
            const first = before;
            before = async () => undefined;
            await first();
          },
        }),
    });
    expect(await seal(one)).toMatchObject({ kind: 'conflict', reason: 'positions' });
    expect([(await scene.state()).sealed, await glob(scene, 11)]).toEqual([[], ['1@3', '2@8']]);
    await expectTidy(scene);
  });

  test('with a publish of a zombie (11): what it staged at the same position does not go into what is sealed', async () => {
    const scene = tableScene();
    const zombie = await published(scene);
    await zombie.take([row(3, 1, 40)]);
    const owner = await scene.open();
    expect(await seal(owner)).toMatchObject({ kind: 'committed' });
    expect(await zombie.publish()).toMatchObject({ kind: 'conflict', reason: 'snapshot' });
    expect([await glob(scene, 11), await glob(scene, 13), await zombie.tables()]).toEqual([['1@0', '2@8'], ['1@0', '2@8'], 0]);
    await zombie.take([row(3, 1, 40)]);
    expect(await zombie.publish()).toMatchObject({ kind: 'committed' });
    expect([await glob(scene, 11), await glob(scene, 13)]).toEqual([
      ['1@0', '2@8'],
      ['1@3', '2@8'],
    ]);
    await expectTidy(scene);
  });

  test('under a stop, and is fenced after a fence', async () => {
    const scene = tableScene();
    const one = await published(scene);
    await one.lake.stop('why not', noSignal);
    expect(await seal(one)).toMatchObject({ kind: 'conflict', reason: 'stopped' });
    await one.lake.enable(noSignal);
    const other = await scene.open();
    await other.lake.writer.log().fence(one.lake.writer.log().writer);
    expect(await seal(one)).toMatchObject({ kind: 'fenced' });
    expect(await seal(one)).toMatchObject({ kind: 'committed' });
    await expectTidy(scene);
  });
});

describe('a seal that broke off', () => {
  const SEAL_ENTRY = entryOf(2);
  const isEntry = ({ method, key }: StoreCall) => method === 'createExclusive' && key.endsWith(SEAL_ENTRY);

  /** Everything after this call fails: the process is dead. */
  const dyingAt = (matches: (call: StoreCall) => boolean, when: 'before' | 'after') => {
    let isDead = false;
    const die = (call: StoreCall): void => {
      if (!isDead && !matches(call)) return;
      isDead = true;
      throw new Error(`died ${when} ${call.method}`);
    };
    return when === 'before' ? { before: die } : { before: (call: StoreCall) => (isDead ? die(call) : undefined), after: die };
  };
  const nthMove = (n: number) => {
    let moves = 0;
    return ({ method }: StoreCall) => method === 'move' && ++moves === n;
  };

  test.each<[string, () => (call: StoreCall) => boolean, 'before' | 'after', boolean]>([
    [
      'before the copies are durable',
      () =>
        ({ method, key }) =>
          method === 'makeDurable' && key.includes('/staging/'),
      'before',
      false,
    ],
    ['before the entry', () => isEntry, 'before', false],
    ['after the entry', () => isEntry, 'after', true],
    ['with the old state file out', () => nthMove(2), 'after', true],
    ['with one new file in', () => nthMove(3), 'after', true],
    ['with both in', () => nthMove(4), 'after', true],
  ])('killed %s: the next process finishes it, or seals', async (_, matches, when, stands) => {
    const scene = tableScene({ startMs: Date.now() });
    const setUp = await scene.open();
    await setUp.take([row(0, 1, 10), gone(1, 2, 20)]);
    await setUp.publish();
    const open = setUp.table.snapshot();
    if (open === null) throw new Error('nothing is open');
    const opens = { ...open, version: open.version + 1, endsAtMs: open.endsAtMs + HOUR_MS };
    const order = orderAt({ 0: 2n });
    const wanted = { ...order, sealed: open, cut: { ...order.cut, boundaryMs: open.endsAtMs, opens, missed: [] } };
    const dying = await scene.open({ wrap: (store) => faulty(store, dyingAt(matches(), when)) });
    await seal(dying, wanted).catch(() => undefined);
    expect((await scene.state()).sealed.length).toBe(stands ? 1 : 0);
    const next = await scene.open();
    expect(await seal(next, wanted)).toMatchObject({ kind: stands ? 'conflict' : 'committed' });
    expect([(await scene.state()).sealed.length, next.table.snapshot()]).toEqual([1, opens]);
    await next.take([row(2, 3, 30)]);
    expect(await next.publish()).toMatchObject({ kind: 'committed' });
    // What the dead one staged and did not commit is swept an hour later.
    scene.clock.ms += 2 * HOUR_MS;
    await next.table.tidy();
    await expectTidy(scene);
    expect(await scene.deleted()).toEqual([['2', '1']]);
  });

  test('with its answer lost, is known again: the same entry, no second one', async () => {
    const scene = tableScene();
    await published(scene);
    const lost = failOnce(isEntry, () => new Error('no answer'));
    let isAway = false;
    const one = await scene.open({
      wrap: (store) =>
        faulty(store, {
          before: () => {
            if (isAway) throw new Error('away');
          },
          after: (call) => {
            if (isEntry(call)) isAway = true;
            lost(call);
          },
        }),
    });
    expect(await seal(one).catch((error: Error) => error.message)).toMatch(/no answer|away/);
    isAway = false;
    expect(await seal(one)).toMatchObject({ kind: 'committed', version: 2 });
    expect([one.table.snapshot(), (await scene.state()).version]).toEqual([OPENS, 2]);
    await expectTidy(scene);
  });

  test('on a full disk leaves nothing behind and is done again', async () => {
    const scene = tableScene();
    const full = failOnce(
      ({ method, key }) => method === 'makeDurable' && key.includes('/staging/'),
      () => new LakeError('disk_full', 'the disk of the lake is full'),
    );
    await published(scene);
    const one = await scene.open({ wrap: (store) => faulty(store, { before: full }) });
    expect(await seal(one).catch((error: LakeError) => error.code)).toBe('disk_full');
    await expectTidy(scene);
    expect(await seal(one)).toMatchObject({ kind: 'committed', version: 2 });
    await expectTidy(scene);
  });

  test('at a file that is not what the log says is damage, and seals nothing', async () => {
    const scene = tableScene();
    const one = await published(scene);
    const [path] = scene.files('_lake/feeds/totals/state');
    appendFileSync(join(scene.root, path ?? ''), 'x');
    expect(await seal(one).catch((error: LakeError) => [error.code, error.message])).toEqual([
      'lake_damaged',
      expect.stringContaining('sha256'),
    ]);
    expect([(await scene.state()).version, scene.files('_lake/feeds/totals/staging')]).toEqual([1, []]);
  });
});

test('an entry of a seal is the log: positions, copies, checksum', async () => {
  const scene = tableScene();
  const one = await published(scene);
  await seal(one);
  const entry = await readEntry(one.store, 'totals', 2);
  expect(entry).toMatchObject({
    kind: 'seal',
    ranges: [],
    snapshot: null,
    seal: { ...SEALED, opens: OPENS, missed: MISSED, rows: 2 },
  });
});
