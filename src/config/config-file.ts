// Publishes a new text of a file that people edit too: a new file beside it, made durable, then renamed into its place.
// Invariant: whoever reads the path finds the old text or the new one, whole; what somebody else wrote since it was read is not
// overwritten, but for the instant between the last look and the rename.

import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LakeError } from '../errors.ts';

const NEW_FILE_MODE = 0o644;
/** What a killed run left beside the file: nobody writes for as long. */
const LEFT_OVER_MS_MIN = 60_000;

/** `before`: the text it was made from; null: there was no file. Throws `fenced` when the file is another one by now. */
export async function replaceText(
  path: string,
  { before, after }: { readonly before: string | null; readonly after: string },
): Promise<void> {
  // A link stays one.
  const target = await realpath(path).catch(() => path);
  const folder = dirname(target);
  const mode = await stat(target).then(
    (found) => found.mode & 0o777,
    () => NEW_FILE_MODE,
  );
  const staged = join(folder, `.${basename(target)}.${randomUUID().slice(0, 8)}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await sweep(folder, basename(target));
    const file = await open(staged, 'wx', mode);
    try {
      await file.writeFile(after);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    if ((await textOf(target)) !== before) {
      throw new LakeError('fenced', `${path} was changed by somebody else at the same moment`, {
        where: { file: path },
        todo: 'look at what was changed, then run it again',
      });
    }
    await rename(staged, target);
    await syncFolder(folder);
  } catch (cause) {
    await rm(staged, { force: true }).catch(() => undefined);
    if (cause instanceof LakeError) throw cause;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    throw new LakeError(isFull ? 'disk_full' : 'lake_not_writable', `${path} cannot be written (${code})`, {
      where: { file: path },
      todo: isFull ? 'free space on its disk, then run it again' : 'give this user the right to write there',
      cause,
    });
  }
}

async function sweep(folder: string, name: string): Promise<void> {
  for (const found of await readdir(folder)) {
    if (!found.startsWith(`.${name}.`) || !found.endsWith('.tmp')) continue;
    const path = join(folder, found);
    const atMs = await stat(path)
      .then(({ mtimeMs }) => mtimeMs)
      .catch(() => Date.now());
    if (Date.now() - atMs >= LEFT_OVER_MS_MIN) await rm(path, { force: true });
  }
}

/** null: there is no such file. */
export async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR')) return null;
    throw cause;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
