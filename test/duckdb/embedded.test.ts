// A binary that lies alone in a folder brings DuckDB with it: src/duckdb/native.ts, as scripts/build.ts embeds it.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildLake } from '../../scripts/build.ts';

const folder = mkdtempSync(join(tmpdir(), 'lake-embedded-'));
const binary = join(folder, 'program');

beforeAll(async () => {
  await buildLake({ entry: join(import.meta.dir, 'embedded-entry.ts'), outfile: binary });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs it in an empty folder; what it printed. */
async function run(environment: Record<string, string>): Promise<string> {
  const cwd = mkdtempSync(join(folder, 'cwd-'));
  const child = Bun.spawn([binary], { cwd, env: { PATH: '', ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return (await child.exited) === 0 ? out : err;
}

const newFolder = (name: string): string => mkdtempSync(join(folder, `${name}-`));

function libraryIn(base: string): string {
  const [version = ''] = readdirSync(join(base, 'lake'));
  const names = readdirSync(join(base, 'lake', version));
  expect(names.filter((name) => name.endsWith('.partial'))).toEqual([]);
  return join(base, 'lake', version, names.find((name) => name.startsWith('libduckdb')) ?? '');
}

test('DuckDB works in a folder without node_modules, and again from the cache', async () => {
  const cache = newFolder('cache');
  expect(await run({ XDG_CACHE_HOME: cache })).toBe('499500');
  const written = statSync(libraryIn(cache)).mtimeMs;
  expect(await run({ XDG_CACHE_HOME: cache })).toBe('499500');
  expect(statSync(libraryIn(cache)).mtimeMs).toBe(written);
});

test('processes that start at once on an empty cache all work', async () => {
  const cache = newFolder('cache');
  expect(await Promise.all([1, 2, 3, 4].map(() => run({ XDG_CACHE_HOME: cache })))).toEqual(Array(4).fill('499500'));
  libraryIn(cache);
});

test('a library that is not complete is written again', async () => {
  const cache = newFolder('cache');
  await run({ XDG_CACHE_HOME: cache });
  const library = libraryIn(cache);
  const bytes = statSync(library).size;
  truncateSync(library, 100);
  expect(await run({ XDG_CACHE_HOME: cache })).toBe('499500');
  expect(statSync(library).size).toBe(bytes);
});

test('where the cache cannot be written the temporary folder serves', async () => {
  const file = join(folder, 'no-folder');
  writeFileSync(file, '');
  const temporary = newFolder('tmp');
  expect(await run({ XDG_CACHE_HOME: file, TMPDIR: temporary })).toBe('499500');
  expect(readdirSync(temporary)).toHaveLength(1);
});

test('a cache that others can write is not trusted', async () => {
  const cache = newFolder('cache');
  mkdirSync(join(cache, 'lake'));
  chmodSync(join(cache, 'lake'), 0o777);
  expect(await run({ XDG_CACHE_HOME: cache, TMPDIR: newFolder('tmp') })).toBe('499500');
  expect(readdirSync(join(cache, 'lake')).flatMap((name) => readdirSync(join(cache, 'lake', name)))).toEqual([]);
});

test('with no place at all it says what to do', async () => {
  const file = join(folder, 'no-folder-either');
  writeFileSync(file, '');
  expect(await run({ XDG_CACHE_HOME: file, TMPDIR: file })).toContain('DuckDB cannot be loaded');
});
