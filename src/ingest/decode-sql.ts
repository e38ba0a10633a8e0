// The statements of decode: create the staged tables, take in what the fast path accepts, take in what model/convert made.
import { quoteName, quoteText } from '../duckdb/sql.ts';
import { assert } from '../errors.ts';
import { type Column, duckdbType } from '../model/columns.ts';
import type { Value } from '../model/convert-value.ts';
import type { FieldType } from '../model/feed.ts';
import { KAFKA_MS_MAX, KAFKA_MS_MIN } from '../model/kafka-time.ts';
import type { FastPlan } from './decode-fast.ts';
import { judged } from './hostile-text.ts';

/** Per connection, remade for each chunk: the coordinates of its messages, in order. */
export const LINEAGE_TABLE = 'lake_chunk';
export const MESSAGES_TABLE = 'lake_chunk_messages';
/** Per connection, remade when needed: rows from model/convert, and dead letters. */
export const DECODED_TABLE = 'lake_chunk_decoded';
export const LETTERS_TABLE = 'lake_chunk_letters';

export const createTableSql = (quotedName: string, columns: readonly Column[]): string =>
  `CREATE TABLE ${quotedName} (${columns.map(({ name, type }) => `${quoteName(name)} ${type}`).join(', ')})`;

/** NULL when no column holds the message's own time: such a message is refused by name. */
const kafkaTime = (ms: '_ms' | '_effective_ms'): string =>
  `CASE WHEN _ms BETWEEN ${KAFKA_MS_MIN} AND ${KAFKA_MS_MAX} THEN make_timestamptz(${ms} * 1000) END`;

const keyBytes = (key: string, encoding: 'text' | 'hex'): string =>
  `CASE WHEN starts_with(${key}, 'k') THEN ${encoding === 'hex' ? 'unhex' : 'encode'}(substr(${key}, 2)) END`;

export type RowShape = {
  readonly values: readonly { readonly column: string; readonly type: FieldType | 'extra' }[];
  readonly headers: boolean;
  /** Of a table: rows carry the effective timestamp. */
  readonly isTable: boolean;
  /** The value column that gives the day, if any. */
  readonly eventTime: { readonly column: string; readonly isDate: boolean } | null;
  readonly timezone: string;
};

/** The day of an instant in the lake's zone. UTC needs no calendar. */
function dayOf(instant: string, timezone: string): string {
  if (timezone === 'UTC') return `CAST(make_timestamp(epoch_us(${instant})) AS DATE)`;
  return `CAST(timezone(${quoteText(timezone)}, ${instant}) AS DATE)`;
}

function rowDay(shape: RowShape, eventTime: string | undefined): string {
  if (!shape.eventTime || eventTime === undefined) return dayOf('_time', shape.timezone);
  if (shape.eventTime.isDate) return `coalesce(${eventTime}, ${dayOf('_time', shape.timezone)})`;
  return dayOf(`coalesce(${eventTime}, _time)`, shape.timezone);
}

/** The columns of a staged row: values as given, then lineage and the day. */
function rowColumns(shape: RowShape, values: readonly string[], keyBlob: string): string {
  const headers = shape.headers ? ['_headers::JSON'] : [];
  const event = shape.values.findIndex(({ column }) => column === shape.eventTime?.column);
  return [...values, '_partition', '_offset', '_time', keyBlob, ...headers, rowDay(shape, values[event])].join(', ');
}

/** Parameters: $1 the values, and $2 the keys if there are any. A table of its own, because a positional join is free between
 *  tables, and dear with anything else. */
export function messagesSql(keys: 'text' | 'hex' | null): string {
  const key = keys === null ? '' : ', unnest(string_split(decode($2::BLOB), chr(30))) AS _raw_key';
  return `CREATE OR REPLACE TEMP TABLE ${MESSAGES_TABLE} AS SELECT unnest(string_split(decode($1::BLOB), chr(30))) AS _v${key}`;
}

/** Takes in the rows of a scan, `from`: the columns of scan.ts. */
export function scanInsertSql(
  shape: RowShape,
  rows: string,
  { from, isHex }: { readonly from: string; readonly isHex: boolean },
): string {
  const values = shape.values.map(({ type }, index) => {
    if (type === 'extra') return 'NULL::JSON';
    return type.kind === 'json' ? `_c${index}::JSON` : `_c${index}`;
  });
  const time = kafkaTime(shape.isTable ? '_effective_ms' : '_ms');
  return `INSERT INTO ${rows} SELECT ${rowColumns(shape, values, isHex ? 'unhex(_raw_key)' : '_raw_key')}
    FROM (SELECT *, ${time} AS _time, NULL::VARCHAR AS _headers FROM ${from})`;
}

export type FastInsert = {
  readonly rows: string;
  readonly keys: 'text' | 'hex' | null;
  /** Whether the texts must be searched one by one; false: a search over all of them found nothing. */
  readonly search: boolean;
};

