// For readers that follow the log: where a file of a folded state lies now (R6).

import type { LakeFile } from '../model/log-entry.ts';
import { removedPath, supersededPath } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';

/**
 * The key under which the file can be read: final, staged, or removed and kept for 24 h (superseded: 10 minutes). null: fold again; a file that is
 * still live then is damage, any other is gone for good.
 */
export const resolveFile = async (
  store: ObjectStore,
  feed: string,
  file: Pick<LakeFile, 'path' | 'staged'>,
): Promise<string | null> => {
  // Twice, because it may move from staged to final between the looks; it never moves back.
  const removed = [supersededPath(feed, file.path), removedPath(feed, file.path)];
  for (const key of [file.path, file.staged, file.path, ...removed]) {
    if ((await store.size(key)) !== null) return key;
  }
  return null;
};
