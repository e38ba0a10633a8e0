// Java and the jars of Apache Kafka, for machines without Docker. The jars come from Maven once a machine, into a cache
// outside the project. Invariant: a folder of jars under its final name is complete.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { root, ScriptError, say } from '../common.ts';

const javaVersionMin = 17;
export const kafkaVersion = '4.0.0';

function cacheFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'];
  return join(cache?.startsWith('/') ? cache : join(homedir(), '.cache'), 'lake-services');
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

/** Installs Debian packages where that is possible; `alternatives` are tried in order until one exists here. */
async function aptInstall(what: string, alternatives: readonly string[]): Promise<void> {
  const apt = Bun.which('apt-get');
  if (apt === null) {
    throw new ScriptError(
      `${what} is missing: install it (macOS: brew install openjdk maven; Fedora: dnf install java-21-openjdk-headless maven)`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new ScriptError(`${what} is missing: sudo apt-get update && sudo apt-get install -y ${alternatives[0]}`);
  }
  say(`installing ${what} (apt-get)`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  const update = await run([apt, 'update', '-qq'], quiet);
  let output = update.output;
  for (const name of alternatives) {
    const install = await run([apt, 'install', '-y', '-qq', '--no-install-recommends', name], quiet);
    if (install.ok) return;
    output = install.output;
  }
  throw new ScriptError(`${what} cannot be installed: apt-get install ${alternatives.join(' | ')} said\n${output}`);
}

export async function ensureJava(): Promise<string> {
  const found = await findJava();
  if (found !== null) return found;
  const versions = [17, 21, 25].map((version) => `openjdk-${version}-jre-headless`);
  await aptInstall(`Java ${javaVersionMin} or newer`, [...versions, 'default-jre-headless']);
  const installed = await findJava();
  if (installed === null) throw new ScriptError(`Java ${javaVersionMin} or newer is missing: install it and set JAVA_HOME`);
  return installed;
}

/** The folder of Kafka's jars, fetched by Maven the first time. */
export async function ensureKafkaJars(): Promise<string> {
  const cache = cacheFolder();
  const jars = join(cache, `kafka-${kafkaVersion}`);
  if (existsSync(jars)) return jars;
  if (Bun.which('mvn') === null) await aptInstall('Maven', ['maven']);
  say(`fetching Kafka ${kafkaVersion} (Maven, 51 MB, once a machine)`);
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(join(cache, 'partial-'));
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
