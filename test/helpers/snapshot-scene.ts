// A changelog on its way into snapshots of lake and warehouse, by a clock that the test sets; each snapshot held to the fold of what lies
// before its positions, and those of both targets to each other.

import { expect } from 'bun:test';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publishedFiles } from '../../src/model/snapshot-files.ts';
import { changelog } from './changelog.ts';
import { type FoundRow, foldTable, snapshotProblems } from './expect-snapshot.ts';
import { drain } from './ingest.ts';
import type { TestMessage } from './kafka.ts';
import { readRows, stateOf } from './lake-rows.ts';
import { testMysql } from './mysql.ts';
import { record } from './produced.ts';
import { random } from './random.ts';
import { tempDir, testKafka } from './services.ts';
import { type AnyDatabase, factFeed, rowsOf, warehouseSetup } from './warehouse.ts';

/** 2025-01-28, hour and minute in UTC; hours beyond 24 are the next day's. */
export const at = (hour: number, minute = 0, second = 0): number => Date.UTC(2025, 0, 28, hour, minute, second);
const FEED = 'totals';

export type Snapshot = {
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

const textOf = (value: unknown): string | null => (value === null || value === undefined ? null : String(value));

type SceneOptions = {
  readonly partitions?: number;
  /** Ended with the scene; by default one of the shared server. */
  readonly database?: AnyDatabase;
  /** Of a proxy before it. */
  readonly port?: number;
  /** Of the lake. */
  readonly timezone?: string;
};

export type SnapshotScene = Awaited<ReturnType<typeof snapshotScene>>;

export async function snapshotScene({ partitions = 3, port, timezone, ...options }: SceneOptions = {}) {
  const folder = await tempDir();
  const kafka = await testKafka();
  const database = options.database ?? (await testMysql());
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const setupOf = (more: Record<string, unknown>, groupId?: string) => {
    const feeds = [factFeed(FEED, topic, { destination: 'both', snapshot_every: 'hour', ...more })];
    const shared = { folder: folder.path, kafka, database, feeds, batch: { batch_size: 200 } };
    const made = warehouseSetup({
      ...shared,
      ...(port === undefined ? {} : { port }),
      ...(groupId === undefined ? {} : { groupId }),
    });
    if (timezone !== undefined) {
      const config: { lake: object } = JSON.parse(readFileSync(made.configPath, 'utf8'));
      writeFileSync(made.configPath, JSON.stringify({ ...config, lake: { ...config.lake, timezone } }));
    }
    return made;
  };
  const setup = setupOf({});
  const chance = random();
  const inWarehouse = async (): Promise<Snapshot[]> => {
    const rows = await rowsOf(database, 'SELECT *, CAST(snapshot_date AS CHAR) AS d FROM lake_snapshots ORDER BY 2, 3');
    const facts = await rowsOf(database, `SELECT *, CAST(snapshot_date AS CHAR) AS d FROM fact_${FEED}`);
    return rows.map((row) => ({
      name: `${row['d']}/${row['snapshot_version']}`,
      state: String(row['state']),
      cutKind: textOf(row['cut_kind']),
      positions: row['positions'] == null ? null : positionsOf(JSON.parse(String(row['positions']))),
      missed: textOf(row['missed']),
      rows: facts
        .filter((fact) => fact['d'] === row['d'] && fact['snapshot_version'] === row['snapshot_version'])
        .map((fact) => ({
          partition: Number(fact['kafka_partition']),
          offset: BigInt(String(fact['kafka_offset'])),
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
    ...{ topic, kafka, database, setup, sent, chance },
    snapshots: { lake: inLake, warehouse: inWarehouse },
    /** Writes the feed anew, as a person does in an editor. */
    configure: (more: Record<string, unknown>): void => void setupOf(more, setup.groupId),
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
export const same = (snapshots: readonly Snapshot[]) =>
  snapshots.map(({ name, state, cutKind, positions, rows }) => ({
    name,
    state,
    cutKind,
    positions: state === 'open' ? null : [...(positions ?? [])].sort(([a], [b]) => a - b).map(([p, o]) => `${p}:${o}`),
    rows: rows
      .map(({ partition, offset, timestampMs, values }) => `${partition}:${offset} ${timestampMs} ${values['text']}`)
      .sort(),
  }));

export const shown = (snapshots: readonly Snapshot[]) =>
  snapshots.map(({ name, state, cutKind }) => `${name} ${state} ${cutKind}`);
