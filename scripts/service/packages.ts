// What the services are made of comes from elsewhere once a machine: Debian's packages, and a cache outside the project.
// Invariant: a folder of the cache under its final name is complete.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

export type RunOptions = { readonly env?: Readonly<Record<string, string>>; readonly folder?: string };

/** Runs a command to its end; its output comes only with its failure. */
export async function run(command: string[], { env = {}, folder }: RunOptions = {}): Promise<{ ok: boolean; output: string }> {
  const child = Bun.spawn(command, {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env },
    ...(folder === undefined ? {} : { cwd: folder }),
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { ok: code === 0, output: `${out}${err}`.trim() };
}

/** The first of these that Debian or Ubuntu knows here. */
export async function knownPackage(alternatives: readonly string[]): Promise<string | null> {
  for (const name of alternatives) {
    const { ok, output } = await run(['apt-cache', 'policy', name]);
    if (ok && /Candidate: \d/.test(output)) return name;
  }
  return null;
}

export function cacheFolder(name: string): string {
  const cache = process.env['XDG_CACHE_HOME'];
  return join(cache?.startsWith('/') ? cache : join(homedir(), '.cache'), 'lake-services', name);
}

/** Makes a folder of the cache if it is not there: `fill` works in an empty folder and returns the path to keep. */
export async function onceAMachine(folder: string, fill: (partial: string) => Promise<string>): Promise<string> {
  if (existsSync(folder)) return folder;
  mkdirSync(dirname(folder), { recursive: true });
  const partial = mkdtempSync(join(dirname(folder), 'partial-'));
  try {
    const filled = await fill(partial);
    if (!existsSync(folder)) renameSync(filled, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}
