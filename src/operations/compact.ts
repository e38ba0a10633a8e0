// lake compact: closed days of small files become few large ones, one entry a group.
// Invariant: a group is committed whole or not at all; one that lost its files to another writer is planned anew.

import { currentActor } from '../config/actor.ts';
import { type Connection, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import { openAudit } from '../lake/audit.ts';
import { writeCompacted } from '../lake/compact.ts';
import { type FeedWriter, openFeedWriter } from '../lake/feed-writer.ts';
import { readEntry, readFeedState } from '../lake/read-log.ts';
import { openSpillFolder } from '../lake/spill-folder.ts';
import type { ObjectStore } from '../lake/store.ts';
import { lineageColumns, valueColumns } from '../model/columns.ts';
import { type CompactionFacts, type CompactionGroup, planCompaction, youngFiles } from '../model/compaction.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, schemaVersionOf } from '../model/feed-state.ts';
import { auditStatement } from '../warehouse/audit.ts';
import type { Installation } from './installation.ts';

export type Compacted = {
  readonly feed: string;
  /** Planned, or done. */
  readonly groups: readonly CompactionGroup[];
  /** Of the files that were written; 0 of a dry run. */
  readonly bytesWritten: number;
  readonly failure: LakeError | null;
};

export type CompactOptions = { readonly dryRun: boolean; readonly olderThanMs: number };

const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
const THREADS = 2;
/** Each round that loses has seen another writer's commit. */
const ROUNDS_MAX = 20;
/** Files move from staging to their place once, and may be taken away once. */
const READS_MAX = 3;

/** A feed that fails does not stop the others. */
export async function compactFeeds(
  installation: Installation,
  feeds: readonly Feed[],
  options: CompactOptions,
): Promise<readonly Compacted[]> {
  const results: Compacted[] = [];
  for (const feed of feeds.filter(({ type }) => type === 'stream')) {
    const done: CompactionGroup[] = [];
    const written = { bytes: 0 };
    try {
      if (options.dryRun) {
        const store = await installation.lake();
        const state = await readFeedState(store, feed.name);
        done.push(...planCompaction(await factsOf(installation, feed, { store, state, ...options })));
      } else await compactFeed(installation, feed, { ...options, done, written });
      results.push({ feed: feed.name, groups: done, bytesWritten: written.bytes, failure: null });
    } catch (error) {
      if (!(error instanceof LakeError) || error.code === 'bug') throw error;
      results.push({ feed: feed.name, groups: done, bytesWritten: written.bytes, failure: error });
    }
  }
  return results;
}

async function factsOf(
  { config, nowMs }: Installation,
  feed: Feed,
  { store, state, olderThanMs }: { readonly store: ObjectStore; readonly state: FeedState; readonly olderThanMs: number },
): Promise<CompactionFacts> {
  const facts = { feed, nowMs: nowMs(), timezone: config.lake.timezone, olderThanMs, files: [...state.files.values()] };
  const compacted = new Set<string>();
  const kinds = new Map<number, string>();
  for (const { version, path } of youngFiles(facts)) {
    const kind = kinds.get(version) ?? (await readEntry(store, feed.name, version))?.kind ?? '';
    kinds.set(version, kind);
    if (kind === 'compact') compacted.add(path);
  }
  return { ...facts, compacted };
}

type Work = CompactOptions & { readonly done: CompactionGroup[]; readonly written: { bytes: number } };

async function compactFeed(installation: Installation, feed: Feed, work: Work): Promise<void> {
  const { config, nowMs, newId, log } = installation;
  const known = await readFeedState(await installation.lake(), feed.name);
  if (known.version === 0) return;
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const writer = await openFeedWriter({ ...of, onEntry: audit.entry });
  try {
    await using spill = await openSpillFolder(store, { newId, nowMs });
    await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, threads: THREADS, tempFolder: spill.path });
    const connection = await database.connect();
    await compactRounds(installation, feed, { writer, connection, work });
    await writer.tidy();
  } finally {
    await writer.close();
    await audit.end();
  }
}

type Parts = { readonly writer: FeedWriter; readonly connection: Connection; readonly work: Work };

async function compactRounds(installation: Installation, feed: Feed, { writer, connection, work }: Parts): Promise<void> {
  const { signal, log } = installation;
  for (let round = 1; round <= ROUNDS_MAX; round += 1) {
    const state = await writer.refresh();
    const groups = planCompaction(await factsOf(installation, feed, { store: writer.store, state, ...work }));
    let isLost = false;
    for (const group of groups) {
      if (signal.aborted) throw new LakeError('aborted', `compaction of feed ${feed.name} was told to stop`);
      const bytes = await compactGroup({ connection, writer, feed, signal }, group);
      isLost ||= bytes === null;
      if (bytes === null) continue;
      work.done.push(group);
      work.written.bytes += bytes;
      log.info('files_compacted', { feed: feed.name, what: group.day, files: group.files.length, rows: group.rows, bytes });
      await auditGroup(installation, feed, group);
    }
    if (!isLost) return;
  }
  throw new LakeError('no_progress', `compaction of feed ${feed.name} lost ${ROUNDS_MAX} times to other writers`, {
    where: { feed: feed.name },
  });
}

type With = { readonly connection: Connection; readonly writer: FeedWriter; readonly feed: Feed; readonly signal: AbortSignal };

/** Bytes of the new file. null: another writer took one of the files, or pinned a schema; nothing of it is left. */
async function compactGroup({ connection, writer, feed, signal }: With, group: CompactionGroup): Promise<number | null> {
  const state = writer.state();
  const [epoch, schemaVersion] = [state.epoch, schemaVersionOf(state)];
  const values = state.schema === null ? [] : valueColumns({ ...feed, fields: pinnedFields(state.schema) });
  const columns = [...values, ...lineageColumns(feed)];
  const isLive = (now: FeedState): boolean => group.files.every(({ path }) => now.files.has(path));
  for (let read = 1; isLive(writer.state()); read += 1) {
    const [mine, batch] = [writer.log(), writer.newId()];
    const parts = { writer, mine, batch, topic: feed.topic, schemaVersion, columns, eventTime: feed.eventTime };
    try {
      const written = await writeCompacted(connection, group, parts);
      const removed = group.files.map(({ path }) => path);
      const answer = await writer.commitFiles(
        [written],
        (added) => writer.propose({ kind: 'compact', batch, epoch, schemaVersion, added, removed }),
        { batch, mine, signal },
      );
      return answer.kind === 'committed' ? written.bytes : null;
    } catch (error) {
      await writer.discard(mine, batch);
      const isOurs = error instanceof LakeError && (error.code === 'engine_failed' || error.code === 'lake_damaged');
      if (isLive(await writer.refresh()) && (!isOurs || read === READS_MAX)) throw error;
    }
  }
  return null;
}

/** What was done stands, also where the warehouse is away; the lake's journal has it too. */
async function auditGroup(installation: Installation, feed: Feed, { day, files, rows, bytes }: CompactionGroup): Promise<void> {
  if (feed.destination === 'data_lake') return;
  const { log, nowMs, signal } = installation;
  try {
    const warehouse = await installation.warehouseToChange();
    const entry = { feed: feed.name, action: 'files_compacted', resource: `lake ${day}`, performedBy: feed.createdBy } as const;
    const counts = { rowCount: rows, fileCount: files.length, byteCount: bytes, atMs: nowMs() };
    await warehouse.transaction((tx) => tx.change(auditStatement(warehouse.dialect, { ...entry, ...counts })), signal);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.warn('audit_skipped', { feed: feed.name, target: 'warehouse', reason });
  }
}
