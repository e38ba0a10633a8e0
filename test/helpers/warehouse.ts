// What the tests of a whole pipeline into a warehouse share: its configuration, and what is in a fact table held to what was
// produced, folded apart from the program.

import { readFileSync, writeFileSync } from 'node:fs';
import type { RowDataPacket } from 'mysql2';
import { type EmbeddedCopy, embeddedRows } from './embedded.ts';
import { type FoundRow, foldTable, ID_TABLE, snapshotProblems, type TableState, type Winner } from './expect-snapshot.ts';
import { type FeedSpec, type LakeSetup, tableFeed, writeSetup } from './ingest.ts';
import type { TestKafka } from './kafka.ts';
import type { TestDatabase } from './mysql.ts';
import type { Produced } from './produced.ts';

export type AnyDatabase = TestDatabase | EmbeddedCopy;

/** `port`: of a proxy before the server. */
export function warehouseSetup(options: {
  readonly folder: string;
  readonly kafka: Pick<TestKafka, 'bootstrap'>;
  readonly database: AnyDatabase;
  readonly feeds: readonly FeedSpec[];
  readonly batch?: Record<string, unknown>;
  readonly port?: number;
  readonly name?: string;
  readonly groupId?: string;
}): LakeSetup {
  const { database, port, ...rest } = options;
  const setup = writeSetup(rest);
  const config: unknown = JSON.parse(readFileSync(setup.configPath, 'utf8'));
  if (typeof config !== 'object' || config === null || !('kafka' in config)) throw new Error('no configuration');
  const kafka = { ...Object(config.kafka), warehouse_group_id: `${setup.groupId}_warehouse` };
  const warehouse = sectionOf(database, port);
  writeFileSync(setup.configPath, JSON.stringify({ ...config, kafka, warehouse }, null, 2));
  return setup;
}

function sectionOf(database: AnyDatabase, port: number | undefined) {
  if (database.engine === 'duckdb') return { engine: 'duckdb', path: database.path };
  return { engine: 'mysql', ...database.login, port: port ?? database.login.port, database: database.database };
}

/** Keyed by `id`, in the warehouse alone. */
export const factFeed = (name: string, topic: string, more: Record<string, unknown> = {}): FeedSpec =>
  tableFeed(name, topic, { destination: 'data_warehouse', mysql_table: `fact_${name}`, ...more });

export const toWarehouse = { args: ['--mode', 'warehouse'] } as const;

type FoundValues = Readonly<Record<string, string | number | Buffer | null>>;
export type Rows = readonly FoundValues[];
export async function rowsOf(database: AnyDatabase, sql: string, values: readonly string[] = []): Promise<Rows> {
  if (database.engine === 'duckdb') return await embeddedRows(database.path, sql, values);
  const connection = await database.connect({ dateStrings: true, supportBigNumbers: true, bigNumberStrings: true });
  try {
    const [rows] = await connection.query<RowDataPacket[]>(sql, [...values]);
    return rows;
  } finally {
    connection.destroy();
  }
}

const msOf = (text: unknown): number => Date.parse(`${String(text).replace(' ', 'T')}Z`);
const found = (row: FoundValues): FoundRow => {
  const { kafka_partition: partition, kafka_offset: offset, kafka_timestamp: at, ...values } = row;
  return {
    partition: Number(partition),
    offset: BigInt(String(offset)),
    timestampMs: msOf(at),
    values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value === null ? null : String(value)])),
  };
};

const COORDINATES = 'kafka_partition, kafka_offset, kafka_timestamp';
const SHOWN_MAX = 20;

type Held = {
  readonly kafka?: TestKafka;
  readonly refused?: (message: Produced) => boolean;
  /** The highest timestamp may be that of a message that was taken out again. */
  readonly isRewound?: boolean;
};

/** The open snapshot in `fact_<feed>` is the fold of what was produced; so are totals, dead letters and positions. */
export async function expectFact(
  produced: readonly Produced[],
  database: AnyDatabase,
  { feed, topic }: { readonly feed: string; readonly topic: string },
  { kafka, refused = () => false }: Held = {},
): Promise<TableState> {
  const folded = foldTable(produced, { ...ID_TABLE, key: (message) => (refused(message) ? null : ID_TABLE.key(message)) });
  const facts = await rowsOf(database, `SELECT id, text, ${COORDINATES} FROM fact_${feed}_latest`);
  const problems = snapshotProblems('fact table', folded.live, facts.map(found));
  const all = await rowsOf(database, `SELECT id FROM fact_${feed}`);
  if (all.length !== folded.live.size) problems.push(`the fact table has ${all.length} rows, should have ${folded.live.size}`);
  problems.push(...(await tombstoneProblems(database, feed, folded)));
  const letters = await rowsOf(database, `SELECT ${COORDINATES}, kafka_key, value FROM lake_dead_letters WHERE feed = ?`, [feed]);
  problems.push(...letterProblems(letters, folded.deadLetters));
  problems.push(...(await positionProblems(produced, database, { feed, topic, kafka, isLetter: new Set(folded.deadLetters) })));
  fail(`table ${feed} is not the fold`, produced, problems);
  return folded;
}

