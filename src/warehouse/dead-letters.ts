// lake_dead_letters, read and closed (PROTOCOL M3). Invariant: a letter is closed once: only from `open`, and in the transaction that
// writes its row.

import { LakeError } from '../errors.ts';
import { type Letter, type LetterMessage, type LetterState, NOT_KEPT, type Selection } from '../model/dead-letters.ts';
import type { Redecoded } from '../model/stretches.ts';
import { timeText } from './audit.ts';
import type { PositionsOf } from './positions.ts';
import { type Row, type SqlScalar, type Statement, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

export type WarehouseLetter = Letter & { readonly id: string };

/** Another one has closed one of them meanwhile: look again. */
export class LettersMoved extends Error {}

const HEAD = `id, kafka_partition, kafka_offset, CAST(kafka_timestamp AS CHAR) AS kafka_timestamp,
  CAST(effective_timestamp AS CHAR) AS effective_timestamp, field, reason, schema_version, state`;

/** In the order they came in; `states` empty: in whatever state. Throws WarehouseFailure. */
export async function warehouseLetters(
  warehouse: Warehouse,
  of: PositionsOf,
  {
    selection,
    states,
    signal,
  }: { readonly selection: Selection; readonly states: readonly LetterState[]; readonly signal: AbortSignal },
): Promise<readonly WarehouseLetter[]> {
  const { lengthOf } = LENGTHS[warehouse.engine === 'duckdb' ? 'duckdb' : 'mysql'];
  const { text, values } = conditionOf(selection, states);
  const sizes = `${['kafka_key', 'value'].map((name) => `COALESCE(${lengthOf(name)}, 0)`).join(' + ')} + COALESCE(LENGTH(headers), 0)`;
  const limit = selection.limit === null ? '' : ` LIMIT ${Math.trunc(selection.limit)}`;
  const statement: Statement = {
    text: `SELECT ${HEAD}, ${sizes} AS bytes FROM lake_dead_letters WHERE feed = ? AND topic = ?${text} ORDER BY id${limit}`,
    values: [of.feed, of.topic, ...values],
  };
  return (await unlessMissing(warehouse, () => warehouse.run(statement, signal), signal)).map((row) => headOf(row, of));
}

const LENGTHS = {
  mysql: { lengthOf: (column: string) => `LENGTH(${column})` },
  duckdb: { lengthOf: (column: string) => `octet_length(${column})` },
} as const;

/** A database that lake has not made its tables in yet. */
async function unlessMissing(warehouse: Warehouse, work: () => Promise<readonly Row[]>, signal: AbortSignal) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WarehouseFailure) || error.class !== 'missing') throw error;
    const isThere = await warehouse.run({ text: 'SELECT id FROM lake_dead_letters LIMIT 1', values: [] }, signal).then(
      () => true,
      () => false,
    );
    if (!isThere) return [];
    throw new LakeError('warehouse_failed', `lake_dead_letters is of an older version of lake: ${error.message}`, {
      where: { target: 'warehouse' },
      todo: 'run  lake ingest  once: it adds the columns that are missing',
      cause: error,
    });
  }
}

function conditionOf({ place, field, reason, sinceMs }: Selection, states: readonly LetterState[]): Statement {
  const parts: Statement[] = [];
  if (states.length > 0) parts.push({ text: `state IN (${marks(states)})`, values: states });
  if (place) parts.push({ text: 'kafka_partition = ? AND kafka_offset = ?', values: [place.partition, String(place.offset)] });
  if (field !== null) parts.push({ text: 'field = ?', values: [field] });
  if (reason !== null) parts.push({ text: 'INSTR(LOWER(reason), LOWER(?)) > 0', values: [reason] });
  if (sinceMs !== null) parts.push({ text: '(kafka_timestamp IS NULL OR kafka_timestamp >= ?)', values: [timeText(sinceMs)] });
  return { text: parts.map(({ text }) => ` AND ${text}`).join(''), values: parts.flatMap(({ values }) => values) };
}

const marks = (values: readonly unknown[]): string => values.map(() => '?').join(', ');

