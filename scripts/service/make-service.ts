// What all our services have in common: the one the environment names, else Docker where its engine answers, else a process
// of our own. Once started, a service stays what it is and comes back at its address with its data.

import { join } from 'node:path';
import { ScriptError, say } from '../common.ts';
import { containerName, containerRuns, docker, dockerAnswers } from './docker.ts';
import { endProcess, freePort, isAlive, type ProcessRef } from './process.ts';
import { type Service, type ServiceRecord, servicesFolder } from './service.ts';

export type ServiceParts = {
  readonly name: string;
  /** As a person reads it. */
  readonly title: string;
  readonly defaultPort: number;
  readonly image: string;
  /** What `docker run` needs for a server on that port of loopback: its options, and the arguments after the image. */
  readonly containerOptions: (port: number) => { readonly options: readonly string[]; readonly args: readonly string[] };
  readonly startProcess: (place: { folder: string; port: number }) => Promise<ProcessRef & { readonly logPath: string }>;
  /** Why nothing answers there; null when it does. */
  readonly whyNoAnswer: (record: ServiceRecord) => Promise<string | null>;
  readonly untilReady: (record: ServiceRecord, goneWhy: () => string | null) => Promise<void>;
  /** The address that the environment names… */
  readonly named: () => string | null;
  /** …and the variable that does. */
  readonly variable: string;
  readonly environment: Service['environment'];
};

/** null when Docker cannot give us one (no image and no registry, say): then a process does. */
async function startInDocker(parts: ServiceParts, known: ServiceRecord | undefined): Promise<ServiceRecord | null> {
  const container = containerName(parts.name);
  const again = known?.kind === 'docker' && docker('inspect', known.container).ok;
  const port = again ? portOf(parts, known) : await freePort(portOf(parts, known));
  say(`starting ${parts.title} in Docker (${parts.image}) on port ${port}`);
  // One of this name that is not remembered was left behind by an interrupted start.
  if (!again) docker('rm', '-f', container);
  const { options, args } = parts.containerOptions(port);
  const started = again ? docker('start', container) : docker('run', '-d', '--name', container, ...options, parts.image, ...args);
  if (!started.ok) {
    say(`Docker cannot run it, so it runs without: ${started.output.split('\n').at(-1)}`);
    if (!again) docker('rm', '-f', container);
    return null;
  }
  const record: ServiceRecord = { kind: 'docker', address: `127.0.0.1:${port}`, container };
  const ended = `the container of ${parts.title} ended while starting: see  docker logs ${container}`;
  await parts.untilReady(record, () => (containerRuns(container) ? null : ended));
  return record;
}

async function startProcess(parts: ServiceParts, known: ServiceRecord | undefined): Promise<ServiceRecord> {
  const port = await freePort(portOf(parts, known));
  say(`starting ${parts.title} on port ${port}`);
  const { pid, identity, logPath } = await parts.startProcess({ folder: join(servicesFolder, parts.name), port });
  return { kind: 'process', address: `127.0.0.1:${port}`, pid, identity, log: logPath };
}

export function portOf({ defaultPort }: Pick<ServiceParts, 'defaultPort'>, record: ServiceRecord | undefined): number {
  return Number(record?.address.split(':').at(-1) ?? defaultPort);
}

async function stop(record: ServiceRecord): Promise<boolean> {
  if (record.kind === 'process') return await endProcess(record);
  return record.kind === 'docker' && containerRuns(record.container) && docker('stop', record.container).ok;
}

export function makeService(parts: ServiceParts): Service {
  /** The one the environment names, unless it is ours. */
  const external = (known: ServiceRecord | undefined): ServiceRecord | null => {
    const address = parts.named();
    return address !== null && address !== known?.address ? { kind: 'external', address } : null;
  };
  const isRunning = async (record: ServiceRecord): Promise<boolean> => {
    if (record.kind === 'process' && !isAlive(record)) return false;
    if (record.kind === 'docker' && !containerRuns(record.container)) return false;
    return (await parts.whyNoAnswer(record)) === null;
  };
  const start = async (known: ServiceRecord | undefined): Promise<ServiceRecord> => {
    const named = external(known);
    if (named !== null) {
      const reason = await parts.whyNoAnswer(named);
      if (reason === null) return named;
      const todo = `start it, or unset ${parts.variable} to have one started here`;
      throw new ScriptError(`${parts.title} does not answer at ${named.address} (${reason}): ${todo}`);
    }
    if (known !== undefined && (await isRunning(known))) return known;
    // What was started as a process has its data there, even if Docker has come since.
    const inDocker = known?.kind !== 'process' && dockerAnswers() ? await startInDocker(parts, known) : null;
    return inDocker ?? (await startProcess(parts, known));
  };
  return { name: parts.name, environment: parts.environment, external, start, isRunning, stop };
}
