// ObjectStore on a local file system. Invariants: an object appears under its key whole or not at all; nothing is unlinked
// after a link(2) whose answer could be lost, but the temporary name (R3).

import { access, constants, link, mkdir, open, readdir, readFile, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { assert } from '../errors.ts';
import { inParallel } from './in-parallel.ts';
import { checkOneDevice } from './one-device.ts';
import type { ObjectStore, StoredObject } from './store.ts';
import { errorCode, storeError } from './store-error.ts';

/** Enough to keep a disk's queue busy; more only holds file handles. */
const SYNCS_MAX = 8;
/** A folder can be taken away as empty between mkdir and rename, but hardly three times in a row. */
const MOVE_ATTEMPTS_MAX = 3;

/** `write` makes the lake's folder when it is missing; `read` changes nothing. Refuses a lake on two devices (R8). */
export const openLocalStore = async (options: { root: string; access: 'read' | 'write' }): Promise<ObjectStore> => {
  const root = resolve(options.root);
  if (options.access === 'write') {
    await at(root, async () => {
      await mkdir(join(root, '_lake'), { recursive: true });
      await access(join(root, '_lake'), constants.W_OK);
      await syncFile(dirname(root));
    });
  }
  await checkOneDevice(root);
  return localStore(root);
};

const localStore = (root: string): ObjectStore => {
  const pathOf = (key: string): string => {
    assert(key !== '' && !key.startsWith('/') && !key.split('/').includes('..'), `store key ${JSON.stringify(key)}`);
    return join(root, key);
  };
  /** The folder and all its parents up to the lake's own. */
  const foldersOf = (file: string): string[] => {
    const folders: string[] = [];
    for (let folder = dirname(file); folder.length >= root.length; folder = dirname(folder)) folders.push(folder);
    return folders;
  };
  return {
    read: (key) => at(pathOf(key), () => nullWhenMissing(readFile(pathOf(key)))),
    size: (key) => at(pathOf(key), async () => (await nullWhenMissing(stat(pathOf(key))))?.size ?? null),
    list: (prefix) => at(pathOf(prefix), async () => (await listFolder(root, prefix)).sort((a, b) => (a.key < b.key ? -1 : 1))),
    createExclusive: ({ key, staging, content }) =>
      at(pathOf(key), async () => {
        const [temp, target] = [pathOf(staging), pathOf(key)];
        await writeDurably(temp, content);
        await mkdir(dirname(target), { recursive: true });
        const answer = await linkExclusive(temp, target);
        if (answer === 'created') for (const folder of foldersOf(target)) await syncFile(folder);
        await unlink(temp).catch(() => undefined); // a left-over is swept with the writer's staging folder
        return answer;
      }),
    replace: ({ key, staging, content }) =>
      at(pathOf(key), async () => {
        await writeDurably(pathOf(staging), content);
        await mkdir(dirname(pathOf(key)), { recursive: true });
        await rename(pathOf(staging), pathOf(key));
      }),
    makeDurable: async (keys) => {
      const files = keys.map(pathOf);
      const folders = [...new Set(files.flatMap(foldersOf))];
      await inParallel(files, SYNCS_MAX, (file) => at(file, () => syncFile(file)));
      await inParallel(folders, SYNCS_MAX, (folder) => at(folder, () => syncFile(folder)));
    },
    move: (from, to) => at(pathOf(to), () => moveFile(pathOf(from), pathOf(to))),
    remove: (key) => at(pathOf(key), () => rm(pathOf(key), { force: true })),
    removeEmptyFolders: (prefix, options) =>
      at(pathOf(prefix), () => removeEmptyFolders(pathOf(prefix), options?.changedBeforeMs ?? Number.POSITIVE_INFINITY)),
    localPath: pathOf,
  };
};

const at = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw storeError(error, path);
  }
};

const nullWhenMissing = async <T>(wanted: Promise<T>): Promise<T | null> => {
  try {
    return await wanted;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
};

const syncFile = async (path: string): Promise<void> => {
  await using handle = await open(path, 'r');
  await handle.sync();
};

/** A left-over under this name may be a second name of a committed entry: it is unlinked, never written to. */
const writeDurably = async (path: string, content: Uint8Array): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  await using handle = await open(path, 'wx');
  await handle.writeFile(content);
  await handle.sync();
};

const linkExclusive = async (temp: string, target: string): Promise<'created' | 'exists'> => {
  try {
    await link(temp, target);
    return 'created';
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return 'exists';
    throw error;
  }
};

const moveFile = async (from: string, to: string): Promise<'moved' | 'missing'> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rename(from, to);
      return 'moved';
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || attempt === MOVE_ATTEMPTS_MAX) throw error;
      if ((await nullWhenMissing(stat(from))) === null) return 'missing';
      await mkdir(dirname(to), { recursive: true });
    }
  }
};

const listFolder = async (root: string, key: string): Promise<StoredObject[]> => {
  const names = await nullWhenMissing(readdir(join(root, key), { withFileTypes: true }));
  const found: StoredObject[] = [];
  for (const name of names ?? []) {
    const child = `${key}/${name.name}`;
    if (name.isDirectory()) {
      found.push(...(await listFolder(root, child)));
      continue;
    }
    const facts = await nullWhenMissing(stat(join(root, child)));
    if (facts?.isFile()) found.push({ key: child, bytes: facts.size, changedAtMs: facts.ctimeMs });
  }
  return found;
};

const removeEmptyFolders = async (folder: string, changedBeforeMs: number): Promise<void> => {
  const facts = await nullWhenMissing(stat(folder)); // before its own folders go, which changes it
  const names = (await nullWhenMissing(readdir(folder, { withFileTypes: true }))) ?? [];
  for (const name of names) if (name.isDirectory()) await removeEmptyFolders(join(folder, name.name), changedBeforeMs);
  if (!facts || facts.mtimeMs >= changedBeforeMs) return;
  try {
    await rmdir(folder);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errorCode(error))) throw error;
  }
};
