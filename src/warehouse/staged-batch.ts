// A staged batch read out of DuckDB, as the values of statements: the winner of each key, deleted keys, dead letters, dimensions.
// Invariant: every value is a text, bytes or NULL that the warehouse reads back as the same value.

import { collapseSql, DELETED_COLUMN, keyHashSql } from '../duckdb/collapse.ts';
import { type Connection, queryColumns, run } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { assert } from '../errors.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { FieldType } from '../model/feed.ts';
import type { DimensionTable, FactTable, SqlColumn } from './fact-table.ts';
import { isOwn } from './fact-table.ts';
import { nestedSql } from './nested-json.ts';
import type { Values } from './warehouse.ts';

/** Rows of one kind. They may be asked for again: a transaction is begun anew after a deadlock. */
export type RowSource = { readonly slices: () => AsyncIterable<readonly Values[]> };

export type BatchRows = {
  /** In the order of `factColumns`; of a table, sorted by key_hash. */
  readonly facts: RowSource;
  /** key_hash, partition, offset, timestamp; sorted by key_hash. */
  readonly tombstones: RowSource;
  /** partition, offset, timestamp, key, value, headers, field, reason, schema version, effective timestamp. */
  readonly deadLetters: RowSource;
  /** By dimension of the fact table: key, attributes, key_hash, first and last timestamp, then partition and offset of the
   *  newest message; sorted by key_hash. */
  readonly dimensions: readonly RowSource[];
  /** Of what the engine keeps for it. Never throws. */
  readonly drop: () => Promise<void>;
};

/** A piece of work of the engine that waits its turn. */
export type EngineQueue = <T>(work: (connection: Connection) => Promise<T>) => Promise<T>;

/** The columns that a batch fills, in order; snapshot columns and what the server fills are not among them. */
export function factColumns({ values, own }: FactTable): readonly SqlColumn[] {
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
      return nestedSql(column, type);
    default:
      return text(column);
  }
}

const outOf = ({ name, holds }: SqlColumn): string => {
  assert(!isOwn(holds), `column ${name} comes from no message`);
  return outSql(quoteName(name), holds);
};
/** The values and coordinates of a row, as the warehouse has them, in the order of `comparedColumns`. */
export const comparedSql = (fact: FactTable): string => [...fact.values.map(outOf), ...LINEAGE].join(', ');
export const comparedColumns = ({ values, own }: FactTable): readonly SqlColumn[] => [
  ...values,
  own.kafkaPartition,
  own.kafkaOffset,
  own.kafkaTimestamp,
];
const keyOf = (columns: readonly SqlColumn[]): string =>
  keyHashSql(columns.flatMap(({ name, holds }) => (isOwn(holds) ? [] : [{ name, type: holds }])));

/** Needs the staged tables no more afterwards. Throws engine_failed. */
export async function readBatch(
  connection: Connection,
  batch: StagedBatch,
  { fact, engine }: { readonly fact: FactTable | null; readonly engine: EngineQueue },
): Promise<BatchRows> {
  const { tables } = batch;
  const { source, drop } = createSources(connection, batch, engine);
  const deadLetters = batch.deadLetters === 0 ? NO_ROWS : await source(lettersSql(tables.deadLetters));
  if (fact === null) return { facts: NO_ROWS, tombstones: NO_ROWS, deadLetters, dimensions: [], drop };
  const dimensions: RowSource[] = [];
  for (const dimension of fact.dimensions) {
    dimensions.push(batch.rows === 0 ? NO_ROWS : await source(seenOutSql(dimension, seenRowsSql(tables.rows))));
  }
  if (fact.kind === 'stream') {
    const columns = [...fact.values.map(outOf), ...LINEAGE].join(', ');
    const facts = batch.rows === 0 ? NO_ROWS : await source(`${columns} FROM ${tables.rows}`);
    return { facts, tombstones: NO_ROWS, deadLetters, dimensions, drop };
  }
  return { ...(await readWinners(connection, batch, { fact, source })), deadLetters, dimensions, drop };
}

const lettersSql = (table: string): string => {
  const columns = [
    ...LINEAGE,
    'kafka_key',
    'value',
    'headers',
    'field',
    'reason',
    text('schema_version'),
    instant('effective_timestamp'),
  ];
  return `${columns.join(', ')} FROM ${table} ORDER BY kafka_partition, kafka_offset`;
};

type Sourcing = (select: string) => Promise<RowSource>;

async function readWinners(
  connection: Connection,
  { id, rows, tables }: StagedBatch,
  { fact, source }: { readonly fact: FactTable; readonly source: Sourcing },
): Promise<Pick<BatchRows, 'facts' | 'tombstones'>> {
  // A batch of dead letters alone, before there is a schema.
  if (rows === 0 && tables.tombstones === null) return { facts: NO_ROWS, tombstones: NO_ROWS };
  const winners = quoteName(`batch_${id}_winners`);
  const keyColumns = fact.keys.map(({ name }) => name);
  await run(connection, collapseSql({ into: winners, rows: tables.rows, tombstones: tables.tombstones, keyColumns }));
  try {
    return await winnersOf(winners, fact, source);
  } finally {
    await run(connection, `DROP TABLE IF EXISTS ${winners}`);
  }
}

async function winnersOf(winners: string, fact: FactTable, source: Sourcing): Promise<Pick<BatchRows, 'facts' | 'tombstones'>> {
  const hash = keyOf(fact.keys);
  const columns = [...fact.values.map(outOf), `${hash} AS _hash`, ...LINEAGE].join(', ');
  const gone = [`${hash} AS _hash`, ...LINEAGE].join(', ');
  return {
    facts: await source(`${columns} FROM ${winners} WHERE NOT ${DELETED_COLUMN} ORDER BY _hash`),
    tombstones: await source(`${gone} FROM ${winners} WHERE ${DELETED_COLUMN} ORDER BY _hash`),
  };
}

