// Makes a database ready for a lake: whose it is, lake's own tables, rows of the registry and of the policies, each change
// audited. Invariant: nothing is touched in a database of another lake, a row that is there is never changed, and a second
// run, or two at once, change nothing more.

import { assert, LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { type AuditEntry, auditStatement, timeText } from './audit.ts';
import type { Dialect } from './dialect.ts';
import { explained, transactionAgain } from './explain.ts';
import type { OwnTable } from './own-tables.ts';
import { policyRow, registryRow } from './registry.ts';
import { type Row, type Statement, type Tx, type Warehouse, WarehouseFailure } from './warehouse.ts';

/** Of the tables lake_*; a later lake may write a higher one. */
const FORMAT = 1;

export type WarehouseSetup = {
  readonly lakeId: string;
  readonly feeds: readonly Feed[];
  readonly nowMs: number;
  /** Of the lake's files, for the registry. */
  readonly compression?: string;
};

/** The changes that were made, all of them audited. Throws LakeError; WarehouseFailure `wait` when it may be tried again. */
export function setUpWarehouse(warehouse: Warehouse, setup: WarehouseSetup, signal: AbortSignal): Promise<readonly AuditEntry[]> {
  return explained({ warehouse, subject: 'the tables of lake cannot be made', signal }, async () => {
    const made = await makeTables(warehouse, warehouse.dialect.identityTables, signal);
    await checkIdentity(warehouse, setup, signal);
    made.push(...(await makeTables(warehouse, warehouse.dialect.otherTables, signal)));
    const audited = made.map((entry) => ({ ...entry, atMs: setup.nowMs }));
    return await transactionAgain(
      warehouse,
      async (tx) => {
        await lockSetup(tx, warehouse.dialect);
        for (const entry of audited) await tx.change(auditStatement(warehouse.dialect, entry));
        return [...audited, ...(await addRows(tx, setup, warehouse.dialect))];
      },
      signal,
    );
  });
}

/** Set-ups of two processes write their rows one after the other: the user's own tables may have no unique key on the name. */
export async function lockSetup(tx: Tx, { forUpdate }: Dialect): Promise<void> {
  await tx.rows({ text: `SELECT lake_id FROM lake_identity${forUpdate}`, values: [] });
}

/** Whether this statement was the one that made it: false when another was first. */
export async function runUnlessThere(warehouse: Warehouse, statement: Statement, signal: AbortSignal): Promise<boolean> {
  try {
    await warehouse.run(statement, signal);
    return true;
  } catch (error) {
    if (error instanceof WarehouseFailure && error.class === 'exists') return false;
    throw error;
  }
}

const COLUMNS = 'SELECT table_name AS tab, column_name AS col FROM information_schema.columns';

/** Tables that are missing, and columns that an older lake, or the user's own table, does not have. */
async function makeTables(warehouse: Warehouse, tables: readonly OwnTable[], signal: AbortSignal): Promise<AuditEntry[]> {
  const names = tables.map(({ name }) => name);
  const query = {
    text: `${COLUMNS} WHERE ${warehouse.dialect.isHere} AND table_name IN (${names.map(() => '?').join(', ')})`,
    values: names,
  };
  const found = new Set((await warehouse.run(query, signal)).flatMap(namesOf));
  const made: AuditEntry[] = [];
  for (const { name, create, columns } of tables) {
    if (!found.has(name)) {
      if (await runUnlessThere(warehouse, create, signal)) made.push({ action: 'table_created', feed: null, resource: name });
      continue;
    }
    for (const column of columns) {
      if (found.has(`${name}.${column.name}`) || !(await runUnlessThere(warehouse, column.add, signal))) continue;
      made.push({ action: 'column_added', feed: null, resource: `${name}.${column.name}` });
    }
  }
  return made;
}

const namesOf = (row: Row): string[] => {
  const [table, column] = [String(row['tab']).toLowerCase(), String(row['col']).toLowerCase()];
  return [table, `${table}.${column}`];
};

const IDENTITY: Statement = { text: 'SELECT lake_id, format FROM lake_identity', values: [] };

async function checkIdentity(warehouse: Warehouse, { lakeId, nowMs }: WarehouseSetup, signal: AbortSignal): Promise<void> {
  let [row] = await warehouse.run(IDENTITY, signal);
  if (row === undefined) {
    const text = 'INSERT INTO lake_identity (lake_id, format, created_at) VALUES (?, ?, ?)';
    try {
      await warehouse.run({ text, values: [lakeId, FORMAT, timeText(nowMs)] }, signal);
    } catch (error) {
      // Another one was first: whose it is now is read.
      if (!(error instanceof WarehouseFailure) || error.class !== 'duplicate') throw error;
    }
    [row] = await warehouse.run(IDENTITY, signal);
  }
  assert(row, 'lake_identity is empty after its row was written');
  if (row['lake_id'] !== lakeId) {
    const message = `the database belongs to the lake ${row['lake_id']}, not to this one (${lakeId})`;
    throw new LakeError('warehouse_other_lake', message, { where: { target: 'warehouse' } });
  }
  if (Number(row['format']) > FORMAT) {
    throw new LakeError('lake_foreign_format', `the tables lake_* have format ${row['format']}, newer than ${FORMAT}`, {
      where: { target: 'warehouse' },
    });
  }
}

/** A row that differs from feeds.json stays: `feeds sync` writes it, verify tells it. */
async function addRows(
  tx: Tx,
  { feeds, compression = 'snappy', nowMs }: WarehouseSetup,
  dialect: Dialect,
): Promise<AuditEntry[]> {
  const registered = await namesIn(tx, 'feed_registry');
  const policies = await namesIn(tx, 'data_retention_policies');
  const added: AuditEntry[] = [];
  const add = async (row: Statement, entry: AuditEntry): Promise<void> => {
    await tx.change(row);
    await tx.change(auditStatement(dialect, entry));
    added.push(entry);
  };
  for (const feed of feeds) {
    const who = { feed: feed.name, performedBy: feed.createdBy, atMs: nowMs };
    if (!registered.has(feed.name)) {
      await add(registryRow(feed, compression), { action: 'feed_registered', resource: 'feed_registry', ...who });
    }
    if (!policies.has(feed.name)) {
      await add(policyRow(feed), { action: 'policy_registered', resource: 'data_retention_policies', ...who });
    }
  }
  return added;
}

async function namesIn(tx: Tx, table: 'feed_registry' | 'data_retention_policies'): Promise<Set<string>> {
  const rows = await tx.rows({ text: `SELECT feed_name AS name FROM ${table}`, values: [] });
  return new Set(rows.map((row) => String(row['name'])));
}
