// What the host says: open files, memory, the disk of a folder, and how long a write takes until it is durable.
// Invariant: a file that was made to try is gone afterwards, whatever happens.

import { constants } from 'node:fs';
import { access, link, open, readFile, rm, stat, statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import { storeError } from '../lake/store-error.ts';
import type { DiskFacts } from '../model/doctor.ts';

const textOf = (path: string): Promise<string | null> => readFile(path, 'utf8').catch(() => null);

/** null: not known here. */
export async function openFilesMax(): Promise<number | null> {
  const limits = await textOf('/proc/self/limits');
  const soft = /^Max open files\s+(\S+)/m.exec(limits ?? '')?.[1];
  if (soft === undefined) return null;
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** What this process may still take: of the host, and of the container that it is in. */
export async function memoryFreeBytes(): Promise<number> {
  const available = /^MemAvailable:\s+(\d+) kB/m.exec((await textOf('/proc/meminfo')) ?? '')?.[1];
  const host = available === undefined ? freemem() : Number(available) * 1024;
  const [max, used] = [await textOf('/sys/fs/cgroup/memory.max'), await textOf('/sys/fs/cgroup/memory.current')];
  const isLimited = max !== null && used !== null && /^\d+\s*$/.test(max);
  return isLimited ? Math.min(host, Math.max(0, Number(max) - Number(used))) : host;
}

/** The folder, or the nearest one above it that is there. */
export async function nearestFolder(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  return found !== null || dirname(path) === path ? path : nearestFolder(dirname(path));
}

export async function diskOf(folder: string): Promise<DiskFacts> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(folder);
  return { path: folder, freeBytes: bavail * bsize, totalBytes: blocks * bsize, freeInodes: ffree, totalInodes: files };
}

export const isWritable = (folder: string): Promise<boolean> =>
  access(folder, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );

const TRIES = 7;
const TRY_BYTES = 64 * 1024;

/** Milliseconds, the median of a few; and whether a file can be given a second name, as each commit needs. */
export async function tryDisk(folder: string, id: string): Promise<{ readonly medianMs: number; readonly links: boolean }> {
  const path = join(folder, `.lake-doctor-${id}`);
  try {
    const times: number[] = [];
    {
      await using file = await open(path, 'wx');
      for (let index = 0; index < TRIES; index += 1) {
        const begunMs = performance.now();
        await file.write(Buffer.alloc(TRY_BYTES, index));
        await file.sync();
        times.push(performance.now() - begunMs);
      }
    }
    const links = await link(path, `${path}-2`).then(
      () => true,
      () => false,
    );
    return { medianMs: times.sort((a, b) => a - b)[Math.floor(TRIES / 2)] ?? 0, links };
  } catch (error) {
    throw storeError(error, folder);
  } finally {
    await rm(path, { force: true });
    await rm(`${path}-2`, { force: true });
  }
}
