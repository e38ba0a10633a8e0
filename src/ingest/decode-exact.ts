// What model/convert decoded, on its way into DuckDB: coordinates beside a document of canonical texts.

import { type ColumnValues, type Connection, fillTempTable, run } from '../duckdb/connection.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { Coordinates, DeadLetter, DecodedRow } from '../model/memory-batch.ts';
import * as sql from './decode-sql.ts';

/** Takes rows into a staged table of this shape. Throws engine_failed. */
export async function appendDecoded(
  connection: Connection,
  shape: sql.RowShape,
  table: string,
  decoded: readonly DecodedRow[],
): Promise<void> {
  if (decoded.length === 0) return;
  await fillTempTable(connection, sql.DECODED_TABLE, {
    count: decoded.length,
    columns: {
      ...coordinates(decoded.map(({ message }) => message)),
      _doc: { type: 'VARCHAR', values: decoded.map(({ values }) => sql.documentOf(shape, values)) },
    },
  });
  await run(connection, sql.decodedInsertSql(shape, table));
}

/** Writes dead letters, also those that were found before decoding (empty, not UTF-8, raw 0x1E). Throws engine_failed. */
export async function appendDeadLetters(
  connection: Connection,
  place: { readonly timezone: string; readonly schemaVersion: number },
  tables: StagedBatch['tables'],
  letters: readonly DeadLetter[],
): Promise<void> {
  if (letters.length === 0) return;
  await fillTempTable(connection, sql.LETTERS_TABLE, {
    count: letters.length,
    columns: {
      ...coordinates(letters),
      _effective_ms: { type: 'BIGINT', values: BigInt64Array.from(letters, ({ effectiveMs }) => effectiveMs) },
      _value: { type: 'BLOB', values: letters.map(({ value }) => value) },
      _field: { type: 'VARCHAR', values: letters.map(({ field }) => field) },
      _reason: { type: 'VARCHAR', values: letters.map(({ reason }) => reason) },
    },
  });
  await run(connection, sql.lettersInsertSql(tables.deadLetters, place));
}

function coordinates(messages: readonly Coordinates[]): Record<string, ColumnValues> {
  return {
    _partition: { type: 'INTEGER', values: Int32Array.from(messages, ({ partition }) => partition) },
    _offset: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ offset }) => offset) },
    _ms: { type: 'BIGINT', values: BigInt64Array.from(messages, ({ timestampMs }) => timestampMs) },
    _raw_key: { type: 'BLOB', values: messages.map(({ key }) => key) },
    _headers: { type: 'VARCHAR', values: messages.map(({ headers }) => headers) },
  };
}
