// lake feeds sync: the registry and the policies become what feeds.json says. Plan first, then the same plan is performed.

import { currentActor } from '../config/actor.ts';
import { pinnedFeed } from '../ingest/feed-schema.ts';
import { accessOfFeeds, applyAccess } from '../lake/access.ts';
import { openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { type AuditEntry, journalLine } from '../warehouse/audit.ts';
import { factTable } from '../warehouse/fact-table.ts';
import { readTable } from '../warehouse/found-table.ts';
import { grantReaders, missingGrantees, recordGrantees } from '../warehouse/readers.ts';
import { NO_GOVERNANCE, performSync, planSync, type RowChange, readGovernance, unknownRows } from '../warehouse/registry-sync.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { Installation } from './installation.ts';
import { changeWarehouse, readWarehouse } from './positions.ts';

export type SyncPlan = {
  readonly changes: readonly RowChange[];
  /** Feeds of the registry that feeds.json does not have. */
  readonly unknown: readonly string[];
};

export async function planFeedsSync(installation: Installation): Promise<SyncPlan> {
  const { config, signal } = installation;
  const tables = await readWarehouse(installation, (warehouse) => readGovernance(warehouse, signal), NO_GOVERNANCE);
  const missing = await readWarehouse(installation, (warehouse) => missingGrantees(warehouse, config.feeds, signal), []);
  const granted = missing.map(({ feed, grantee, permission }): RowChange => {
    const columns = [{ name: permission, from: null, to: grantee }];
    return { table: 'feed_permissions', feed: feed.name, performedBy: feed.createdBy, columns };
  });
  const changes = [...planSync(config.feeds, tables), ...granted, ...(await lakeChanges(installation))];
  return { changes, unknown: unknownRows(config.feeds, tables) };
}

/** Files and folders whose group or mode is another one. */
async function lakeChanges(installation: Installation): Promise<readonly RowChange[]> {
  const { config } = installation;
  const store = await installation.lake();
  const changes: RowChange[] = [];
  for (const [feed, access] of accessOfFeeds(config.feeds)) {
    const count = (await applyAccess(store, feed, access, true)).length;
    const permissions = config.feeds.find(({ name }) => name === feed)?.permissions;
    const to = [permissions?.lakeGroup, permissions?.lakeMode].filter((one) => one != null).join(' ');
    const columns = [{ name: 'group and mode', from: `${count} files and folders differ`, to }];
    if (count > 0) changes.push({ table: 'lake', feed, performedBy: 1, columns });
  }
  return changes;
}

/** Readers of the feeds that have a table; the others' are granted when it is made. */
async function applyPermissions(
  installation: Installation,
  store: ObjectStore,
  warehouse: Warehouse,
): Promise<readonly AuditEntry[]> {
  const { config, signal } = installation;
  for (const [feed, access] of accessOfFeeds(config.feeds)) await applyAccess(store, feed, access);
  const ready: Feed[] = [];
  for (const feed of config.feeds) {
    const isReading = feed.permissions.mysqlReaders.length > 0;
    const { schema } = await readFeedState(store, feed.name);
    const typed = schema && pinnedFeed(feed, schema);
    const fact = isReading && typed ? factTable(typed, typed.fields, warehouse.dialect) : null;
    if (fact !== null && (await readTable(warehouse, fact.name, signal)) !== null)
      await grantReaders(warehouse, feed, fact, signal);
    else if (isReading) continue;
    ready.push(feed);
  }
  return recordGrantees(warehouse, ready, signal);
}

/** Everything that was done, audited in the database and in the journal. Throws warehouse_busy, warehouse_unreachable, … */
export async function performFeedsSync(installation: Installation, { changes }: SyncPlan): Promise<readonly AuditEntry[]> {
  const { config, signal, nowMs, newId, log } = installation;
  if (changes.length === 0) return [];
  const store = await installation.lakeToChange();
  const { lakeId } = await openLake({ store, newId, nowMs });
  const change = <T>(work: (warehouse: Warehouse) => Promise<T>): Promise<T> =>
    changeWarehouse(installation, 'the registry cannot be changed', work);
  const setup = { lakeId, feeds: config.feeds, nowMs: nowMs(), compression: config.lake.compression };
  const added = await change((warehouse) => setUpWarehouse(warehouse, setup, signal));
  const changed = [
    ...(await change((warehouse) => performSync(warehouse, changes, signal))),
    ...(await change((warehouse) => applyPermissions(installation, store, warehouse))),
  ];
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  audit.append([...added, ...changed].map((entry) => journalLine(entry, nowMs())));
  await audit.end();
  return [...added, ...changed];
}
