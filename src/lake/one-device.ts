// R8: a rename across devices would fail after the commit point, so a lake that spans two is refused at start.

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LakeError } from '../errors.ts';
import { PUBLISHED_FOLDERS } from '../model/paths.ts';

/** Looks at the published folders and the feeds' folders in them and in `_lake`; those that are missing will be made here. */
export const checkOneDevice = async (root: string): Promise<void> => {
  const home = await deviceOf(join(root, '_lake'));
  if (home === null) return;
  for (const folder of [...PUBLISHED_FOLDERS, '_lake/feeds']) {
    const path = join(root, folder);
    const children = await readdir(path).catch(() => []);
    for (const place of [path, ...children.map((child) => join(path, child))]) {
      const device = await deviceOf(place);
      if (device === null || device === home) continue;
      throw new LakeError('lake_other_device', `${place} is on another device than ${join(root, '_lake')}`, {
        where: { path: place },
      });
    }
  }
};

const deviceOf = async (path: string): Promise<number | null> => (await stat(path).catch(() => null))?.dev ?? null;
