// Messages become rows, exactly. A scan takes the plain ones, DuckDB the common ones of those that are left; whatever neither is sure
// about is decided by model/convert.
// Invariant: every message of a chunk ends as exactly one staged row or exactly one dead letter, or the whole chunk fails.
import { type ColumnValues, type Connection, fillTempTable, query, run, runWithBytes } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { assert, LakeError } from '../errors.ts';
import type { StagedBatch } from '../model/batch.ts';
import { type Column, DAY_COLUMN, DEAD_LETTER_COLUMNS, lineageColumns, valueColumns } from '../model/columns.ts';
import { decodeMessage, type MessagePlan, messagePlan } from '../model/convert.ts';
import { isZone } from '../model/convert-time.ts';
import type { Feed } from '../model/feed.ts';
import { isKafkaTime, wrongTime } from '../model/kafka-time.ts';
import type { DeadLetter, DecodedRow } from '../model/memory-batch.ts';
import type { Chunk } from './chunk.ts';
import { pickMessages } from './chunk-bytes.ts';
import { type ChunkMessage, messagesAt, unknownNames } from './chunk-read.ts';
import { appendDeadLetters, appendDecoded } from './decode-exact.ts';
import { type FastPlan, fastPlan } from './decode-fast.ts';
import * as sql from './decode-sql.ts';
import { mayBeHostile } from './hostile-text.ts';
import { runOverScan, type ScanPlan, scanPlan } from './scan.ts';
import { type TombstonePlan, tombstonePlan } from './tombstones.ts';

export type DecodePlan = {
  readonly feed: string;
  /** Columns of the staged rows, in order, with their DuckDB types; lineage and _day included. */
  readonly columns: readonly Column[];
  readonly timezone: string;
  readonly schemaVersion: number;
  readonly message: MessagePlan;
  readonly shape: sql.RowShape;
  /** null: this feed has fields that a scan does not read. */
  readonly scan: ScanPlan | null;
  /** null: nothing of this feed is worth asking DuckDB for. */
  readonly fast: FastPlan | null;
  readonly names: 'sample' | 'all';
  /** Of a table: how its tombstones are decoded. */
  readonly tombstones: TombstonePlan | null;
};

export type PlanOptions = {
  /** Gives the day. */
  readonly timezone: string;
  readonly schemaVersion: number;
  /** Where names that no field reads are looked for: at the start of a chunk, or, when they become columns, everywhere. */
  readonly names?: 'sample' | 'all';
};

/** The tables of a batch, as quoted SQL names. */
export type StagedTables = StagedBatch['tables'];

export type Decoded = {
  readonly rows: number;
  /** How many of the rows came from a scan, and how many DuckDB decoded on its own. */
  readonly scannedRows: number;
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
      isTable: feed.type === 'table',
      eventTime: event ? { column: event.name, isDate: event.type.kind === 'date' } : null,
      timezone: options.timezone,
    },
    scan: scanPlan(message),
    fast: fastPlan(message),
    tombstones: feed.type === 'table' ? tombstonePlan(feed, message, options.timezone) : null,
  };
}

/** Makes empty tables `<name>_rows`, `<name>_dead_letters` and, for a table, `<name>_tombstones`; the caller drops them. */
export async function createStagedTables(connection: Connection, plan: DecodePlan, name: string): Promise<StagedTables> {
  const tombstones = plan.tombstones && quoteName(`${name}_tombstones`);
  const tables = { rows: quoteName(`${name}_rows`), deadLetters: quoteName(`${name}_dead_letters`), tombstones };
  await run(connection, sql.createTableSql(tables.rows, plan.columns));
  await run(connection, sql.createTableSql(tables.deadLetters, [...DEAD_LETTER_COLUMNS, DAY_COLUMN]));
  if (plan.tombstones && tombstones) await run(connection, sql.createTableSql(tombstones, plan.tombstones.columns));
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
  if (chunk.count === 0) return { rows: 0, scannedRows: 0, fastRows: 0, fastError: null, deadLetters: new Map(), drift: [] };
  const scanned = await decodeScanned(connection, plan, chunk, tables);
  const { rest } = scanned;
  const scannedRows = chunk.count - (rest?.count ?? 0);
  const { left, fastError } = rest ? await decodeRest(connection, plan, rest, tables) : { left: [], fastError: null };
  const fastRows = (rest?.count ?? 0) - left.length;
  let rows = scannedRows + fastRows;
  const deadLetters = new Map<number, number>();
  for (const group of rest ? messagesAt(rest, left) : []) {
    const { decoded, letters } = decodeExactly(plan, group);
    await appendDecoded(connection, plan.shape, tables.rows, decoded);
    await appendDeadLetters(connection, plan, tables, letters);
    rows += decoded.length;
    for (const { partition } of letters) deadLetters.set(partition, (deadLetters.get(partition) ?? 0) + 1);
  }
  const refused = [...deadLetters.values()].reduce((sum, count) => sum + count, 0);
  assert(rows + refused === chunk.count, `${chunk.count} messages became ${rows} rows and ${refused} dead letters`);
  const drift = unknownNames(chunk, plan.message.known, plan.names);
  return { rows, scannedRows, fastRows, fastError: scanned.error ?? fastError, deadLetters, drift };
}

