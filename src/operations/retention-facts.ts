// What retention looks at before it plans: the feed's log, how new its newest entry is, and what the warehouse holds of it.
// Invariant: changes nothing; what the warehouse cannot say is left out, and told.

import { LakeError } from '../errors.ts';
import { pinnedFeed } from '../ingest/feed-schema.ts';
import { readEntry } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import type { FeedState } from '../model/feed-state.ts';
import { expiryOf, type RetentionFacts, type WarehouseHoldings } from '../model/retention.ts';
import { type Expiring, expiredLetters, expiredRows, snapshotsHeld } from '../warehouse/expire.ts';
import { factTable } from '../warehouse/fact-table.ts';
import { patiently } from '../warehouse/patience.ts';
import { type Warehouse, WarehouseFailure, warehouseError } from '../warehouse/warehouse.ts';
import { type Installation, WAIT_MS_MAX } from './installation.ts';

const DAY_MS = 86_400_000;

export async function readRetentionFacts(
  installation: Installation,
  feed: Feed,
  given: { readonly store: ObjectStore; readonly state: FeedState; readonly expiring: Expiring | null },
): Promise<RetentionFacts> {
  const { config, nowMs } = installation;
  const { store, state, expiring } = given;
  const newest = state.version === 0 ? null : await readEntry(store, feed.name, state.version);
  // After the entry: otherwise one of now would be from the future.
  const at = { feed, nowMs: nowMs(), timezone: config.lake.timezone };
  const warehouse = expiring && (await holdingsOf(expiring, { ...at, lake: state }, installation.signal));
  return { ...at, lake: state, newestEntryAtMs: newest && Date.parse(newest.at), warehouse };
}

async function holdingsOf(
  expiring: Expiring,
  at: { readonly feed: Feed; readonly nowMs: number; readonly timezone: string; readonly lake: FeedState },
  signal: AbortSignal,
): Promise<WarehouseHoldings> {
  const isTable = at.feed.type === 'table';
  const snapshots = isTable ? await snapshotsHeld(expiring, signal) : [];
  const expiry = expiryOf({ ...at, snapshots });
  const tomorrow = { date: new Date(at.nowMs + DAY_MS).toISOString().slice(0, 10), ms: at.nowMs + DAY_MS };
  if (expiry === null) return { snapshots, expired: null };
  // A table's rows go with their snapshots.
  const rows = isTable ? { rows: 0, keepsSome: true } : await expiredRows(expiring, { expiry, tomorrow }, signal);
  return { snapshots, expired: { ...rows, ...(await expiredLetters(expiring, expiry, signal)) } };
}

/** null: the feed has nothing in a warehouse. Throws what the warehouse throws when it is out of reach. */
export async function expiringOf(
  installation: Installation,
  feed: Feed,
  { state, access }: { readonly state: FeedState; readonly access: 'read' | 'write' },
): Promise<Expiring | null> {
  const { log, nowMs, signal } = installation;
  if (feed.destination === 'data_lake' || state.schema === null) return null;
  const warehouse = await (access === 'read' ? installation.warehouse() : installation.warehouseToChange());
  const typed = pinnedFeed(feed, state.schema);
  const fact = factTable(typed, typed.fields, warehouse.dialect);
  const patience = { feed: feed.name, log, nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
  if (!(await hasTables(warehouse, fact.name, signal))) return null;
  return {
    warehouse,
    feed: feed.name,
    topic: feed.topic,
    fact,
    eventTime: feed.eventTime,
    patiently: (work) => patiently(() => explained(work, feed.name), patience, signal),
  };
}

/** Nothing was ever taken in there. */
async function hasTables(warehouse: Warehouse, fact: string, signal: AbortSignal): Promise<boolean> {
  const wanted = ['lake_snapshots', 'lake_dead_letters', fact];
  const text = `SELECT COUNT(*) AS found FROM information_schema.tables
    WHERE ${warehouse.dialect.isHere} AND table_name IN (${wanted.map(() => '?').join(', ')})`;
  const [row] = await warehouse.run({ text, values: wanted }, signal);
  return Number(row?.['found']) === wanted.length;
}

/** What passes by itself is left to `patiently`. */
async function explained<T>(work: () => Promise<T>, feed: string): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WarehouseFailure) || ['wait', 'in_doubt', 'retry'].includes(error.class)) throw error;
    const failure = warehouseError(error, `retention of feed ${feed}`);
    throw new LakeError(failure.code, failure.message, {
      where: { feed, target: 'warehouse' },
      todo: failure.todo,
      cause: error,
    });
  }
}
