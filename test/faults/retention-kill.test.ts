// lake retention killed at each of its steps: verify finds nothing in between, and the next run ends what the killed one began. And
// beside others: an ingest that sleeps before its renames (PROTOCOL 4), one that runs, a reader (9), a second retention.

import { afterAll, beforeAll, describe, expect, onTestFinished, setDefaultTimeout, test } from 'bun:test';
import { join } from 'node:path';
import { agedScene, dayAgo, NOON_MS, reportOf } from '../helpers/aged-scene.ts';
import { type Fault, startLake } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const FIRST_KEPT = dayAgo(30);
let scene: Awaited<ReturnType<typeof agedScene>>;
beforeAll(async () => {
  scene = await agedScene({ days: [45, 31, 30, 0], perDay: 10 });
  await scene.keep();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

/** Nothing is left that was due, and nothing is gone that was not. */
async function expectDone(): Promise<void> {
  for (const feed of ['events', 'both']) expect(await scene.idsInLake(feed)).toEqual(scene.idsSince(FIRST_KEPT));
  expect(await scene.idsInFact('fact_both')).toEqual(scene.idsSince(FIRST_KEPT));
  const { sealed } = await stateOf(scene.setup.lakePath, 'totals');
  expect(sealed.map(({ date }) => date)).toEqual([dayAgo(1)]);
  const snapshots = await rowsOf(scene.database, 'SELECT CAST(snapshot_date AS CHAR) AS d FROM lake_snapshots ORDER BY 1');
  expect(snapshots.map(({ d }) => d)).toEqual([dayAgo(1), dayAgo(0)]);
  const facts = await rowsOf(scene.database, 'SELECT DISTINCT CAST(snapshot_date AS CHAR) AS d FROM fact_totals ORDER BY 1');
  expect(facts.map(({ d }) => d)).toEqual([dayAgo(1), dayAgo(0)]);
}

const STEPS: readonly [string, Fault][] = [
  ['before the entry', { method: 'createExclusive', key: 'events/log', when: 'before' }],
  ['after the entry, before any file is moved', { method: 'createExclusive', key: 'both/log', when: 'after' }],
  ['between two files', { method: 'move', key: 'streams/both', n: 1, when: 'after' }],
  ['after the snapshots were marked', { method: 'change', key: "state = 'expiring'", when: 'after' }],
  ['within a transaction that deletes rows', { method: 'change', key: 'retained_rows', when: 'before' }],
  ['between rows of a snapshot', { method: 'change', key: 'DELETE FROM `fact_totals`', n: 2, when: 'after' }],
  ['before the row of the snapshot goes', { method: 'change', key: 'DELETE FROM lake_snapshots', when: 'before' }],
];

describe('killed', () => {
  test.each(STEPS)('%s', async (_, fault) => {
    const killed = await scene.run('retention', [], { fault });
    expect(killed.code).toBeNull();
    await scene.verified('--deep');
    expect((await scene.run('retention')).code).toBe(0);
    await expectDone();
    await scene.verified();
    await scene.restore();
  });
});

describe('beside others', () => {
  test('4: an ingest that sleeps before its renames does not bring back what retention took away', async () => {
    await scene.send([60, 0]);
    const fault: Fault = { method: 'move', key: 'streams/', when: 'before', signal: 'SIGSTOP' };
    const sleeper = startLake(scene.setup, ['ingest', '--until-caught-up'], { fault, clockMs: NOON_MS });
    await sleeper.stopped();
    expect((await scene.run('retention', ['events', 'both'])).code).toBe(0);
    sleeper.kill('SIGCONT');
    expect((await sleeper.ended).code).toBe(0);
    // What it committed after that is due again.
    expect((await scene.run('retention', ['events', 'both'])).code).toBe(0);
    for (const feed of ['events', 'both']) expect(await scene.idsInLake(feed)).toEqual(scene.idsSince(FIRST_KEPT));
    await scene.verified('events');
  });

  test('9: two retentions, a reader by the log and an ingest at once: no row twice, no row too few', async () => {
    await scene.send([80, 70, 50]);
    const fillUp = startLake(scene.setup, ['ingest', '--until-caught-up', '--mode', 'lake', '--feed', 'events'], {
      clockMs: NOON_MS,
    });
    expect((await fillUp.ended).code).toBe(0);
    const reader = Bun.spawn(
      [process.execPath, join(import.meta.dir, '../helpers/reader-child.ts'), 'log', scene.setup.lakePath, 'events'],
      { stdout: 'pipe', stderr: 'inherit' },
    );
    await scene.send([5, 4, 3, 2, 1, 0]);
    const ingest = startLake(scene.setup, ['ingest', '--until-caught-up', '--mode', 'lake'], { clockMs: NOON_MS });
    onTestFinished(() => reader.kill('SIGKILL'));
    const both = await Promise.all([scene.run('retention', ['events']), scene.run('retention', ['events'])]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect((await ingest.ended).code).toBe(0);
    const days = both.flatMap((one) => reportOf(one).actions.map(({ what }) => what));
    expect(days.sort()).toEqual([80, 70, 50].map(dayAgo).sort());
    reader.kill('SIGTERM');
    const looks = (await new Response(reader.stdout).text()).split('\n').slice(0, -1);
    expect(looks.length).toBeGreaterThan(0);
    expect(looks.filter((line) => line.includes('error'))).toEqual([]);
    for (const line of looks) {
      const { rows, distinct } = JSON.parse(line) as { rows: number; distinct: number };
      expect(rows).toBe(distinct);
    }
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(FIRST_KEPT));
  });
});
