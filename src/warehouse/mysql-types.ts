// Field types as columns of MySQL and MariaDB (DESIGN §6), and quoting for their SQL text.
// Invariant: a column holds every value that its field type holds, as it is; a name from outside reaches SQL through mysqlName only.

import { KEY_CHARS_MAX } from '../model/columns.ts';
import type { FieldType } from '../model/feed.ts';

/** An identifier, always in backticks. */
export const mysqlName = (name: string): string => `\`${name.replaceAll('`', '``')}\``;

export const mysqlNames = (names: readonly string[]): string => names.map(mysqlName).join(', ');

/** A text literal, for DDL that takes no parameters. */
export const mysqlText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

/** Of a table made here: known to both servers. The columns whose texts must compare exactly say so themselves. */
export const TABLE_OPTIONS = 'ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci';
const EXACT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';

/**
 * The type of a column without NULL or NOT NULL. Texts of a key compare byte by byte. A TIMESTAMP field is a DATETIME(6) in UTC:
 * TIMESTAMP ends in 2038. What is JSON is kept as the text it was: a JSON column rewrites numbers and drops duplicate keys.
 */
export function mysqlType(type: FieldType, use: { readonly key: boolean }): string {
  switch (type.kind) {
    case 'varchar':
      if (use.key) return `VARCHAR(${type.charsMax ?? KEY_CHARS_MAX}) ${EXACT}`;
      return type.charsMax === null ? 'LONGTEXT' : `VARCHAR(${type.charsMax})`;
    case 'boolean':
      return 'TINYINT(1)';
    case 'integer':
      return 'INT';
    case 'bigint':
    case 'double':
    case 'date':
      return type.kind.toUpperCase();
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'timestamp':
      return 'DATETIME(6)';
    case 'blob':
      return 'LONGBLOB';
    case 'json':
    case 'struct':
    case 'list':
      return `LONGTEXT ${EXACT}`;
  }
}

/** InnoDB: error 1071 beyond 3,072 bytes; some stay free for what the server counts on top. */
const INDEX_BYTES_MAX = 3_000;
const INDEX_PARTS_MAX = 16;
const CHAR_BYTES = 4;

type Keyed = { readonly name: string; readonly type: FieldType };
/** `length` in characters (bytes of a BLOB); null: the whole column. */
export type IndexPart = { readonly name: string; readonly length: number | null };

/** An index on these columns, in order, that the server accepts: long texts are indexed by their beginning. */
export function indexParts(columns: readonly Keyed[]): IndexPart[] {
  const parts = columns.slice(0, INDEX_PARTS_MAX);
  const fixedBytes = parts.reduce((sum, { type }) => sum + (fixedIndexBytes(type) ?? 0), 0);
  const long = parts.filter(({ type }) => fixedIndexBytes(type) === null);
  const shareBytes = Math.floor((INDEX_BYTES_MAX - fixedBytes) / Math.max(1, long.length));
  const allBytes = fixedBytes + long.reduce((sum, { type }) => sum + (textBytes(type) ?? Infinity), 0);
  return parts.map(({ name, type }) => {
    const bytes = fixedIndexBytes(type) === null ? (textBytes(type) ?? Infinity) : 0;
    if (bytes === 0 || (bytes <= shareBytes && bytes < Infinity) || allBytes <= INDEX_BYTES_MAX) return { name, length: null };
    return { name, length: type.kind === 'blob' ? shareBytes : Math.floor(shareBytes / CHAR_BYTES) };
  });
}

/** null: as long as its value. */
function fixedIndexBytes(type: FieldType): number | null {
  switch (type.kind) {
    case 'varchar':
    case 'blob':
    case 'json':
    case 'struct':
    case 'list':
      return null;
    case 'decimal':
      return 20;
    default:
      return 8;
  }
}

/** Of a key column that is a text; null: without a bound. */
const textBytes = (type: FieldType): number | null =>
  type.kind === 'varchar' ? (type.charsMax ?? KEY_CHARS_MAX) * CHAR_BYTES : null;

/** What a VARCHAR column takes of the 65,535 bytes that a row may have; other columns count a few bytes. */
export const varcharRowBytes = (charsMax: number): number => charsMax * CHAR_BYTES + 2;
