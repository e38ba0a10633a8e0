// The program as a child process: from its sources, from its sources with a fault at a chosen step, or the compiled binary.

import { afterAll } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestKafka } from './kafka.ts';
import { uniqueName } from './kafka.ts';
import { until } from './until.ts';

const ROOT = join(import.meta.dir, '../..');
export const BINARY = process.env['LAKE_TEST_BINARY'] ?? join(ROOT, 'dist/lake');
const SOURCES = [process.execPath, join(ROOT, 'src/main.ts')];
const FAULTY = [process.execPath, join(import.meta.dir, 'ingest-child.ts')];
const CLOCKED = [process.execPath, join(import.meta.dir, 'pipelines-child.ts')];
const OPERATION = [process.execPath, join(import.meta.dir, 'operation-child.ts')];
const DENO = [join(ROOT, 'node_modules/.bin/deno'), 'run', '-A', '--quiet', join(ROOT, 'src/main.ts')];

export type FeedSpec = { readonly feed_name: string; readonly topic: string } & Readonly<Record<string, unknown>>;

export type LakeSetup = {
  readonly configPath: string;
  readonly lakePath: string;
  readonly groupId: string;
};

/** Columns of test/helpers/produced.ts' messages. */
export const FIELDS = { id: 'BIGINT', text: 'VARCHAR' };

export const streamFeed = (name: string, topic: string, more: Record<string, unknown> = {}): FeedSpec => ({
  feed_name: name,
  topic,
  feed_type: 'stream',
  schema: { fields: FIELDS },
  ...more,
});

/** Keyed by `id`. */
export const tableFeed = (name: string, topic: string, more: Record<string, unknown> = {}): FeedSpec => ({
  feed_name: name,
  topic,
  feed_type: 'table',
  schema: { key_field: 'id', fields: FIELDS },
  ...more,
});

/** Writes feeds.json into the folder; the lake is `<folder>/lake`. */
export function writeSetup(options: {
  folder: string;
  kafka: Pick<TestKafka, 'bootstrap'>;
  feeds: readonly FeedSpec[];
  batch?: Record<string, unknown>;
  groupId?: string;
  lakePath?: string;
  name?: string;
}): LakeSetup {
  const { folder, kafka, feeds, batch = {}, groupId = uniqueName('group') } = options;
  const lakePath = options.lakePath ?? join(folder, 'lake');
  const configPath = join(folder, options.name ?? 'feeds.json');
  const config = {
    kafka: { bootstrap_servers: [kafka.bootstrap], group_id: groupId, session_timeout_seconds: 1 },
    lake: { path: lakePath },
    batch: { batch_timeout_seconds: 1, ...batch },
    feeds,
  };
  writeFileSync(configPath, JSON.stringify(config, null, 2));
  return { configPath, lakePath, groupId };
}

/** The n-th call of a method whose key matches is when the signal is sent, before or after the work. */
export type Fault = {
  readonly method: string;
  /** Part of the key (the source's, for a move), or of a statement's text (`change`). */
  readonly key?: string;
  readonly n?: number;
  readonly when: 'before' | 'after';
  readonly signal?: 'SIGKILL' | 'SIGSTOP';
};

export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string };

export type RunningLake = {
  readonly pid: number;
  /** Resolves when it is gone; `code` is null when a signal ended it. */
  readonly ended: Promise<LakeResult>;
  kill(signal: NodeJS.Signals): void;
  /** So far. */
  stdout(): string;
  /** Log lines so far. */
  events(name?: string): readonly LogLine[];
  /** Waits for the n-th line of an event. */
  event(name: string, n?: number): Promise<LogLine>;
  /** Waits until it is stopped (SIGSTOP). */
  stopped(): Promise<void>;
};
export type LakeResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export type RunOptions = {
  readonly as?: 'sources' | 'binary' | 'deno';
  readonly fault?: Fault;
  /** What the program's clock shows when it starts. */
  readonly clockMs?: number;
  readonly env?: Record<string, string>;
  /** Put before the command, e.g. ['setpriv', '--reuid=65534']. */
  readonly wrap?: readonly string[];
};

