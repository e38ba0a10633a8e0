// lake rewind, in the lake: one entry takes the files beyond the points away, and adds what stays of those that lie on both sides.
// Invariant: killed anywhere before the entry nothing has changed; a plan that lost a race is made anew, and what was looked into or
// written for the one before is not done twice, so that it ends beside a busy ingest.

import { currentActor } from '../config/actor.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import { assert, LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { type FeedWriter, openFeedWriter } from '../lake/feed-writer.ts';
import type { FeedLog } from '../lake/log.ts';
import { readEntry, readFeedState } from '../lake/read-log.ts';
import { type LookInto, lookInto, type WriteKept, writeKept } from '../lake/rewind.ts';
import { openSpillFolder } from '../lake/spill-folder.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, type LiveFile, schemaVersionOf } from '../model/feed-state.ts';
import type { LakeFile } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import {
  createHistory,
  type FileCounts,
  type History,
  type Points,
  planLetters,
  planRewind,
  type RewindPlan,
  sortFiles,
} from '../model/rewind.ts';
import { pointsOf } from '../model/rewind-point.ts';
import type { Installation } from './installation.ts';
import { countTombstones, NO_ROWS, type RewindOrder, type RewoundTarget } from './rewind-report.ts';

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
const READ_AT_ONCE = 64;
/** Each that loses has seen another writer's commit; what is left to do then is what that one brought. */
const ATTEMPTS_MAX = 200;

/** What a dry run shows. */
export async function planInLake(installation: Installation, order: RewindOrder): Promise<RewoundTarget> {
  const store = await installation.lake();
  await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX });
  const work = createWork(installation, order, { store, feed: order.feed.name, connection: await database.connect() });
  for (let attempt = 1; ; attempt += 1) {
    try {
      const state = await readFeedState(store, order.feed.name);
      return reportOf(order.feed, await work.plan(state), state);
    } catch (error) {
      if (attempt === READS_MAX || !isMoved(error)) throw error;
    }
  }
}

/** A file moves from staging to its place once, and may be taken away once. */
const READS_MAX = 3;
const isMoved = (error: unknown): boolean =>
  error instanceof LakeError && (error.code === 'engine_failed' || error.code === 'lake_damaged');

export async function rewindLake(installation: Installation, order: RewindOrder): Promise<RewoundTarget> {
  const { config, nowMs, newId, log } = installation;
  const { feed } = order;
  if ((await readFeedState(await installation.lake(), feed.name)).version === 0)
    return { target: 'lake', kind: feed.type === 'table' ? 'rebuild' : 'rows', partitions: [], ...NO_ROWS };
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const writer = await openFeedWriter({ ...of, onEntry: audit.entry });
  try {
    const done = await rewindFiles(installation, order, writer);
    await writer.tidy();
    return done;
  } finally {
    await writer.close();
    await audit.end();
  }
}

const lost = (feed: string): LakeError =>
  new LakeError('no_progress', `the rewind of feed ${feed} lost ${ATTEMPTS_MAX} times to other writers`, { where: { feed } });

/** Of a table nothing but its dead letters goes before all of it has been read anew. */
function reportOf(feed: Feed, plan: RewindPlan | null, { positions }: Pick<FeedState, 'positions'>): RewoundTarget {
  const kind = feed.type === 'table' ? 'rebuild' : 'rows';
  if (plan === null) return { target: 'lake', kind, partitions: [], ...NO_ROWS };
  const { partitions, removed, rewritten, taken } = plan;
  const stay = [...positions]
    .sort(([a], [b]) => a - b)
    .map(([partition, { position }]) => ({ partition, position, to: position }));
  const back = partitions.map(({ partition, from, position }) => ({ partition, position: from, to: position }));
  return {
    ...{ target: 'lake', kind, partitions: kind === 'rebuild' ? stay : back },
    ...{ rows: taken.rows, deadLetters: taken.deadLetters, files: removed.length, filesRewritten: rewritten.length },
  };
}

async function rewindFiles(installation: Installation, order: RewindOrder, writer: FeedWriter): Promise<RewoundTarget> {
  const { signal, newId } = installation;
  const { store } = writer;
  await using spill = await openSpillFolder(store, installation);
  await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, tempFolder: spill.path });
  const connection = await database.connect();
  const work = createWork(installation, order, { store, feed: writer.feed, connection });
  const [mine, batch] = [writer.log(), newId()];
  const write = { connection, writer, topic: order.feed.topic, folder: `${mine.stagingFolder}/${batch}` };
  try {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      if (signal.aborted) throw new LakeError('aborted', `the rewind of feed ${writer.feed} was given up; nothing was changed`);
      const state = await mine.refresh();
      try {
        const plan = await work.plan(state);
        if (plan === null) return reportOf(order.feed, null, state);
        const added = await work.write(plan, { ...write, schemaVersion: schemaVersionOf(state) });
        if (await commitPlan({ writer, mine, order, signal }, { state, batch, plan, added }))
          return reportOf(order.feed, plan, state);
      } catch (error) {
        // Whoever took a file away meanwhile has made the plan another one.
        if (!isMoved(error) || (await mine.refresh()).version === state.version) throw error;
      }
    }
    throw lost(writer.feed);
  } finally {
    await writer.discard(mine, batch);
  }
}

