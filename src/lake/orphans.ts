// Which files of a feed no entry names (R7): ours are orphans, all others are foreign and never touched. For verify.

import type { FeedState } from '../model/feed-state.ts';
import { batchOfPath, deadLettersFolder, stagingRoot, stateFolder, streamFolder, tableFolder } from '../model/paths.ts';
import type { ObjectStore, StoredObject } from './store.ts';

export type Strays = {
  /** Under staging or with a batch id of ours in the name; a running batch's staged files are among them. */
  readonly orphans: readonly StoredObject[];
  readonly foreign: readonly StoredObject[];
};

/** Fold again before judging: a file listed here may have been committed since `state`. */
export const findStrays = async (store: ObjectStore, state: FeedState): Promise<Strays> => {
  const staged = new Set([...state.files.values()].map((file) => file.staged));
  const orphans = (await store.list(stagingRoot(state.feed))).filter(({ key }) => !staged.has(key));
  const foreign: StoredObject[] = [];
  const folders = [streamFolder, tableFolder, stateFolder, deadLettersFolder].map((folderOf) => folderOf(state.feed));
  for (const folder of folders) {
    for (const found of await store.list(folder)) {
      if (state.files.has(found.key) || state.removed.has(found.key)) continue;
      (batchOfPath(found.key) === null ? foreign : orphans).push(found);
    }
  }
  return { orphans, foreign };
};
