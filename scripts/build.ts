// Builds dist/lake: one file with Bun, the program, and DuckDB's native parts (see src/duckdb/native.ts).
// Exported for quickstart and test, which build only when a source is newer than the binary.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import type { BunPlugin } from 'bun';
import packageJson from '../package.json' with { type: 'json' };
import type { BuildInfo } from '../src/version.ts';
import { root, runScript, ScriptError, say } from './common.ts';

const binary = join(root, 'dist/lake');
const workFolder = join(root, 'dist/.native');

/** DuckDB's packages hold the addon and the library it needs beside it. */
function nativeParts(): { addon: string; library: string; version: string } {
  const platform = `${process.platform}-${process.arch}`;
  const fromApi = createRequire(createRequire(import.meta.url).resolve('@duckdb/node-api'));
  const fromBindings = createRequire(fromApi.resolve('@duckdb/node-bindings'));
  const manifestPath = fromBindings.resolve(`@duckdb/node-bindings-${platform}/package.json`);
  const folder = dirname(manifestPath);
  const library = readdirSync(folder).find((name) => name.startsWith('libduckdb.'));
  if (library === undefined) throw new Error(`${folder} holds no libduckdb: this platform (${platform}) is not supported yet`);
  const manifest: unknown = JSON.parse(readFileSync(manifestPath, 'utf8'));
  const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0';
  return { addon: join(folder, 'duckdb.node'), library: join(folder, library), version };
}

/** zstd halves what people download; unpacking happens once a machine. Kept between builds, by content. */
function compressed(path: string, name: string): { path: string; bytes: number; hash: string } {
  const content = readFileSync(path);
  const hash = new Bun.CryptoHasher('sha256').update(content).digest('hex').slice(0, 12);
  const target = join(workFolder, `${name}-${hash}.zst`);
  if (!existsSync(target)) {
    mkdirSync(workFolder, { recursive: true });
    writeFileSync(`${target}.partial`, zstdCompressSync(content));
    renameSync(`${target}.partial`, target);
  }
  return { path: target, bytes: content.length, hash };
}

/** A .node file would be taken for an addon to link at build time; under another name it is a file like any other. */
function duckdbPlugin(parts: { addon: string; library: string }): BunPlugin {
  return {
    name: 'embedded-duckdb',
    setup(build) {
      build.onResolve({ filter: /^@duckdb\/node-bindings$/ }, () => ({ path: 'bindings', namespace: 'lake-native' }));
      build.onLoad({ filter: /.*/, namespace: 'lake-native' }, () => ({
        contents: `module.exports = require(${JSON.stringify(join(root, 'src/duckdb/native.ts'))}).bindings;`,
        loader: 'js',
      }));
      build.onResolve({ filter: /^lake:duckdb-addon$/ }, () => ({ path: parts.addon }));
      build.onResolve({ filter: /^lake:duckdb-library$/ }, () => ({ path: parts.library }));
    },
  };
}

function gitCommit(): string {
  const git = (...args: string[]) => Bun.spawnSync(['git', ...args], { cwd: root, stderr: 'ignore' });
  const head = git('rev-parse', '--short=12', 'HEAD');
  if (head.exitCode !== 0) return 'unknown';
  const changed = git('status', '--porcelain').stdout.length > 0;
  return `${head.stdout.toString().trim()}${changed ? '+' : ''}`;
}

export async function buildLake({ entry = join(root, 'src/main.ts'), outfile = binary } = {}): Promise<void> {
  const native = nativeParts();
  const addon = compressed(native.addon, 'addon');
  const library = compressed(native.library, 'library');
  const info: BuildInfo = {
    version: packageJson.version,
    commit: gitCommit(),
    bun: Bun.version,
    duckdb: packageJson.dependencies['@duckdb/node-api'],
    kafkajs: packageJson.dependencies.kafkajs,
  };
  mkdirSync(dirname(outfile), { recursive: true });
  const buildFolder = mkdtempSync(join(dirname(outfile), '.build-'));
  const partial = join(buildFolder, basename(outfile));
  try {
    const built = await Bun.build({
      throw: false,
      entrypoints: [entry],
      // A .env or bunfig.toml that lies about on a server must not change what lake does.
      compile: { outfile: partial, autoloadDotenv: false, autoloadBunfig: false },
      minify: { syntax: true, whitespace: true },
      sourcemap: 'inline',
      plugins: [duckdbPlugin({ addon: addon.path, library: library.path })],
      define: {
        LAKE_BUILD: JSON.stringify(info),
        LAKE_NATIVE: JSON.stringify({
          folder: `duckdb-${native.version}-${library.hash}-${addon.hash}`,
          libraryName: basename(native.library),
          addonBytes: addon.bytes,
          libraryBytes: library.bytes,
        }),
      },
    });
    if (!built.success) throw new ScriptError(`dist/lake cannot be built:\n${built.logs.map(String).join('\n')}`);
    // A running lake keeps the file it was started from.
    renameSync(partial, outfile);
  } finally {
    rmSync(buildFolder, { recursive: true, force: true });
  }
}

function newestMs(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

/** Whether something the binary is made of is newer than it. */
function isStale(): boolean {
  const built = statSync(binary, { throwIfNoEntry: false });
  if (built === undefined) return true;
  const made = ['src', 'sql', 'package.json', 'package-lock.json', 'scripts/build.ts'].map((name) => newestMs(join(root, name)));
  return Math.max(...made) >= built.mtimeMs;
}

/** Builds dist/lake unless it is up to date; returns its path. */
export async function ensureBuilt(): Promise<string> {
  if (isStale()) {
    say('building dist/lake');
    await buildLake();
  }
  return binary;
}

if (import.meta.main) {
  await runScript(async () => {
    const [entry, outfile = binary] = process.argv.slice(2).map((path) => resolve(path));
    await buildLake({ outfile, ...(entry === undefined ? {} : { entry }) });
    say(`built ${outfile} (${Math.round(statSync(outfile).size / 1e6)} MB)`);
    return 0;
  });
}
