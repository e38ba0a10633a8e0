// Messages become rows, exactly. DuckDB decodes the common rows; whatever it is not sure about is decided by model/convert.
// Invariant: every message of a chunk ends as exactly one staged row or exactly one dead letter, or the whole chunk fails.
import { type ColumnValues, type Connection, fillTempTable, query, run, runWithBytes } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { assert, LakeError } from '../errors.ts';
import { type Column, DAY_COLUMN, DEAD_LETTER_COLUMNS, lineageColumns, valueColumns } from '../model/columns.ts';
import { decodeMessage, type MessagePlan, messagePlan } from '../model/convert.ts';
import { isZone } from '../model/convert-time.ts';
import type { Feed } from '../model/feed.ts';
import type { Chunk } from './chunk.ts';
import { type ChunkMessage, messagesAt, unknownNames } from './chunk-read.ts';
import { type FastPlan, fastPlan } from './decode-fast.ts';
import * as sql from './decode-sql.ts';
import { mayBeHostile } from './hostile-text.ts';

export type DecodePlan = {
  readonly feed: string;
  /** Columns of the staged rows, in order, with their DuckDB types; lineage and _day included. */
  readonly columns: readonly Column[];
  readonly timezone: string;
  readonly schemaVersion: number;
  readonly message: MessagePlan;
  readonly shape: sql.RowShape;
  /** null: nothing of this feed is worth asking DuckDB for; every message is decoded exactly. */
  readonly fast: FastPlan | null;
  readonly names: 'sample' | 'all';
};

export type PlanOptions = {
  /** Gives the day. */
  readonly timezone: string;
  readonly schemaVersion: number;
  /** Where names that no field reads are looked for: at the start of a chunk, or, when they become columns, everywhere. */
  readonly names?: 'sample' | 'all';
};

/** The two tables of a batch, as quoted SQL names. */
export type StagedTables = { readonly rows: string; readonly deadLetters: string };

/** A message that could not become a row, as stage or decode found it. */
export type DeadLetter = {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestampMs: bigint;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array;
  readonly headers: string | null;
  readonly field: string | null;
  readonly reason: string;
};

export type Decoded = {
  readonly rows: number;
  /** How many of the rows DuckDB decoded on its own. */
  readonly fastRows: number;
  /** Why DuckDB could not decode any message of this chunk; null as a rule. Nothing is lost, but it is slow: worth a warning. */
  readonly fastError: string | null;
  /** Dead letters per partition; partitions without any are absent. */
  readonly deadLetters: ReadonlyMap<number, number>;
  /** Top-level names seen that no field reads; by default looked for in the first 100 messages of a chunk. */
  readonly drift: readonly string[];
};

/** Prepares a feed whose field types are all known. `timezone` gives the day. Throws config_invalid. */
export function decodePlan(feed: Feed, options: PlanOptions): DecodePlan {
  const message = messagePlan(feed);
  if (!isZone(options.timezone)) {
    throw new LakeError('config_invalid', `there is no time zone ${JSON.stringify(options.timezone)}`);
  }
  const event = message.fields.find((field) => field.name === feed.eventTime);
  if (feed.eventTime !== null && event?.type.kind !== 'timestamp' && event?.type.kind !== 'date') {
    throw new LakeError('config_invalid', `event_time ${JSON.stringify(feed.eventTime)} is no TIMESTAMP or DATE field`, {
      where: { feed: feed.name },
    });
  }
  const values = message.fields.map((field) => ({ column: field.name, type: field.type }));
  return {
    feed: feed.name,
    columns: [...valueColumns(feed), ...lineageColumns(feed), DAY_COLUMN],
    timezone: options.timezone,
    schemaVersion: options.schemaVersion,
    names: options.names ?? 'sample',
    message,
    shape: {
      values: message.keepUnknown ? [...values, { column: 'extra', type: 'extra' }] : values,
      headers: feed.headers,
      eventTime: event ? { column: event.name, isDate: event.type.kind === 'date' } : null,
      timezone: options.timezone,
    },
    fast: fastPlan(message),
  };
}

