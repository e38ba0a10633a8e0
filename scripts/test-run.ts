// scripts/test [paths…]: types, lint and every test (or those given) against a Kafka, a MySQL and a MariaDB of its own, which
// never are the daily ones and end with the run. The last line is the result: `N passed, N failed`.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt } from './build.ts';
import { root, ScriptError, say } from './common.ts';
import { startTestServices } from './service/test-services.ts';

/** Most of a test is waiting for Kafka, MySQL or a process that was killed: three share two cores without missing them. */
const FILES_AT_ONCE = 3;
/** A test that hangs; nothing is said about how long one should take. */
const TEST_MS_MAX = 300_000;

type Totals = { passed: number; failed: number };
const interrupted = new AbortController();

/** Runs a program of node_modules/.bin with its output on ours; its exit code, or 1 when it cannot be started. */
async function run(command: readonly string[], environment: Record<string, string> = {}): Promise<number> {
  if (interrupted.signal.aborted) return 1;
  const [program = '', ...args] = command;
  const child = Bun.spawn([join(root, 'node_modules/.bin', program), ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    // All on stderr: the result is alone on stdout.
    stdio: ['ignore', 2, 2],
    signal: interrupted.signal,
    killSignal: 'SIGTERM',
  });
  return await child.exited;
}

/** Bun's own figures; a run that left none, or ended badly without a failed test, counts as one failed. */
function totalsOf(report: string, exitCode: number): Totals {
  const head = existsSync(report) ? /<testsuites [^>]*>/.exec(readFileSync(report, 'utf8'))?.[0] : undefined;
  const figure = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(head ?? '')?.[1] ?? 0);
  const failed = figure('failures') + figure('errors');
  const passed = figure('tests') - failed - figure('skipped');
  return { passed, failed: failed === 0 && (exitCode !== 0 || head === undefined) ? 1 : failed };
}

/** What the world lacks is one sentence; of anything else the place matters. */
function reasonOf(error: unknown): string {
  if (error instanceof ScriptError) return `error: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function check(what: string, step: () => Promise<boolean>): Promise<Totals> {
  say(what);
  try {
    if (await step()) return { passed: 0, failed: 0 };
  } catch (error) {
    process.stderr.write(`${reasonOf(error)}\n`);
  }
  say(`${what}: failed`);
  return { passed: 0, failed: 1 };
}

async function runTests(folder: string, paths: readonly string[]): Promise<Totals> {
  await using services = await startTestServices(folder);
  const report = join(folder, 'report.xml');
  const files = `--parallel=${FILES_AT_ONCE}`;
  say(`bun test ${files} ${paths.join(' ')}`);
  const limit = ['--timeout', String(TEST_MS_MAX)];
  // Without a global object of its own a file takes the native library that the one before it has loaded.
  const workers = [files, '--no-isolate', '--parallel-delay=0'];
  const code = await run(['bun', 'test', ...workers, ...limit, '--reporter=junit', `--reporter-outfile=${report}`, ...paths], {
    ...services.environment,
    LAKE_TEST_DIR: folder,
    LAKE_TEST_BINARY: join(root, 'dist/lake'),
  });
  return totalsOf(report, code);
}

async function main(paths: readonly string[]): Promise<Totals> {
  const folder = mkdtempSync(join(tmpdir(), 'lake-test-'));
  const steps = [
    () => check('checking types', async () => (await run(['tsc', '-p', 'tsconfig.json'])) === 0),
    () => check('checking style', async () => (await run(['biome', 'check'])) === 0),
    () => check('checking the binary', async () => existsSync(await ensureBuilt())),
  ];
  const totals: Totals = { passed: 0, failed: 0 };
  const add = ({ passed, failed }: Totals): void => {
    totals.passed += passed;
    totals.failed += failed;
  };
  try {
    for (const step of steps) add(await step());
    add(await runTests(folder, paths.length === 0 ? ['./test'] : paths));
  } catch (error) {
    process.stderr.write(`${reasonOf(error)}\n`);
    totals.failed += 1;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return totals;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());
const totals = await main(process.argv.slice(2));
if (interrupted.signal.aborted) totals.failed = Math.max(1, totals.failed);
writeSync(1, `${totals.passed} passed, ${totals.failed} failed\n`);
process.exit(totals.failed === 0 ? 0 : 1);