/** Takes in what a scan is sure about, and gives the other messages. A value that makes the statement itself fail must not stop
 *  the feed: then all of the chunk is left. */
async function decodeScanned(
  connection: Connection,
  plan: DecodePlan,
  chunk: Chunk,
  tables: StagedTables,
): Promise<{ rest: Chunk | null; error: string | null }> {
  // Texts of headers are no bytes of the chunk.
  if (!plan.scan || (plan.shape.headers && chunk.headers)) return { rest: chunk, error: null };
  const isHex = chunk.keys?.encoding === 'hex';
  try {
    const left = await runOverScan(connection, { plan: plan.scan, chunk }, (from) =>
      sql.scanInsertSql(plan.shape, tables.rows, { from, isHex }),
    );
    if (left.length === 0) return { rest: null, error: null };
    return { rest: left.length === chunk.count ? chunk : pickMessages(chunk, left), error: null };
  } catch (error) {
    if (error instanceof LakeError && error.code === 'engine_failed') return { rest: chunk, error: error.message };
    throw error;
  }
}

/** Few messages are decoded exactly in less time than DuckDB takes for its statements. */
const EXACT_MESSAGES_MAX = 200;

/** Takes in what DuckDB is sure about, and gives the indexes of the other messages. */
function decodeRest(
  connection: Connection,
  plan: DecodePlan,
  rest: Chunk,
  tables: StagedTables,
): Promise<{ left: number[]; fastError: string | null }> {
  const isWorthIt = plan.fast && (!plan.scan || rest.count > EXACT_MESSAGES_MAX);
  if (plan.fast && isWorthIt) return decodeFast(connection, { ...plan, fast: plan.fast }, rest, tables);
  return Promise.resolve({ left: allOf(rest), fastError: null });
}

export const allOf = (chunk: Chunk): number[] => Array.from({ length: chunk.count }, (_, index) => index);

/** Takes in what DuckDB is sure about, and gives the indexes of the other messages. */
async function decodeFast(
  connection: Connection,
  plan: DecodePlan & { fast: FastPlan },
  chunk: Chunk,
  tables: StagedTables,
): Promise<{ left: number[]; fastError: string | null }> {
  const headers: Record<string, ColumnValues> = plan.shape.headers ? { _headers: headerColumn(chunk) } : {};
  const effective: Record<string, ColumnValues> = plan.shape.isTable
    ? { _effective_ms: { type: 'BIGINT', values: chunk.effectiveMs ?? chunk.timestampsMs } }
    : {};
  await fillTempTable(connection, sql.LINEAGE_TABLE, {
    count: chunk.count,
    columns: {
      _partition: { type: 'INTEGER', values: chunk.partitions },
      _offset: { type: 'BIGINT', values: chunk.offsets },
      _ms: { type: 'BIGINT', values: chunk.timestampsMs },
      ...effective,
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

/** All of them, by model/convert. */
export function decodeExactly(
  plan: DecodePlan,
  group: readonly ChunkMessage[],
): { decoded: DecodedRow[]; letters: DeadLetter[] } {
  const decoded: DecodedRow[] = [];
  const letters: DeadLetter[] = [];
  for (const message of group) {
    const result = isKafkaTime(message.timestampMs)
      ? decodeMessage(message.text, plan.message, message.keyText)
      : ({ kind: 'refused', field: null, reason: wrongTime(message.timestampMs) } as const);
    if (result.kind === 'row')
      decoded.push({
        message: { ...message, timestampMs: message.effectiveMs },
        values: result.values,
      });
    else letters.push({ ...message, field: result.field, reason: result.reason });
  }
  return { decoded, letters };
}