/** Makes empty tables `<name>_rows` and `<name>_dead_letters`; the caller drops them. */
export async function createStagedTables(connection: Connection, plan: DecodePlan, name: string): Promise<StagedTables> {
  const tables = { rows: quoteName(`${name}_rows`), deadLetters: quoteName(`${name}_dead_letters`) };
  await run(connection, sql.createTableSql(tables.rows, plan.columns));
  await run(connection, sql.createTableSql(tables.deadLetters, [...DEAD_LETTER_COLUMNS, DAY_COLUMN]));
  return tables;
}

/** Decodes a chunk into the two tables; one chunk at a time on a connection, for its temporary tables have fixed names.
 *  The offsets of a chunk must be new to the tables. Throws engine_failed. */
export async function decodeChunk(
  connection: Connection,
  plan: DecodePlan,
  chunk: Chunk,
  tables: StagedTables,
): Promise<Decoded> {
  if (chunk.count === 0) return { rows: 0, fastRows: 0, fastError: null, deadLetters: new Map(), drift: [] };
  const { left, fastError } = plan.fast
    ? await decodeFast(connection, { ...plan, fast: plan.fast }, chunk, tables)
    : { left: allOf(chunk), fastError: null };
  const fastRows = chunk.count - left.length;
  let rows = fastRows;
  const deadLetters = new Map<number, number>();
  for (const group of messagesAt(chunk, left)) {
    const { decoded, letters } = decodeExactly(plan, group);
    await appendDecoded(connection, plan, tables, decoded);
    await appendDeadLetters(connection, plan, tables, letters);
    rows += decoded.length;
    for (const { partition } of letters) deadLetters.set(partition, (deadLetters.get(partition) ?? 0) + 1);
  }
  const refused = [...deadLetters.values()].reduce((sum, count) => sum + count, 0);
  assert(rows + refused === chunk.count, `${chunk.count} messages became ${rows} rows and ${refused} dead letters`);
  return { rows, fastRows, fastError, deadLetters, drift: unknownNames(chunk, plan.message.known, plan.names) };
}

const allOf = (chunk: Chunk): number[] => Array.from({ length: chunk.count }, (_, index) => index);

/** Takes in what DuckDB is sure about, and gives the indexes of the other messages. */
async function decodeFast(
  connection: Connection,
  plan: DecodePlan & { fast: FastPlan },
  chunk: Chunk,
  tables: StagedTables,
): Promise<{ left: number[]; fastError: string | null }> {
  const headers: Record<string, ColumnValues> = plan.shape.headers ? { _headers: headerColumn(chunk) } : {};
  await fillTempTable(connection, sql.LINEAGE_TABLE, {
    count: chunk.count,
    columns: {
      _partition: { type: 'INTEGER', values: chunk.partitions },
      _offset: { type: 'BIGINT', values: chunk.offsets },
      _ms: { type: 'BIGINT', values: chunk.timestampsMs },
      ...headers,
    },
  });
  const { taken, fastError } = await tryInsert(connection, plan, chunk, tables);
  if (taken === chunk.count) return { left: [], fastError };
  const left = await query(connection, sql.leftOverSql(tables.rows));
  assert(left.length === chunk.count - taken, `${taken} rows were staged, ${left.length} of ${chunk.count} are missing`);
  return { left: left.map(({ index }) => Number(index)), fastError };
}

const headerColumn = (chunk: Chunk): ColumnValues => ({
  type: 'VARCHAR',
  values: Array.from({ length: chunk.count }, (_, index) => chunk.headers?.get(index) ?? null),
});