const running = new Set<{ pid: number; done: boolean }>();
afterAll(() => {
  for (const one of running) if (!one.done) process.kill(one.pid, 'SIGKILL');
});

/** Starts `lake <args>`. What a failed test leaves running is killed at the end of the file. */
export function startLake(setup: Pick<LakeSetup, 'configPath'>, args: readonly string[], options: RunOptions = {}): RunningLake {
  const program = { sources: SOURCES, binary: [BINARY], deno: DENO }[options.as ?? 'sources'];
  const { clockMs, fault } = options;
  const wrapped = args[0] !== 'ingest' ? OPERATION : fault ? FAULTY : CLOCKED;
  const started = fault || clockMs !== undefined ? wrapped : program;
  const command = [...(options.wrap ?? []), ...started, ...args];
  const child = Bun.spawn([...command, '--config', setup.configPath, '--log-format', 'json'], {
    cwd: ROOT,
    env: {
      ...process.env,
      ...options.env,
      ...(fault ? { LAKE_TEST_FAULT: JSON.stringify(fault) } : {}),
      ...(clockMs === undefined ? {} : { LAKE_TEST_CLOCK_MS: String(clockMs) }),
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const mine = { pid: child.pid, done: false };
  running.add(mine);
  let stderr = '';
  let stdout = '';
  let readAll = false;
  const errors = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) stderr += decoder.decode(chunk, { stream: true });
    readAll = true;
  })();
  const answers = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) stdout += decoder.decode(chunk, { stream: true });
  })();
  const ended = (async (): Promise<LakeResult> => {
    await Promise.all([answers, errors, child.exited]);
    mine.done = true;
    return { code: child.signalCode === null ? child.exitCode : null, stdout, stderr };
  })();
  const events = (name?: string): LogLine[] =>
    stderr
      .split('\n')
      .slice(0, -1)
      .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as LogLine] : []))
      .filter(({ event }) => name === undefined || event === name);
  return {
    pid: child.pid,
    ended,
    kill: (signal) => void child.kill(signal),
    stdout: () => stdout,
    events,
    event: (name, n = 1) =>
      until(
        () => {
          const found = events(name)[n - 1];
          if (!found && readAll) throw new Error(`lake ended without ${n} ${name}:\n${stderr}`);
          return found;
        },
        { timeoutMs: 180_000, what: `${n} × ${name}` },
      ),
    stopped: async () => {
      await until(
        async () => {
          if (mine.done) throw new Error(`lake ended instead of stopping:\n${stderr}`);
          const stat = await Bun.file(`/proc/${child.pid}/stat`).text();
          return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
        },
        { timeoutMs: 180_000, what: 'lake is stopped' },
      );
    },
  };
}

/** Runs it to its end. */
export const runLake = (setup: Pick<LakeSetup, 'configPath'>, args: readonly string[], options: RunOptions = {}) =>
  startLake(setup, args, options).ended;

const DRAIN_MS_MAX = 50_000;

/** Drains what is there; throws what it said unless it exits 0 in time. */
export async function drain(setup: Pick<LakeSetup, 'configPath'>, options: RunOptions & { args?: readonly string[] } = {}) {
  const lake = startLake(setup, ['ingest', '--until-caught-up', '--log-level', 'debug', ...(options.args ?? [])], options);
  const timer = setTimeout(() => lake.kill('SIGKILL'), DRAIN_MS_MAX);
  const result = await lake.ended;
  clearTimeout(timer);
  const how = result.code === null ? `did not end within ${DRAIN_MS_MAX} ms` : `ended with ${result.code}`;
  if (result.code !== 0) throw new Error(`lake ingest ${how}:\n${result.stderr}`);
  return result;
}
