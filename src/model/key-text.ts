// The canonical text of a key part, and the bytes a key_hash is made of (DESIGN §5; design 4, §1.1). The reference for the SQL form
// in duckdb/collapse.ts. Invariant: one value has one text, also after its type was widened; different keys have different bytes.
import { assert } from '../errors.ts';
import { duckdbType } from './columns.ts';
import type { FieldType } from './feed.ts';

/** `value` is the canonical text that model/convert makes of a value of this type. Lists, structs, JSON and DOUBLE are no keys. */
export function keyText(type: FieldType, value: string): string {
  switch (type.kind) {
    case 'varchar':
    case 'integer':
    case 'bigint':
    case 'timestamp':
      return value;
    case 'decimal':
      return type.scale === 0 ? value : value.replace(/\.?0+$/, '');
    case 'date':
      return new Date(Number(value) * 86_400_000).toISOString().slice(0, 10);
    case 'boolean':
      return value === 'true' ? '1' : '0';
    case 'blob':
      return [...atob(value)].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()).join('');
    default:
      assert(false, `a ${duckdbType(type)} is no key`);
  }
}

const encoder = new TextEncoder();

/** What key_hash is the SHA-256 of: each part's text behind its length in bytes of UTF-8, so that no two lists of parts are one. */
export const keyHashInput = (texts: readonly string[]): Uint8Array => encoder.encode(keyHashText(texts));

/** The same as a text, one for each key. */
export function keyHashText(texts: readonly string[]): string {
  let all = '';
  for (const text of texts) {
    assert(text.isWellFormed(), 'a key with half a surrogate pair');
    all += `${encoder.encode(text).length}:${text}`;
  }
  return all;
}