/** A message that makes the statement itself fail must not stop the feed: then all of the chunk is decoded exactly. */
async function tryInsert(
  connection: Connection,
  plan: DecodePlan & { fast: FastPlan },
  chunk: Chunk,
  tables: StagedTables,
): Promise<{ taken: number; fastError: string | null }> {
  const encoding = chunk.keys?.encoding ?? null;
  const bytes = chunk.keys ? [chunk.values, chunk.keys.bytes] : [chunk.values];
  try {
    const messages = await runWithBytes(connection, sql.messagesSql(encoding), bytes);
    // A positional join would otherwise give messages the coordinates of others.
    assert(messages === chunk.count, `a chunk of ${chunk.count} messages holds ${messages} values`);
    const insert = { rows: tables.rows, keys: encoding, search: mayBeHostile(chunk.values) };
    const taken = await run(connection, sql.fastInsertSql(plan.fast, plan.shape, insert));
    return { taken, fastError: null };
  } catch (error) {
    if (error instanceof LakeError && error.code === 'engine_failed') return { taken: 0, fastError: error.message };
    throw error;
  } finally {
    await run(connection, `DROP TABLE IF EXISTS temp.${sql.MESSAGES_TABLE}`);
  }
}

type DecodedRow = { readonly message: ChunkMessage; readonly document: string };

function decodeExactly(plan: DecodePlan, group: readonly ChunkMessage[]): { decoded: DecodedRow[]; letters: DeadLetter[] } {
  const decoded: DecodedRow[] = [];
  const letters: DeadLetter[] = [];
  for (const message of group) {
    const result = isKafkaTime(message.timestampMs)
      ? decodeMessage(message.text, plan.message, message.keyText)
      : ({ kind: 'refused', field: null, reason: wrongTime(message.timestampMs) } as const);
    if (result.kind === 'row') decoded.push({ message, document: sql.documentOf(plan.shape, result.values) });
    else letters.push({ ...message, field: result.field, reason: result.reason });
  }
  return { decoded, letters };
}

const isKafkaTime = (ms: bigint): boolean => ms >= sql.KAFKA_MS_MIN && ms <= sql.KAFKA_MS_MAX;
const wrongTime = (ms: bigint): string => `the Kafka timestamp ${ms} ms lies outside the years 1 to 9999`;

async function appendDecoded(
  connection: Connection,
  plan: DecodePlan,
  tables: StagedTables,
  decoded: readonly DecodedRow[],
): Promise<void> {
  if (decoded.length === 0) return;
  const messages = decoded.map(({ message }) => message);
  await fillTempTable(connection, sql.DECODED_TABLE, {
    count: decoded.length,
    columns: {
      ...coordinates(messages),
      _doc: { type: 'VARCHAR', values: decoded.map(({ document }) => document) },
    },
  });
  await run(connection, sql.decodedInsertSql(plan.shape, tables.rows));
}

/** Writes dead letters, also those that were found before decoding (empty, not UTF-8, raw 0x1E). Throws engine_failed. */
export async function appendDeadLetters(
  connection: Connection,
  plan: DecodePlan,
  tables: StagedTables,
  letters: readonly DeadLetter[],
): Promise<void> {
  if (letters.length === 0) return;
  await fillTempTable(connection, sql.LETTERS_TABLE, {
    count: letters.length,
    columns: {
      ...coordinates(letters),
      _value: { type: 'BLOB', values: letters.map(({ value }) => value) },
      _field: { type: 'VARCHAR', values: letters.map(({ field }) => field) },
      _reason: { type: 'VARCHAR', values: letters.map(({ reason }) => reason) },
    },
  });
  await run(connection, sql.lettersInsertSql(tables.deadLetters, plan));
}

function coordinates(
  messages: readonly Pick<DeadLetter, 'partition' | 'offset' | 'timestampMs' | 'key' | 'headers'>[],
): Record<string, ColumnValues> {
  return {
    _partition: { type: 'INTEGER', values: Int32Array.from(messages, ({ partition }) => partition) },
    _offset: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ offset }) => offset) },
    _ms: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ timestampMs }) => timestampMs) },
    _raw_key: { type: 'BLOB', values: messages.map(({ key }) => key) },
    _headers: { type: 'VARCHAR', values: messages.map(({ headers }) => headers) },
  };
}
