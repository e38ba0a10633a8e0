// lake feeds sync: the registry and the policies become what feeds.json says. Plan first, then the same plan is performed.

import { currentActor } from '../config/actor.ts';
import { openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { NO_GOVERNANCE, performSync, planSync, type RowChange, readGovernance, unknownRows } from '../warehouse/registry-sync.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type SyncPlan = {
  readonly changes: readonly RowChange[];
  /** Feeds of the registry that feeds.json does not have. */
  readonly unknown: readonly string[];
};

export async function planFeedsSync(installation: Installation): Promise<SyncPlan> {
  const { config, signal } = installation;
  const tables = await readWarehouse(installation, (warehouse) => readGovernance(warehouse, signal), NO_GOVERNANCE);
  return { changes: planSync(config.feeds, tables), unknown: unknownRows(config.feeds, tables) };
}

/** Everything that was done, audited in the database and in the journal. Throws warehouse_busy, warehouse_unreachable, … */
export async function performFeedsSync(installation: Installation, { changes }: SyncPlan): Promise<readonly AuditEntry[]> {
  const { config, signal, nowMs, newId, log } = installation;
  if (changes.length === 0) return [];
  const store = await installation.lakeToChange();
  const { lakeId } = await openLake({ store, newId, nowMs });
  const warehouse = await installation.warehouseToChange();
  const setup = { lakeId, feeds: config.feeds, nowMs: nowMs(), compression: config.lake.compression };
  const added = await setUpWarehouse(warehouse, setup, signal);
  const changed = await performSync(warehouse, changes, signal);
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  audit.append([...added, ...changed].map((entry) => journalLine(entry, nowMs())));
  await audit.end();
  return [...added, ...changed];
}
