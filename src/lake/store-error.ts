// Translates what the file system refused into the errors a person can act on.

import { type ErrorCode, LakeError } from '../errors.ts';

const CODES: Record<string, { code: ErrorCode; says: string; todo?: string }> = {
  ENOSPC: { code: 'disk_full', says: 'has no space left on its disk' },
  EDQUOT: { code: 'disk_full', says: 'is beyond the disk quota of this user' },
  EACCES: { code: 'lake_not_writable', says: 'cannot be read or written by this user' },
  EPERM: { code: 'lake_not_writable', says: 'cannot be changed by this user, or its file system has no hard links' },
  ENOTSUP: {
    code: 'lake_not_writable',
    says: 'is on a file system without hard links',
    todo: 'keep the lake on a file system with hard links (ext4, xfs, btrfs, apfs)',
  },
  EROFS: { code: 'lake_not_writable', says: 'is on a read-only file system' },
  ENOTDIR: {
    code: 'lake_not_writable',
    says: 'is a file, or leads into one, where a folder has to be',
    todo: 'name a folder with --lake-path or lake.path, or move that file away',
  },
  ELOOP: { code: 'lake_not_writable', says: 'is a link that leads back to itself' },
  EXDEV: { code: 'lake_other_device', says: 'is on another device than the rest of the lake' },
};

export const errorCode = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** The error to throw for what happened at `path`; unknown ones are passed on as they are. */
export const storeError = (error: unknown, path: string): unknown => {
  const known = CODES[errorCode(error)];
  if (!known || error instanceof LakeError) return error;
  return new LakeError(known.code, `${path} ${known.says}`, {
    where: { path },
    cause: error,
    ...(known.todo === undefined ? {} : { todo: known.todo }),
  });
};