/** With their bytes. Throws WarehouseFailure. */
export async function letterMessages(
  warehouse: Warehouse,
  letters: readonly WarehouseLetter[],
  signal: AbortSignal,
): Promise<readonly (LetterMessage & { readonly id: string })[]> {
  if (letters.length === 0) return [];
  const statement: Statement = {
    text: `SELECT id, kafka_key, value, headers FROM lake_dead_letters WHERE id IN (${marks(letters)})`,
    values: letters.map(({ id }) => id),
  };
  const rows = new Map((await warehouse.run(statement, signal)).map((row) => [String(row['id']), row]));
  return letters.flatMap((letter) => {
    const row = rows.get(letter.id);
    return row
      ? [{ ...letter, key: bytesOf(row['kafka_key']), value: bytesOf(row['value']), headers: textOf(row['headers']) }]
      : [];
  });
}

const textOf = (cell: Row[string] | undefined): string | null =>
  cell === null || cell === undefined ? null : cell instanceof Uint8Array ? Buffer.from(cell).toString('utf8') : String(cell);

const bytesOf = (cell: Row[string] | undefined): Uint8Array | null =>
  cell === null || cell === undefined ? null : cell instanceof Uint8Array ? cell : Buffer.from(String(cell));

const msOf = (cell: Row[string] | undefined): number | null =>
  cell === null || cell === undefined ? null : Date.parse(`${String(cell).replace(' ', 'T')}Z`);

const STATES: readonly LetterState[] = ['open', 'retried', 'superseded', 'dropped'];

function headOf(row: Row, { feed, topic }: PositionsOf): WarehouseLetter {
  const timestampMs = msOf(row['kafka_timestamp']);
  const reason = textOf(row['reason']) ?? '';
  return {
    ...{ id: String(row['id']), feed, target: 'warehouse', topic },
    ...{ partition: Number(row['kafka_partition']), offset: BigInt(String(row['kafka_offset'])) },
    ...{ timestampMs, effectiveMs: msOf(row['effective_timestamp']) ?? timestampMs },
    ...{ field: textOf(row['field']), reason, schemaVersion: Number(row['schema_version']) },
    state: STATES.find((state) => state === row['state']) ?? 'open',
    bytes: Number(row['bytes'] ?? 0) + 24,
    isWhole: !reason.includes(NOT_KEPT),
  };
}

export type Closing = {
  readonly letters: readonly WarehouseLetter[];
  readonly state: Exclude<LetterState, 'open'>;
  readonly atMs: number;
  /** That they were decoded by; null: by none. */
  readonly schemaVersion: number | null;
};

/** Each must change one row, or none does. Throws LettersMoved, WarehouseFailure. */
export async function closeLetters(tx: Tx, { letters, state, atMs, schemaVersion }: Closing): Promise<void> {
  const schema = schemaVersion === null ? '' : ', schema_version = ?';
  const closed = await tx.change({
    text: `UPDATE lake_dead_letters SET state = ?, closed_at = ?${schema} WHERE state = 'open' AND id IN (${marks(letters)})`,
    values: [state, timeText(atMs), ...(schemaVersion === null ? [] : [schemaVersion]), ...letters.map(({ id }) => id)],
  });
  if (closed !== letters.length) throw new LettersMoved();
}

/** Of letters that this transaction has closed already. */
export const supersede = (ids: readonly SqlScalar[]): Statement => ({
  text: `UPDATE lake_dead_letters SET state = 'superseded' WHERE id IN (${marks(ids)})`,
  values: ids,
});

/** Of letters that became rows or tombstones, the schema that did it; one that lost against a later message made none. Throws
 *  WarehouseFailure. */
export async function redecodedLetters(
  warehouse: Warehouse,
  { feed, topic }: PositionsOf,
  signal: AbortSignal,
): Promise<Redecoded[]> {
  const text = `SELECT kafka_partition, kafka_offset, schema_version FROM lake_dead_letters
    WHERE feed = ? AND topic = ? AND state = 'retried' AND schema_version > 0`;
  return (await warehouse.run({ text, values: [feed, topic] }, signal)).map((row) => ({
    partition: Number(row['kafka_partition']),
    offset: BigInt(String(row['kafka_offset'])),
    schemaVersion: Number(row['schema_version']),
  }));
}
