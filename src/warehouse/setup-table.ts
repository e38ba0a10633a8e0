// Makes the tables of one feed, or compares those that are there: new columns are added and audited, anything else that
// differs is refused with the ALTER to run. Invariant: the plan is made of what the server has before anything is changed, and
// what was done is read back; safe beside another process that does the same.

import { LakeError } from '../errors.ts';
import type { Field } from '../model/feed.ts';
import type { PlannedStatement } from '../model/plan.ts';
import { type AuditEntry, auditStatement } from './audit.ts';
import { addColumn, createLatestView } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import { explained, transactionAgain } from './explain.ts';
import type { FactTable } from './fact-table.ts';
import { type FoundTable, readTable } from './found-table.ts';
import { schemaDefinition } from './registry.ts';
import { lockSetup, runUnlessThere } from './setup.ts';
import { type TableVerdict, tablesDiffer } from './table-check.ts';
import type { Statement, Warehouse } from './warehouse.ts';

/** A step to take and how it is audited. */
type Step = { readonly statement: Statement; readonly entry: AuditEntry };

/** A table that another process makes meanwhile is compared in the next pass; each pass sees what the one before did. */
const PASSES_MAX = 4;

/** `mayWiden`: the schema has grown since the table was last made ready, so a narrower column is the schema's doing, not a person's. */
export type SetUpOptions = { readonly mayWiden?: boolean };

/** The changes that were made. Throws LakeError; WarehouseFailure `wait` when it may be tried again. */
export function setUpFactTable(
  warehouse: Warehouse,
  table: FactTable,
  signal: AbortSignal,
  { mayWiden = false }: SetUpOptions = {},
): Promise<readonly AuditEntry[]> {
  return explained({ warehouse, subject: `table ${table.name} cannot be made ready`, signal }, async () => {
    const done: AuditEntry[] = [];
    for (let pass = 1; pass <= PASSES_MAX; pass++) {
      const steps = planSteps(table, await readAll(warehouse, table, signal), { dialect: warehouse.dialect, mayWiden });
      if (steps.length === 0) return [...done, ...(await pinSchema(warehouse, table, signal))];
      for (const { statement, entry } of steps) {
        if (!(await runUnlessThere(warehouse, statement, signal))) continue;
        await warehouse.run(auditStatement(warehouse.dialect, entry), signal);
        done.push(entry);
      }
    }
    throw new LakeError('warehouse_failed', `table ${table.name} is not as it was made ${PASSES_MAX} times in a row`, {
      where: { feed: table.feed, target: 'warehouse' },
      todo: 'see who else changes it',
    });
  });
}

/** What a set-up would do now, undone. Throws warehouse_table_differs when something is for a person to do. */
export async function tableDrift(
  warehouse: Warehouse,
  table: FactTable,
  signal: AbortSignal,
  { mayWiden = false }: SetUpOptions = {},
): Promise<readonly AuditEntry[]> {
  const facts = await readAll(warehouse, table, signal);
  return planSteps(table, facts, { dialect: warehouse.dialect, mayWiden }).map(({ entry }) => entry);
}

/** The same with the SQL of each step. Throws as it does. */
export async function plannedStatements(
  warehouse: Warehouse,
  table: FactTable,
  signal: AbortSignal,
  { mayWiden = false }: SetUpOptions = {},
): Promise<readonly PlannedStatement[]> {
  const facts = await readAll(warehouse, table, signal);
  return planSteps(table, facts, { dialect: warehouse.dialect, mayWiden }).map(shown);
}

/** Of a database that has nothing yet. */
export const statementsFromNothing = (table: FactTable, dialect: Dialect): readonly PlannedStatement[] =>
  planSteps(table, { tables: [], view: null }, { dialect, mayWiden: false }).map(shown);

const shown = ({ statement, entry: { action, resource } }: Step): PlannedStatement => ({ action, resource, sql: statement.text });

type Facts = { readonly tables: readonly (FoundTable | null)[]; readonly view: FoundTable | null };

async function readAll(warehouse: Warehouse, table: FactTable, signal: AbortSignal): Promise<Facts> {
  const tables: (FoundTable | null)[] = [];
  for (const { name } of [table, ...table.dimensions]) tables.push(await readTable(warehouse, name, signal));
  return { tables, view: table.latest && (await readTable(warehouse, table.latest.name, signal)) };
}

