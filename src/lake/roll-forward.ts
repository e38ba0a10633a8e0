// R6: renames have many owners. Every writer finishes the renames and removals of the entries it folded, in an order in which
// no file is missed: a file only ever goes staging → final → removed.

import { isAdopted } from '../model/adopted.ts';
import type { FeedState, LiveFile, RemovedFile } from '../model/feed-state.ts';
import { removedPath, stagingRoot, supersededPath } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';

/** What folded entries ask for and this process has not seen done. */
export type Pending = { readonly added: LiveFile[]; readonly removed: RemovedFile[] };

export const nothingPending = (): Pending => ({ added: [], removed: [] });

/** Adds what the entries between two states ask for; entries that are void or undone by then ask for nothing. */
export const addPending = (pending: Pending, state: FeedState, sinceVersion: number, paths: PathsOfEntries): void => {
  for (const path of paths.removed) {
    const file = state.removed.get(path);
    if (file && file.version > sinceVersion) pending.removed.push(file);
  }
  for (const path of paths.added) {
    const file = state.files.get(path);
    if (file && file.version > sinceVersion) pending.added.push(file);
  }
};
type PathsOfEntries = { readonly added: readonly string[]; readonly removed: readonly string[] };

/** After a start: what crashed writers left. Reads the staging folders, not every file of the feed. */
export const findPending = async (store: ObjectStore, state: FeedState): Promise<Pending> => {
  const pending = nothingPending();
  pending.removed.push(...state.removed.values());
  const listed = await store.list(stagingRoot(state.feed));
  if (listed.length === 0) return pending;
  const byStaged = new Map([...state.files.values()].map((file) => [file.staged, file]));
  for (const { key } of listed) {
    const file = byStaged.get(key);
    if (file) pending.added.push(file);
  }
  return pending;
};

/**
 * Works `pending` off, old out first, then new in; what fails stays in it. Returns files that are neither staged nor in place:
 * damage, unless a newer entry removed them.
 */
export const rollForward = async (store: ObjectStore, state: FeedState, pending: Pending): Promise<readonly LiveFile[]> => {
  for (let file = pending.removed[0]; file; file = pending.removed[0]) {
    if (!state.files.has(file.path)) await takeAway(store, state.feed, file);
    pending.removed.shift();
  }
  const missing: LiveFile[] = [];
  for (let file = pending.added[0]; file; file = pending.added[0]) {
    if (state.files.get(file.path)?.version === file.version && !(await putInPlace(store, file))) missing.push(file);
    pending.added.shift();
  }
  return missing;
};

const putInPlace = async (store: ObjectStore, file: LiveFile): Promise<boolean> =>
  (!isAdopted(file) && (await store.move(file.staged, file.path)) === 'moved') || (await store.size(file.path)) !== null;

/** Staged first: whoever moves it from there to its place meanwhile is followed. */
const takeAway = async (store: ObjectStore, feed: string, file: RemovedFile): Promise<void> => {
  const away = (file.superseded ? supersededPath : removedPath)(feed, file.path);
  await store.move(file.staged, away);
  await store.move(file.path, away);
};
