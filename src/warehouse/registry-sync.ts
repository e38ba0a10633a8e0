// What feed_registry and data_retention_policies say beside feeds.json, and writing what differs (`lake feeds sync`). The plan is
// pure. Invariant: a row is changed only from what the plan saw; columns that feeds.json does not say are left alone.

import type { Feed } from '../model/feed.ts';
import { canonicalJson } from '../model/json-fields.ts';
import { type AuditEntry, auditStatement } from './audit.ts';
import { transactionAgain } from './explain.ts';
import { type GovernanceValues, policyValues, registryValues, schemaDefinition } from './registry.ts';
import { lockSetup } from './setup.ts';
import type { Row, SqlScalar, Warehouse } from './warehouse.ts';

export type SyncTable = 'feed_registry' | 'data_retention_policies';

/** Of permissions: whom feed_permissions does not name yet, and files of the lake that are not the group's. */
export type SyncPlace = SyncTable | 'feed_permissions' | 'lake';

/** `columns`: null where there is no row yet. */
export type RowChange = {
  readonly table: SyncPlace;
  readonly feed: string;
  readonly performedBy: number;
  readonly columns:
    | readonly { readonly name: string; readonly from: string | null; readonly to: string | number | null }[]
    | null;
};

export type GovernanceTables = Readonly<Record<SyncTable, readonly Row[]>>;

export async function readGovernance(warehouse: Warehouse, signal: AbortSignal): Promise<GovernanceTables> {
  const all = (table: SyncTable) => warehouse.run({ text: `SELECT * FROM ${table}`, values: [] }, signal);
  return { feed_registry: await all('feed_registry'), data_retention_policies: await all('data_retention_policies') };
}

export const NO_GOVERNANCE: GovernanceTables = { feed_registry: [], data_retention_policies: [] };

export function planSync(feeds: readonly Feed[], tables: GovernanceTables): readonly RowChange[] {
  return feeds.flatMap((feed) => [
    ...changeOf('feed_registry', feed, { ...registryValues(feed), ...schemaOf(feed) }, tables),
    ...changeOf('data_retention_policies', feed, policyValues(feed), tables),
  ]);
}

/** Rows of feeds that feeds.json does not have, which `lake feeds import` proposes. */
export const unknownRows = (feeds: readonly Feed[], { feed_registry: rows }: GovernanceTables): readonly string[] =>
  rows.map((row) => textOf(row['feed_name']) ?? '').filter((name) => !feeds.some((feed) => feed.name === name));

/** Only what is declared: the copy of an inferred schema is the pipelines' to write. */
function schemaOf({ fields, keyFields }: Feed): GovernanceValues {
  return fields?.every(({ type }) => type !== null) ? { schema_definition: schemaDefinition(fields, keyFields) } : {};
}

function changeOf(table: SyncTable, feed: Feed, wanted: GovernanceValues, tables: GovernanceTables): RowChange[] {
  const who = { table, feed: feed.name, performedBy: feed.createdBy };
  const row = tables[table].find((one) => textOf(one['feed_name']) === feed.name);
  if (row === undefined) return [{ ...who, columns: null }];
  const columns = Object.entries(wanted).flatMap(([name, to]) => {
    const from = textOf(row[name]);
    return isSame(name, from, to) ? [] : [{ name, from, to }];
  });
  return columns.length === 0 ? [] : [{ ...who, columns }];
}

function isSame(name: string, from: string | null, to: string | number | null): boolean {
  if (name !== 'schema_definition' || from === null || to === null) return from === (to === null ? null : String(to));
  try {
    return canonicalJson(JSON.parse(from)) === canonicalJson(JSON.parse(String(to)));
  } catch {
    return false;
  }
}

const textOf = (value: Row[string] | undefined): string | null => {
  if (value === null || value === undefined) return null;
  // The embedded warehouse has booleans.
  if (typeof value === 'boolean') return value ? '1' : '0';
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
};

/** Rows that are missing are the set-up's to add. Answers what was changed, all of it audited. */
export function performSync(
  warehouse: Warehouse,
  changes: readonly RowChange[],
  signal: AbortSignal,
): Promise<readonly AuditEntry[]> {
  const { dialect } = warehouse;
  return transactionAgain(
    warehouse,
    async (tx) => {
      await lockSetup(tx, dialect);
      const done: AuditEntry[] = [];
      for (const { table, feed, columns, performedBy } of changes) {
        if (columns === null || table === 'feed_permissions' || table === 'lake') continue;
        const sets = columns.map(({ name }) => `${dialect.name(name)} = ?`).join(', ');
        const values: SqlScalar[] = [...columns.map(({ to }) => to), feed];
        await tx.change({ text: `UPDATE ${table} SET ${sets}${dialect.touch} WHERE feed_name = ?`, values });
        const details = Object.fromEntries(columns.map(({ name, from, to }) => [name, { from, to }]));
        const entry: AuditEntry = { action: 'feed_synced', feed, resource: table, details, performedBy };
        await tx.change(auditStatement(dialect, entry));
        done.push(entry);
      }
      return done;
    },
    signal,
  );
}
