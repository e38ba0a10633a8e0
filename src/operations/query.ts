// SQL over the committed files of a lake, beside whatever is going on in it (PROTOCOL R6, 9). A file that was moved while it was read
// (into its place, published anew, compacted, expired) makes the whole query run again on the same fold, from where the file lies then:
// it moves twice at most, so that an ingest that commits faster than files are opened cannot hold a query up for ever.
// Invariant: what is given was gathered before, whole, and from one folded version of each feed.

import { availableParallelism } from 'node:os';
import { alikeFiles } from '../duckdb/adopted-files.ts';
import { type Connection, openDatabase, query, run } from '../duckdb/connection.ts';
import { lockDown, prepareRead } from '../duckdb/sandbox.ts';
import { parquetScan } from '../duckdb/sql.ts';
import type { Prepared } from '../duckdb/statement.ts';
import { LakeError } from '../errors.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import { readFeedState } from '../lake/read-log.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { ObjectStore } from '../lake/store.ts';
import { isAdopted } from '../model/adopted.ts';
import type { FeedState } from '../model/feed-state.ts';
import type { Installation } from './installation.ts';
import { openedPaths, type Scan, type View, type ViewName, viewNames, viewOf, viewSql, viewsNamed } from './views.ts';

export type QueryRequest = {
  readonly sql: string;
  /** Other files and the network may be reached, and any statement run. */
  readonly unsafe: boolean;
  readonly memoryBytesMax: number;
  readonly tempFolder: string;
  /** A file that a statement of ours will write, besides. */
  readonly writes: string | null;
};

/** `last`: the statement whose result is wanted, prepared. */
export type Asked = { readonly connection: Connection; readonly sql: string; readonly last: Prepared };

/** `gather` reads files and may be called again; `give` is called once, and reads none. */
export type QueryWork<G, T> = {
  readonly gather: (asked: Asked) => Promise<G>;
  readonly give: (gathered: G) => Promise<T>;
};

/** A view with the place of each of its files. */
export type FoundView = View & { readonly keys: readonly string[]; readonly paths: readonly string[] };

/** Of thousands of files each is moved for itself; after so many times something else is wrong. */
const RUNS_AGAIN_MAX = 20;
const INTERRUPT_EVERY_MS = 50;

/** Gathers, and again while files go away under it. Throws sql_refused, aborted, lake_damaged and what `work` throws. */
export async function runQuery<G, T>(installation: Installation, request: QueryRequest, work: QueryWork<G, T>): Promise<T> {
  const names = viewNames(installation.config.feeds);
  const store = await openedLake(installation);
  const states: States = new Map();
  for (let again = 0; ; again++) {
    const views = await findViews(store, viewsNamed(request.sql, names), states);
    await using engine = await openEngine(installation.signal, request);
    let gathered: G;
    try {
      gathered = await work.gather(await askedOf(engine.connection, request, views));
    } catch (error) {
      if (installation.signal.aborted) throw ended();
      if (again === RUNS_AGAIN_MAX || !(await areGone(store, views))) throw error;
      installation.log.debug('query_begins_anew', { attempt: again + 1 });
      continue;
    }
    try {
      return await work.give(gathered);
    } catch (error) {
      throw installation.signal.aborted ? ended() : error;
    }
  }
}

/** Whatever DuckDB says of it. */
const ended = (): LakeError => new LakeError('aborted', 'the query was ended');

/** The views that the SQL can read, with their files; nothing is run. */
export async function findFiles(installation: Installation, sql: string): Promise<readonly FoundView[]> {
  const store = await openedLake(installation);
  return findViews(store, viewsNamed(sql, viewNames(installation.config.feeds)), new Map());
}

async function openedLake({ config, lake }: Installation): Promise<ObjectStore> {
  const store = await lake();
  if (await readLakeIdentity(store)) return store;
  throw new LakeError('usage', `there is no lake at ${config.lake.path}`, {
    todo: 'take something in with  lake ingest, or name another lake with --lake-path',
  });
}

