// lake adopt: what the programs before lake left of a feed is taken into its log, where it lies: Parquet files by entries of kind adopt,
// snapshots of fact rows by rows of lake_snapshots.
// Invariant: nothing is moved, rewritten or deleted; killed anywhere, the next run does what is left; beside a running ingest a plan
// that lost a race is made anew.

import { currentActor } from '../config/actor.ts';
import { LakeError } from '../errors.ts';
import { schemaJson } from '../ingest/feed-schema.ts';
import { openAudit } from '../lake/audit.ts';
import { type FeedWriter, openFeedWriter } from '../lake/feed-writer.ts';
import { openLake } from '../lake/lake-identity.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import { nameText, SNAPSHOT_AFTER } from '../model/adopted.ts';
import { type Adoption, planAdoption } from '../model/adoption.ts';
import type { Feed } from '../model/feed.ts';
import type { FeedState } from '../model/feed-state.ts';
import { recordSnapshots } from '../warehouse/adopt-rows.ts';
import { journalLine } from '../warehouse/audit.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import { type Warehouse, WarehouseFailure, warehouseError } from '../warehouse/warehouse.ts';
import { findForeign, findOldRows, knownFields, type OldFacts } from './adopt-facts.ts';
import type { Installation } from './installation.ts';

/** Files of one entry, which is read whole whenever the log is. */
const FILES_MAX = 1_000;
/** Each round that loses has seen another writer's commit. */
const ROUNDS_MAX = 20;

/** Only looks. Throws warehouse_table_differs when the fact table has to be altered first, and what a look at it throws. */
export async function planFeedAdoption(installation: Installation, feed: Feed): Promise<Adoption> {
  const store = await installation.lake();
  const state = await readFeedState(store, feed.name);
  return (await lookAt(installation, feed, { store, state, access: 'read' })).plan;
}

type Looked = { readonly plan: Adoption; readonly old: OldFacts | null; readonly warehouse: Warehouse | null };

async function lookAt(
  installation: Installation,
  feed: Feed,
  { store, state, access }: { readonly store: ObjectStore; readonly state: FeedState; readonly access: 'read' | 'write' },
): Promise<Looked> {
  const { signal, config } = installation;
  const isServer = config.warehouse.engine === 'mysql' && feed.destination !== 'data_lake';
  const open = access === 'read' ? installation.warehouse : installation.warehouseToChange;
  const warehouse = isServer ? await open() : null;
  const old = warehouse && (await told(feed, () => findOldRows(warehouse, { feed, state }, signal)));
  const files = feed.destination === 'data_warehouse' ? [] : await findForeign(store, feed, state);
  return { plan: planAdoption({ feed, lake: state, files, warehouse: old?.found ?? null }), old, warehouse };
}

async function told<T>(feed: Feed, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof WarehouseFailure ? warehouseError(error, `the rows of feed ${feed.name}`) : error;
  }
}

/** Performs what a plan of now says, and answers it. */
export async function adoptFeed(installation: Installation, feed: Feed): Promise<Adoption> {
  const { config, nowMs, newId, log, signal } = installation;
  const store = await installation.lakeToChange();
  const { lakeId } = await openLake({ store, newId, nowMs });
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const writer = await openFeedWriter({ ...of, onEntry: audit.entry });
  try {
    const { plan, old, warehouse } = await commitAll(installation, feed, { store, writer });
    if (warehouse && old && plan.snapshots.length > 0) {
      await told(feed, async () => {
        await setUpWarehouse(warehouse, { lakeId, feeds: config.feeds, nowMs: nowMs() }, signal);
        const given = { fact: old.fact, snapshots: plan.snapshots, timezone: config.lake.timezone, nowMs: nowMs() };
        const done = await recordSnapshots(warehouse, given, signal);
        audit.append(done.map((entry) => journalLine(entry, nowMs())));
      });
    }
    return plan;
  } finally {
    await writer.close();
    await audit.end();
  }
}

type Parts = { readonly store: ObjectStore; readonly writer: FeedWriter };

/** The pin comes first: no snapshot is opened any more under a name that is taken. */
async function commitAll(installation: Installation, feed: Feed, { store, writer }: Parts): Promise<Looked> {
  const { signal, log } = installation;
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    const state = await writer.refresh();
    const looked = await lookAt(installation, feed, { store, state, access: 'write' });
    const { files, after } = looked.plan;
    let isDone = after === null || (await pin(writer, { [SNAPSHOT_AFTER]: nameText(after) }, signal));
    if (isDone && files.length > 0 && writer.state().schema === null) isDone = await pinSchema(writer, feed, signal);
    for (let from = 0; isDone && from < files.length; from += FILES_MAX) {
      const some = files.slice(from, from + FILES_MAX);
      const [mine, batch] = [writer.log(), writer.newId()];
      const propose = (added: Parameters<Parameters<FeedWriter['commitFiles']>[1]>[0]) =>
        writer.propose({ kind: 'adopt', batch, added });
      const answer = await writer.commitFiles(some, propose, { batch, mine, signal });
      isDone = answer.kind === 'committed';
      if (isDone)
        log.info('files_adopted', { feed: feed.name, files: some.length, rows: some.reduce((sum, { rows }) => sum + rows, 0) });
    }
    if (isDone) return looked;
  }
  throw new LakeError('no_progress', `adopting feed ${feed.name} lost ${ROUNDS_MAX} times to other writers`, {
    where: { feed: feed.name },
  });
}

async function pin(writer: FeedWriter, values: Readonly<Record<string, string>>, signal: AbortSignal): Promise<boolean> {
  const config = { replaces: writer.state().config.version, values };
  return (await writer.commit(writer.propose({ kind: 'config', config }), signal)).kind === 'committed';
}

/** Under which the files were looked at: what feeds.json says later has to hold their values, too. */
async function pinSchema(writer: FeedWriter, feed: Feed, signal: AbortSignal): Promise<boolean> {
  const schema = { version: 1, fields: schemaJson(feed, knownFields(feed, { schema: null })) };
  return (await writer.commit(writer.propose({ kind: 'schema', schema }), signal)).kind === 'committed';
}
