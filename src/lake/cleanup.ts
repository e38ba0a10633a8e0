// R7 and R6: what may be deleted. Only files under staging that no entry names, of writers that can no longer commit, and
// removed files whose time is over.

import type { FeedState } from '../model/feed-state.ts';
import { removedRoot, stagingFolder, stagingRoot, supersededRoot, writerOfStagedKey } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';

/** Writers but `self` whose newest staged file has not changed since `beforeMs`: candidates for a fence, not proof of death. */
export const abandonedWriters = async (options: {
  store: ObjectStore;
  feed: string;
  self: string;
  beforeMs: number;
}): Promise<readonly string[]> => {
  const newestMs = new Map<string, number>();
  for (const { key, changedAtMs } of await options.store.list(stagingRoot(options.feed))) {
    const writer = writerOfStagedKey(options.feed, key);
    if (writer === null || writer === options.self) continue;
    newestMs.set(writer, Math.max(newestMs.get(writer) ?? 0, changedAtMs));
  }
  return [...newestMs].filter(([, changedAtMs]) => changedAtMs < options.beforeMs).map(([writer]) => writer);
};

/** Deletes the staged files of a writer whose fence is folded into `state`. */
export const deleteFencedStaging = async (store: ObjectStore, state: FeedState, writer: string): Promise<void> => {
  const folder = stagingFolder(state.feed, writer);
  const keys = (await store.list(folder)).map(({ key }) => key);
  await deleteUnnamed(store, state, keys);
  await store.removeEmptyFolders(folder);
};

/** Deletes staged files that no entry names. `state` must have been folded after the last commit that could name them. */
export const deleteUnnamed = async (store: ObjectStore, state: FeedState, keys: readonly string[]): Promise<void> => {
  if (keys.length === 0) return;
  const named = new Set([...state.files.values()].map((file) => file.staged));
  for (const key of keys) if (!named.has(key)) await store.remove(key);
};

/** Deletes removed files that were moved away before a moment, which is another one for superseded files. Returns how many. */
export const deleteRemoved = async (
  store: ObjectStore,
  feed: string,
  { beforeMs, supersededBeforeMs }: { beforeMs: number; supersededBeforeMs: number },
): Promise<number> => {
  const superseded = `${supersededRoot(feed)}/`;
  const over = (await store.list(removedRoot(feed))).filter(
    ({ key, changedAtMs }) => changedAtMs < (key.startsWith(superseded) ? supersededBeforeMs : beforeMs),
  );
  for (const { key } of over) await store.remove(key);
  if (over.length > 0) await store.removeEmptyFolders(removedRoot(feed));
  return over.length;
};
