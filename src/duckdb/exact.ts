// Values of DuckDB as JSON can carry them without loss, and as one text for a cell. Invariant: no digit of a value is lost: what a
// double cannot hold (BIGINT and wider, DECIMAL) is a text of all its digits; an instant is ISO 8601 in UTC with microseconds.

import type { DuckDBType, DuckDBValue } from '@duckdb/node-api';

export type Exact = string | number | boolean | null | readonly Exact[] | { readonly [name: string]: Exact };

type Convert = (value: DuckDBValue) => Exact;

/** How the values of a column are converted; NULL stays null. */
export function exactly(type: DuckDBType): Convert {
  const convert = notNull(type);
  return (value) => (value === null ? null : convert(value));
}

/** What stands in a cell of a table or of a line: nested values as their JSON. null: NULL. */
export function cellText(value: Exact): string | null {
  if (value === null || typeof value === 'string') return value;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** By the name of the type, so that this module needs nothing of the package at run time. */
function notNull(type: DuckDBType): Convert {
  const name = type.toString();
  if ('entryTypes' in type && 'entryNames' in type) return structOf(type.entryNames, type.entryTypes);
  if ('keyType' in type && 'valueType' in type) return mapOf(exactly(type.keyType), exactly(type.valueType));
  if ('memberTags' in type && 'memberTypes' in type) return unionOf(type.memberTags, type.memberTypes);
  if ('valueType' in type) return listOf(exactly(type.valueType));
  switch (name) {
    case 'TIMESTAMP':
    case 'TIMESTAMP_MS':
    case 'TIMESTAMP_S':
      return (value) => instantText(value, '');
    case 'TIMESTAMP WITH TIME ZONE':
    case 'TIMESTAMPTZ':
      return (value) => instantText(value, 'Z');
    case 'BLOB':
      return (value) => (hasBytes(value) ? Buffer.from(value.bytes).toString('base64') : String(value));
    case 'DOUBLE':
    case 'FLOAT':
      return (value) => (typeof value === 'number' && Number.isFinite(value) ? value : String(value));
    default:
      return plain;
  }
}

const plain: Convert = (value) =>
  typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string' ? value : String(value);

const hasBytes = (value: DuckDBValue): value is DuckDBValue & { readonly bytes: Uint8Array } =>
  typeof value === 'object' && value !== null && 'bytes' in value && value.bytes instanceof Uint8Array;

function structOf(names: readonly string[], types: readonly DuckDBType[]): Convert {
  const converts = types.map(exactly);
  return (value) => {
    const entries = fieldOf(value, 'entries');
    return Object.fromEntries(names.map((name, index) => [name, converts[index]?.(entryOf(entries, name)) ?? null]));
  };
}

/** A key may be of any type, so that a map is no object. */
function mapOf(key: Convert, item: Convert): Convert {
  return (value) => {
    const entries = fieldOf(value, 'entries');
    return Array.isArray(entries)
      ? entries.map((entry) => ({ key: key(entryOf(entry, 'key')), value: item(entryOf(entry, 'value')) }))
      : [];
  };
}

function unionOf(tags: readonly string[], types: readonly DuckDBType[]): Convert {
  const converts = new Map(tags.map((tag, index) => [tag, types[index] && exactly(types[index])]));
  return (value) => {
    const tag = String(fieldOf(value, 'tag'));
    return { [tag]: converts.get(tag)?.(entryOf(value, 'value')) ?? null };
  };
}

function listOf(item: Convert): Convert {
  return (value) => {
    const items = fieldOf(value, 'items');
    return Array.isArray(items) ? items.map(item) : [];
  };
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : null;
const entryOf = (entries: unknown, name: string): DuckDBValue => (fieldOf(entries, name) ?? null) as DuckDBValue;

const MICROS_PER: readonly (readonly [name: string, factor: bigint])[] = [
  ['micros', 1n],
  ['millis', 1_000n],
  ['milliseconds', 1_000n],
  ['seconds', 1_000_000n],
];
/** What a Date can hold; beyond it, and for the infinities, DuckDB's own words. */
const DATE_MICROS_MAX = 8_640_000_000_000_000_000n;
/** DuckDB's infinities. */
const MICROS_LIMIT = 9_223_372_036_854_775_806n;

function instantText(value: DuckDBValue, zone: '' | 'Z'): string {
  for (const [name, factor] of MICROS_PER) {
    const found = fieldOf(value, name);
    if (typeof found !== 'bigint') continue;
    const micros = found * factor;
    const isFar = micros > DATE_MICROS_MAX || micros < -DATE_MICROS_MAX || found > MICROS_LIMIT;
    return isFar ? String(value) : isoMicros(micros, zone);
  }
  return String(value);
}

function isoMicros(micros: bigint, zone: '' | 'Z'): string {
  const below = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = new Date(Number((micros - below) / 1_000n)).toISOString().slice(0, -5);
  return `${seconds}.${String(below).padStart(6, '0')}${zone}`;
}