type Committing = {
  readonly writer: FeedWriter;
  readonly mine: FeedLog;
  readonly order: RewindOrder;
  readonly signal: AbortSignal;
};
type Planned = {
  readonly state: FeedState;
  readonly batch: string;
  readonly plan: RewindPlan;
  readonly added: readonly LakeFile[];
};

/** Not by the writer: that deletes what was staged for an entry that lost. */
async function commitPlan({ writer, mine, order, signal }: Committing, { state, batch, plan, added }: Planned): Promise<boolean> {
  const { partitions, retainedRows } = plan;
  const removed = plan.removed.map(({ path }) => path);
  const rewind = { to: order.to, partitions, retainedRows };
  const wanted = writer.propose({ kind: 'rewind', batch, epoch: state.epoch, added, removed, rewind });
  const outcome = await mine.commit(wanted, { signal });
  if (outcome.kind === 'fenced')
    throw new LakeError('fenced', `the rewind of feed ${writer.feed} took so long that another process swept up after it`, {
      where: { feed: writer.feed },
      todo: 'run it again: nothing was changed',
    });
  return outcome.kind === 'committed';
}

type Sources = { readonly store: ObjectStore; readonly feed: string; readonly connection: Connection };

/** What is known from one attempt to the next. */
function createWork(installation: Installation, { feed, wanted, lows }: RewindOrder, { store, feed: name, connection }: Sources) {
  const history = createHistory();
  const counts = new Map<string, FileCounts>();
  const written = new Map<string, LakeFile>();
  let tombstones: ReadonlyMap<number, number> = new Map();
  let madeFor = '';
  let points: Points = new Map();

  /** null: no position lies beyond a point, and there is no table to read anew. */
  const plan = async (state: FeedState): Promise<RewindPlan | null> => {
    await readOn(store, name, { history, version: state.version });
    const isTable = feed.type === 'table';
    points = isTable ? lows : pointsOf(wanted, state.positions);
    if (isTable ? state.snapshot === null : points.size === 0) return null;
    const marks = new Map<number, Offset>(
      [...points].map(([partition, at]) => [partition, history.around(partition, at).before?.offset ?? at]),
    );
    // Another rewind came between: nothing that was counted is sure.
    const key = JSON.stringify([[...points], [...marks]], (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    if (key !== madeFor) {
      counts.clear();
      written.clear();
      tombstones = isTable ? new Map() : await tombstonesBeyond(installation, feed, { points, history });
      madeFor = key;
    }
    const files = [...state.files.values()].filter(({ kind }) => !isTable || kind === 'dead_letters');
    const { out, unsure } = sortFiles(files, history, points);
    const look: LookInto = { connection, writer: { store, feed: name }, points, marks };
    for (const file of unsure) if (!counts.has(file.path)) counts.set(file.path, await lookInto(look, file));
    const looked = new Map(unsure.flatMap((file): [LiveFile, FileCounts][] => [[file, counts.get(file.path) ?? NO_COUNTS]]));
    const made = isTable ? planLetters(looked) : planRewind({ state, history, points, out, counts: looked, tombstones });
    if (made) return made;
    throw new LakeError('lake_damaged', `the files of feed ${name} hold other rows beyond these offsets than its log says`, {
      where: { feed: name },
      todo: `see what  lake verify ${name}  finds; nothing was changed`,
    });
  };
  const write = async ({ rewritten }: RewindPlan, how: Omit<WriteKept, 'points'>): Promise<readonly LakeFile[]> => {
    const files: LakeFile[] = [];
    for (const one of rewritten) {
      const known = written.get(one.file.path) ?? (await writeKept({ ...how, points }, one));
      written.set(one.file.path, known);
      files.push(known);
    }
    return files;
  };
  return { plan, write };
}

const NO_COUNTS: FileCounts = { beyond: 0, near: new Map() };

/** Entries are never deleted (R5), so each is read once. */
async function readOn(
  store: ObjectStore,
  feed: string,
  { history, version }: { readonly history: History; readonly version: number },
) {
  for (let from = history.version() + 1; from <= version; from += READ_AT_ONCE) {
    const versions = Array.from({ length: Math.min(READ_AT_ONCE, version - from + 1) }, (_, index) => from + index);
    for (const entry of await Promise.all(versions.map((one) => readEntry(store, feed, one)))) {
      assert(entry, `an entry of feed ${feed} was folded and is not there`);
      history.count(entry);
    }
  }
}

/** Of ranges that a point lies in: messages without a value left no row that could be counted. */
async function tombstonesBeyond(
  installation: Installation,
  feed: Feed,
  { points, history }: { readonly points: Points; readonly history: History },
): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>();
  for (const [partition, from] of points) {
    const { before, after } = history.around(partition, from);
    if (!before || !after || before.offset === from || after.totals.tombstones === before.totals.tombstones) continue;
    found.set(partition, await countTombstones(installation, { topic: feed.topic, partition, from, end: after.offset }));
  }
  return found;
}
