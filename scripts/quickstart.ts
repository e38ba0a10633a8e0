// scripts/quickstart: from an empty machine to a lake and a warehouse with the samples of all nine feeds, and the proof that
// both say the same. The entry script has installed the dependencies; each step here is skipped where its result is there
// already, so a second run shows the same and adds nothing.

import { ensureBuilt } from './build.ts';
import { root, runScript, ScriptError, say } from './common.ts';
import { produceSamples } from './samples.ts';
import { startServices, usual } from './services.ts';
import { showLake } from './show-lake.ts';
import { showWarehouse } from './show-warehouse.ts';

async function ingest(lake: string, environment: Record<string, string>): Promise<void> {
  say('ingesting: lake ingest --until-caught-up');
  const child = Bun.spawn([lake, 'ingest', '--until-caught-up', '--config', 'feeds.json'], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await child.exited;
  if (code !== 0) throw new ScriptError(`lake ingest ended with exit code ${code}: see above; Kafka and MySQL stay up`);
}

function exportsOf(environment: Record<string, string>): string {
  return Object.entries(environment)
    .map(([name, value]) => `  export ${name}=${value}\n`)
    .join('');
}

/** The verdict over both stores; the exit code. */
function conclude(wrongFeeds: readonly string[], wrongTables: readonly string[]): number {
  if (wrongFeeds.length > 0) process.stdout.write(`\nNOT what the samples add up to: ${wrongFeeds.join(', ')}\n`);
  if (wrongTables.length > 0)
    process.stdout.write(`\nNOT the same in MySQL as over the lake's transactions: ${wrongTables.join(', ')}\n`);
  if (wrongFeeds.length + wrongTables.length > 0) return 1;
  process.stdout.write('\nAll of it is exactly what the samples add up to, in both.\n');
  return 0;
}

await runScript(async () => {
  const lake = await ensureBuilt();
  const environment = await startServices(usual);
  const { leftAlone } = await produceSamples(environment['KAFKA_BOOTSTRAP_SERVERS'] ?? '');
  await ingest(lake, environment);
  const { differing, absent } = await showLake();
  if (absent.length > 0) process.stdout.write(`\nNot in the lake: ${absent.join(', ')}\n`);
  // Topics that held other messages before are not as the samples, and need not be.
  const wrongFeeds = differing.filter((feed) => !leftAlone.includes(feed));
  const wrongTables = await showWarehouse({ env: { ...process.env, ...environment }, leftAlone, absent });
  const code = conclude(wrongFeeds, wrongTables);
  process.stdout.write(`\nThe services stay up. To use them:\n${exportsOf(environment)}To stop them:\n  scripts/services stop\n`);
  say('done');
  return code;
});
