// Who may read a feed's files in a lake on a file system: their group and mode (`permissions` of the feed). Files get them before their
// commit, so that none is seen with others; folders when a file is moved into them.
// Invariant: only what lies under the feed's own folders is touched, and its owner never changes.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, chown, readdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { deadLettersFolder, stagingRoot, streamFolder, tableFolder } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';
import { errorCode } from './store-error.ts';

/** null: as the system makes it. `mode` of files; folders may also be entered by whoever may read. */
export type Access = { readonly gid: number | null; readonly mode: number | null };

export type AccessOf = (feed: string) => Access | null;

const GETENT_MS_MAX = 5_000;

/** By feed; those that ask for nothing are absent. Throws config_invalid when this host has no such group. */
export function accessOfFeeds(feeds: readonly Feed[]): ReadonlyMap<string, Access> {
  const gids = new Map<string, number>();
  const found = new Map<string, Access>();
  for (const { name, permissions } of feeds) {
    const { lakeGroup, lakeMode } = permissions;
    if (lakeGroup === null && lakeMode === null) continue;
    const gid = lakeGroup === null ? null : (gids.get(lakeGroup) ?? groupId(lakeGroup));
    if (lakeGroup !== null && gid === null) {
      throw new LakeError('config_invalid', `feed ${name}: permissions.lake_group ${lakeGroup} is no group of this host`, {
        where: { feed: name },
        todo: `make it:  groupadd ${lakeGroup}`,
      });
    }
    if (lakeGroup !== null && gid !== null) gids.set(lakeGroup, gid);
    // A file is never run.
    found.set(name, { gid, mode: lakeMode === null ? null : Number.parseInt(lakeMode, 8) & 0o666 });
  }
  return found;
}

/** Of /etc/group, or of whatever else this host asks (LDAP). */
function groupId(name: string): number | null {
  const idIn = (text: string): number | null => {
    const line = text.split('\n').find((one) => one.startsWith(`${name}:`));
    return line === undefined ? null : Number(line.split(':')[2]);
  };
  try {
    const known = idIn(readFileSync('/etc/group', 'utf8'));
    if (known !== null) return known;
    return idIn(execFileSync('getent', ['group', name], { encoding: 'utf8', timeout: GETENT_MS_MAX, stdio: 'pipe' }));
  } catch {
    return null;
  }
}

/** A store whose files and folders of feeds get their group and mode as they are made. */
export const withAccess = (store: ObjectStore, accessOf: AccessOf): ObjectStore => ({
  ...store,
  makeDurable: async (keys) => {
    for (const key of keys) {
      const feed = feedOf(key);
      const access = feed === null ? null : accessOf(feed);
      if (access !== null && key.endsWith('.parquet')) await give(store.localPath(key), access);
    }
    await store.makeDurable(keys);
  },
  move: async (from, to) => {
    const answer = await store.move(from, to);
    const feed = feedOf(to);
    const access = feed === null ? null : accessOf(feed);
    if (answer === 'moved' && feed !== null && access !== null) {
      const roots = foldersOf(feed);
      for (let folder = dirname(to); roots.some((root) => folder.startsWith(root)); folder = dirname(folder))
        await give(store.localPath(folder), access);
    }
    return answer;
  },
});

const foldersOf = (feed: string): readonly string[] => [streamFolder(feed), tableFolder(feed), deadLettersFolder(feed)];

/** null: of no feed, or of its log. */
function feedOf(key: string): string | null {
  const [first = '', second = '', third = ''] = key.split('/');
  if (['streams', 'tables', 'dead_letters'].includes(first)) return second === '' ? null : second;
  return first === '_lake' && second === 'feeds' && key.startsWith(`${stagingRoot(third)}/`) ? third : null;
}

const wantedMode = (mode: number, isFolder: boolean): number => (isFolder ? mode | ((mode & 0o444) >> 2) : mode);

/** What differs is set; what is gone meanwhile is passed over. Answers whether anything was. */
async function give(path: string, { gid, mode }: Access, isDryRun = false): Promise<boolean> {
  try {
    const facts = await stat(path);
    const wanted = mode === null ? null : wantedMode(mode, facts.isDirectory());
    const isOtherGroup = gid !== null && facts.gid !== gid;
    const isOtherMode = wanted !== null && (facts.mode & 0o777) !== wanted;
    if (isDryRun) return isOtherGroup || isOtherMode;
    // The group first: a mode that lets the group read is not for the group of before.
    if (isOtherGroup) await chown(path, facts.uid, gid);
    if (isOtherMode) await chmod(path, wanted);
    return isOtherGroup || isOtherMode;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw new LakeError('lake_not_writable', `the permissions of ${path} cannot be set (${errorCode(cause)})`, {
      where: { path },
      todo: 'run lake as the owner of the lake and as a member of the group that permissions.lake_group names',
      cause,
    });
  }
}

/** Files and folders of the feed that are not as they should be; `isDryRun`: they stay so. */
export async function applyAccess(
  store: ObjectStore,
  feed: string,
  access: Access,
  isDryRun = false,
): Promise<readonly string[]> {
  const changed: string[] = [];
  const visit = async (key: string): Promise<void> => {
    const path = store.localPath(key);
    const names = await readdir(path, { withFileTypes: true }).catch(() => null);
    if (names === null) return;
    if (await give(path, access, isDryRun)) changed.push(key);
    for (const name of names) {
      const child = `${key}/${name.name}`;
      if (name.isDirectory()) await visit(child);
      else if (await give(store.localPath(child), access, isDryRun)) changed.push(child);
    }
  };
  for (const root of foldersOf(feed)) await visit(root);
  return changed;
}
