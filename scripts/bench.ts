// scripts/bench: how fast `lake ingest` is beside what bounds it (a bare kafkajs drain, DuckDB alone) and beside its rival,
// in one run on one machine, interleaved, so that the ratios hold where the seconds do not.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { benchCompact } from './benchmark/compact.ts';
import { type Bench, pythonForRival, type Run, runContender } from './benchmark/contenders.ts';
import { benchFolder, benchKafka, fillTopics } from './benchmark/kafka.ts';
import { measure } from './benchmark/measure.ts';
import { type BenchOptions, readOptions, usage } from './benchmark/options.ts';
import { aims, figuresOf, median, topicTable } from './benchmark/report.ts';
import { benchVerify } from './benchmark/verify.ts';
import { benchWarehouse } from './benchmark/warehouse.ts';
import { runScript, ScriptError, say } from './common.ts';

const HELP_RUNS = 20;
let failures = 0;

async function main(): Promise<number> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const options = readOptions(process.argv.slice(2));
  if (options.verify) return await verify();
  if (options.compactDays !== null) return await compact(options.compactDays);
  if (!existsSync(options.lakePath)) throw new ScriptError(`${options.lakePath} is not there: run  scripts/build`);
  mkdirSync(benchFolder, { recursive: true });
  if (options.warehouseSeconds !== null) return await warehouse({ ...options, latencySeconds: options.warehouseSeconds });
  const python = options.contenders.includes('rival') ? await pythonForRival() : null;
  const contenders = options.contenders.filter((contender) => contender !== 'rival' || python !== null);
  await using kafka = await benchKafka();
  await fillTopics(kafka.bootstrap, options.topics);
  const { lakePath, lakeFlags } = options;
  const runs = await runAll({ ...options, contenders }, { bootstrap: kafka.bootstrap, lakePath, lakeFlags, python });
  await print({ ...options, contenders }, runs);
  if (failures > 0) say(`${failures} runs ended with an error, see above`);
  return failures > 0 ? 1 : 0;
}

async function warehouse(options: { lakePath: string; rounds: number; latencySeconds: number }): Promise<number> {
  await using kafka = await benchKafka();
  const out = await benchWarehouse({ ...options, bootstrap: kafka.bootstrap, messages: 200_000, keys: 50_000 });
  process.stdout.write(`${out}\n`);
  return 0;
}

const VERIFIED_FILES = [100, 1_000, 10_000];

async function verify(): Promise<number> {
  process.stdout.write(`${await benchVerify(VERIFIED_FILES)}\n`);
  return 0;
}

async function compact(days: number): Promise<number> {
  process.stdout.write(`${await benchCompact(days)}\n`);
  return 0;
}

/** A B C, A B C, …: what else the machine does meanwhile falls on all of them. */
async function runAll(options: BenchOptions, bench: Bench): Promise<Run[]> {
  const runs: Run[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const topic of options.topics) {
      for (const contender of options.contenders) {
        const run = await runContender(contender, topic, bench).catch(notMeasured);
        if (run === null) continue;
        runs.push(run);
        const perSecond = Math.round((run.messages / run.ms) * 1000);
        say(`round ${round} · ${topic.name} · ${contender}: ${perSecond} messages/s · ${run.measured.rssMbMax.toFixed(0)} MB`);
        if (options.traceFolder !== null) trace(options.traceFolder, run, round);
      }
    }
  }
  return runs;
}

/** One contender's failure must not throw away what the others took minutes to measure; it is not passed over either. */
function notMeasured(error: unknown): null {
  if (!(error instanceof ScriptError)) throw error;
  say(`not measured: ${error.message}`);
  failures += 1;
  return null;
}

function trace(folder: string, run: Run, round: number): void {
  mkdirSync(folder, { recursive: true });
  const base = join(folder, `${run.topic}-${run.contender}-${round}`);
  const lines = run.measured.samples.map(
    ({ atMs, anonymousMb, fileMb }) => `${atMs}\t${anonymousMb.toFixed(1)}\t${fileMb.toFixed(1)}`,
  );
  writeFileSync(`${base}.tsv`, `at_ms\tanonymous_mb\tfile_mb\n${lines.join('\n')}\n`);
  writeFileSync(`${base}.log`, run.measured.stderr);
}

async function print(options: BenchOptions, runs: readonly Run[]): Promise<void> {
  const out: string[] = [];
  const model = cpus()[0]?.model ?? 'unknown processor';
  out.push(
    `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GB · medians of ${options.rounds}, peak RSS the worst`,
  );
  for (const topic of options.topics) {
    const own = runs.filter((run) => run.topic === topic.name);
    const figures = options.contenders.flatMap((contender) => figuresOf(own, contender) ?? []);
    out.push('', topicTable(topic, figures));
    for (const { what, met } of aims(figures)) out.push(`${met ? 'met   ' : 'missed'}  lake: ${what}`);
  }
  if (options.contenders.includes('lake')) {
    const helpMs = await helpMedianMs(options.lakePath);
    out.push(
      '',
      `${helpMs < 100 ? 'met   ' : 'missed'}  lake --help: ${helpMs.toFixed(0)} ms, median of ${HELP_RUNS} (aim: under 100)`,
    );
  }
  if (runs.some(({ contender }) => contender === 'rival'))
    out.push('The Python is at-least-once and passes amounts through doubles; lake is exactly-once and exact, lineage included.');
  process.stdout.write(`${out.join('\n')}\n`);
}

async function helpMedianMs(lakePath: string): Promise<number> {
  const wallsMs: number[] = [];
  for (let run = 0; run < HELP_RUNS; run++)
    wallsMs.push((await measure({ command: [lakePath, '--help'], folder: benchFolder })).wallMs);
  return median(wallsMs);
}

await runScript(main);
