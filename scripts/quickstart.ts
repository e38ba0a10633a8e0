// scripts/quickstart: from an empty machine to a lake with the samples of all nine feeds. The entry script has installed the
// dependencies; each step here is skipped where its result is there already, so a second run shows the same and adds nothing.

import { ensureBuilt } from './build.ts';
import { root, runScript, ScriptError, say } from './common.ts';
import { produceSamples } from './samples.ts';
import { startServices } from './services.ts';
import { showLake } from './show-lake.ts';

async function ingest(lake: string, environment: Record<string, string>): Promise<void> {
  say('ingesting: lake ingest --until-caught-up');
  const child = Bun.spawn([lake, 'ingest', '--until-caught-up', '--config', 'feeds.json'], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await child.exited;
  if (code !== 0) throw new ScriptError(`lake ingest ended with exit code ${code}: see above; Kafka stays up`);
}

function exportsOf(environment: Record<string, string>): string {
  return Object.entries(environment)
    .map(([name, value]) => `  export ${name}=${value}\n`)
    .join('');
}

await runScript(async () => {
  const lake = await ensureBuilt();
  const environment = await startServices();
  const { leftAlone } = await produceSamples(environment['KAFKA_BOOTSTRAP_SERVERS'] ?? '');
  await ingest(lake, environment);
  const { differing, absent } = await showLake();
  if (absent.length > 0) process.stdout.write(`\nNot in the lake: ${absent.join(', ')}\n`);
  // Topics that held other messages before are not as the samples, and need not be.
  const wrong = differing.filter((feed) => !leftAlone.includes(feed));
  process.stdout.write(
    wrong.length === 0
      ? '\nAll of it is exactly what the samples add up to.\n'
      : `\nNot what the samples add up to: ${wrong.join(', ')}\n`,
  );
  process.stdout.write(`\nThe services stay up. To use them:\n${exportsOf(environment)}To stop them:\n  scripts/services stop\n`);
  say('done');
  return wrong.length === 0 ? 0 : 1;
});
