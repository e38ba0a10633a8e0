// `lake ingest` with its store wrapped, so that the process is killed or stopped at one chosen call: LAKE_TEST_FAULT names it.
// LAKE_TEST_CLOCK_MS: what its clock shows at the start.

import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { LakeError } from '../../src/errors.ts';
import { lakeTargets } from '../../src/ingest/lake-target.ts';
import { createReadiness } from '../../src/ingest/readiness.ts';
import { runTarget } from '../../src/ingest/supervisor.ts';
import { WantedFeeds } from '../../src/ingest/wanted-feeds.ts';
import { openAudit } from '../../src/lake/audit.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { createLog } from '../../src/log.ts';
import { OWN_PACE } from '../../src/model/pace.ts';
import { faulty, type StoreCall } from './faulty-store.ts';
import type { Fault } from './ingest.ts';

const fault: Fault = JSON.parse(process.env['LAKE_TEST_FAULT'] ?? '{}') as Fault;
let seen = 0;
const strike = (method: string, key: string): void => {
  if (method !== fault.method || !key.includes(fault.key ?? '')) return;
  seen += 1;
  if (seen === (fault.n ?? 1)) process.kill(process.pid, fault.signal ?? 'SIGKILL');
};
const hook = ({ method, key }: StoreCall): void => strike(method, key);
const wrap = (store: ObjectStore): ObjectStore => ({
  ...faulty(store, fault.when === 'before' ? { before: hook } : { after: hook }),
  localPath: (key) => {
    strike('localPath', key);
    return store.localPath(key);
  },
});

const configPath = process.argv[process.argv.indexOf('--config') + 1] ?? '';
const config = loadConfig({ path: configPath, env: process.env, overrides: {} });
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
const aheadMs = Number(process.env['LAKE_TEST_CLOCK_MS'] ?? Date.now()) - Date.now();
const nowMs = (): number => Date.now() + aheadMs;
const newId = createIdSource({ nowMs, randomBytes });
const write = (line: string): void => void process.stderr.write(line);
try {
  const store = wrap(await openLocalStore({ root: config.lake.path, access: 'write' }));
  const log = createLog({ level: 'info', format: 'json', write, now: () => new Date(nowMs()) });
  const result = await runTarget({
    audit: openAudit({ store, actor: 'a test', nowMs, log }),
    health: createReadiness([], { nowMs, isServed: false }).pipeline('lake'),
    pace: OWN_PACE,
    targets: lakeTargets(config),
    config,
    store,
    wanted: new WantedFeeds(
      config.feeds,
      { lake: config.feeds.filter((feed) => feed.enabled), warehouse: [] },
      { mayChange: false },
    ),
    untilCaughtUp: process.argv.includes('--until-caught-up'),
    onGap: process.argv.includes('record') ? 'record' : 'stop',
    log,
    nowMs,
    newId,
    stop: stop.signal,
    abort: new AbortController().signal,
    collectGarbage: null,
    onProgress: () => undefined,
  });
  for (const error of result.failures.values()) write(`error: ${error.message} (${error.code})\n`);
  process.exit([...result.failures.values()][0]?.exit ?? 0);
} catch (error) {
  write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(error instanceof LakeError ? error.exit : 70);
}
