// Checkpoints: every 100th version's fold as one file, so that a start need not read the whole log (R5). Only a shortcut: a
// missing or damaged one costs time, never a row.

import { LakeError } from '../errors.ts';
import { parseState, stateToJson } from '../model/checkpoint.ts';
import type { FeedState } from '../model/feed-state.ts';
import { checkpointPath, checkpointsFolder, versionOfKey } from '../model/paths.ts';
import { sealJson, unsealJson } from './entry-codec.ts';
import type { ObjectStore } from './store.ts';

export const CHECKPOINT_EVERY = 100;
/** A reader that listed before the newest was made still finds one. */
const CHECKPOINTS_KEPT = 3;

export const writeCheckpoint = async (store: ObjectStore, state: FeedState, staging: string): Promise<void> => {
  await store.replace({ key: checkpointPath(state.feed, state.version), staging, content: sealJson(stateToJson(state)) });
  const old = (await checkpointKeys(store, state.feed)).slice(CHECKPOINTS_KEPT);
  for (const key of old) await store.remove(key);
};

/** null: none, or none that is whole. */
export const newestCheckpoint = async (store: ObjectStore, feed: string): Promise<FeedState | null> => {
  for (const key of await checkpointKeys(store, feed)) {
    const state = await readCheckpoint(store, key);
    if (state?.feed === feed && state.version === versionOfKey(key)) return state;
  }
  return null;
};

/** null: gone, damaged, or of another format. */
export const readCheckpoint = async (store: ObjectStore, key: string): Promise<FeedState | null> => {
  const content = await store.read(key);
  if (content === null) return null;
  try {
    return parseState(unsealJson(content));
  } catch (error) {
    if (error instanceof LakeError && error.code === 'lake_damaged') return null;
    throw error;
  }
};

/** Newest first. */
const checkpointKeys = async (store: ObjectStore, feed: string): Promise<string[]> => {
  const keys = (await store.list(checkpointsFolder(feed))).map(({ key }) => key);
  return keys.filter((key) => versionOfKey(key) !== null).reverse();
};