/** By feed: the folds that are read from. */
type States = Map<string, FeedState>;

/** Where the files of the views lie at this moment. `states` are folded where they are not yet, and anew when a file is gone for good. */
async function findViews(store: ObjectStore, names: readonly ViewName[], states: States): Promise<readonly FoundView[]> {
  for (let again = 0; ; again++) {
    const found: FoundView[] = [];
    let missing: string | null = null;
    for (const name of names) {
      const state = states.get(name.feed.name) ?? (await readFeedState(store, name.feed.name));
      states.set(name.feed.name, state);
      const view = viewOf(name, state);
      const keys: string[] = [];
      for (const file of view.files) {
        const key = await resolveFile(store, state.feed, file);
        if (key === null) missing = file.path;
        else keys.push(key);
      }
      found.push({ ...view, keys, paths: keys.map(store.localPath) });
    }
    if (missing === null) return found;
    states.clear();
    if (again === RUNS_AGAIN_MAX)
      throw new LakeError('lake_damaged', `${missing} is nowhere, and the log names it`, { where: { file: missing } });
  }
}

async function areGone(store: ObjectStore, views: readonly FoundView[]): Promise<boolean> {
  for (const key of new Set(views.flatMap(({ keys }) => keys))) if ((await store.size(key)) === null) return true;
  return false;
}

/** Whatever it is doing ends with the signal. */
async function openEngine(
  signal: AbortSignal,
  { memoryBytesMax, tempFolder }: QueryRequest,
): Promise<AsyncDisposable & { readonly connection: Connection }> {
  const database = await openDatabase({ memoryBytesMax, tempFolder, threads: availableParallelism() });
  const connection = await database.connect();
  let again: ReturnType<typeof setInterval> | undefined;
  // It ends only what runs at that moment; what is asked next has to end too.
  const interrupt = (): void => {
    connection.interrupt();
    again = setInterval(() => connection.interrupt(), INTERRUPT_EVERY_MS);
  };
  signal.addEventListener('abort', interrupt);
  if (signal.aborted) interrupt();
  return {
    connection,
    [Symbol.asyncDispose]: async () => {
      signal.removeEventListener('abort', interrupt);
      clearInterval(again);
      connection.closeSync();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function askedOf(
  connection: Connection,
  { sql, unsafe, writes }: QueryRequest,
  views: readonly FoundView[],
): Promise<Asked> {
  // Footers are read when a view is made, when the statement is prepared, and when it runs.
  await run(connection, 'SET parquet_metadata_cache = true');
  for (const view of views) await run(connection, viewSql(view, await scansOf(connection, view)));
  if (!unsafe) await lockDown(connection, openedPaths([...views.flatMap(({ paths }) => paths), ...(writes ? [writes] : [])]));
  return { connection, sql, last: await prepareRead(connection, sql, { isLocked: !unsafe }) };
}

/** Files of lake's own as one; those that were adopted by their columns, which others chose. */
async function scansOf(connection: Connection, { files, paths }: FoundView): Promise<readonly Scan[]> {
  const isOld = (index: number): boolean => files[index] !== undefined && isAdopted(files[index]);
  const own = paths.filter((_, index) => !isOld(index));
  const adopted = await alikeFiles(
    connection,
    paths.filter((_, index) => isOld(index)),
  );
  const scans: Scan[] = [];
  for (const group of [own, ...adopted])
    if (group.length > 0) scans.push({ paths: group, found: await columnsIn(connection, group) });
  return scans;
}

async function columnsIn(connection: Connection, paths: readonly string[]): Promise<readonly string[]> {
  if (paths.length === 0) return [];
  const found = await query(connection, `DESCRIBE SELECT * FROM ${parquetScan(paths)}`);
  return found.map((row) => String(row['column_name']));
}
