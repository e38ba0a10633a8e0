// Java, Maven and the jars of Apache Kafka, for machines without Docker. The jars come from Maven once a machine.

import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { root, ScriptError, say } from '../common.ts';
import { cacheFolder, knownPackage, onceAMachine, run } from './packages.ts';

const javaVersionMin = 17;
export const kafkaVersion = '4.0.0';

/** The number is that of the list of jars: raise it when kafka-pom.xml changes. */
function jarsFolder(): string {
  return cacheFolder(`kafka-${kafkaVersion}-2`);
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

const javaPackage = async (): Promise<string> =>
  (await knownPackage([17, 21, 25].map((version) => `openjdk-${version}-jre-headless`))) ?? 'default-jre-headless';

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
  const quiet = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
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

/** Runs Maven with these arguments in a folder, installing it if need be; `what` names what is fetched. */
export async function runMaven(args: readonly string[], { what, folder }: { what: string; folder: string }): Promise<void> {
  if (Bun.which('mvn') === null) await install(['Maven']);
  // Java takes the home from the password file, which has none for the users of some containers.
  const options = `${process.env['MAVEN_OPTS'] ?? ''} -Duser.home=${homedir()}`.trim();
  const maven = await run(['mvn', '-B', '-q', ...args], { env: { MAVEN_OPTS: options }, folder });
  if (!maven.ok) throw new ScriptError(`${what} cannot be fetched: mvn said\n${maven.output.slice(-3000)}`);
}

/** The folder of Kafka's jars, fetched by Maven the first time. */
export async function ensureKafkaJars(): Promise<string> {
  return await onceAMachine(jarsFolder(), async (partial) => {
    say(`fetching Kafka ${kafkaVersion} (Maven, 51 MB, once a machine)`);
    const jars = join(partial, 'jars');
    const pom = join(root, 'scripts/service/kafka-pom.xml');
    const args = ['-f', pom, `-Dkafka.version=${kafkaVersion}`, 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`];
    await runMaven(args, { what: "Kafka's jars", folder: partial });
    return jars;
  });
}
