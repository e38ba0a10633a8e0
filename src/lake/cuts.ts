// The cut of each boundary, made once by whichever target comes first and met by all (DESIGN §5).
// Invariant: a cut is created exclusively and never changed; what is read is what the first one wrote.

import { LakeError } from '../errors.ts';
import { boundaryOfCutPath, type Cut, cutPath, cutToJson, nextBoundary, parseCut } from '../model/cut.ts';
import { cutsFolder } from '../model/paths.ts';
import { sealJson, unsealJson } from './entry-codec.ts';
import type { ObjectStore } from './store.ts';

export type Cuts = {
  /** null: nobody has made it yet. Throws lake_damaged. */
  read(boundaryMs: number): Promise<Cut | null>;
  /** The next boundary after this one that a cut was made for; null: none. */
  next(boundaryMs: number): Promise<number | null>;
  /** Makes it, unless somebody was first; answers the one that counts. */
  make(cut: Cut): Promise<Cut>;
};

export function openCuts(options: { readonly store: ObjectStore; readonly feed: string; readonly newId: () => string }): Cuts {
  const { store, feed, newId } = options;
  const read = async (boundaryMs: number): Promise<Cut | null> => {
    const key = cutPath(feed, boundaryMs);
    const content = await store.read(key);
    if (content === null) return null;
    try {
      return parseCut(unsealJson(content), { feed, boundaryMs });
    } catch (cause) {
      const code = cause instanceof LakeError ? cause.code : 'lake_damaged';
      const words = cause instanceof Error ? cause.message : String(cause);
      throw new LakeError(code, `the cut ${key} cannot be read: ${words}`, {
        where: { feed, file: store.localPath(key) },
        cause,
      });
    }
  };
  return {
    read,
    next: async (boundaryMs) => {
      const keys = (await store.list(cutsFolder(feed))).map(({ key }) => key);
      return nextBoundary(
        keys.map(boundaryOfCutPath).filter((one) => one !== null),
        boundaryMs,
      );
    },
    make: async (cut) => {
      const key = cutPath(feed, cut.boundaryMs);
      const staging = `${cutsFolder(feed)}/.staging/${newId()}.json`;
      try {
        await store.createExclusive({ key, staging, content: sealJson(cutToJson(cut)) });
      } catch (error) {
        // The answer is lost, not the cut: what is there counts.
        const found = await read(cut.boundaryMs);
        if (found) return found;
        throw error;
      }
      const made = await read(cut.boundaryMs);
      if (!made) throw new LakeError('lake_damaged', `the cut ${key} is gone right after it was made`, { where: { feed } });
      return made;
    },
  };
}
