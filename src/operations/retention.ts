// lake retention: plans what goes of each feed, and unless it is a dry run takes it away: snapshots are marked in the warehouse, the
// lake's files go in one entry, then the warehouse's rows a few at a time.
// Invariant: killed anywhere, what is left is whole or marked, and the next run goes on; a plan that lost a race is made anew.

import { currentActor } from '../config/actor.ts';
import { type ErrorCode, LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { type FeedWriter, openFeedWriter } from '../lake/feed-writer.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { planRetention, type RetentionAction, type RetentionPlan } from '../model/retention.ts';
import { auditStatement } from '../warehouse/audit.ts';
import { deleteLetters, deleteRows, deleteSnapshot, type Expiring, markExpiring } from '../warehouse/expire.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import type { Installation } from './installation.ts';
import { expiringOf, readRetentionFacts } from './retention-facts.ts';

export type Retained = {
  readonly feed: string;
  readonly actions: readonly RetentionAction[];
  readonly kept: readonly RetentionAction[];
  /** Why this feed, or its warehouse, was left as it is; null: it was not. */
  readonly failure: LakeError | null;
};

/** Each that loses has seen another writer's commit. */
const ATTEMPTS_MAX = 20;
/** Paths that one entry removes: it is read whole whenever the log is. */
const FILES_MAX = 10_000;

/** A feed that fails does not stop the others. */
export async function retainFeeds(
  installation: Installation,
  feeds: readonly Feed[],
  { dryRun }: { readonly dryRun: boolean },
): Promise<readonly Retained[]> {
  const results: Retained[] = [];
  for (const feed of feeds) {
    try {
      results.push(dryRun ? await planFeed(installation, feed) : await retainFeed(installation, feed));
    } catch (error) {
      if (!(error instanceof LakeError) || error.code === 'bug') throw error;
      results.push({ feed: feed.name, actions: [], kept: [], failure: error });
    }
  }
  return results;
}

async function planFeed(installation: Installation, feed: Feed): Promise<Retained> {
  const store = await installation.lake();
  const state = await readFeedState(store, feed.name);
  const { expiring, failure } = await reachWarehouse(installation, feed, { state, access: 'read' });
  const plan = planRetention(await readRetentionFacts(installation, feed, { store, state, expiring }));
  return plan.kind === 'refused' ? refusal(feed, plan) : { feed: feed.name, actions: plan.actions, kept: plan.kept, failure };
}

const refusal = (feed: Feed, { message }: Extract<RetentionPlan, { kind: 'refused' }>): Retained => {
  const failure = new LakeError('retention_refused', `nothing of feed ${feed.name} is deleted: ${message}`, {
    where: { feed: feed.name },
  });
  return { feed: feed.name, actions: [], kept: [], failure };
};

const OUT_OF_REACH: readonly ErrorCode[] = ['warehouse_unreachable', 'warehouse_busy'];

/** A warehouse that is away does not stop the lake's part. */
async function reachWarehouse(
  installation: Installation,
  feed: Feed,
  how: Parameters<typeof expiringOf>[2],
): Promise<{ readonly expiring: Expiring | null; readonly failure: LakeError | null }> {
  try {
    return { expiring: await expiringOf(installation, feed, how), failure: null };
  } catch (error) {
    if (!(error instanceof LakeError) || !OUT_OF_REACH.includes(error.code)) throw error;
    return { expiring: null, failure: error };
  }
}

async function retainFeed(installation: Installation, feed: Feed): Promise<Retained> {
  const { config, nowMs, newId, log } = installation;
  const readable = await installation.lake();
  const known = await readFeedState(readable, feed.name);
  if (known.version === 0) return { feed: feed.name, actions: [], kept: [], failure: null };
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const writer = await openFeedWriter({ ...of, onEntry: audit.entry });
  try {
    const { expiring, failure } = await reachWarehouse(installation, feed, { state: known, access: 'write' });
    if (expiring) await prepare(installation, expiring, store);
    const plan = await removeFiles(installation, feed, { store, writer, expiring });
    if (plan.kind === 'refused') return refusal(feed, plan);
    if (expiring) await deleteFromWarehouse(installation, feed, { expiring, ...plan });
    await writer.tidy();
    return { feed: feed.name, actions: plan.actions, kept: plan.kept, failure };
  } finally {
    await writer.close();
    await audit.end();
  }
}

/** The database is this lake's, and has the columns that are counted in. */
async function prepare({ nowMs, signal }: Installation, { warehouse, patiently }: Expiring, store: ObjectStore): Promise<void> {
  const identity = await readLakeIdentity(store);
  if (!identity) return;
  await patiently(() => setUpWarehouse(warehouse, { lakeId: identity.lakeId, feeds: [], nowMs: nowMs() }, signal));
}

type Parts = { readonly store: ObjectStore; readonly writer: FeedWriter; readonly expiring: Expiring | null };

/** The warehouse's snapshots are marked first: then it is known why a snapshot is in one target only. */
async function removeFiles(installation: Installation, feed: Feed, { store, writer, expiring }: Parts): Promise<RetentionPlan> {
  const { signal, nowMs } = installation;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const state = await writer.refresh();
    const plan = planRetention(await readRetentionFacts(installation, feed, { store, state, expiring }));
    if (plan.kind === 'refused') return plan;
    const marked = plan.actions.filter(({ target }) => target === 'warehouse').flatMap(({ snapshot }) => snapshot ?? []);
    if (expiring) await markExpiring(expiring, marked, signal);
    const actions = plan.actions.filter(({ target }) => target === 'lake');
    const paths = actions.flatMap((action) => action.paths);
    let isDone = true;
    for (let from = 0; isDone && from < paths.length; from += FILES_MAX) {
      const removed = paths.slice(from, from + FILES_MAX);
      isDone = (await writer.commit(writer.propose({ kind: 'retain', removed }), signal)).kind === 'committed';
    }
    if (!isDone) continue;
    if (expiring) await auditFiles(expiring, { feed, actions, atMs: nowMs() }, signal);
    return plan;
  }
  throw new LakeError('no_progress', `retention of feed ${feed.name} lost ${ATTEMPTS_MAX} times to other writers`, {
    where: { feed: feed.name },
  });
}

