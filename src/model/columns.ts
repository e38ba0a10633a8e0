// Field types as DuckDB types, and the columns of a feed in order. The same names and types reach staging, Parquet and verify.
import { assert } from '../errors.ts';
import type { Feed, FieldType } from './feed.ts';

/** Of a key that is declared as VARCHAR: an unbounded text cannot be indexed whole. */
export const KEY_CHARS_MAX = 255;

export type Column = { readonly name: string; readonly type: string };

/** DuckDB's name of a field type, e.g. `DECIMAL(15,2)` or `STRUCT("a" BIGINT)[]`. Lengths of VARCHAR are checked in convert. */
export function duckdbType(type: FieldType): string {
  switch (type.kind) {
    case 'varchar':
      return 'VARCHAR';
    case 'timestamp':
      return 'TIMESTAMPTZ';
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `${quoted(field.name)} ${duckdbType(field.type)}`).join(', ')})`;
    case 'list':
      return `${duckdbType(type.item)}[]`;
    default:
      return type.kind.toUpperCase();
  }
}

/** The canonical text of a type, as feeds.json, the registry, the log and messages write it: `VARCHAR(20)`, `TIMESTAMP`. */
export function typeName(type: FieldType): string {
  switch (type.kind) {
    case 'varchar':
      return type.charsMax === null ? 'VARCHAR' : `VARCHAR(${type.charsMax})`;
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `${plainOrQuoted(field.name)} ${typeName(field.type)}`).join(', ')})`;
    case 'list':
      return `${typeName(type.item)}[]`;
    default:
      return type.kind.toUpperCase();
  }
}

const plainOrQuoted = (name: string): string => (/^[\p{L}\p{N}_$]+$/u.test(name) ? name : quoted(name));
const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** What comes from the message: the fields, and `extra` when unknown ones are kept. Types must be known by now. */
export function valueColumns(feed: Feed): Column[] {
  assert(feed.fields, `feed ${feed.name} has no schema yet`);
  const columns = feed.fields.map((field) => {
    assert(field.type, `field ${field.name} of feed ${feed.name} has no type yet`);
    return { name: field.name, type: duckdbType(field.type) };
  });
  return feed.unknownFields === 'keep' ? [...columns, { name: 'extra', type: 'JSON' }] : columns;
}

/** Where a row comes from (DESIGN §4). */
export function lineageColumns(feed: Feed): Column[] {
  const columns = [
    { name: 'kafka_partition', type: 'INTEGER' },
    { name: 'kafka_offset', type: 'BIGINT' },
    { name: 'kafka_timestamp', type: 'TIMESTAMPTZ' },
    { name: 'kafka_key', type: 'BLOB' },
  ];
  return feed.headers ? [...columns, { name: 'kafka_headers', type: 'JSON' }] : columns;
}

export const DEAD_LETTER_COLUMNS: readonly Column[] = [
  { name: 'kafka_partition', type: 'INTEGER' },
  { name: 'kafka_offset', type: 'BIGINT' },
  { name: 'kafka_timestamp', type: 'TIMESTAMPTZ' },
  { name: 'kafka_key', type: 'BLOB' },
  { name: 'value', type: 'BLOB' },
  { name: 'headers', type: 'VARCHAR' },
  { name: 'field', type: 'VARCHAR' },
  { name: 'reason', type: 'VARCHAR' },
  { name: 'schema_version', type: 'INTEGER' },
  // The one that the row would carry. Files from before there were retries have it not.
  { name: 'effective_timestamp', type: 'TIMESTAMPTZ' },
];

/** The day a row or dead letter is filed under. */
export const DAY_COLUMN: Column = { name: '_day', type: 'DATE' };
