// A staged batch read out of DuckDB, as the values of statements: the winner of each key, deleted keys, dead letters, dimensions.
// Invariant: every value is a text, bytes or NULL that the warehouse reads back as the same value.

import { collapseSql, DELETED_COLUMN, keyHashSql } from '../duckdb/collapse.ts';
import { type Connection, queryColumns, run } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { assert } from '../errors.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { FieldType } from '../model/feed.ts';
import type { DimensionTable, FactTable, MysqlColumn } from './fact-table.ts';
import { isOwn } from './fact-table.ts';
import type { SqlScalar } from './warehouse.ts';

export type Values = readonly SqlScalar[];

export type BatchRows = {
  /** In the order of `factColumns`; of a table, sorted by key_hash. */
  readonly facts: readonly Values[];
  /** key_hash, partition, offset, timestamp; sorted by key_hash. */
  readonly tombstones: readonly Values[];
  /** partition, offset, timestamp, key, value, headers, field, reason, schema version. */
  readonly deadLetters: readonly Values[];
  /** By dimension of the fact table: key, attributes, key_hash, first and last timestamp, then partition and offset of the
   *  newest message; sorted by key_hash. */
  readonly dimensions: readonly (readonly Values[])[];
};

/** The columns that a batch fills, in order; snapshot columns and what the server fills are not among them. */
export function factColumns({ values, own }: FactTable): readonly MysqlColumn[] {
  const lineage = [own.kafkaPartition, own.kafkaOffset, own.kafkaTimestamp];
  return own.keyHash === null ? [...values, ...lineage] : [...values, own.keyHash, ...lineage];
}

const UTC = `'%Y-%m-%d %H:%M:%S.%f'`;
const instant = (column: string): string => `strftime(timezone('UTC', ${column}), ${UTC})`;
const LINEAGE = ['CAST(kafka_partition AS VARCHAR)', 'CAST(kafka_offset AS VARCHAR)', instant('kafka_timestamp')];
const text = (column: string): string => `CAST(${column} AS VARCHAR)`;

/** The expression of a value as the server takes it. */
function outSql(column: string, type: FieldType): string {
  switch (type.kind) {
    case 'varchar':
    case 'blob':
      return column;
    case 'boolean':
      return `CAST(CAST(${column} AS INTEGER) AS VARCHAR)`;
    case 'timestamp':
      return instant(column);
    case 'json':
      return text(column);
    case 'struct':
    case 'list':
      return text(`to_json(${column})`);
    default:
      return text(column);
  }
}

const outOf = ({ name, holds }: MysqlColumn): string => {
  assert(!isOwn(holds), `column ${name} comes from no message`);
  return outSql(quoteName(name), holds);
};
const keyOf = (columns: readonly MysqlColumn[]): string =>
  keyHashSql(columns.flatMap(({ name, holds }) => (isOwn(holds) ? [] : [{ name, type: holds }])));

/** Leaves nothing behind. Throws engine_failed. */
export async function readBatch(connection: Connection, batch: StagedBatch, fact: FactTable | null): Promise<BatchRows> {
  const { tables } = batch;
  const letters = [...LINEAGE, 'kafka_key', 'value', 'headers', 'field', 'reason', text('schema_version')];
  const deadLetters =
    batch.deadLetters === 0
      ? []
      : await select(connection, `${letters.join(', ')} FROM ${tables.deadLetters} ORDER BY kafka_partition, kafka_offset`);
  if (fact === null) return { facts: [], tombstones: [], deadLetters, dimensions: [] };
  const dimensions: (readonly Values[])[] = [];
  for (const dimension of fact.dimensions) {
    dimensions.push(batch.rows === 0 ? [] : await select(connection, dimensionSql(dimension, tables.rows)));
  }
  if (fact.kind === 'stream') {
    const columns = [...fact.values.map(outOf), ...LINEAGE].join(', ');
    const facts = batch.rows === 0 ? [] : await select(connection, `${columns} FROM ${tables.rows}`);
    return { facts, tombstones: [], deadLetters, dimensions };
  }
  return { ...(await readWinners(connection, batch, fact)), deadLetters, dimensions };
}

async function readWinners(
  connection: Connection,
  { id, rows, tables }: StagedBatch,
  fact: FactTable,
): Promise<Pick<BatchRows, 'facts' | 'tombstones'>> {
  // A batch of dead letters alone, before there is a schema.
  if (rows === 0 && tables.tombstones === null) return { facts: [], tombstones: [] };
  const winners = quoteName(`batch_${id}_winners`);
  const keyColumns = fact.keys.map(({ name }) => name);
  await run(connection, collapseSql({ into: winners, rows: tables.rows, tombstones: tables.tombstones, keyColumns }));
  try {
    const hash = keyOf(fact.keys);
    const columns = [...fact.values.map(outOf), `${hash} AS _hash`, ...LINEAGE].join(', ');
    const gone = [`${hash} AS _hash`, ...LINEAGE].join(', ');
    return {
      facts: await select(connection, `${columns} FROM ${winners} WHERE NOT ${DELETED_COLUMN} ORDER BY _hash`),
      tombstones: await select(connection, `${gone} FROM ${winners} WHERE ${DELETED_COLUMN} ORDER BY _hash`),
    };
  } finally {
    await run(connection, `DROP TABLE IF EXISTS ${winners}`);
  }
}

/** Of all rows, not of the winners alone: the first and last time a key was seen, and its newest attributes. */
function dimensionSql({ key, attributes }: DimensionTable, rows: string): string {
  const keyName = quoteName(key.name);
  const newestOf = (column: string): string => `arg_max_null(${column}, (kafka_timestamp, kafka_partition, kafka_offset))`;
  const newest = attributes.map(({ name }) => `${newestOf(quoteName(name))} AS ${quoteName(name)}`);
  const grouped = `SELECT ${[keyName, ...newest].join(', ')}, min(kafka_timestamp) AS _first, max(kafka_timestamp) AS _last,
      ${newestOf('kafka_partition')} AS _partition, ${newestOf('kafka_offset')} AS _offset
    FROM ${rows} WHERE ${keyName} IS NOT NULL GROUP BY ${keyName}`;
  const values = [outOf(key), ...attributes.map(outOf), `${keyOf([key])} AS _hash`];
  const columns = [...values, instant('_first'), instant('_last'), text('_partition'), text('_offset')];
  return `${columns.join(', ')} FROM (${grouped}) ORDER BY _hash`;
}

async function select(connection: Connection, rest: string): Promise<Values[]> {
  const columns = await queryColumns(connection, `SELECT ${rest}`);
  const count = columns[0]?.length ?? 0;
  return Array.from({ length: count }, (_, row) => columns.map((column) => column[row] ?? null));
}

export const quotedNames = (columns: readonly MysqlColumn[]): string => columns.map(({ quoted }) => quoted).join(', ');
