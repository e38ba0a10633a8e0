// Feeds and chunks for the decode tests, and rows of DuckDB as text.
import type { Connection } from '../../src/duckdb/connection.ts';
import { query } from '../../src/duckdb/connection.ts';
import { quoteName } from '../../src/duckdb/sql.ts';
import type { Chunk } from '../../src/ingest/chunk.ts';
import { createStagedTables, type DecodePlan, decodeChunk } from '../../src/ingest/decode.ts';
import type { Feed, Field, FieldType } from '../../src/model/feed.ts';

export const varchar = (charsMax: number | null = null): FieldType => ({ kind: 'varchar', charsMax });
export const decimal = (precision: number, scale: number): FieldType => ({ kind: 'decimal', precision, scale });
export const list = (item: FieldType): FieldType => ({ kind: 'list', item });
export const struct = (fields: Record<string, FieldType>): FieldType => ({
  kind: 'struct',
  fields: Object.entries(fields).map(([name, type]) => ({ name, type })),
});

export const field = (name: string, type: FieldType, more: Partial<Field> = {}): Field => ({
  name,
  from: [name],
  type,
  required: false,
  format: { kind: 'iso8601' },
  onExcess: 'dead_letter',
  timezone: null,
  ...more,
});

export const feedOf = (fields: readonly Field[], more: Partial<Feed> = {}): Feed => ({
  name: 'orders',
  topic: 'orders',
  type: 'stream',
  destination: 'data_lake',
  enabled: true,
  partitioning: 'date',
  storageMode: 'append',
  start: { kind: 'earliest' },
  eventTime: null,
  fields,
  keyFields: [],
  keyFrom: 'value',
  unknownFields: 'ignore',
  headers: false,
  deadLettersMaxRatio: 0.5,
  snapshotEvery: 'day',
  mysqlTable: null,
  dimensions: [],
  retention: { days: null, versions: null, autoDelete: false },
  permissions: { mysqlReaders: [], lakeGroup: null, lakeMode: null },
  createdBy: 1,
  ...more,
});

/** 2025-01-27 17:46:40 UTC */
export const MESSAGE_MS = 1_738_000_000_000n;

type ChunkMore = {
  keys?: (string | null)[];
  headers?: ReadonlyMap<number, string>;
  partitions?: number[];
  ms?: bigint[];
  effectiveMs?: bigint[];
};

export function chunkOf(values: readonly string[], more: ChunkMore = {}): Chunk {
  const count = values.length;
  const keys = more.keys?.map((key) => (key === null ? '' : `k${key}`)).join('\x1e');
  return {
    count,
    values: Buffer.from(values.join('\x1e')),
    partitions: Int32Array.from({ length: count }, (_, index) => more.partitions?.[index] ?? 0),
    offsets: BigInt64Array.from({ length: count }, (_, index) => BigInt(index)),
    effectiveMs: more.effectiveMs ? BigInt64Array.from(more.effectiveMs) : null,
    timestampsMs: BigInt64Array.from({ length: count }, (_, index) => more.ms?.[index] ?? MESSAGE_MS),
    keys: keys === undefined ? null : { bytes: Buffer.from(keys), encoding: 'text' },
    headers: more.headers ?? null,
  };
}

export type Outcome = { readonly row: readonly (string | null)[] } | { readonly field: string | null; readonly reason: string };

let tables = 0;

/** What became of each message, as text; also how many a scan and DuckDB took in. */
export async function outcomes(
  connection: Connection,
  plan: DecodePlan,
  chunk: Chunk,
): Promise<{ outcomes: Outcome[]; scannedRows: number; fastRows: number }> {
  const staged = await createStagedTables(connection, plan, `t${tables++}`);
  const { scannedRows, fastRows, fastError } = await decodeChunk(connection, plan, chunk, staged);
  if (fastError !== null) throw new Error(`the fast path failed: ${fastError}`);
  const names = plan.columns.map(({ name }) => name).filter((name) => name !== 'kafka_offset');
  const texts = names.map((name, index) => `${quoteName(name)}::VARCHAR AS c${index}`).join(', ');
  const found = new Map<number, Outcome>();
  for (const row of await query(connection, `SELECT kafka_offset, ${texts} FROM ${staged.rows}`)) {
    found.set(Number(row['kafka_offset']), { row: names.map((_, index) => textOrNull(row[`c${index}`])) });
  }
  for (const letter of await query(connection, `SELECT kafka_offset, field, reason FROM ${staged.deadLetters}`)) {
    const reason = textOrNull(letter['reason']) ?? '';
    found.set(Number(letter['kafka_offset']), { field: textOrNull(letter['field']), reason });
  }
  const all = Array.from({ length: chunk.count }, (_, index) => found.get(index));
  return { scannedRows, fastRows, outcomes: all.map((one) => one ?? { field: null, reason: 'LOST' }) };
}

const textOrNull = (value: unknown): string | null => (value === null || value === undefined ? null : String(value));
