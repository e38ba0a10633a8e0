// lake compact over a stream of small files: the same rows in fewer files, sorted, and verify finds nothing. Then killed at each step,
// and beside retention and another compaction (PROTOCOL 5).

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Action, agedScene, ago, dayAgo, NOON_MS, reportOf, shown } from '../helpers/aged-scene.ts';
import { drain, type Fault, runLake } from '../helpers/ingest.ts';
import { globFiles, readRows, stateOf } from '../helpers/lake-rows.ts';

setDefaultTimeout(300_000);

/** Two days after the last file was made. */
const LATER_MS = ago(-2);
const FIRST_KEPT = dayAgo(28);
let scene: Awaited<ReturnType<typeof agedScene>>;
let allRows: Awaited<ReturnType<typeof rowsNow>>;
beforeAll(async () => {
  scene = await agedScene({ days: [40, 40, 40, 5, 5, 5, 1, 1, 0], perDay: 20, table: false });
  allRows = await rowsNow();
  await scene.keep();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

const rowsNow = async () => {
  const rows = await readRows(scene.setup.lakePath, { ...globFiles(scene.setup.lakePath, 'events'), deadLetters: [] });
  return rows.map(({ file, ...row }) => row).sort((a, b) => a.partition - b.partition || Number(a.offset - b.offset));
};
/** Data files of each day, as people who glob see them. */
const filesByDay = (): Record<string, number> => {
  const days = globFiles(scene.setup.lakePath, 'events').data.map((path) =>
    path
      .replaceAll(/[^0-9/]+/g, '')
      .split('/')
      .slice(2, 5)
      .join('-'),
  );
  return Object.fromEntries([...Map.groupBy(days, (day) => day)].map(([day, files]) => [day, files.length]));
};
const compact = (args: readonly string[] = [], fault?: Fault) =>
  scene.run('compact', args, { clockMs: LATER_MS, ...(fault && { fault }) });
const retention = (fault?: Fault) => scene.run('retention', [], { clockMs: LATER_MS, ...(fault && { fault }) });
const counts = (actions: readonly Action[]): string[] => actions.map(({ what, files, rows }) => `${what} ${files} ${rows}`);

describe('a compaction', () => {
  test('shows its plan, twice the same, and changes nothing before it is told to', async () => {
    const before = await stateOf(scene.setup.lakePath, 'events');
    const [first, second] = [await compact(['--dry-run']), await compact(['--dry-run'])];
    expect(second.stdout).toBe(first.stdout);
    const files = filesByDay();
    expect(counts(reportOf(first).actions)).toEqual(
      [40, 5, 1].map((days, index) => `${dayAgo(days)} ${files[dayAgo(days)]} ${[120, 120, 80][index]}`),
    );
    expect(await stateOf(scene.setup.lakePath, 'events')).toEqual(before);
    // By the clock of the day itself nothing has been quiet for long enough.
    expect(reportOf(await scene.run('compact')).actions).toEqual([]);
  });

  test('leaves one file a day with the same rows, and verify has nothing to find', async () => {
    const plan = reportOf(await compact(['--dry-run']));
    const done = await compact();
    expect(done.code).toBe(0);
    expect(reportOf(done).actions).toEqual(plan.actions);
    expect(filesByDay()).toEqual(Object.fromEntries([40, 5, 1, 0].map((days) => [dayAgo(days), 1])));
    expect(await rowsNow()).toEqual(allRows);
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(dayAgo(50)));
    await scene.verified('--deep');
    expect(reportOf(await compact()).actions).toEqual([]);
    const journal = readFileSync(join(scene.setup.lakePath, '_lake/audit.ndjson'), 'utf8').trim().split('\n');
    const told = journal
      .map((line) => JSON.parse(line) as { action: string; rows: number })
      .filter(({ action }) => action === 'files_compacted');
    expect(told.map(({ rows }) => rows)).toEqual([120, 120, 80]);
  });

  test('is followed by retention, which takes the compacted day as a whole', async () => {
    expect(shown(reportOf(await retention()).actions)).toEqual([`events lake day ${dayAgo(40)} 120`]);
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(FIRST_KEPT));
    await scene.verified('--deep');
    await scene.restore();
  });

  test('takes up again a day that it has compacted itself a moment ago', async () => {
    expect((await compact()).code).toBe(0);
    await scene.send([5]);
    await drain(scene.setup, { clockMs: NOON_MS });
    expect(counts(reportOf(await compact()).actions)).toEqual([`${dayAgo(5)} 2 160`]);
    await scene.verified();
    await scene.restore();
    await drain(scene.setup, { clockMs: NOON_MS });
    await scene.keep();
    allRows = await rowsNow();
  });

  test('takes a time as people write it, and nothing else', async () => {
    const bad = await runLake(scene.setup, ['compact', '--older-than', 'soon']);
    expect({ code: bad.code, said: bad.stderr.includes('--older-than is "soon"') }).toEqual({ code: 2, said: true });
    const good = await runLake(scene.setup, ['compact', '--older-than', '12h', '--dry-run', '--json']);
    expect({ code: good.code, files: reportOf(good).actions.length > 0 }).toEqual({ code: 0, files: true });
  });
});

