// A database with a Warehouse on it, and feeds to make tables of.

import { join } from 'node:path';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import type { MysqlEngine } from '../../scripts/service/mysql-files.ts';
import { LakeError } from '../../src/errors.ts';
import type { Feed, TypedField } from '../../src/model/feed.ts';
import type { Dialect } from '../../src/warehouse/dialect.ts';
import { openDuckdbWarehouse } from '../../src/warehouse/duckdb-warehouse.ts';
import { type FactTable, factTable } from '../../src/warehouse/fact-table.ts';
import { mysqlDialect } from '../../src/warehouse/mysql-dialect.ts';
import { openMysqlWarehouse } from '../../src/warehouse/mysql-warehouse.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { feedOf, type Json } from '../config/helpers.ts';
import { type TestDatabase, testMysql } from '../helpers/mysql.ts';
import { tempDir } from '../helpers/services.ts';

export const never = new AbortController().signal;
export const NOW_MS = Date.UTC(2025, 0, 28, 12);
const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

export type Place = AsyncDisposable & {
  readonly database: TestDatabase;
  readonly warehouse: Warehouse;
  readonly open: (user?: string, password?: string) => Promise<Warehouse>;
  /** As an administrator, in a session of MySQL's own settings. */
  readonly sql: Connection;
  readonly rows: (text: string) => Promise<RowDataPacket[]>;
};

export async function place(engine: MysqlEngine, given?: TestDatabase): Promise<Place> {
  const database = given ?? (await testMysql(engine));
  const opened: Warehouse[] = [];
  const open = async (user = database.login.user, password = database.login.password): Promise<Warehouse> => {
    const { host, port } = database.login;
    const config = { engine: 'mysql', host, port, user, password, database: database.database, ssl: false } as const;
    const warehouse = await openMysqlWarehouse(config, { log: silent });
    opened.push(warehouse);
    return warehouse;
  };
  const sql = await database.connect({ multipleStatements: true });
  return {
    database,
    warehouse: await open(),
    open,
    sql,
    rows: async (text) => (await sql.query<RowDataPacket[]>(text))[0],
    [Symbol.asyncDispose]: async () => {
      for (const warehouse of opened) await warehouse[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** The embedded warehouse; `rows` reads what is committed. */
export async function embeddedPlace() {
  const folder = await tempDir();
  const files = { statePath: join(folder.path, 'engine/state.duckdb'), path: join(folder.path, 'warehouse.duckdb') };
  const warehouse = await openDuckdbWarehouse({ ...files, publishEveryMs: 1_000, nowMs: Date.now, log: silent });
  return {
    warehouse,
    rows: (text: string) => warehouse.run({ text, values: [] }, never),
    [Symbol.asyncDispose]: async () => {
      await warehouse[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** All that a set-up could change, as text. */
export async function contents({ rows }: Place): Promise<string> {
  const all = [
    'table_name, table_type, engine, table_collation from information_schema.tables where table_schema = database() order by 1',
    'table_name, column_name, ordinal_position, column_type, is_nullable, column_default, extra, collation_name from information_schema.columns where table_schema = database() order by 1, 3',
    'table_name, index_name, seq_in_index, column_name, sub_part, non_unique from information_schema.statistics where table_schema = database() order by 1, 2, 3',
    '* from lake_identity',
    '* from feed_registry order by feed_name',
    '* from data_retention_policies order by feed_name',
    '* from audit_log order by audit_id',
  ];
  const parts: unknown[] = [];
  for (const part of all) parts.push(await rows(`select ${part}`));
  return JSON.stringify(parts, null, 1);
}

export const SUMMARY: Json = {
  feed_name: 'summary',
  feed_type: 'table',
  destination: 'both',
  schema: {
    key_field: 'user_id',
    fields: {
      user_id: { type: 'VARCHAR(255)', required: true },
      transaction_count: 'BIGINT',
      total_amount: 'DECIMAL(15,2)',
      updated_at: 'TIMESTAMP',
    },
  },
  dimensions: [{ table: 'dim_users', key: 'user_id', attributes: ['updated_at'] }],
};

/** SUMMARY with other fields, the key first. */
export const summaryWith = (fields: Json, more: Json = {}): Json => ({
  ...SUMMARY,
  dimensions: [],
  schema: { key_field: 'user_id', fields: { user_id: 'VARCHAR(255)', ...fields } },
  ...more,
});

export const EVENTS: Json = {
  feed_name: 'events',
  feed_type: 'stream',
  destination: 'both',
  event_time: 'at',
  unknown_fields: 'keep',
  schema: { fields: { ID: 'VARCHAR', at: 'TIMESTAMP', payment: 'STRUCT(a VARCHAR)', on_sale: 'BOOLEAN' } },
};

export const typed = (feed: Feed): TypedField[] =>
  (feed.fields ?? []).map((field) => {
    if (field.type === null) throw new Error(`${field.name} has no type`);
    return { ...field, type: field.type };
  });

export const tableOf = (json: Json, dialect: Dialect = mysqlDialect): FactTable => {
  const feed = feedOf(json);
  return factTable(feed, typed(feed), dialect);
};

export async function errorOf(work: Promise<unknown>): Promise<LakeError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof LakeError) return error;
  throw error;
}
