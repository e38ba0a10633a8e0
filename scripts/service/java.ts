// Java and the jars of Apache Kafka, for machines without Docker. The jars come from Maven once a machine, into a cache
// outside the project. Invariant: a folder of jars under its final name is complete.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { root, ScriptError, say } from '../common.ts';

const javaVersionMin = 17;
export const kafkaVersion = '4.0.0';

/** The number is that of the list of jars: raise it when kafka-pom.xml changes. */
function jarsFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'];
  return join(cache?.startsWith('/') ? cache : join(homedir(), '.cache'), 'lake-services', `kafka-${kafkaVersion}-2`);
}

/** Runs a command to its end; its output comes only with its failure. */
async function run(command: string[], env: Record<string, string> = {}): Promise<{ ok: boolean; output: string }> {
  const child = Bun.spawn(command, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', env: { ...process.env, ...env } });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { ok: code === 0, output: `${out}${err}`.trim() };
}

/** Every java there may be, the one asked for first. */
function javaCandidates(): string[] {
  const home = process.env['JAVA_HOME'];
  const jvms = existsSync('/usr/lib/jvm') ? readdirSync('/usr/lib/jvm').map((name) => `/usr/lib/jvm/${name}/bin/java`) : [];
  return [...(home ? [join(home, 'bin/java')] : []), Bun.which('java') ?? '', ...jvms].filter((path) => existsSync(path));
}

async function findJava(): Promise<string | null> {
  for (const java of javaCandidates()) {
    const { ok, output } = await run([java, '-version']);
    if (ok && Number(/version "(\d+)/.exec(output)?.[1] ?? 0) >= javaVersionMin) return java;
  }
  return null;
}

/** The first of these that Debian or Ubuntu knows here. */
async function knownPackage(alternatives: readonly string[]): Promise<string> {
  for (const name of alternatives) {
    const { ok, output } = await run(['apt-cache', 'policy', name]);
    if (ok && /Candidate: \d/.test(output)) return name;
  }
  return 'default-jre-headless';
}

const javaPackage = (): Promise<string> => knownPackage([17, 21, 25].map((version) => `openjdk-${version}-jre-headless`));

/** Installs what is missing where that needs nobody's password; else says what does. */
async function install(missing: readonly ('Java' | 'Maven')[]): Promise<void> {
  const what = missing.map((name) => (name === 'Java' ? `Java ${javaVersionMin} or newer` : name)).join(' and ');
  const apt = Bun.which('apt-get');
  if (apt === null) {
    const others = 'brew install openjdk maven, or dnf install java-21-openjdk-headless maven';
    throw new ScriptError(`${what} missing: install it (${others}), or start Docker`);
  }
  const packagesOf = async (): Promise<string[]> =>
    await Promise.all(missing.map((name) => (name === 'Java' ? javaPackage() : 'maven')));
  if (process.getuid?.() !== 0) {
    const command = `sudo apt-get update && sudo apt-get install -y ${(await packagesOf()).join(' ')}`;
    throw new ScriptError(`${what} missing: ${command}`);
  }
  say(`installing ${what} (apt-get)`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  await run([apt, 'update', '-qq'], quiet);
  const installed = await run([apt, 'install', '-y', '-qq', '--no-install-recommends', ...(await packagesOf())], quiet);
  if (!installed.ok) throw new ScriptError(`${what} cannot be installed: apt-get said\n${installed.output.slice(-3000)}`);
}

/** A Java new enough for Kafka, installed together with Maven if need be. */
export async function ensureJava(): Promise<string> {
  const found = await findJava();
  if (found !== null) return found;
  await install(existsSync(jarsFolder()) || Bun.which('mvn') !== null ? ['Java'] : ['Java', 'Maven']);
  const installed = await findJava();
  if (installed === null) throw new ScriptError(`no Java ${javaVersionMin} or newer is found: set JAVA_HOME to one`);
  return installed;
}

/** The folder of Kafka's jars, fetched by Maven the first time. */
export async function ensureKafkaJars(): Promise<string> {
  const jars = jarsFolder();
  if (existsSync(jars)) return jars;
  if (Bun.which('mvn') === null) await install(['Maven']);
  say(`fetching Kafka ${kafkaVersion} (Maven, 51 MB, once a machine)`);
  mkdirSync(dirname(jars), { recursive: true });
  const partial = mkdtempSync(join(dirname(jars), 'partial-'));
  try {
    const pom = join(root, 'scripts/service/kafka-pom.xml');
    const target = `-DoutputDirectory=${partial}`;
    // Java takes the home from the password file, which has none for the users of some containers.
    const options = `${process.env['MAVEN_OPTS'] ?? ''} -Duser.home=${homedir()}`.trim();
    const command = ['mvn', '-B', '-q', '-f', pom, `-Dkafka.version=${kafkaVersion}`, 'dependency:copy-dependencies', target];
    const maven = await run(command, { MAVEN_OPTS: options });
    if (!maven.ok) throw new ScriptError(`Kafka's jars cannot be fetched: mvn said\n${maven.output.slice(-3000)}`);
    if (!existsSync(jars)) renameSync(partial, jars);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return jars;
}