/** A stream in `fact_<feed>`: every message once, with its values. */
export async function expectAppended(
  produced: readonly Produced[],
  database: AnyDatabase,
  { feed, topic }: { readonly feed: string; readonly topic: string },
  { kafka, refused = () => false, isRewound = false }: Held = {},
): Promise<void> {
  const isLetter = new Set(produced.filter((message) => refused(message) || ID_TABLE.key(message) === null));
  const sent = produced.filter((message) => message.value !== null);
  const rows = (await rowsOf(database, `SELECT text, ${COORDINATES} FROM fact_${feed}`)).map(found);
  const problems: string[] = [];
  const by = Map.groupBy(rows, ({ partition, offset }) => `${partition}:${offset}`);
  for (const message of sent.filter((one) => !isLetter.has(one))) {
    const name = `${message.partition}:${message.offset}`;
    const list = by.get(name) ?? [];
    if (list.length !== 1) problems.push(`${name} is there ${list.length} times`);
    else if (list[0]?.values['text'] !== ID_TABLE.values(message)['text']) problems.push(`${name} has other values`);
    by.delete(name);
  }
  for (const name of by.keys()) problems.push(`${name} should not be there`);
  const letters = await rowsOf(database, `SELECT ${COORDINATES}, kafka_key, value FROM lake_dead_letters WHERE feed = ?`, [feed]);
  const wanted = sent.filter((message) => isLetter.has(message));
  problems.push(...letterProblems(letters, wanted));
  problems.push(...(await positionProblems(produced, database, { feed, topic, kafka, isRewound, isLetter: new Set(wanted) })));
  fail(`stream ${feed} is not exactly once`, produced, problems);
}

function fail(what: string, produced: readonly Produced[], problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > SHOWN_MAX ? [`… and ${problems.length - SHOWN_MAX} more`] : [];
  throw new Error(`${what} (${produced.length} produced):\n  ${[...problems.slice(0, SHOWN_MAX), ...more].join('\n  ')}`);
}

/** Of each key that is deleted the newest tombstone is kept; others may be there that a newer row outlived. */
async function tombstoneProblems(database: AnyDatabase, feed: string, { live, deleted }: TableState): Promise<string[]> {
  const rows = await rowsOf(database, `SELECT ${COORDINATES} FROM lake_tombstones WHERE feed = ?`, [feed]);
  const at = ({ message, effectiveMs }: Winner): string => `${message.partition}:${message.offset} at ${effectiveMs}`;
  const there = new Set(rows.map(found).map((row) => `${row.partition}:${row.offset} at ${row.timestampMs}`));
  const missing = [...deleted.values()].map(at).filter((name) => !there.has(name));
  const limit = live.size + deleted.size;
  const problems = missing.map((name) => `the tombstone ${name} is missing`);
  return rows.length > limit ? [...problems, `there are ${rows.length} tombstones of ${limit} keys`] : problems;
}

function letterProblems(letters: Rows, wanted: readonly Produced[]): string[] {
  const show = (partition: unknown, offset: unknown, key: unknown, value: unknown): string =>
    `${partition}:${offset} ${key === null ? null : String(key)} = ${value === null ? null : String(value)}`;
  const is = letters.map((row) => show(row['kafka_partition'], row['kafka_offset'], row['kafka_key'], row['value'])).sort();
  const should = wanted.map(({ partition, offset, key, value }) => show(partition, offset, key, value)).sort();
  if (is.join('\n') === should.join('\n')) return [];
  const only = (list: readonly string[], other: readonly string[]): string =>
    list.filter((one) => !other.includes(one)).join(', ');
  return [`dead letters: too many are ${only(is, should)}; missing are ${only(should, is)}`];
}

type Counted = {
  readonly feed: string;
  readonly topic: string;
  readonly kafka: TestKafka | undefined;
  readonly isRewound?: boolean;
  readonly isLetter: ReadonlySet<Produced>;
};

async function positionProblems(produced: readonly Produced[], database: AnyDatabase, counted: Counted): Promise<string[]> {
  const { feed, topic, kafka, isLetter, isRewound = false } = counted;
  const positions = await rowsOf(database, 'SELECT * FROM lake_positions WHERE feed = ? AND topic = ?', [feed, topic]);
  const problems: string[] = [];
  for (const [partition, here] of Map.groupBy(produced, (message) => message.partition)) {
    const row = positions.find((one) => Number(one['kafka_partition']) === partition);
    const taken = here.filter((message) => !isLetter.has(message));
    const counts = [here, taken.filter(({ value }) => value !== null), here.filter((one) => isLetter.has(one))];
    const tombstones = taken.filter(({ value }) => value === null);
    const should = [...counts, tombstones].map((list) => list.length).join(' ');
    const is = row ? [row['messages'], row['row_count'], row['dead_letters'], row['tombstones']].join(' ') : 'nothing';
    if (is !== should) problems.push(`partition ${partition} counts ${is}, should be ${should}`);
    const max = here.reduce((most, { timestampMs }) => Math.max(most, timestampMs ?? 0), 0);
    const found = Number(row?.['timestamp_ms_max']);
    if (row && found !== max && !(isRewound && found > max))
      problems.push(`partition ${partition}: ${row['timestamp_ms_max']} is not ${max}`);
  }
  for (const { partition, high } of kafka ? await kafka.watermarks(topic) : []) {
    const position = positions.find((one) => Number(one['kafka_partition']) === partition)?.['position'] ?? '0';
    if (String(position) !== String(high))
      problems.push(`partition ${partition}: the position is ${position}, Kafka ends at ${high}`);
  }
  return problems;
}
