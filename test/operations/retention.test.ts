// lake retention over months of data in lake and warehouse: what goes, what stays, and that verify finds nothing before and after.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { agedScene, ago, dayAgo, NOON_MS, reportOf, shown, TODAY } from '../helpers/aged-scene.ts';
import { drain, runLake } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

let scene: Awaited<ReturnType<typeof agedScene>>;
beforeAll(async () => {
  scene = await agedScene();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

const FIRST_KEPT = dayAgo(30);
const DUE = [
  ...[90, 45, 31].map((days) => `events lake day ${dayAgo(days)} 40`),
  ...[90, 45, 31].map((days) => `both lake day ${dayAgo(days)} 40`),
  `both warehouse rows before ${FIRST_KEPT} 120`,
  ...[4, 3, 2].map((days, index) => `totals lake snapshot ${dayAgo(days)}/1 ${4 + index}`),
  ...[4, 3, 2].map((days, index) => `totals warehouse snapshot ${dayAgo(days)}/1 ${4 + index}`),
];

describe('before anything is deleted', () => {
  test('a dry run shows the plan, twice the same, and changes nothing', async () => {
    const before = await Promise.all(['events', 'both', 'totals'].map((feed) => stateOf(scene.setup.lakePath, feed)));
    const [first, second] = [await scene.run('retention', ['--dry-run']), await scene.run('retention', ['--dry-run'])];
    expect(second.stdout).toBe(first.stdout);
    expect(shown(reportOf(first).actions)).toEqual(DUE);
    const after = await Promise.all(['events', 'both', 'totals'].map((feed) => stateOf(scene.setup.lakePath, feed)));
    expect(after).toEqual(before);
    await scene.verified();
  });

  test('by a clock that is wrong nothing goes of any feed, and exit 1 says why', async () => {
    const early = await scene.run('retention', ['totals'], { clockMs: ago(1) });
    expect(early.code).toBe(1);
    expect(early.stderr).toContain('before the newest entry of the log');
    const late = await scene.run('retention', ['events', 'both'], { clockMs: ago(-3650) });
    expect(late.code).toBe(1);
    expect(reportOf(late).failed.map(({ feed, code }) => `${feed} ${code}`)).toEqual([
      'events retention_refused',
      'both retention_refused',
    ]);
    expect(late.stderr).toContain(`the newest data in the lake is of ${TODAY}`);
    expect(shown(reportOf(await scene.run('retention', ['--dry-run'])).actions)).toEqual(DUE);
  });
});

describe('a real run', () => {
  test('deletes what the dry run showed, in lake and warehouse, and nothing else', async () => {
    const plan = reportOf(await scene.run('retention', ['--dry-run']));
    const done = await scene.run('retention');
    expect(done.code).toBe(0);
    expect(reportOf(done)).toEqual({ ...plan, ...{ dry_run: false } });
    expect(shown(plan.actions)).toEqual(DUE);
    expect(await scene.idsInLake('events')).toEqual(scene.idsSince(FIRST_KEPT));
    expect(await scene.idsInLake('both')).toEqual(scene.idsSince(FIRST_KEPT));
    expect(await scene.idsInFact('fact_both')).toEqual(scene.idsSince(FIRST_KEPT));
    const lake = await stateOf(scene.setup.lakePath, 'totals');
    expect(lake.sealed.map(({ date }) => date)).toEqual([dayAgo(1)]);
    const there = await rowsOf(scene.database, 'SELECT CAST(snapshot_date AS CHAR) AS d, state FROM lake_snapshots ORDER BY 1');
    expect(there.map(({ d, state }) => `${d} ${state}`)).toEqual([`${dayAgo(1)} sealed`, `${TODAY} open`]);
    const facts = await rowsOf(scene.database, 'SELECT DISTINCT CAST(snapshot_date AS CHAR) AS d FROM fact_totals ORDER BY 1');
    expect(facts.map(({ d }) => d)).toEqual([dayAgo(1), TODAY]);
    await scene.verified('--deep');
  });

  test('is written down: a row of audit_log for each, with what it took', async () => {
    const rows = await rowsOf(
      scene.database,
      `SELECT action, resource, row_count FROM audit_log WHERE action LIKE '%deleted' AND feed_name = 'both' ORDER BY audit_id`,
    );
    expect(rows.map(({ action, resource, row_count }) => `${action} ${resource} ${row_count}`)).toEqual([
      ...[90, 45, 31].map((days) => `files_deleted lake ${dayAgo(days)} 40`),
      `rows_deleted fact_both before ${FIRST_KEPT} 120`,
    ]);
  });

  test('leaves nothing to do for the next', async () => {
    const again = await scene.run('retention');
    expect(reportOf(again)).toMatchObject({ actions: [], kept: [], failed: [] });
  });

  test('keeps dead letters that are open, deletes closed ones, and counts those that the positions do', async () => {
    const letter = (offset: number, state: string): string =>
      `SELECT feed, topic, 0, ${offset}, '${dayAgo(60)} 12:00:00', 'x', 'x', '${state}' FROM lake_positions WHERE feed = 'both' AND kafka_partition = 0`;
    const columns = 'feed, topic, kafka_partition, kafka_offset, kafka_timestamp, value, reason, state';
    await rowsOf(
      scene.database,
      `INSERT INTO lake_dead_letters (${columns}) ${letter(900, 'open')} UNION ${letter(901, 'dropped')} UNION ${letter(902, 'superseded')}`,
    );
    const report = reportOf(await scene.run('retention', ['both']));
    const line = `both warehouse dead_letters before ${FIRST_KEPT}`;
    expect({ actions: shown(report.actions), kept: shown(report.kept) }).toEqual({ actions: [`${line} 2`], kept: [`${line} 1`] });
    const left = await rowsOf(scene.database, 'SELECT state FROM lake_dead_letters');
    expect(left.map(({ state }) => state)).toEqual(['open']);
    const counts = await rowsOf(scene.database, `SELECT SUM(retained_dead_letters) AS n FROM lake_positions WHERE feed = 'both'`);
    expect(counts.map(({ n }) => String(n))).toEqual(['1']);
    await rowsOf(scene.database, 'DELETE FROM lake_dead_letters');
    await rowsOf(scene.database, 'UPDATE lake_positions SET retained_dead_letters = 0');
  });

  test('of a table, closed dead letters go that are older than its oldest snapshot, and verify counts them', async () => {
    const insert = (offset: number, day: string, state: string): string =>
      `SELECT feed, topic, 0, ${offset}, '${day} 12:00:00', 'x', 'x', '${state}' FROM lake_positions WHERE feed = 'totals' AND kafka_partition = 0`;
    const columns = 'feed, topic, kafka_partition, kafka_offset, kafka_timestamp, value, reason, state';
    const letters = [insert(0, dayAgo(60), 'open'), insert(1, dayAgo(60), 'dropped'), insert(2, dayAgo(0), 'dropped')];
    await rowsOf(scene.database, `INSERT INTO lake_dead_letters (${columns}) ${letters.join(' UNION ')}`);
    const counted = (more: string): string =>
      `UPDATE lake_positions SET dead_letters = dead_letters ${more} 3, messages = messages ${more} 3 WHERE feed = 'totals' AND kafka_partition = 0`;
    await rowsOf(scene.database, counted('+'));
    const plan = reportOf(await scene.run('retention', ['totals', '--dry-run']));
    const report = reportOf(await scene.run('retention', ['totals']));
    expect(report.actions).toEqual(plan.actions);
    const line = `totals warehouse dead_letters before ${dayAgo(1)}`;
    expect({ actions: shown(report.actions), kept: shown(report.kept) }).toEqual({ actions: [`${line} 1`], kept: [`${line} 1`] });
    const left = await rowsOf(scene.database, 'SELECT kafka_offset AS o FROM lake_dead_letters ORDER BY 1');
    expect(left.map(({ o }) => String(o))).toEqual(['0', '2']);
    await scene.verified('totals');
    await rowsOf(scene.database, 'DELETE FROM lake_dead_letters');
    await rowsOf(scene.database, counted('-'));
    await rowsOf(scene.database, 'UPDATE lake_positions SET retained_dead_letters = 0');
  });

  test('goes on with the lake while the warehouse is away, and exits 4', async () => {
    await scene.send([80]);
    await drain(scene.setup, { clockMs: NOON_MS });
    const away = await runLake(scene.withoutWarehouse(), ['retention', '--json', 'events', 'both'], { clockMs: NOON_MS });
    expect({ code: away.code, failed: reportOf(away).failed.map(({ code }) => code) }).toEqual({
      code: 4,
      failed: ['warehouse_unreachable'],
    });
    expect(shown(reportOf(away).actions)).toEqual([`events lake day ${dayAgo(80)} 40`, `both lake day ${dayAgo(80)} 40`]);
    expect(shown(reportOf(await scene.run('retention')).actions)).toEqual([`both warehouse rows before ${FIRST_KEPT} 40`]);
    await scene.verified();
  });
});