export function fastInsertSql(fast: FastPlan, shape: RowShape, { rows, keys, search }: FastInsert): string {
  const keyText = keys === 'text' ? '_raw_key' : 'NULL::VARCHAR';
  const time = kafkaTime(shape.isTable ? '_effective_ms' : '_ms');
  const base = `SELECT *, ${time} AS _time, ${keyText} AS _k, ${judged(search)}
    FROM temp.${LINEAGE_TABLE} POSITIONAL JOIN temp.${MESSAGES_TABLE}`;
  const levels = fast.levels
    .filter((columns) => columns.length > 0)
    .reduce((from, columns) => `SELECT *, ${columns.join(', ')} FROM (${from})`, base);
  // Fewer keys than messages would be filled up with NULLs.
  const whole = keys === null ? [] : ['_raw_key IS NOT NULL'];
  const accepted = ['_time IS NOT NULL', ...whole, ...fast.conditions].join(' AND ');
  const keyBlob = keys === null ? 'NULL::BLOB' : keyBytes('_raw_key', keys);
  // random() keeps the optimizer from pushing the filter below the levels, which would compute every value twice.
  const decided = `SELECT *, (${accepted}) AND random() >= 0 AS _accepted FROM (${levels})`;
  return `INSERT INTO ${rows} SELECT ${rowColumns(shape, fast.values, keyBlob)} FROM (${decided}) WHERE _accepted`;
}

/** Indexes of a chunk's messages that are no staged row yet. */
export const leftOverSql = (rows: string): string =>
  `SELECT l.rowid AS index FROM temp.${LINEAGE_TABLE} l ANTI JOIN ${rows} r
   ON l._partition = r.kafka_partition AND l._offset = r.kafka_offset ORDER BY l.rowid`;

/** Takes rows in from DECODED_TABLE: coordinates, `_doc` (see documentOf), `_raw_key` as bytes, `_headers`. */
export function decodedInsertSql(shape: RowShape, rows: string): string {
  const spec = Object.fromEntries(shape.values.map(({ type }, index) => [`f${index}`, specOf(type)]));
  const values = shape.values.map(({ type }, index) => castOf(`struct_extract_at(_row, ${index + 1})`, type));
  const inner = `SELECT *, ${kafkaTime('_ms')} AS _time, json_transform(_doc, ${quoteText(JSON.stringify(spec))}) AS _row
    FROM temp.${DECODED_TABLE}`;
  const named = `SELECT *, ${values.map((value, index) => `${value} AS _c${index}`).join(', ')} FROM (${inner})`;
  const columns = rowColumns(
    shape,
    shape.values.map((_, index) => `_c${index}`),
    '_raw_key',
  );
  return `INSERT INTO ${rows} SELECT ${columns} FROM (${named})`;
}

/** Takes dead letters in from LETTERS_TABLE. */
export function lettersInsertSql(letters: string, place: { timezone: string; schemaVersion: number }): string {
  // A Kafka timestamp beyond all years is in the reason; the letter is filed under the first day of 1970.
  const day = `coalesce(${dayOf('_time', place.timezone)}, DATE '1970-01-01')`;
  return `INSERT INTO ${letters} SELECT _partition, _offset, _time, _raw_key, _value, _headers, _field, _reason,
    ${place.schemaVersion}, ${kafkaTime('_effective_ms')}, ${day}
    FROM (SELECT *, ${kafkaTime('_ms')} AS _time FROM temp.${LETTERS_TABLE})`;
}

/** A decoded row as a JSON document of canonical texts: no number in it, so nothing for a JSON reader to change. */
export const documentOf = (shape: RowShape, values: readonly Value[]): string =>
  objectText(shape.values.map(({ type }, index) => documentText(type, values[index] ?? null)));

const objectText = (parts: readonly string[]): string => `{${parts.map((part, index) => `"f${index}":${part}`).join(',')}}`;

function documentText(type: FieldType | 'extra', value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return NEEDS_ESCAPES.test(value) ? JSON.stringify(value) : `"${value}"`;
  assert(type !== 'extra' && (type.kind === 'list' || type.kind === 'struct'), 'only lists and structs have parts');
  if (type.kind === 'list') return `[${value.map((item) => documentText(type.item, item)).join(',')}]`;
  return objectText(type.fields.map((field, index) => documentText(field.type, value[index] ?? null)));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be escaped
const NEEDS_ESCAPES = /["\\\u0000-\u001f]/;

function specOf(type: FieldType | 'extra'): unknown {
  if (type === 'extra') return 'VARCHAR';
  if (type.kind === 'list') return [specOf(type.item)];
  if (type.kind !== 'struct') return 'VARCHAR';
  return Object.fromEntries(type.fields.map((field, index) => [`f${index}`, specOf(field.type)]));
}

/** The typed value of a canonical text. A failing cast is a bug of ours, and stops the batch. */
function castOf(text: string, type: FieldType | 'extra', depth = 0): string {
  if (type === 'extra') return `CAST(${text} AS JSON)`;
  switch (type.kind) {
    case 'varchar':
      return text;
    case 'timestamp':
      return `make_timestamptz(CAST(${text} AS BIGINT))`;
    case 'date':
      return `DATE '1970-01-01' + CAST(${text} AS INTEGER)`;
    case 'blob':
      return `from_base64(${text})`;
    case 'list':
      return `list_transform(${text}, lambda e${depth}: ${castOf(`e${depth}`, type.item, depth + 1)})`;
    case 'struct': {
      const parts = type.fields.map(
        (field, index) => `${quoteName(field.name)} := ${castOf(`struct_extract_at(${text}, ${index + 1})`, field.type, depth)}`,
      );
      return `CASE WHEN ${text} IS NOT NULL THEN struct_pack(${parts.join(', ')}) END`;
    }
    default:
      return `CAST(${text} AS ${duckdbType(type)})`;
  }
}