const STEPS: readonly [string, Fault][] = [
  ['while it writes', { method: 'localPath', key: '/staging/', n: 1, when: 'before' }],
  ['before the second entry', { method: 'createExclusive', key: '/log/', n: 2, when: 'before' }],
  ['after an entry, before any file is moved', { method: 'createExclusive', key: '/log/', n: 1, when: 'after' }],
  ['between old files that go', { method: 'move', key: 'streams/events', n: 2, when: 'after' }],
];

describe('killed', () => {
  test.each(STEPS)('%s', async (_, fault) => {
    expect((await compact([], fault)).code).toBeNull();
    await scene.verified();
    expect((await compact()).code).toBe(0);
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(dayAgo(50)));
    expect(filesByDay()).toEqual(Object.fromEntries([40, 5, 1, 0].map((days) => [dayAgo(days), 1])));
    await scene.verified();
    await scene.restore();
  });
});

describe('5: beside another', () => {
  const STOPPED: Fault = { method: 'createExclusive', key: '/log/', when: 'before', signal: 'SIGSTOP' };

  test('retention takes the files of a compaction that sleeps before its entry: they are not back', async () => {
    const sleeper = scene.start('compact', [], { clockMs: LATER_MS, fault: STOPPED });
    await sleeper.stopped();
    expect(shown(reportOf(await retention()).actions)).toEqual([`events lake day ${dayAgo(40)} 120`]);
    sleeper.kill('SIGCONT');
    const ended = await sleeper.ended;
    expect({ code: ended.code, days: reportOf(ended).actions.map(({ what }) => what) }).toEqual({
      code: 0,
      days: [5, 1].map(dayAgo),
    });
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(FIRST_KEPT));
    await scene.verified();
    await scene.restore();
  });

  test('a compaction takes the files of a retention that sleeps before its entry: it plans again, and they go', async () => {
    const sleeper = scene.start('retention', [], { clockMs: LATER_MS, fault: STOPPED });
    await sleeper.stopped();
    expect(reportOf(await compact()).actions.length).toBe(3);
    sleeper.kill('SIGCONT');
    const ended = await sleeper.ended;
    expect({ code: ended.code, gone: reportOf(ended).actions.map(({ what, files }) => `${what} ${files}`) }).toEqual({
      code: 0,
      gone: [`${dayAgo(40)} 1`],
    });
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(FIRST_KEPT));
    await scene.verified();
    await scene.restore();
  });

  test('of two compactions each day is done by one, and the other plans again: no row is doubled', async () => {
    const sleeper = scene.start('compact', [], { clockMs: LATER_MS, fault: STOPPED });
    await sleeper.stopped();
    const other = await compact();
    expect(await rowsNow()).toEqual(allRows);
    await scene.send([1]);
    await drain(scene.setup, { clockMs: NOON_MS });
    sleeper.kill('SIGCONT');
    const ended = await sleeper.ended;
    expect([ended.code, other.code]).toEqual([0, 0]);
    expect(reportOf(other).actions.length).toBe(3);
    expect(counts(reportOf(ended).actions)).toEqual([`${dayAgo(1)} 2 120`]);
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(dayAgo(50)));
    await scene.verified();
  });
});
