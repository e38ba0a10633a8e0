// `lake ingest --until-caught-up` by another clock: LAKE_TEST_CLOCK_MS is what it shows at the start. For tests of what happens at
// the end of a period.

import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { LakeError } from '../../src/errors.ts';
import { createReadiness } from '../../src/ingest/readiness.ts';
import { runPipelines } from '../../src/ingest/run-pipelines.ts';
import { WantedFeeds } from '../../src/ingest/wanted-feeds.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { createLog } from '../../src/log.ts';

const argument = (name: string): string => process.argv[process.argv.indexOf(name) + 1] ?? '';
const aheadMs = Number(process.env['LAKE_TEST_CLOCK_MS'] ?? Date.now()) - Date.now();
const nowMs = (): number => Date.now() + aheadMs;
const mode = argument('--mode');
const config = loadConfig({ path: argument('--config'), env: process.env, overrides: {} });
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
const write = (line: string): void => void process.stderr.write(line);
try {
  const { results, failures: lost } = await runPipelines({
    readiness: createReadiness([], { nowMs, isServed: false }),
    config,
    store: await openLocalStore({ root: config.lake.path, access: 'write' }),
    wanted: new WantedFeeds(
      config.feeds,
      {
        lake: mode === 'warehouse' ? [] : config.feeds.filter(({ destination }) => destination !== 'data_warehouse'),
        warehouse: mode === 'lake' ? [] : config.feeds.filter(({ destination }) => destination !== 'data_lake'),
      },
      { mayChange: false },
    ),
    untilCaughtUp: process.argv.includes('--until-caught-up'),
    onGap: process.argv.includes('record') ? 'record' : 'stop',
    log: createLog({ level: 'info', format: 'json', write, now: () => new Date(nowMs()) }),
    nowMs,
    newId: createIdSource({ nowMs, randomBytes }),
    stop: stop.signal,
    abort: new AbortController().signal,
    collectGarbage: null,
    onProgress: () => undefined,
  });
  const failures = results.flatMap(({ result }) => [...result.failures.values()]);
  for (const error of failures) write(`error: ${error.message} (${error.code})\n`);
  if (lost[0]) throw lost[0].error;
  process.exit(failures[0]?.exit ?? 0);
} catch (error) {
  write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(error instanceof LakeError ? error.exit : 70);
}
