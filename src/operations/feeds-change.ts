// Publishes what `lake feeds enable|disable|remove` changes: feeds.json first, which is what counts, then the registry's copy of it and
// the journal. Invariant: no data, position or topic is touched; told again, it changes nothing more.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import type { Feed } from '../model/feed.ts';
import { type AuditEntry, auditStatement, journalLine } from '../warehouse/audit.ts';
import { type Warehouse, WarehouseFailure } from '../warehouse/warehouse.ts';
import { type FeedsFile, writeFeedsFile } from './feeds-file.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type FeedChange = {
  readonly feed: Feed;
  readonly action: 'feed_enabled' | 'feed_disabled' | 'feed_removed';
  /** Of feeds.json. */
  readonly after: string;
};

export type Published = {
  readonly isFileChanged: boolean;
  readonly isRegistryChanged: boolean;
  /** Why the registry was not told; null: it was, or there is none. */
  readonly failure: LakeError | null;
};

/** Throws what keeps the file from being written. */
export async function publishChange(installation: Installation, file: FeedsFile, change: FeedChange): Promise<Published> {
  const isFileChanged = change.after !== file.text;
  if (isFileChanged) await writeFeedsFile(file, change.after);
  const entry: AuditEntry = {
    ...{ feed: change.feed.name, action: change.action, resource: file.options.path, performedBy: change.feed.createdBy },
  };
  const { isRegistryChanged, failure } = await tellRegistry(installation, change, { entry, isFileChanged });
  if (isFileChanged || isRegistryChanged) await tellJournal(installation, entry, isRegistryChanged);
  return { isFileChanged, isRegistryChanged, failure };
}

type Told = { readonly entry: AuditEntry; readonly isFileChanged: boolean };

async function tellRegistry(installation: Installation, change: FeedChange, told: Told) {
  const nothing = { isRegistryChanged: false, failure: null };
  const { feed } = change;
  if (installation.config.warehouse.engine === 'duckdb' && feed.destination === 'data_lake') return nothing;
  try {
    // One that never was set up knows nothing of the feed.
    const isKnown = await readWarehouse(installation, (warehouse) => knows(warehouse, feed.name, installation.signal), false);
    if (!isKnown) return nothing;
    const warehouse = await installation.warehouseToChange();
    return { isRegistryChanged: await setActive(warehouse, change, told, installation.signal), failure: null };
  } catch (error) {
    const failure =
      error instanceof WarehouseFailure ? new LakeError('warehouse_failed', error.message, { cause: error }) : error;
    if (!(failure instanceof LakeError) || failure.code === 'bug') throw error;
    return { isRegistryChanged: false, failure };
  }
}

async function knows(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<boolean> {
  const rows = await warehouse.run({ text: 'SELECT feed_name FROM feed_registry WHERE feed_name = ?', values: [feed] }, signal);
  return rows.length > 0;
}

function setActive(warehouse: Warehouse, { feed, action }: FeedChange, told: Told, signal: AbortSignal): Promise<boolean> {
  const isActive = action === 'feed_enabled' ? 1 : 0;
  const { touch } = warehouse.dialect;
  const text = `UPDATE feed_registry SET is_active = ?${touch} WHERE feed_name = ? AND is_active <> ?`;
  return warehouse.transaction(async (tx) => {
    const isChanged = (await tx.change({ text, values: [isActive, feed.name, isActive] })) > 0;
    if (isChanged || told.isFileChanged) await tx.change(auditStatement(warehouse.dialect, told.entry));
    return isChanged || told.isFileChanged;
  }, signal);
}

async function tellJournal(installation: Installation, entry: AuditEntry, isInDatabase: boolean): Promise<void> {
  const { nowMs, log } = installation;
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const line = journalLine(entry, nowMs());
  audit.append([isInDatabase ? line : { ...line, id: `feeds/${entry.feed}/${entry.action}/${nowMs()}`, target: 'lake' }]);
  await audit.end();
}
