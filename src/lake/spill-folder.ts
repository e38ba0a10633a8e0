// Where an engine that works for the lake spills to. Whoever has one shows now and then that it is alive; what a killed process left is
// taken away by the next start. Invariant: only folders of that name are touched, and none that was in use within the last hour.

import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { ENGINE_FOLDER } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';

const PREFIX = 'spill-';
const SIGN_EVERY_MS = 10 * 60_000;
const UNUSED_MS_MAX = 60 * 60_000;

export async function openSpillFolder(
  store: ObjectStore,
  { newId, nowMs }: { readonly newId: () => string; readonly nowMs: () => number },
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = store.localPath(`${ENGINE_FOLDER}/${PREFIX}${newId()}`);
  await sweep(store.localPath(ENGINE_FOLDER), nowMs() - UNUSED_MS_MAX);
  await mkdir(path, { recursive: true });
  const sign = setInterval(() => {
    const now = nowMs() / 1000;
    void utimes(path, now, now).catch(() => undefined);
  }, SIGN_EVERY_MS);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      clearInterval(sign);
      await rm(path, { recursive: true, force: true });
    },
  };
}

/** What cannot be taken away, as it is another user's, stays: it costs room and nothing else. */
async function sweep(folder: string, beforeMs: number): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(PREFIX))) {
    const left = join(folder, name);
    const changedMs = (await stat(left).catch(() => null))?.mtimeMs;
    if (changedMs !== undefined && changedMs < beforeMs) await rm(left, { recursive: true, force: true }).catch(() => undefined);
  }
}
