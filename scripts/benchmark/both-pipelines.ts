// What the warehouse costs the lake: the same topics drained by the lake's pipeline alone, and by both of one process. A table goes
// into both targets, a stream into the lake, as in the lake's own benchmark; the stream is long enough to be read all the while.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mysql2/promise';
import { ScriptError, say } from '../common.ts';
import { configure, tableFeed, type WarehouseBench } from './changelog.ts';
import { streamFeed } from './contenders.ts';
import { benchFolder, fillTopics } from './kafka.ts';
import { measure } from './measure.ts';
import type { BenchTopic } from './options.ts';
import { median } from './report.ts';

const STREAM: BenchTopic = { name: 'bench_uncompressed_150', codec: 'uncompressed', size: 150, messages: 1_000_000 };
const DATABASE = 'bench_both';
const MODES = ['lake', 'all'] as const;

type Both = WarehouseBench & { readonly sql: Connection; readonly port: number; readonly topic: string };

export async function bothPipelines(bench: Both): Promise<string[]> {
  await fillTopics(bench.bootstrap, [STREAM]);
  const runs = { lake: [] as Drained[], all: [] as Drained[] };
  for (let round = 1; round <= bench.rounds; round++) {
    for (const mode of MODES) runs[mode].push(await drained(bench, mode));
    say(
      `both pipelines, round ${round}: the lake alone ${runs.lake.at(-1)?.lakeMs} ms, beside the warehouse ${runs.all.at(-1)?.lakeMs} ms`,
    );
  }
  const messages = STREAM.messages + bench.messages;
  const of = (mode: (typeof MODES)[number], what: keyof Drained): number => median(runs[mode].map((run) => run[what]));
  const row = (name: string, mode: (typeof MODES)[number]): string => {
    const ms = of(mode, 'lakeMs');
    return `| ${name} | ${ms.toFixed(0)} | ${(messages / ms).toFixed(0)} | ${of(mode, 'allMs').toFixed(0)} | ${(of(mode, 'cpuMs') / 1000).toFixed(1)} |`;
  };
  const ratio = of('lake', 'lakeMs') / of('all', 'lakeMs');
  const size = `${STREAM.messages / 1000} k of a stream and ${bench.messages / 1000} k of a table`;
  return [
    `| ${size} → lake (--mode all: the table into MySQL as well) | lake ms | lake k messages/s | both ms | CPU s |`,
    '|---|---:|---:|---:|---:|',
    row('lake ingest --mode lake', 'lake'),
    row('lake ingest --mode all', 'all'),
    '',
    `${ratio > 0.75 ? 'met   ' : 'missed'}  beside the warehouse the lake keeps ${ratio.toFixed(2)} of its own speed (aim: more than 0.75)`,
  ];
}

/** From the first assignment to the lake's last commit, and to the end of the run. */
type Drained = { readonly lakeMs: number; readonly allMs: number; readonly cpuMs: number };

async function drained(
  { bootstrap, port, topic, sql, lakePath, messages }: Both,
  mode: (typeof MODES)[number],
): Promise<Drained> {
  await sql.query(`DROP DATABASE IF EXISTS ${DATABASE}`);
  const folder = join(benchFolder, 'runs', 'both');
  configure(folder, { bootstrap, port, database: DATABASE, feeds: [streamFeed(STREAM.name), tableFeed(topic, 'both')] });
  const command = [lakePath, 'ingest', '--until-caught-up', '--mode', mode, '--log-format', 'json'];
  const { stderr, cpuMs } = await measure({ command, folder });
  rmSync(folder, { recursive: true, force: true });
  const lines = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const commits = lines.filter(({ event, target }) => target === 'lake' && /^(batch_committed|snapshot_published)$/.test(event));
  const taken = commits.reduce((sum, commit) => sum + commit.messages, 0);
  if (taken !== STREAM.messages + messages)
    throw new ScriptError(`the lake took ${taken} messages of ${STREAM.messages + messages}`);
  const startedMs = Date.parse(lines.find(({ event }) => event === 'partitions_assigned')?.at);
  return { lakeMs: Date.parse(commits.at(-1)?.at) - startedMs, allMs: Date.parse(lines.at(-1)?.at) - startedMs, cpuMs };
}
