// Kafka for daily work: the one KAFKA_BOOTSTRAP_SERVERS names, else Docker where its engine answers, else Java.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { root, ScriptError, say } from '../common.ts';
import { kafkaVersion } from './java.ts';
import { answers, brokerSettings, newClusterId, startBroker, untilReady } from './kafka-broker.ts';
import { endProcess, freePort, isAlive } from './process.ts';
import { type Service, type ServiceRecord, servicesFolder } from './service.ts';

const defaultPort = 9092;
const image = `apache/kafka:${kafkaVersion}`;
/** A second checkout on the same machine has a container of its own. */
const container = `lake-kafka-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;

function docker(...args: string[]): { ok: boolean; output: string } {
  const done = Bun.spawnSync(['docker', ...args]);
  return { ok: done.exitCode === 0, output: `${done.stdout}${done.stderr}`.trim() };
}

/** A docker command without an engine behind it is common: only the engine counts. */
function dockerAnswers(): boolean {
  return Bun.which('docker') !== null && docker('info', '--format', '{{.ServerVersion}}').ok;
}

function portOf(record: ServiceRecord | undefined): number {
  return Number(record?.address.split(':').at(-1) ?? defaultPort);
}

function createContainer(port: number): { ok: boolean; output: string } {
  const settings: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': '1@localhost:29093',
    listeners: `PLAINTEXT://:${port},CONTROLLER://:29093`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    ...brokerSettings,
  };
  const env = Object.entries(settings).flatMap(([key, value]) => [
    '-e',
    `KAFKA_${key.toUpperCase().replaceAll('.', '_')}=${value}`,
  ]);
  // The image would give every cluster the same id, and lake could not tell one from another.
  const more = ['-e', 'KAFKA_HEAP_OPTS=-Xmx512m', '-e', `CLUSTER_ID=${newClusterId()}`];
  // One of this name that is not remembered was left behind by an interrupted start.
  docker('rm', '-f', container);
  return docker('run', '-d', '--name', container, '-p', `127.0.0.1:${port}:${port}`, ...more, ...env, image);
}

function containerRuns(name: string): boolean {
  return docker('inspect', '--format', '{{.State.Running}}', name).output === 'true';
}

/** null when Docker cannot give us one (no image and no registry, say): then Java does. */
async function startInDocker(known: ServiceRecord | undefined): Promise<ServiceRecord | null> {
  const again = known?.kind === 'docker' && docker('inspect', known.container).ok;
  const port = again ? portOf(known) : await freePort(portOf(known));
  say(`starting Kafka in Docker (${image}) on port ${port}`);
  const started = again ? docker('start', container) : createContainer(port);
  if (!started.ok) {
    say(`Docker cannot run it, so Java does: ${started.output.split('\n').at(-1)}`);
    if (!again) docker('rm', '-f', container);
    return null;
  }
  const bootstrap = `127.0.0.1:${port}`;
  await untilReady({
    bootstrap,
    goneWhy: () => (containerRuns(container) ? null : `Kafka's container ended while starting: see  docker logs ${container}`),
  });
  return { kind: 'docker', address: bootstrap, container };
}

async function startOnJava(known: ServiceRecord | undefined): Promise<ServiceRecord> {
  const port = await freePort(portOf(known));
  const folder = join(servicesFolder, 'kafka');
  say(`starting Kafka ${kafkaVersion} on port ${port}`);
  const broker = await startBroker({ folder, port });
  return { kind: 'process', address: `127.0.0.1:${port}`, pid: broker.pid, identity: broker.identity, log: broker.logPath };
}

/** The one the environment names, unless it is ours. */
function external(known: ServiceRecord | undefined): ServiceRecord | null {
  const named = process.env['KAFKA_BOOTSTRAP_SERVERS'];
  return named && named !== known?.address ? { kind: 'external', address: named } : null;
}

async function start(known: ServiceRecord | undefined): Promise<ServiceRecord> {
  const named = external(known);
  if (named !== null) {
    if (await answers(named.address)) return named;
    const todo = 'start it, or unset KAFKA_BOOTSTRAP_SERVERS to have one started here';
    throw new ScriptError(`no Kafka answers at ${named.address}: ${todo}`);
  }
  if (known !== undefined && (await isRunning(known))) return known;
  // What was started on Java has its data there, even if Docker has come since.
  const inDocker = known?.kind !== 'process' && dockerAnswers() ? await startInDocker(known) : null;
  return inDocker ?? (await startOnJava(known));
}

async function isRunning(record: ServiceRecord): Promise<boolean> {
  if (record.kind === 'process' && !isAlive(record)) return false;
  if (record.kind === 'docker' && !containerRuns(record.container)) return false;
  return await answers(record.address);
}

async function stop(record: ServiceRecord): Promise<boolean> {
  if (record.kind === 'process') return await endProcess(record);
  return record.kind === 'docker' && containerRuns(record.container) && docker('stop', record.container).ok;
}

export const kafka: Service = {
  name: 'kafka',
  environment: ({ address }) => ({ KAFKA_BOOTSTRAP_SERVERS: address }),
  external,
  start,
  isRunning,
  stop,
};
