// Letters that a corrected schema takes become their rows, once, in lake and warehouse alike; the others stay; verify knows all of it.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { drain } from '../helpers/ingest.ts';
import { documentOf, type LettersDocument, lettersScene, ROWS, shownResults } from '../helpers/letters-scene.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

describe.each(['mysql', 'mariadb', 'duckdb'] as const)('%s', (engine) => {
  test('a retry after the schema is corrected makes each letter its row, exactly once', async () => {
    await using scene = await lettersScene(engine);
    await scene.fill();
    const offsets = (result: Awaited<ReturnType<typeof scene.letters>>): string[] =>
      documentOf<LettersDocument>(result)
        .letters.map(({ feed, target, offset }) => `${feed} ${target} ${offset}`)
        .sort();
    const of = (feed: string, list: readonly number[]): string[] =>
      ['lake', 'warehouse'].flatMap((target) => list.map((offset) => `${feed} ${target} ${offset}`));
    expect(offsets(await scene.letters('list'))).toEqual([...of('events', [1, 2, 4]), ...of('totals', [1, 2, 4, 7, 8])].sort());
    expect(offsets(await scene.letters('list', ['--reason', 'NOT JSON']))).toEqual([...of('events', [4]), ...of('totals', [8])]);
    await scene.verified();

    const dry = await scene.letters('retry', ['--dry-run']);
    expect(shownResults(dry)).toMatchObject({ 'events lake': '2 0 0 1', 'totals warehouse': '4 0 0 1' });
    expect(offsets(await scene.letters('list')).length).toBe(16);

    const retried = await scene.letters('retry');
    const shown: Record<string, unknown> = { code: retried.code, ...shownResults(retried) };
    expect(shown).toEqual({
      code: 3,
      'events lake': '2 0 0 1',
      'events warehouse': '2 0 0 1',
      'totals lake': '2 2 0 1',
      'totals warehouse': '2 2 0 1',
    });
    const check = async (): Promise<void> => {
      for (const feed of ['events', 'totals'] as const) {
        expect(await scene.inLake(feed)).toEqual([...ROWS[feed]]);
        expect(await scene.inFact(feed)).toEqual([...ROWS[feed]]);
      }
    };
    await check();
    expect(await scene.states('events')).toEqual(['1 retried', '2 retried', '4 open']);
    expect(await scene.states('totals')).toEqual(['1 retried', '2 superseded', '4 superseded', '7 retried', '8 open']);
    await scene.verified('--deep');

    // Nothing is left for a second one, and ingest goes on beside what was changed.
    expect(shownResults(await scene.letters('retry'))).toMatchObject({ 'events lake': '0 0 0 1', 'totals warehouse': '0 0 0 1' });
    await check();
    await scene.send('totals', [[2, null]]);
    await drain(scene.corrected);
    expect(await scene.inFact('totals')).toEqual(ROWS.totals.filter((row) => !row.startsWith('2 ')));
    expect(await scene.inLake('totals')).toEqual(ROWS.totals.filter((row) => !row.startsWith('2 ')));
    await scene.verified('--deep');

    const dropped = await scene.letters('drop', ['--yes']);
    expect(dropped.code).toBe(0);
    expect(offsets(await scene.letters('list'))).toEqual([]);
    expect(await scene.states('events')).toEqual(['1 retried', '2 retried', '4 dropped']);
    await scene.verified('--deep');
    const actions = await rowsOf(
      scene.database,
      "SELECT action, SUM(row_count) AS n FROM audit_log WHERE action LIKE 'dead%' GROUP BY 1",
    );
    expect(Object.fromEntries(actions.map(({ action, n }) => [action, Number(n)]))).toEqual({
      dead_letters_retried: 6,
      dead_letters_dropped: 2,
    });
  });
});
