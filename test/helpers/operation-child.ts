// `lake retention`, `lake compact`, `lake adopt` and `lake dead-letters retry` by another clock (LAKE_TEST_CLOCK_MS), or with the lake's store or the warehouse wrapped so that
// the process is killed or stopped at one chosen call (LAKE_TEST_FAULT); a statement's text is its key.

import { randomBytes } from 'node:crypto';
import { compactReport } from '../../src/commands/compact.ts';
import { closedReport } from '../../src/commands/dead-letters-close.ts';
import { retentionReport } from '../../src/commands/retention.ts';
import { rewindReport } from '../../src/commands/rewind.ts';
import { loadConfig } from '../../src/config/load.ts';
import { LakeError } from '../../src/errors.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { createLog } from '../../src/log.ts';
import { parseRewindTo } from '../../src/model/rewind-point.ts';
import { adoptFeed } from '../../src/operations/adopt.ts';
import { compactFeeds } from '../../src/operations/compact.ts';
import { retryLetters } from '../../src/operations/dead-letters-retry.ts';
import { type Installation, openInstallation } from '../../src/operations/installation.ts';
import { retainFeeds } from '../../src/operations/retention.ts';
import { performRewinds, planRewinds } from '../../src/operations/rewind.ts';
import type { Statement, Warehouse } from '../../src/warehouse/warehouse.ts';
import { faulty } from './faulty-store.ts';
import type { Fault } from './ingest.ts';

const fault = JSON.parse(process.env['LAKE_TEST_FAULT'] ?? 'null') as Fault | null;
let seen = 0;
const strike = (method: string, key: string, when: Fault['when']): void => {
  if (fault?.method !== method || fault.when !== when || !key.includes(fault.key ?? '')) return;
  seen += 1;
  if (seen === (fault.n ?? 1)) process.kill(process.pid, fault.signal ?? 'SIGKILL');
};
const wrapStore = (store: ObjectStore): ObjectStore => ({
  ...faulty(store, {
    before: ({ method, key }) => strike(method, key, 'before'),
    after: ({ method, key }) => strike(method, key, 'after'),
  }),
  localPath: (key) => {
    strike('localPath', key, 'before');
    return store.localPath(key);
  },
});
const wrapWarehouse = (warehouse: Warehouse): Warehouse => ({
  ...warehouse,
  engine: warehouse.engine,
  dialect: warehouse.dialect,
  statementBytesMax: warehouse.statementBytesMax,
  run: (statement, signal) => warehouse.run(statement, signal),
  transaction: async (work, signal) => {
    let last = '';
    const answer = await warehouse.transaction(
      (tx) =>
        work({
          rows: (statement) => tx.rows(statement),
          insert: (insert) => tx.insert(insert),
          change: async (statement: Statement) => {
            last = statement.text;
            strike('change', statement.text, 'before');
            return await tx.change(statement);
          },
        }),
      signal,
    );
    // The transaction that ended with it is committed.
    strike('change', last, 'after');
    return answer;
  },
  [Symbol.asyncDispose]: () => warehouse[Symbol.asyncDispose](),
});

const argument = (name: string): string => process.argv[process.argv.indexOf(name) + 1] ?? '';
const words = process.argv.slice(3, process.argv.indexOf('--config')).filter((word) => !word.startsWith('--'));
const dryRun = process.argv.includes('--dry-run');
const aheadMs = Number(process.env['LAKE_TEST_CLOCK_MS'] ?? Date.now()) - Date.now();
const nowMs = (): number => Date.now() + aheadMs;
const config = loadConfig({ path: argument('--config'), env: process.env, overrides: {} });
const feeds = config.feeds.filter(({ name }) => words.length === 0 || words.includes(name));
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
const write = (line: string): void => void process.stderr.write(line);
const log = createLog({ level: 'info', format: 'json', write, now: () => new Date(nowMs()) });
try {
  const newId = createIdSource({ nowMs, randomBytes });
  await using opened = openInstallation({ config, log, nowMs, newId, signal: stop.signal });
  const installation: Installation = {
    ...opened,
    lakeToChange: async () => wrapStore(await opened.lakeToChange()),
    warehouseToChange: async () => wrapWarehouse(await opened.warehouseToChange()),
  };
  const isCompact = process.argv[2] === 'compact';
  if (process.argv[2] === 'adopt') {
    for (const feed of feeds) await adoptFeed(installation, feed);
    process.exit(0);
  }
  const [rewound] = feeds;
  if (process.argv[2] === 'rewind' && rewound) {
    const text = argument('--to');
    const to = parseRewindTo(text);
    if (!to) throw new Error(`--to ${text}`);
    const done = await performRewinds(installation, await planRewinds(installation, rewound, { to, text }));
    process.stdout.write(
      JSON.stringify(rewindReport(done, { dryRun }).json, (_, value) => (typeof value === 'bigint' ? String(value) : value)),
    );
    process.exit(0);
  }
  if (process.argv[2] === 'dead-letters') {
    const selection = { place: null, field: null, reason: null, sinceMs: null, limit: null };
    const retried = await retryLetters(
      installation,
      { feeds: config.feeds, targets: ['lake', 'warehouse'], selection },
      { dryRun },
    );
    process.stdout.write(JSON.stringify(closedReport(retried, { dryRun }).json));
    process.exit(0);
  }
  const compacted = isCompact ? await compactFeeds(installation, feeds, { dryRun, olderThanMs: 86_400_000 }) : [];
  const retained = isCompact ? [] : await retainFeeds(installation, feeds, { dryRun });
  const report = isCompact ? compactReport(compacted, { dryRun }) : retentionReport(retained, { dryRun });
  process.stdout.write(JSON.stringify(report.json));
  const failures = [...compacted, ...retained].flatMap(({ failure }) => failure ?? []);
  for (const error of failures) write(`error: ${error.message} (${error.code})\n`);
  process.exitCode = failures[0]?.exit ?? 0;
} catch (error) {
  write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = error instanceof LakeError ? error.exit : 70;
}
process.exit();
