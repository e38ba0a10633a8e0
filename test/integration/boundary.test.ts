// The end of a table's periods (DESIGN §5, PROTOCOL 15): what is sealed is the fold of what lies before the cut, what is open is the
// fold of everything, whenever and however often somebody runs.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { publishedFiles } from '../../src/model/snapshot-files.ts';
import { changelog } from '../helpers/changelog.ts';
import { type FoundRow, foldTable, snapshotProblems } from '../helpers/expect-snapshot.ts';
import { drain } from '../helpers/ingest.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { readRows, stateOf } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import { record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(120_000);

/** 2025-01-28, hour and minute in UTC; hours beyond 24 are the next day's. */
const at = (hour: number, minute = 0, second = 0): number => Date.UTC(2025, 0, 28, hour, minute, second);
const FEED = 'totals';

type Snapshot = {
  readonly name: string;
  readonly state: string;
  readonly cutKind: string | null;
  readonly positions: ReadonlyMap<number, bigint> | null;
  readonly missed: string | null;
  readonly rows: readonly FoundRow[];
};

const positionsOf = (json: unknown): ReadonlyMap<number, bigint> =>
  new Map(
    Object.entries(Object(json) as Record<string, string>).map(([partition, offset]) => [Number(partition), BigInt(offset)]),
  );

