// The texts of MySQL and MariaDB. Assignments of ON DUPLICATE KEY UPDATE go from left to right, so what a guard compares is set last.

import { createTable } from './ddl.ts';
import type { Dialect, NewerUpsert } from './dialect.ts';
import { mysqlName, mysqlType } from './mysql-types.ts';
import { IDENTITY_TABLES, OTHER_TABLES } from './own-tables.ts';
import { checkTable } from './table-check.ts';
import type { Statement } from './warehouse.ts';

const NOW = 'CURRENT_TIMESTAMP(6)';
/** Of the 65,535 bytes of a row (error 1118); the rest is for the other columns and what NULLs take. */
const ROW_BYTES_MAX = 56_000;

const described = (select: string, from: string, order = ''): ((table: string) => Statement) => {
  const text = `SELECT ${select} FROM information_schema.${from} WHERE table_schema = DATABASE() AND table_name = ?${order}`;
  return (table) => ({ text, values: [table] });
};

const incoming = (column: string): string => `VALUES(${column})`;

function latestWins({ fields, order }: NewerUpsert): string {
  const newer = `(${order.map(incoming).join(', ')}) > (${order.join(', ')})`;
  const sets = [...fields, ...order.toReversed()].map((name) => `${name} = IF(${newer}, ${incoming(name)}, ${name})`);
  return ` ON DUPLICATE KEY UPDATE ${sets.join(', ')}`;
}

export const mysqlDialect: Dialect = {
  name: mysqlName,
  type: mysqlType,
  own: {
    id: 'BIGINT NOT NULL AUTO_INCREMENT',
    date: 'DATE NOT NULL',
    integer: 'INT NOT NULL',
    bigint: 'BIGINT NOT NULL',
    timestamp: 'DATETIME(6) NOT NULL',
    keyHash: 'BINARY(32) NOT NULL',
    createdAt: `DATETIME(6) NOT NULL DEFAULT ${NOW}`,
    updatedAt: `DATETIME(6) NOT NULL DEFAULT ${NOW} ON UPDATE ${NOW}`,
  },
  rowBytesMax: ROW_BYTES_MAX,
  insertRowsMax: 1_000,
  copyRowsMax: 5_000,
  forUpdate: ' FOR UPDATE',
  // MariaDB has no FOR SHARE.
  forShare: ' LOCK IN SHARE MODE',
  now: NOW,
  touch: '',
  openFeed: 'open_feed',
  isHere: 'table_schema = DATABASE()',
  latestWins,
  upsert: ({ sets }) =>
    ` ON DUPLICATE KEY UPDATE ${sets((column) => column, incoming)
      .map(([column, value]) => `${column} = ${value}`)
      .join(', ')}`,
  unlessThere: ({ table, id }) => ` ON DUPLICATE KEY UPDATE ${id} = ${table}.${id}`,
  deleteJoined: ({ table, other, on, where }) => `DELETE f FROM ${table} f JOIN ${other} t ON ${on} WHERE ${where}`,
  deleteSome: (table, where, rowsMax) => `DELETE FROM ${table} WHERE ${where} LIMIT ${rowsMax}`,
  checksum: ({ keyHash, partition, offset }) => {
    const text = `CONCAT(LOWER(HEX(${keyHash})), ':', ${partition}, ':', ${offset})`;
    return `BIT_XOR(CAST(CONV(LEFT(SHA2(${text}, 256), 16), 16, 10) AS UNSIGNED))`;
  },
  createTable,
  identityTables: IDENTITY_TABLES,
  otherTables: OTHER_TABLES,
  described: {
    table: described('table_type AS type, engine AS engine, table_collation AS collation', 'tables'),
    columns: described(
      'column_name AS name, data_type AS kind, column_type AS type, is_nullable AS nullable, column_default AS preset, extra AS extra, ' +
        'generation_expression AS expression, character_set_name AS charset, collation_name AS collation, column_comment AS comment',
      'columns',
      ' ORDER BY ordinal_position',
    ),
    // A part that is an expression has no column name; it is kept, for the index is not one on plain columns then.
    indexes: described(
      'index_name AS name, non_unique AS repeats, column_name AS part, sub_part AS length',
      'statistics',
      ' ORDER BY index_name, seq_in_index',
    ),
  },
  check: checkTable,
};