async function auditFiles(
  { warehouse, patiently }: Expiring,
  done: { readonly feed: Feed; readonly actions: readonly RetentionAction[]; readonly atMs: number },
  signal: AbortSignal,
): Promise<void> {
  if (done.actions.length === 0) return;
  const statements = done.actions.map((action) =>
    auditStatement(warehouse.dialect, {
      ...{ feed: done.feed.name, action: action.kind === 'snapshot' ? 'snapshot_deleted' : 'files_deleted' },
      ...{
        resource: `lake ${action.what}`,
        details: { reason: action.reason },
        performedBy: done.feed.createdBy,
        atMs: done.atMs,
      },
      ...{ rowCount: action.rows, fileCount: action.files, byteCount: action.bytes },
    }),
  );
  await patiently(() =>
    warehouse.transaction(async (tx) => {
      for (const statement of statements) await tx.change(statement);
    }, signal),
  );
}

async function deleteFromWarehouse(
  { nowMs, signal, log }: Installation,
  feed: Feed,
  {
    expiring,
    actions,
    expiry,
  }: Pick<Extract<RetentionPlan, { kind: 'plan' }>, 'actions' | 'expiry'> & { readonly expiring: Expiring },
): Promise<void> {
  for (const { target, kind, what, rows, reason, snapshot } of actions) {
    if (target !== 'warehouse') continue;
    const of = { feed: feed.name, resource: `${expiring.fact.name} ${what}`, performedBy: feed.createdBy, atMs: nowMs() };
    const audit = { ...of, details: { reason } };
    if (snapshot) {
      const whole = { ...audit, action: 'snapshot_deleted', rowCount: rows } as const;
      await deleteSnapshot(expiring, snapshot, { audit: whole, signal });
    } else if (expiry && kind === 'rows') {
      await deleteRows(expiring, { expiry, audit: { ...audit, action: 'rows_deleted' }, signal });
    } else if (expiry) {
      const letters = { ...audit, resource: `lake_dead_letters ${what}`, action: 'dead_letters_deleted' } as const;
      await deleteLetters(expiring, { expiry, audit: letters, signal });
    }
    log.info('retention_deleted', { feed: feed.name, target, what, rows });
  }
}
