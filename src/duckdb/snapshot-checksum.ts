// The checksum of a table's snapshot, the same in every target (design 4, §3): XOR over its rows of the first 8 bytes of
// SHA-256(`<key_hash>:<partition>:<offset>`), as decimal digits of 64 bits. warehouse/seal.ts has the same in MySQL's words.
// Invariant: order does not matter, nor which of the equal types of a key part a row was written with.

import { duckdbType } from '../model/columns.ts';
import type { FieldType } from '../model/feed.ts';
import { keyHashSql } from './collapse.ts';
import { type Connection, query } from './connection.ts';
import { quoteName } from './sql.ts';

export type KeyColumn = { readonly name: string; readonly type: FieldType };

/** `table`: a quoted name, or a table function. `key`: in the order of the key. Throws engine_failed. */
export async function snapshotTotals(
  connection: Connection,
  { table, key }: { readonly table: string; readonly key: readonly KeyColumn[] },
): Promise<{ readonly rows: number; readonly checksum: string }> {
  // Rows that were written before a type was widened have the text of the wider one, as in every other target.
  const keys = key.map(({ name, type }) => `CAST(${quoteName(name)} AS ${duckdbType(type)}) AS ${quoteName(name)}`);
  const text = `lower(hex(${keyHashSql(key)})) || ':' || kafka_partition || ':' || kafka_offset`;
  const [totals] = await query(
    connection,
    `SELECT count(*) AS rows, CAST(coalesce(bit_xor(CAST('0x' || left(sha256(${text}), 16) AS UBIGINT)), 0) AS VARCHAR) AS checksum
     FROM (SELECT ${keys.join(', ')}, kafka_partition, kafka_offset FROM ${table})`,
  );
  return { rows: Number(totals?.['rows']), checksum: String(totals?.['checksum']) };
}
