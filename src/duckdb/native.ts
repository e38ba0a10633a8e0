// DuckDB's native parts inside the single binary: scripts/build.ts puts this module in the place of @duckdb/node-bindings.
// The addon needs libduckdb beside it on a real disk, so both are written once into a cache folder named by their content,
// and loaded from there. From sources nothing imports this file. Invariant: a file under its final name is complete.

import addon from 'lake:duckdb-addon' with { type: 'file' };
import library from 'lake:duckdb-library' with { type: 'file' };
import { randomUUID } from 'node:crypto';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { LakeError } from '../errors.ts';

/** Put in by the build: where the parts go, and how large they are once written (both are embedded as zstd). */
declare const LAKE_NATIVE: {
  readonly folder: string;
  readonly libraryName: string;
  readonly addonBytes: number;
  readonly libraryBytes: number;
};

function hasSize(path: string, bytes: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && found.size === bytes;
}

/** Other users must not be able to put a library of theirs there: it would run as us. */
function isOurs(folder: string): boolean {
  const found = lstatSync(folder);
  const user = process.getuid?.();
  return found.isDirectory() && (user === undefined || (found.uid === user && (found.mode & 0o022) === 0));
}

/** Two processes may do this at once: each writes a file of its own, and either rename leaves a complete one. */
function extract(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!isOurs(folder) || !isOurs(dirname(folder))) throw new Error(`${folder} can be written by other users`);
  const { libraryName, libraryBytes, addonBytes } = LAKE_NATIVE;
  for (const part of [
    { name: libraryName, bytes: libraryBytes, embedded: library },
    { name: 'duckdb.node', bytes: addonBytes, embedded: addon },
  ]) {
    const path = join(folder, part.name);
    if (hasSize(path, part.bytes)) continue;
    const partial = `${path}.${randomUUID()}.partial`;
    try {
      writeFileSync(partial, zstdDecompressSync(readFileSync(part.embedded)), { mode: 0o700, flush: true });
      renameSync(partial, path);
    } finally {
      rmSync(partial, { force: true });
    }
    if (!hasSize(path, part.bytes)) throw new Error(`${path} is not complete`);
  }
}

/** This user's cache, then a folder of this user in the temporary one, then a folder of this process alone. */
function places(): { readonly folder: () => string; readonly once: boolean }[] {
  const cache = process.env['XDG_CACHE_HOME'];
  return [
    { folder: () => join(cache?.startsWith('/') ? cache : join(homedir(), '.cache'), 'lake'), once: false },
    { folder: () => join(tmpdir(), `lake-cache-${process.getuid?.() ?? 'user'}`), once: false },
    { folder: () => mkdtempSync(join(tmpdir(), 'lake-cache-')), once: true },
  ];
}

/** The addon's exports. A folder that cannot be written, or is mounted noexec, leads to the next one. */
function load(): unknown {
  const causes: unknown[] = [];
  for (const place of places()) {
    try {
      const base = place.folder();
      const folder = join(base, LAKE_NATIVE.folder);
      extract(folder);
      const module: { exports: unknown } = { exports: {} };
      process.dlopen(module, join(folder, 'duckdb.node'));
      // What is loaded stays mapped.
      if (place.once) rmSync(base, { recursive: true, force: true });
      return module.exports;
    } catch (cause) {
      causes.push(cause);
    }
  }
  const reasons = causes.map((cause) => (cause instanceof Error ? cause.message : String(cause)));
  throw new LakeError('engine_failed', `DuckDB cannot be loaded: ${reasons.join('; ')}`, {
    cause: causes[0],
    todo: 'set XDG_CACHE_HOME to a folder with 80 MB of space that this user can write and execute from; libstdc++ must be installed',
  });
}

export const bindings: unknown = load();
