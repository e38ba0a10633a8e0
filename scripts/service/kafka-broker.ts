// One real Kafka broker (KRaft, a single node) as a process: its settings, start, readiness. Used for the daily services,
// for the tests' own broker and for brokers that a test stops and starts.

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { ScriptError } from '../common.ts';
import { ensureJava, ensureKafkaJars } from './java.ts';
import { freePort, isAlive, type ProcessRef, startDetached } from './process.ts';

const readyMsMax = 90_000;

/** Settings that hold however the broker is started; keys as in server.properties. */
export const brokerSettings: Readonly<Record<string, string>> = {
  'auto.create.topics.enable': 'false',
  'num.partitions': '3',
  'offsets.topic.replication.factor': '1',
  'offsets.topic.num.partitions': '8',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'transaction.state.log.num.partitions': '4',
  'group.initial.rebalance.delay.ms': '0',
  // Tests restart consumers after a kill: they must not wait for a long session.
  'group.min.session.timeout.ms': '1000',
  'message.max.bytes': '20971520',
  'replica.fetch.max.bytes': '20971520',
  // Samples carry old timestamps, and Kafka deletes by timestamp; tests send messages from the future.
  'log.retention.hours': '-1',
  'log.message.timestamp.after.max.ms': '9223372036854775807',
  'log.cleaner.backoff.ms': '1000',
};

/** A leading dash would be taken for an option. */
export const newClusterId = (): string => randomBytes(16).toString('base64url').replace(/^-/, 'K');

export type BrokerPlace = {
  readonly folder: string;
  readonly port: number;
  readonly settings?: Readonly<Record<string, string>>;
};

const logSettings = `rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n
`;

async function writeSettings({ folder, port, settings: more = {} }: BrokerPlace): Promise<string> {
  const controllerPort = await freePort();
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': join(folder, 'data'),
    ...brokerSettings,
    ...more,
  };
  const path = join(folder, 'server.properties');
  mkdirSync(join(folder, 'tmp'), { recursive: true });
  writeFileSync(join(folder, 'log4j2.properties'), logSettings);
  writeFileSync(
    path,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
  return path;
}

/** Starts the broker on its port with its data, formatting the folder the first time, and waits until it answers. */
export async function startBroker(place: BrokerPlace): Promise<ProcessRef & { readonly logPath: string }> {
  const java = await ensureJava();
  const jars = await ensureKafkaJars();
  const settings = await writeSettings(place);
  const base = [
    java,
    '-Xmx512m',
    `-Djava.io.tmpdir=${join(place.folder, 'tmp')}`,
    `-Dlog4j2.configurationFile=${join(place.folder, 'log4j2.properties')}`,
    '-cp',
    join(jars, '*'),
  ];
  if (!existsSync(join(place.folder, 'data/meta.properties'))) {
    const format = Bun.spawnSync([...base, 'kafka.tools.StorageTool', 'format', '-t', newClusterId(), '-c', settings]);
    if (format.exitCode !== 0) throw new ScriptError(`Kafka's storage cannot be formatted:\n${format.stdout}${format.stderr}`);
  }
  const logPath = join(place.folder, 'kafka.log');
  const ref = startDetached({ command: [...base, 'kafka.Kafka', settings], folder: place.folder, logPath });
  await untilReady({
    bootstrap: `127.0.0.1:${place.port}`,
    goneWhy: () => (isAlive(ref) ? null : `Kafka ended while starting:\n${readFileSync(logPath, 'utf8').slice(-3000)}`),
  });
  return { ...ref, logPath };
}

/** Whether a Kafka answers there and has a broker. */
export async function answers(bootstrap: string): Promise<boolean> {
  const brokers = bootstrap.split(',');
  const kafka = new Kafka({
    brokers,
    clientId: 'lake-services',
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2000,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    return (await admin.describeCluster()).brokers.length > 0;
  } catch {
    return false;
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

/** Waits until Kafka answers; `goneWhy` says when there is no more use in waiting. */
export async function untilReady({ bootstrap, goneWhy }: { bootstrap: string; goneWhy: () => string | null }): Promise<void> {
  const endMs = performance.now() + readyMsMax;
  while (!(await answers(bootstrap))) {
    const reason = goneWhy();
    if (reason !== null) throw new ScriptError(reason);
    if (performance.now() > endMs) throw new ScriptError(`Kafka on ${bootstrap} did not answer within ${readyMsMax / 1000} s`);
    await Bun.sleep(100);
  }
}
