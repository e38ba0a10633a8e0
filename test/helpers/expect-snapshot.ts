// A table's state, folded from what was produced, apart from the program: key → latest message over all partitions, by the running
// maximum of the partition's timestamps, then partition, then offset; a tombstone deletes (DESIGN §5). And a lake held to it.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase, query } from '../../src/duckdb/connection.ts';
import type { FeedState } from '../../src/model/feed-state.ts';
import { ranges } from './expect-exactly-once.ts';
import type { TestKafka } from './kafka.ts';
import { fileProblems, globFiles, readRows, stateOf } from './lake-rows.ts';
import type { Produced } from './produced.ts';

export type Values = Readonly<Record<string, string | null>>;

/** How messages become keys and rows. A null key: the message must be a dead letter. */
export type TableShape = {
  readonly key: (message: Produced) => string | null;
  /** The texts of a row's columns. */
  readonly values: (message: Produced) => Values;
  /** The same of a row that was found, or of a tombstone's key columns. */
  readonly keyOfRow: (values: Values) => string;
};

/** `{"id":…,"text":…}` with the key `id`, which a tombstone has as its Kafka key. */
export const ID_TABLE: TableShape = {
  key: ({ key, value }) => {
    if (value === null) return key !== null && /^-?\d+$/.test(key.toString()) ? key.toString() : null;
    const parsed = objectOf(value);
    return parsed?.['id'] === undefined || parsed['id'] === null ? null : String(parsed['id']);
  },
  values: ({ value }) =>
    Object.fromEntries(Object.entries(objectOf(value) ?? {}).map(([name, one]) => [name, one === null ? null : String(one)])),
  keyOfRow: (values) => String(values['id']),
};

function objectOf(value: Buffer | null): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(String(value));
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : null;
  } catch {
    return null;
  }
}

export type Winner = { readonly message: Produced; readonly effectiveMs: number };
export type TableState = {
  readonly live: ReadonlyMap<string, Winner>;
  readonly deleted: ReadonlyMap<string, Winner>;
  readonly deadLetters: readonly Produced[];
};

/** Every message needs a timestamp of its own. */
export function foldTable(produced: readonly Produced[], shape: TableShape = ID_TABLE): TableState {
  const winners = new Map<string, Winner>();
  const deadLetters: Produced[] = [];
  for (const messages of Map.groupBy(produced, ({ partition }) => partition).values()) {
    let effectiveMs = Number.NEGATIVE_INFINITY;
    for (const message of messages.toSorted((a, b) => (a.offset < b.offset ? -1 : 1))) {
      if (message.timestampMs === null) throw new Error('a message without a timestamp');
      effectiveMs = Math.max(effectiveMs, message.timestampMs);
      const key = shape.key(message);
      if (key === null) {
        deadLetters.push(message);
        continue;
      }
      const before = winners.get(key);
      if (!before || isLater({ message, effectiveMs }, before)) winners.set(key, { message, effectiveMs });
    }
  }
  const of = (isDeleted: boolean) => new Map([...winners].filter(([, { message }]) => (message.value === null) === isDeleted));
  return { live: of(false), deleted: of(true), deadLetters };
}

function isLater(a: Winner, b: Winner): boolean {
  if (a.effectiveMs !== b.effectiveMs) return a.effectiveMs > b.effectiveMs;
  if (a.message.partition !== b.message.partition) return a.message.partition > b.message.partition;
  return a.message.offset > b.message.offset;
}

/** A row that a target has, or a tombstone that it keeps; texts are the target's. */
export type FoundRow = {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly values: Values;
};

/** Differences between a target's rows and what they should be. */
export function snapshotProblems(
  what: string,
  wanted: ReadonlyMap<string, Winner>,
  rows: readonly FoundRow[],
  shape: TableShape = ID_TABLE,
): string[] {
  const found = Map.groupBy(rows, (row) => shape.keyOfRow(row.values));
  const problems: string[] = [];
  for (const [key, list] of found) {
    if (list.length > 1) problems.push(`${what}: the key ${key} is there ${list.length} times`);
    if (!wanted.has(key)) problems.push(`${what}: the key ${key} should not be there`);
  }
  for (const [key, { message, effectiveMs }] of wanted) {
    const row = found.get(key)?.[0];
    if (!row) {
      problems.push(`${what}: the key ${key} of ${message.partition}:${message.offset} is missing`);
      continue;
    }
    const [is, should] = [
      `${row.partition}:${row.offset} at ${row.timestampMs}`,
      `${message.partition}:${message.offset} at ${effectiveMs}`,
    ];
    if (is !== should) problems.push(`${what}: the key ${key} is of ${is}, should be of ${should}`);
    else if (message.value !== null) {
      for (const [name, text] of Object.entries(shape.values(message)))
        if (name in row.values && row.values[name] !== text)
          problems.push(`${what}: the key ${key} has ${name} = ${row.values[name]}, sent ${text}`);
    }
  }
  return problems;
}

const SHOWN_MAX = 20;

