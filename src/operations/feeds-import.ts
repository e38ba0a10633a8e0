// lake feeds import: feeds that were registered by hand in the database and are not in feeds.json, as feeds of it.
// Invariant: one that would not be right in the file is told with the reason, and keeps no other out.

import { currentActor } from '../config/actor.ts';
import { addFeed } from '../config/edit.ts';
import { LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import type { JsonObject } from '../model/json-fields.ts';
import { type RegisteredRow, registeredFeed } from '../model/registered-feed.ts';
import { type AuditEntry, auditStatement, journalLine } from '../warehouse/audit.ts';
import { NO_GOVERNANCE, readGovernance } from '../warehouse/registry-sync.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Row, Warehouse } from '../warehouse/warehouse.ts';
import { configOfText, type FeedsFile, writeFeedsFile } from './feeds-file.ts';
import type { Installation } from './installation.ts';
import { changeWarehouse, readWarehouse } from './positions.ts';

export type ImportPlan = {
  readonly imported: readonly { readonly name: string; readonly feed: JsonObject }[];
  readonly refused: readonly { readonly name: string; readonly reason: string }[];
  /** Of feeds.json. */
  readonly after: string;
};

/** `names`: only these; empty: all. Throws feed_unknown. */
export async function planImport(installation: Installation, file: FeedsFile, names: readonly string[]): Promise<ImportPlan> {
  const { signal, config } = installation;
  const tables = await readWarehouse(installation, (warehouse) => readGovernance(warehouse, signal), NO_GOVERNANCE);
  const policies = tables.data_retention_policies.map(rowOf);
  const rows = tables.feed_registry.map(rowOf);
  for (const name of names) {
    if (!rows.some((row) => row['feed_name'] === name)) throw new LakeError('feed_unknown', `feed_registry has no feed ${name}`);
  }
  const isWanted = ({ feed_name: name }: RegisteredRow): boolean =>
    !config.feeds.some((feed) => feed.name === name) && (names.length === 0 || names.includes(name ?? ''));
  const imported: { name: string; feed: JsonObject }[] = [];
  const refused: { name: string; reason: string }[] = [];
  let after = file.text;
  for (const row of rows.filter(isWanted)) {
    const made = registeredFeed(row, policies.find((policy) => policy['feed_name'] === row['feed_name']) ?? null);
    if (made.kind === 'refused') {
      refused.push({ name: made.name, reason: made.reason });
      continue;
    }
    const text = addFeed(after, made.feed);
    const reason = problemOf(file, text);
    if (reason === null) after = text;
    if (reason === null) imported.push({ name: made.name, feed: made.feed });
    else refused.push({ name: made.name, reason });
  }
  return { imported, refused, after };
}

function problemOf(file: FeedsFile, text: string): string | null {
  try {
    configOfText(file, text);
    return null;
  } catch (error) {
    if (error instanceof LakeError && error.code === 'usage') return error.message;
    throw error;
  }
}

const rowOf = (row: Row): RegisteredRow =>
  Object.fromEntries(Object.entries(row).map(([column, value]) => [column.toLowerCase(), textOf(value)]));

function textOf(value: Row[string]): string | null {
  if (value === null) return null;
  if (typeof value === 'boolean') return value ? '1' : '0';
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
}

/** Writes the file, then tells the journals. That they can be told is made sure before: a registry made by hand may have none beside it. */
export async function performImport(installation: Installation, file: FeedsFile, plan: ImportPlan): Promise<void> {
  const { nowMs, newId, log, signal } = installation;
  const store = await installation.lakeToChange();
  const { lakeId } = await openLake({ store, newId, nowMs });
  const change = <T>(work: (warehouse: Warehouse) => Promise<T>): Promise<T> =>
    changeWarehouse(installation, 'the import cannot be audited', work);
  await change((warehouse) => setUpWarehouse(warehouse, { lakeId, feeds: [], nowMs: nowMs() }, signal));
  await writeFeedsFile(file, plan.after);
  const entries = plan.imported.map(
    ({ name }): AuditEntry => ({ action: 'feed_imported', feed: name, resource: file.options.path }),
  );
  await change((warehouse) =>
    warehouse.transaction(async (tx) => {
      for (const entry of entries) await tx.change(auditStatement(warehouse.dialect, entry));
    }, signal),
  );
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  audit.append(entries.map((entry) => journalLine(entry, nowMs())));
  await audit.end();
}
