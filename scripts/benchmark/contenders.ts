// One run of each contender on a topic, each in a fresh process with a consumer group and an output folder of its own.

import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { root, ScriptError, say } from '../common.ts';
import { benchFolder, messagesFile } from './kafka.ts';
import { type Measured, measure } from './measure.ts';
import type { BenchOptions, BenchTopic, Contender } from './options.ts';

/** `ms` from the assignment of the partitions (Kafka) or the first statement (DuckDB) to everything being done. */
export type Run = {
  readonly contender: Contender;
  readonly topic: string;
  readonly messages: number;
  readonly ms: number;
  readonly files: number;
  readonly bytes: number;
  readonly measured: Measured;
};

export type Bench = Pick<BenchOptions, 'lakePath' | 'lakeFlags'> & {
  readonly bootstrap: string;
  readonly python: string | null;
};

const reported = v.object({ ms: v.number(), messages: v.number() });
const logLine = v.object({ at: v.string(), event: v.string(), messages: v.optional(v.number()) });

const here = join(root, 'scripts/benchmark');

export async function runContender(contender: Contender, topic: BenchTopic, bench: Bench): Promise<Run> {
  const folder = join(benchFolder, 'runs', `${contender}-${topic.name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'out'), { recursive: true });
  const { measured, ms, messages } = await start[contender]({ folder, topic, bench });
  if (messages !== topic.messages) {
    throw new ScriptError(`${contender} took ${messages} of the ${topic.messages} messages of ${topic.name}`);
  }
  const written = parquetIn(join(folder, 'out'));
  rmSync(folder, { recursive: true, force: true });
  return { contender, topic: topic.name, messages, ms, ...written, measured };
}

type Start = { readonly folder: string; readonly topic: BenchTopic; readonly bench: Bench };
type Started = { readonly measured: Measured; readonly ms: number; readonly messages: number };

const start: Record<Contender, (given: Start) => Promise<Started>> = {
  drain: async ({ folder, topic, bench }) =>
    await own(folder, [process.execPath, join(here, 'floor-drain.ts'), bench.bootstrap, topic.name, String(topic.messages)]),
  duckdb: async ({ folder, topic }) =>
    await own(folder, [process.execPath, join(here, 'floor-duckdb.ts'), await messagesFile(topic), join(folder, 'out')]),
  rival: async ({ folder, topic, bench }) => {
    if (bench.python === null) throw new ScriptError('there is no Python for the rival');
    return await own(folder, [
      bench.python,
      join(here, 'rival.py'),
      bench.bootstrap,
      topic.name,
      String(topic.messages),
      join(folder, 'out'),
    ]);
  },
  lake: runLake,
};

/** A process that reports its own time as a JSON line. */
async function own(folder: string, command: readonly string[]): Promise<Started> {
  const measured = await measure({ command, folder });
  return { measured, ...v.parse(reported, JSON.parse(measured.stdout.trim().split('\n').at(-1) ?? '')) };
}

export const streamFeed = (topic: string) => ({
  feed_name: 'customer_events',
  topic,
  feed_type: 'stream',
  destination: 'data_lake',
  event_time: 'timestamp',
  schema: {
    fields: { customer_id: 'VARCHAR', event: 'VARCHAR', amount: 'DECIMAL(15,2)', session: 'VARCHAR', timestamp: 'TIMESTAMP' },
  },
});

async function runLake({ folder, topic, bench }: Start): Promise<Started> {
  const config = {
    kafka: { bootstrap_servers: bench.bootstrap.split(','), group_id: `bench.lake.${crypto.randomUUID()}` },
    lake: { path: join(folder, 'out') },
    feeds: [streamFeed(topic.name)],
  };
  writeFileSync(join(folder, 'feeds.json'), JSON.stringify(config));
  const command = [bench.lakePath, 'ingest', '--until-caught-up', '--mode', 'lake', '--log-format', 'json', ...bench.lakeFlags];
  const measured = await measure({ command, folder });
  const lines = measured.stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => v.parse(logLine, JSON.parse(line)));
  const assigned = lines.find(({ event }) => event === 'partitions_assigned');
  const ended = lines.find(({ event }) => event === 'ingest_ended');
  if (!assigned || !ended) throw new ScriptError(`lake did not say when it began and ended:\n${measured.stderr.slice(-2000)}`);
  return { measured, ms: Date.parse(ended.at) - Date.parse(assigned.at), messages: ended.messages ?? 0 };
}

function parquetIn(folder: string): { files: number; bytes: number } {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.parquet'));
  return { files: paths.length, bytes: paths.reduce((sum, path) => sum + statSync(join(folder, path)).size, 0) };
}

/** A Python with the rival's libraries, in a folder of its own; null, with a line that says why, where there is none. */
export async function pythonForRival(): Promise<string | null> {
  const folder = join(benchFolder, 'python');
  const python = join(folder, 'bin/python');
  const has = (): boolean =>
    existsSync(python) && Bun.spawnSync([python, '-c', 'import confluent_kafka, pyarrow'], { stderr: 'ignore' }).exitCode === 0;
  if (has()) return python;
  const base = Bun.which('python3');
  if (base === null) {
    say('no python3 here: the rival is left out (install Python 3.9 or newer with venv to measure it)');
    return null;
  }
  say('installing the rival: confluent-kafka and pyarrow from PyPI');
  const made = Bun.spawnSync([base, '-m', 'venv', folder]);
  const installed = Bun.spawnSync([python, '-m', 'pip', 'install', '--quiet', 'confluent-kafka', 'pyarrow']);
  if (has()) return python;
  const words = `${made.stderr}${installed.stderr}`.trim().split('\n').at(-1);
  say(`the rival is left out, its libraries do not install: ${words}`);
  return null;
}
