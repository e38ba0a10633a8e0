// A batch that is in memory, as the values of statements: what staged-batch reads out of DuckDB, for batches of few messages.
// Invariant: the same messages give the same values either way (held by a fuzz test in test/ingest).

import { createHash } from 'node:crypto';
import { assert } from '../errors.ts';
import type { Value } from '../model/convert-value.ts';
import type { FieldType } from '../model/feed.ts';
import { isKafkaTime } from '../model/kafka-time.ts';
import { keyHashText, keyText } from '../model/key-text.ts';
import { type Coordinates, type DeadLetter, type DecodedRow, isLater, type MemoryBatch } from '../model/memory-batch.ts';
import { timeText } from './audit.ts';
import { type DimensionTable, type FactTable, isOwn, type SqlColumn } from './fact-table.ts';
import { dayText, microsText, nestedText } from './nested-json.ts';
import { type BatchRows, inMemory, NO_ROWS } from './staged-batch.ts';
import type { SqlScalar, Values } from './warehouse.ts';

export function memoryRows(
  batch: MemoryBatch,
  { fact, schemaVersion }: { readonly fact: FactTable | null; readonly schemaVersion: number },
): BatchRows {
  const letters = [...batch.deadLetters].sort((one, other) => one.partition - other.partition || compared(one, other));
  const deadLetters = inMemory(letters.map((letter) => letterValues(letter, schemaVersion)));
  const drop = async (): Promise<void> => undefined;
  if (fact === null) return { facts: NO_ROWS, tombstones: NO_ROWS, deadLetters, dimensions: [], drop };
  const valuesOf = reader(batch.columns, fact.values);
  const dimensions = fact.dimensions.map((dimension) => inMemory(dimensionValues(batch, dimension)));
  if (fact.kind === 'stream') {
    const facts = inMemory(batch.rows.map((row) => [...valuesOf(row), ...lineage(row.message)]));
    return { facts, tombstones: NO_ROWS, deadLetters, dimensions, drop };
  }
  const { live, deleted } = winnersOf(batch, fact.keys);
  return {
    facts: inMemory(live.map(({ hash, row }) => [...valuesOf(row), hash, ...lineage(row.message)])),
    tombstones: inMemory(deleted.map(({ hash, row }) => [hash, ...lineage(row.message)])),
    deadLetters,
    dimensions,
    drop,
  };
}

type Keyed = { readonly hash: Buffer; readonly row: DecodedRow };

/** The newest message of each key, tombstones included; sorted by hash. */
function winnersOf(batch: MemoryBatch, keys: readonly SqlColumn[]): { live: Keyed[]; deleted: Keyed[] } {
  const [ofRow, ofTombstone] = [keyReader(batch.columns, keys), keyReader(batch.keyColumns, keys)];
  const winners = new Map<string, { row: DecodedRow; isDeleted: boolean }>();
  const offer = (key: string, row: DecodedRow, isDeleted: boolean): void => {
    const before = winners.get(key);
    if (!before || isLater(row.message, before.row.message)) winners.set(key, { row, isDeleted });
  };
  for (const row of batch.rows) offer(surely(ofRow(row)), row, false);
  for (const row of batch.tombstones) offer(surely(ofTombstone(row)), row, true);
  const of = (wanted: boolean): Keyed[] =>
    byHash([...winners].flatMap(([key, { row, isDeleted }]) => (isDeleted === wanted ? [{ hash: hashOf(key), row }] : [])));
  return { live: of(false), deleted: of(true) };
}

function surely(key: string | null): string {
  assert(key !== null, 'a row of a table has a key');
  return key;
}

/** Of all rows, not of the winners alone: the first and last time a key was seen, and its newest attributes. */
function dimensionValues(batch: MemoryBatch, { key, attributes }: DimensionTable): Values[] {
  const [keyOf, valuesOf] = [keyReader(batch.columns, [key]), reader(batch.columns, [key, ...attributes])];
  const seen = new Map<string, { row: DecodedRow; firstMs: bigint }>();
  for (const row of batch.rows) {
    const { timestampMs } = row.message;
    const own = keyOf(row);
    if (own === null) continue;
    const before = seen.get(own);
    seen.set(own, {
      row: !before || isLater(row.message, before.row.message) ? row : before.row,
      firstMs: before && before.firstMs < timestampMs ? before.firstMs : timestampMs,
    });
  }
  const keyed = [...seen].map(([own, { row, firstMs }]) => ({ hash: hashOf(own), row, firstMs }));
  return byHash(keyed).map(({ hash, row, firstMs }) => {
    const [partition, offset, last] = lineage(row.message);
    return [...valuesOf(row), hash, timeText(Number(firstMs)), last, partition, offset];
  });
}

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();
const byHash = <T extends { readonly hash: Buffer }>(rows: T[]): T[] =>
  rows.sort((one, other) => Buffer.compare(one.hash, other.hash));
const compared = (one: Coordinates, other: Coordinates): number => (one.offset < other.offset ? -1 : 1);

type Lineage = readonly [partition: string, offset: string, timestamp: string];
const lineage = ({ partition, offset, timestampMs }: Coordinates): Lineage => [
  String(partition),
  String(offset),
  timeText(Number(timestampMs)),
];

const letterValues = (letter: DeadLetter, schemaVersion: number): Values => [
  String(letter.partition),
  String(letter.offset),
  isKafkaTime(letter.timestampMs) ? timeText(Number(letter.timestampMs)) : null,
  letter.key,
  letter.value,
  letter.headers,
  letter.field,
  letter.reason,
  String(schemaVersion),
  isKafkaTime(letter.timestampMs) ? timeText(Number(letter.effectiveMs)) : null,
];

type Place = { readonly index: number; readonly type: FieldType };

/** Looked for with the first row: a batch without one may have no columns yet. */
function placesOf(names: readonly string[], columns: readonly SqlColumn[]): () => readonly Place[] {
  let places: readonly Place[] | null = null;
  const find = ({ name, holds }: SqlColumn): Place => {
    const index = names.indexOf(name);
    assert(index >= 0 && !isOwn(holds), `column ${name} comes from no message`);
    return { index, type: holds };
  };
  return () => {
    places ??= columns.map(find);
    return places;
  };
}

/** The values of these columns as the server takes them. */
function reader(names: readonly string[], columns: readonly SqlColumn[]): (row: DecodedRow) => SqlScalar[] {
  const from = placesOf(names, columns);
  return ({ values }) => from().map(({ index, type }) => outOf(type, values[index] ?? null));
}

/** What the hash of a key is made of; null when a part of it is. */
function keyReader(names: readonly string[], columns: readonly SqlColumn[]): (row: DecodedRow) => string | null {
  const from = placesOf(names, columns);
  return ({ values }) => {
    const texts = from().flatMap(({ index, type }) => {
      const value = values[index] ?? null;
      return value === null ? [] : [keyText(type, scalar(value))];
    });
    return texts.length === columns.length ? keyHashText(texts) : null;
  };
}

function scalar(value: NonNullable<Value>): string {
  assert(typeof value === 'string', 'a struct or a list is no text');
  return value;
}

/** `value` is a canonical text (model/convert-value). */
function outOf(type: FieldType, value: Value): SqlScalar {
  if (value === null) return null;
  if (type.kind === 'struct' || type.kind === 'list') return nestedText(value, type);
  const text = scalar(value);
  switch (type.kind) {
    case 'boolean':
      return text === 'true' ? '1' : '0';
    case 'date':
      return dayText(text);
    case 'timestamp':
      return microsText(BigInt(text));
    case 'blob':
      return Buffer.from(text, 'base64');
    default:
      return text;
  }
}