async function scene(partitions = 3) {
  const folder = await tempDir();
  const kafka = await testKafka();
  const database = await testMysql();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const feeds = [factFeed(FEED, topic, { destination: 'both', snapshot_every: 'hour' })];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds, batch: { batch_size: 200 } });
  const chance = random();
  const inWarehouse = async (): Promise<Snapshot[]> => {
    const rows = await rowsOf(database, 'SELECT *, CAST(snapshot_date AS CHAR) AS d FROM lake_snapshots ORDER BY 2, 3');
    const facts = await rowsOf(database, `SELECT *, CAST(snapshot_date AS CHAR) AS d FROM fact_${FEED}`);
    return rows.map((row) => ({
      name: `${row['d']}/${row['snapshot_version']}`,
      state: String(row['state']),
      cutKind: row['cut_kind'],
      positions: row['positions'] === null ? null : positionsOf(JSON.parse(row['positions'])),
      missed: row['missed'],
      rows: facts
        .filter((fact) => fact['d'] === row['d'] && fact['snapshot_version'] === row['snapshot_version'])
        .map((fact) => ({
          partition: Number(fact['kafka_partition']),
          offset: BigInt(fact['kafka_offset']),
          timestampMs: Date.parse(`${String(fact['kafka_timestamp']).replace(' ', 'T')}Z`),
          values: { id: String(fact['id'] ?? fact['lake_id']), text: fact['text'] === null ? null : String(fact['text']) },
        })),
    }));
  };
  const inLake = async (): Promise<Snapshot[]> => {
    const state = await stateOf(setup.lakePath, FEED);
    const rowsIn = async (path: string | null): Promise<FoundRow[]> =>
      path === null ? [] : await readRows(setup.lakePath, { data: [path], deadLetters: [] });
    const snapshots: Snapshot[] = [];
    for (const { date, version, cut, positions, missed, path } of state.sealed) {
      const more = { cutKind: cut, positions, missed: missed.length === 0 ? null : JSON.stringify(missed) };
      snapshots.push({ name: `${date}/${version}`, state: 'sealed', ...more, rows: await rowsIn(path) });
    }
    const open = state.snapshot && publishedFiles(state.files.values(), state.snapshot);
    if (state.snapshot) {
      const name = `${state.snapshot.date}/${state.snapshot.version}`;
      const rows = await rowsIn(open?.data.path ?? null);
      snapshots.push({ name, state: 'open', cutKind: null, positions: null, missed: null, rows });
    }
    return snapshots;
  };
  return {
    topic,
    database,
    setup,
    snapshots: { lake: inLake, warehouse: inWarehouse },
    /** `count` random changes from one instant to another, in the given partitions. */
    change: async (fromMs: number, toMs: number, count: number, where: readonly number[]): Promise<void> => {
      const messages = changelog(chance, { count, keys: 40, partitions: where.length });
      const timed = messages.map(
        (message, index): TestMessage => ({
          ...message,
          partition: where[message.partition ?? 0] ?? 0,
          timestampMs: Math.round(fromMs + ((toMs - fromMs) * index) / count),
        }),
      );
      await sent.send(timed);
    },
    run: (clockMs: number, mode: 'lake' | 'warehouse' | 'all') => drain(setup, { clockMs, args: ['--mode', mode] }),
    /** Every snapshot is the fold of what lies before its positions; the open one of everything. */
    check: (snapshots: readonly Snapshot[]): void => {
      const problems: string[] = [];
      for (const { name, state, positions, rows } of snapshots) {
        const before = sent.messages.filter(
          ({ partition, offset }) => state === 'open' || offset < (positions?.get(partition) ?? 0n),
        );
        problems.push(...snapshotProblems(`${state} ${name} (seed ${chance.seed})`, foldTable(before).live, rows));
      }
      expect(problems).toEqual([]);
    },
    /** By boundary, the offsets that the lake's cut files name. */
    cuts: (): Record<string, Record<string, string>> => {
      const under = join(setup.lakePath, `_lake/feeds/${FEED}/cuts`);
      const files = readdirSync(under).filter((name) => name.endsWith('.json'));
      return Object.fromEntries(
        files.sort().map((name) => [name.slice(0, 13), JSON.parse(readFileSync(join(under, name), 'utf8')).positions]),
      );
    },
    /** Where Kafka has the first message of that time or later; its end where there is none. */
    offsetsAt: (ms: number): Record<string, string> =>
      Object.fromEntries(
        Array.from({ length: partitions }, (_, partition) => {
          const mine = sent.messages.filter((message) => message.partition === partition);
          const first = mine.find(({ timestampMs }) => (timestampMs ?? 0) >= ms);
          return [String(partition), String(first?.offset ?? mine.length)];
        }),
      ),
    [Symbol.asyncDispose]: async () => {
      await sent[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Names, cuts and rows, comparable between targets. */
const same = (snapshots: readonly Snapshot[]) =>
  snapshots.map(({ name, state, cutKind, positions, rows }) => ({
    name,
    state,
    cutKind,
    positions: state === 'open' ? null : [...(positions ?? [])].sort(([a], [b]) => a - b).map(([p, o]) => `${p}:${o}`),
    rows: rows
      .map(({ partition, offset, timestampMs, values }) => `${partition}:${offset} ${timestampMs} ${values['text']}`)
      .sort(),
  }));

const shown = (snapshots: readonly Snapshot[]) => snapshots.map(({ name, state, cutKind }) => `${name} ${state} ${cutKind}`);

for (const target of ['lake', 'warehouse'] as const)
  describe(`in the ${target}`, () => {
    test('a period that ends in the middle of a batch, with an idle partition, is sealed at the first messages of the next', async () => {
      await using one = await scene();
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
      await using one = await scene();
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
      await using one = await scene(2);
      await one.change(at(22, 5), at(22, 20), 100, [0]);
      await one.run(at(22, 30), target);
      await one.run(at(23, 0, 1), target);
      const snapshots = await one.snapshots[target]();
      expect(shown(snapshots)).toEqual(['2025-01-28/23 sealed at_cut', '2025-01-28/24 open null']);
      expect(snapshots[1]?.rows.length).toBe(snapshots[0]?.rows.length ?? -1);
      one.check(snapshots);
    });

    test('a message from the future is taken when it comes; the cut is then where Kafka ends, and not below a position', async () => {
      await using one = await scene(2);
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

describe('in both', () => {
  test('side by side, the snapshots of a busy table are cut at the same offsets and are the same', async () => {
    await using one = await scene();
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
  });

  for (const late of ['lake', 'warehouse'] as const) {
    test(`one that was away for two periods meets the same cuts when it catches up: the ${late}`, async () => {
      const early = late === 'lake' ? 'warehouse' : 'lake';
      await using one = await scene();
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
    await using one = await scene();
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
