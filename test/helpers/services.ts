// The services a test talks to. scripts/test starts them once and names them in the environment; under a bare `bun test`
// they are started for this run. Whatever is started here ends with the process, even if that is killed.

import { setDefaultTimeout } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBroker } from '../../scripts/service/kafka-broker.ts';
import { endProcess, endWithParent, freePort, isAlive, type ProcessRef } from '../../scripts/service/process.ts';
import { kafkaAt, type TestKafka } from './kafka.ts';

// Bun's own 5 s is less than a broker takes to come back; bunfig.toml cannot say so.
setDefaultTimeout(300_000);

let base: string | null = null;

/** Where tests keep what they start; scripts/test gives one and removes it. */
export function baseFolder(): string {
  const given = process.env['LAKE_TEST_DIR'];
  if (given) return given;
  if (base === null) {
    base = mkdtempSync(join(tmpdir(), 'lake-test-'));
    // `bun test` runs no exit handlers.
    endWithParent(null, base);
  }
  return base;
}

let shared: Promise<TestKafka> | null = null;

/** The Kafka all tests share: use topics of your own (`createTopic()` makes up a name), and never stop it. */
export function testKafka(): Promise<TestKafka> {
  const given = process.env['LAKE_TEST_KAFKA'];
  shared ??= given ? Promise.resolve(kafkaAt(given)) : startPrivateKafka();
  return shared;
}

/** A server for one test. */
export type PrivateServer = {
  readonly pid: () => number;
  /** SIGTERM by default; SIGKILL for a crash. Resolves when the process is gone. */
  readonly stop: (options?: { readonly signal?: NodeJS.Signals }) => Promise<void>;
  /** On the same port with the same data; resolves when it answers. */
  readonly start: () => Promise<void>;
  /** Connected but silent (SIGSTOP), and back. */
  readonly pause: () => void;
  readonly resume: () => void;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type PrivateKafka = TestKafka & PrivateServer & { readonly port: number };

/** A Kafka for one test that stops, kills or pauses its broker; up in about 3 s. `await using`. */
export async function startPrivateKafka(
  more: { readonly port?: number; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<PrivateKafka> {
  const folder = mkdtempSync(join(baseFolder(), 'kafka-'));
  const port = more.port ?? (await freePort());
  const start = async (): Promise<ProcessRef> => {
    // A killed broker may register again only when its old session has ended.
    const ref = await startBroker({
      folder,
      port,
      settings: { 'broker.session.timeout.ms': '2000', 'broker.heartbeat.interval.ms': '500', ...more.settings },
    });
    endWithParent(ref, folder);
    return ref;
  };
  let ref = await start();
  const client = kafkaAt(`127.0.0.1:${port}`);
  return {
    ...client,
    port,
    pid: () => ref.pid,
    stop: async ({ signal = 'SIGTERM' } = {}) => void (await endProcess(ref, signal)),
    start: async () => {
      if (!isAlive(ref)) ref = await start();
    },
    pause: () => void process.kill(ref.pid, 'SIGSTOP'),
    resume: () => void process.kill(ref.pid, 'SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await endProcess(ref, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A folder that goes with the scope: `await using folder = await tempDir(); folder.path`. */
export async function tempDir(): Promise<{ readonly path: string; readonly [Symbol.asyncDispose]: () => Promise<void> }> {
  const path = await mkdtemp(join(baseFolder(), 'tmp-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