/** What is to be done; throws when something is for a person to do, with all of it at once. */
export function planSteps(
  fact: FactTable,
  { tables, view }: Facts,
  { dialect, mayWiden }: { readonly dialect: Dialect; readonly mayWiden: boolean },
): readonly Step[] {
  const steps: Step[] = [];
  const differs: (TableVerdict & { readonly kind: 'differs' })[] = [];
  const who = { feed: fact.feed, performedBy: fact.createdBy };
  for (const [index, table] of [fact, ...fact.dimensions].entries()) {
    const found = tables[index] ?? null;
    if (found === null) {
      const statement = plain(dialect.createTable(table));
      steps.push({ statement, entry: { action: 'table_created', resource: table.name, ...who } });
      continue;
    }
    const verdict = dialect.check(table, found, { mayWiden });
    if (verdict.kind === 'differs') differs.push(verdict);
    else {
      for (const column of verdict.missing) {
        const resource = `${table.name}.${column.name}`;
        const details = { type: column.type };
        steps.push({ statement: addColumn(table, column), entry: { action: 'column_added', resource, details, ...who } });
      }
      for (const { column, statement, from, to } of verdict.widened ?? []) {
        const resource = `${table.name}.${column.name}`;
        steps.push({ statement, entry: { action: 'column_widened', resource, details: { from, type: to }, ...who } });
      }
    }
  }
  if (fact.latest !== null && view?.kind === 'table') {
    const problems = [`is a table, but lake needs the name for the view of the newest snapshot of ${fact.name}`];
    differs.push({ kind: 'differs', table: fact.latest.name, problems, alter: null });
  }
  if (differs.length > 0) throw tablesDiffer(differs, fact.feed);
  const viewStep = planView(fact, view, who);
  return viewStep === null ? steps : [...steps, viewStep];
}

function planView(fact: FactTable, view: FoundTable | null, who: Pick<AuditEntry, 'feed' | 'performedBy'>): Step | null {
  if (fact.latest === null) return null;
  const resource = fact.latest.name;
  if (view === null) return { statement: plain(createLatestView(fact)), entry: { action: 'view_created', resource, ...who } };
  const names = view.columns.map(({ name }) => name);
  // Columns in the order they came to be do not matter.
  if (fact.columns.length === names.length && fact.columns.every(({ name }) => names.includes(name))) return null;
  return { statement: createLatestView(fact), entry: { action: 'view_replaced', resource, ...who } };
}

/** Fails when it is there, so that one of two set-ups knows that it was not the one. */
const plain = ({ text, values }: Statement): Statement => ({
  text: text.replace(/^CREATE TABLE IF NOT EXISTS/, 'CREATE TABLE').replace(/^CREATE OR REPLACE VIEW/, 'CREATE VIEW'),
  values,
});

/** The registry's copy of a schema that was not declared, once it is known. */
async function pinSchema(warehouse: Warehouse, table: FactTable, signal: AbortSignal): Promise<AuditEntry[]> {
  const fields: Field[] = table.values.flatMap(({ field }) => field ?? []);
  const keys = table.keys.map(({ name }) => name);
  const unknown = {
    text: 'SELECT feed_name FROM feed_registry WHERE feed_name = ? AND schema_definition IS NULL',
    values: [table.feed],
  };
  if ((await warehouse.run(unknown, signal)).length === 0) return [];
  const { dialect } = warehouse;
  const text = `UPDATE feed_registry SET schema_definition = ?${dialect.touch} WHERE feed_name = ? AND schema_definition IS NULL`;
  const entry: AuditEntry = {
    action: 'schema_pinned',
    feed: table.feed,
    resource: 'feed_registry',
    performedBy: table.createdBy,
  };
  return await transactionAgain(
    warehouse,
    async (tx) => {
      await lockSetup(tx, dialect);
      if ((await tx.change({ text, values: [schemaDefinition(fields, keys), table.feed] })) === 0) return [];
      await tx.change(auditStatement(dialect, entry));
      return [entry];
    },
    signal,
  );
}