/** Of a table that was read as a whole: what it came to, in tables of the engine. */
export type ReadTable = Pick<StagedBatch, 'id' | 'bytes' | 'rows' | 'deadLetters'> & {
  /** null: it has no key. */
  readonly winners: string | null;
  readonly letters: string | null;
  /** Of its batches, what `seenSql` made of each: a table for each dimension, or none. */
  readonly seen: readonly (readonly string[])[];
};

/** Throws engine_failed. */
export async function readTableRows(
  connection: Connection,
  table: ReadTable,
  { fact, engine }: { readonly fact: FactTable | null; readonly engine: EngineQueue },
): Promise<BatchRows> {
  const { winners, letters } = table;
  const { source, drop } = createSources(connection, table, engine);
  const deadLetters = letters === null ? NO_ROWS : await source(lettersSql(letters));
  if (fact === null || winners === null) return { facts: NO_ROWS, tombstones: NO_ROWS, deadLetters, dimensions: [], drop };
  const dimensions: RowSource[] = [];
  for (const [index, dimension] of fact.dimensions.entries()) {
    const all = table.seen.flatMap((seen) => (seen[index] === undefined ? [] : `SELECT * FROM ${seen[index]}`));
    dimensions.push(all.length === 0 ? NO_ROWS : await source(seenOutSql(dimension, all.join(' UNION ALL '))));
  }
  return { ...(await winnersOf(winners, fact, source)), deadLetters, dimensions, drop };
}

export const inMemory = (rows: readonly Values[]): RowSource => ({
  slices: async function* () {
    if (rows.length > 0) yield rows;
  },
});
export const NO_ROWS = inMemory([]);

/** Messages of this size are read at once; of more the texts stay in the engine, which spills. */
const MEMORY_BYTES_MAX = 8 * 1024 * 1024;
/** They come in slices of this size: the server begins with the first while the next is read. */
const SLICE_BYTES = 512 * 1024;

type Sized = Pick<StagedBatch, 'id' | 'bytes' | 'rows' | 'deadLetters'>;

function createSources(connection: Connection, { id, bytes, rows, deadLetters }: Sized, engine: EngineQueue) {
  const made: string[] = [];
  const sliceRows = Math.max(1, Math.floor(((rows + deadLetters) * SLICE_BYTES) / bytes));
  const source: Sourcing = async (rest) => {
    if (bytes <= MEMORY_BYTES_MAX) return inMemory(await select(connection, rest));
    const table = quoteName(`batch_${id}_out_${made.length}`);
    made.push(table);
    await run(connection, `CREATE TABLE ${table} AS SELECT ${rest}`);
    return {
      slices: () =>
        readAhead((index) => {
          const from = index * sliceRows;
          return engine((own) =>
            select(own, `* FROM ${table} WHERE rowid >= ${from} AND rowid < ${from + sliceRows} ORDER BY rowid`),
          );
        }),
    };
  };
  const drop = async (): Promise<void> => {
    for (const table of made.splice(0)) await engine((own) => run(own, `DROP TABLE IF EXISTS ${table}`)).catch(() => undefined);
  };
  return { source, drop };
}

/** Slices up to the first empty one; while one is used, which the server takes its time for, the next is read. */
async function* readAhead(read: (index: number) => Promise<readonly Values[]>): AsyncGenerator<readonly Values[]> {
  let coming = read(0);
  for (let index = 1; ; index++) {
    const slice = await coming;
    if (slice.length === 0) return;
    coming = read(index);
    // Whoever asks for it meets its failure; nobody does when the statements before it have failed.
    coming.catch(() => undefined);
    yield slice;
  }
}

/** Of all rows, not of the winners alone: the first and last time a key was seen, and its newest attributes. One row a key of `from`, which
 *  is the rows of a batch as `seenRowsSql` has them, or several answers of this. */
export function seenSql({ key, attributes }: DimensionTable, from: string): string {
  const keyName = quoteName(key.name);
  const newestOf = (column: string): string => `arg_max_null(${column}, (_last, _partition, _offset)) AS ${column}`;
  const newest = [...attributes.map(({ name }) => quoteName(name)), '_partition', '_offset'].map(newestOf);
  return `SELECT ${[keyName, ...newest].join(', ')}, min(_first) AS _first, max(_last) AS _last
    FROM (${from}) WHERE ${keyName} IS NOT NULL GROUP BY ${keyName}`;
}

export const seenRowsSql = (rows: string): string =>
  `SELECT *, kafka_timestamp AS _first, kafka_timestamp AS _last, kafka_partition AS _partition, kafka_offset AS _offset FROM ${rows}`;

function seenOutSql(dimension: DimensionTable, from: string): string {
  const { key, attributes } = dimension;
  const values = [outOf(key), ...attributes.map(outOf), `${keyOf([key])} AS _hash`];
  const columns = [...values, instant('_first'), instant('_last'), text('_partition'), text('_offset')];
  return `${columns.join(', ')} FROM (${seenSql(dimension, from)}) ORDER BY _hash`;
}

async function select(connection: Connection, rest: string): Promise<Values[]> {
  const columns = await queryColumns(connection, `SELECT ${rest}`);
  const count = columns[0]?.length ?? 0;
  return Array.from({ length: count }, (_, row) => columns.map((column) => column[row] ?? null));
}

export const quotedNames = (columns: readonly SqlColumn[]): string => columns.map(({ quoted }) => quoted).join(', ');
