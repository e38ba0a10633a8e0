// PROTOCOL 19: one dead letter tried again by two processes; a retry killed between row and close; and, in test/integration, a newer
// message of its key. Beside an ingest that was about to commit, a retry is met as any other writer is.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { createIdSource } from '../../src/lake/ids.ts';
import { retryLetters } from '../../src/operations/dead-letters-retry.ts';
import { type Installation, openInstallation } from '../../src/operations/installation.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { faulty } from '../helpers/faulty-store.ts';
import { type Fault, startLake } from '../helpers/ingest.ts';
import { lettersScene, ROWS, shownResults } from '../helpers/letters-scene.ts';

setDefaultTimeout(600_000);

type Scene = Awaited<ReturnType<typeof lettersScene>>;
const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const ALL = { place: null, field: null, reason: null, sinceMs: null, limit: null };

async function expectRows(scene: Scene): Promise<void> {
  for (const feed of ['events', 'totals'] as const) {
    expect({ feed, rows: await scene.inLake(feed) }).toEqual({ feed, rows: [...ROWS[feed]] });
    expect({ feed, rows: await scene.inFact(feed) }).toEqual({ feed, rows: [...ROWS[feed]] });
  }
}

/** In this process, with what it is about to commit in its hands when `first` runs, once for each target. */
async function retryBehind(scene: Scene, first: (target: 'lake' | 'warehouse') => Promise<void>) {
  const config = loadConfig({ path: scene.corrected.configPath, env: process.env, overrides: {} });
  const newId = createIdSource({ nowMs: Date.now, randomBytes });
  const { signal } = new AbortController();
  await using opened = openInstallation({ config, log: silent, nowMs: Date.now, newId, signal });
  const done = new Set<string>();
  const before = async (target: 'lake' | 'warehouse'): Promise<void> => {
    if (done.has(target)) return;
    done.add(target);
    await first(target);
  };
  const wrap = (warehouse: Warehouse): Warehouse => ({
    ...{ engine: warehouse.engine, dialect: warehouse.dialect, statementBytesMax: warehouse.statementBytesMax },
    run: (statement, abort) => warehouse.run(statement, abort),
    transaction: async (work, abort) => {
      await before('warehouse');
      return await warehouse.transaction(work, abort);
    },
    [Symbol.asyncDispose]: () => warehouse[Symbol.asyncDispose](),
  });
  const installation: Installation = {
    ...opened,
    lakeToChange: async () => {
      const store = await opened.lakeToChange();
      return faulty(store, {
        before: async ({ method, key }) => {
          if (method === 'createExclusive' && key.includes('/log/')) await before('lake');
        },
      });
    },
    warehouseToChange: async () => wrap(await opened.warehouseToChange()),
  };
  const feeds = config.feeds.filter(({ name }) => name === 'totals');
  const results = await retryLetters(installation, { feeds, targets: ['lake', 'warehouse'], selection: ALL }, { dryRun: false });
  return results.map(({ target, closed, failure }) => ({ target, ...closed, failure }));
}

describe.each(['mysql', 'mariadb'] as const)('%s', (engine) => {
  test('19: two processes that try one letter again make one row of it', async () => {
    await using scene = await lettersScene(engine);
    await scene.fill();
    // The schema is pinned, so that the first entry of both is the retry's.
    await scene.letters('retry', ['--reason', 'not json']);
    const nothing = { row: 0, superseded: 0, tombstone: 0, dropped: 0, failure: null };
    const both = await retryBehind(scene, async (target) => {
      const other = await scene.letters('retry', ['--target', target]);
      expect(shownResults(other)).toEqual({ [`events ${target}`]: '2 0 0 1', [`totals ${target}`]: '2 2 0 1' });
    });
    expect(both).toEqual([
      { target: 'lake', ...nothing },
      { target: 'warehouse', ...nothing },
    ]);
    await expectRows(scene);
    await scene.verified('--deep');
  });
});

const STEPS: readonly [string, Fault][] = [
  ['between the files of a stream and their entry', { method: 'createExclusive', key: 'events/log', n: 2, when: 'before' }],
  ['behind the entry, before its files are moved', { method: 'createExclusive', key: 'events/log', when: 'after' }],
  ['between row, close and COMMIT', { method: 'change', key: 'SET row_count', when: 'before' }],
  ['between the files of a table and their entry', { method: 'createExclusive', key: 'totals/log', n: 2, when: 'before' }],
  ['between two files that are moved', { method: 'move', key: 'tables/totals', when: 'after' }],
  ['between row, close and COMMIT of a table', { method: 'change', key: "state = 'superseded'", when: 'before' }],
];

test('19: killed between row and close, in both targets, the next one ends it', async () => {
  await using scene = await lettersScene('mysql');
  await scene.fill();
  for (const [step, fault] of STEPS) {
    const killed = await scene.letters('retry', [], { fault });
    expect({ step, code: killed.code }).toEqual({ step, code: null });
    // Nothing of it is in before the entry.
    if (fault.method !== 'createExclusive' || fault.when === 'after') await scene.verified();
  }
  expect((await scene.letters('retry')).code).toBe(3);
  await expectRows(scene);
  await scene.verified('--deep');
});

test('an ingest that was about to commit goes on behind a retry: a stream by the next version, a table from its positions', async () => {
  await using scene = await lettersScene('mysql');
  await scene.fill();
  for (const feed of ['events', 'totals'] as const) {
    await scene.send(feed, [[9, JSON.stringify({ id: 9, text: 'beside' })]]);
    const fault: Fault = { method: 'createExclusive', key: `${feed}/log`, when: 'before', signal: 'SIGSTOP' };
    const args = ['ingest', '--until-caught-up', '--mode', 'lake', '--feed', feed];
    // The stream's by the old schema: the one that the retry pins voids what it has staged. The table's is about to publish.
    if (feed === 'totals') await scene.letters('retry', ['--feed', feed, '--reason', 'not json']);
    const ingest = startLake(feed === 'events' ? scene.refusing : scene.corrected, args, { fault });
    await ingest.stopped();
    expect((await scene.letters('retry', ['--feed', feed, '--target', 'lake'])).code).toBe(3);
    ingest.kill('SIGCONT');
    expect((await ingest.ended).code).toBe(0);
    expect(await scene.inLake(feed)).toEqual([...ROWS[feed], '9 beside']);
    await scene.verified(feed, '--deep');
  }
});
