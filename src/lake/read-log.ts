// Reads a feed's log: newest good checkpoint, then every entry after it. Changes nothing.

import { LakeError } from '../errors.ts';
import { emptyState, type FeedState } from '../model/feed-state.ts';
import { foldAll } from '../model/fold.ts';
import type { LogEntry } from '../model/log-entry.ts';
import { entryPath, LOG_FOLDER_ENTRIES, logFolder, versionOfKey } from '../model/paths.ts';
import { newestCheckpoint } from './checkpoint.ts';
import { decodeEntry } from './entry-codec.ts';
import type { ObjectStore } from './store.ts';

/** Entries in memory at a time when a long log is folded without a checkpoint. */
const CHUNK_ENTRIES = 1_000;

/** The state of now. Throws lake_damaged when an entry is unreadable, missing or does not follow from those before it. */
export const readFeedState = async (store: ObjectStore, feed: string): Promise<FeedState> => {
  const checkpoint = (await newestCheckpoint(store, feed)) ?? emptyState(feed);
  if (checkpoint.version > 0 && (await store.size(entryPath(feed, checkpoint.version))) === null) {
    throw missing(feed, checkpoint.version);
  }
  const newest = await newestListed(store, feed, checkpoint.version);
  const state = await foldNewer(store, checkpoint);
  if (state.version < newest) throw missing(feed, state.version + 1);
  return state;
};

/** Folds the entries after `state`, as far as they go. */
export const foldNewer = async (store: ObjectStore, state: FeedState): Promise<FeedState> => {
  for (let folded = state; ; ) {
    const entries = await readTail(store, folded);
    if (entries.length === 0) return folded;
    folded = foldAll(folded, entries);
  }
};

/** At most CHUNK_ENTRIES of the entries after `state`; empty: there are none. */
export const readTail = async (store: ObjectStore, state: FeedState): Promise<readonly LogEntry[]> => {
  const entries: LogEntry[] = [];
  while (entries.length < CHUNK_ENTRIES) {
    const entry = await readEntry(store, state.feed, state.version + entries.length + 1);
    if (entry === null) break;
    entries.push(entry);
  }
  return entries;
};

/** null: this version is not taken. */
export const readEntry = async (store: ObjectStore, feed: string, version: number): Promise<LogEntry | null> => {
  const file = entryPath(feed, version);
  const content = await store.read(file);
  return content && decodeEntry(content, { feed, version, file });
};

/** The newest version whose name is in the log, from the folder of `fromVersion` on; a later fold must reach it. */
const newestListed = async (store: ObjectStore, feed: string, fromVersion: number): Promise<number> => {
  let newest = fromVersion;
  for (let version = fromVersion; ; version += LOG_FOLDER_ENTRIES) {
    const listed = await store.list(logFolder(feed, version));
    if (listed.length === 0) return newest;
    for (const { key } of listed) newest = Math.max(newest, versionOfKey(key) ?? 0);
  }
};

const missing = (feed: string, version: number): LakeError =>
  new LakeError('lake_damaged', `log entry ${version} of feed ${feed} is missing, and newer ones are there`, {
    where: { feed, version, file: entryPath(feed, version) },
  });