/** The lake's open snapshot is the fold of what was produced: by the log, and by globbing. Throws an error that lists the differences. */
export async function expectSnapshot(
  produced: readonly Produced[],
  lakePath: string,
  feed: string,
  options: { readonly kafka?: TestKafka; readonly topic?: string; readonly shape?: TableShape } = {},
): Promise<{ readonly state: FeedState; readonly folded: TableState }> {
  const { kafka, topic, shape = ID_TABLE } = options;
  const state = await stateOf(lakePath, feed);
  const folded = foldTable(produced, shape);
  const files = [...state.files.values()];
  const [data, deleted] = [files.filter(({ kind }) => kind === 'data'), files.filter(({ kind }) => kind === 'state')];
  const problems = fileProblems(lakePath, state);
  const named = (list: typeof files) => list.map(({ path }) => path).sort();
  same(problems, 'table files', named(data), under(lakePath, `tables/${feed}`));
  same(problems, 'state files', named(deleted), under(lakePath, `_lake/feeds/${feed}/state`));
  const letterFiles = named(files.filter(({ kind }) => kind === 'dead_letters'));
  same(problems, 'dead letters', letterFiles, globFiles(lakePath, feed).deadLetters);
  if (data.length !== deleted.length || data.length > 1)
    problems.push(`there are ${data.length} data files and ${deleted.length} state files`);
  const rows = await readRows(lakePath, { data: named(data), deadLetters: letterFiles });
  const live = rows.filter(({ kind }) => kind === 'row');
  problems.push(...snapshotProblems('live', folded.live, live, shape));
  problems.push(...snapshotProblems('deleted', folded.deleted, await readTombstones(lakePath, named(deleted)), shape));
  const letters = rows.filter(({ kind }) => kind === 'dead_letter');
  if (ranges(letters) !== ranges(folded.deadLetters))
    problems.push(`dead letters are ${ranges(letters)}, should be ${ranges(folded.deadLetters)}`);
  if ((state.snapshot?.rows ?? 0) !== live.length)
    problems.push(`the log says ${state.snapshot?.rows} rows, there are ${live.length}`);
  for (const file of data) if (file.rows !== live.length) problems.push(`${file.path} is logged with ${file.rows} rows`);
  problems.push(...countProblems(state, produced, folded));
  if (kafka && topic) problems.push(...(await endProblems(state, kafka, topic)));
  if (problems.length === 0) return { state, folded };
  const more = problems.length > SHOWN_MAX ? [`… and ${problems.length - SHOWN_MAX} more`] : [];
  const list = [...problems.slice(0, SHOWN_MAX), ...more].join('\n  ');
  throw new Error(`table ${feed} is not the fold (version ${state.version}, ${produced.length} produced):\n  ${list}`);
}

function same(problems: string[], what: string, named: readonly string[], found: readonly string[]): void {
  if (named.join() !== found.join()) problems.push(`${what}: the log names ${named.join(', ')}; there are ${found.join(', ')}`);
}

function under(lakePath: string, folder: string): string[] {
  if (!existsSync(join(lakePath, folder))) return [];
  const names = [...new Bun.Glob('**/*').scanSync({ cwd: join(lakePath, folder), onlyFiles: true })];
  return names.map((name) => `${folder}/${name}`).sort();
}

async function readTombstones(lakePath: string, paths: readonly string[]): Promise<FoundRow[]> {
  const [path] = paths;
  if (path === undefined) return [];
  await using database = await openDatabase();
  const connection = await database.connect();
  const rows = await query(
    connection,
    `SELECT kafka_partition AS p, kafka_offset AS o, epoch_ms(kafka_timestamp) AS ms,
       to_json(struct_pack(*COLUMNS(* EXCLUDE (kafka_partition, kafka_offset, kafka_timestamp))))::VARCHAR AS key
     FROM read_parquet('${join(lakePath, path)}', hive_partitioning = false)`,
  );
  return rows.map((row) => ({
    partition: Number(row['p']),
    offset: BigInt(String(row['o'])),
    timestampMs: Number(row['ms']),
    values: Object.fromEntries(
      Object.entries(JSON.parse(String(row['key'])) as Record<string, unknown>).map(([name, value]) => [name, String(value)]),
    ),
  }));
}

/** The log's own counts: per partition messages = rows + dead letters + tombstones, all of what was produced. */
function countProblems(state: FeedState, produced: readonly Produced[], folded: TableState): string[] {
  const problems: string[] = [];
  const letters = new Set(folded.deadLetters);
  for (const partition of new Set([...produced.map((message) => message.partition), ...state.positions.keys()])) {
    const here = produced.filter((message) => message.partition === partition);
    const taken = here.filter((message) => !letters.has(message));
    const totals = state.positions.get(partition)?.totals;
    const wanted = {
      messages: here.length,
      rows: taken.filter(({ value }) => value !== null).length,
      deadLetters: here.length - taken.length,
      tombstones: taken.filter(({ value }) => value === null).length,
    };
    for (const name of ['messages', 'rows', 'deadLetters', 'tombstones'] as const)
      if ((totals?.[name] ?? 0) !== wanted[name])
        problems.push(`partition ${partition}: the log counts ${totals?.[name]} ${name}, there are ${wanted[name]}`);
  }
  return problems;
}

async function endProblems(state: FeedState, kafka: TestKafka, topic: string): Promise<string[]> {
  return (await kafka.watermarks(topic)).flatMap(({ partition, low, high }) => {
    const position = state.positions.get(partition)?.position ?? low;
    return position === high ? [] : [`partition ${partition}: the position is ${position}, Kafka ends at ${high}`];
  });
}
