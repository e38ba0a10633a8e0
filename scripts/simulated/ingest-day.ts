// `lake ingest --until-caught-up` by the clock of a day that is past: what a run of that day would have left.

import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { createReadiness } from '../../src/ingest/readiness.ts';
import { runPipelines } from '../../src/ingest/run-pipelines.ts';
import { WantedFeeds } from '../../src/ingest/wanted-feeds.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { createLog } from '../../src/log.ts';
import { ScriptError } from '../common.ts';

export async function ingestDay(configPath: string, clockMs: number): Promise<void> {
  const aheadMs = clockMs - Date.now();
  const nowMs = (): number => Date.now() + aheadMs;
  const config = loadConfig({ path: configPath, env: process.env, overrides: {} });
  const { feeds } = config;
  const signal = new AbortController().signal;
  const { results, failures } = await runPipelines({
    readiness: createReadiness([], { nowMs, isServed: false }),
    config,
    store: await openLocalStore({ root: config.lake.path, access: 'write' }),
    wanted: new WantedFeeds(
      feeds,
      {
        lake: feeds.filter(({ destination }) => destination !== 'data_warehouse'),
        warehouse: feeds.filter(({ destination }) => destination !== 'data_lake'),
      },
      { mayChange: false },
    ),
    untilCaughtUp: true,
    onGap: 'stop',
    log: createLog({
      level: 'error',
      format: 'pretty',
      write: (line) => void process.stderr.write(line),
      now: () => new Date(nowMs()),
    }),
    nowMs,
    newId: createIdSource({ nowMs, randomBytes }),
    ...{ stop: signal, abort: signal, collectGarbage: null, onProgress: () => undefined },
  });
  const ended = [...failures.map(({ error }) => error), ...results.flatMap(({ result }) => [...result.failures.values()])];
  if (ended.length > 0)
    throw new ScriptError(`the day that ends at ${new Date(clockMs).toISOString()} was not taken in: ${ended[0]}`);
}
