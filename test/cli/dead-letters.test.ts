// lake plan and lake dead-letters as the compiled binary: what a person or a pipe gets, and exit codes.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { drain, type LakeSetup, runLake } from '../helpers/ingest.ts';
import { lettersScene } from '../helpers/letters-scene.ts';

setDefaultTimeout(300_000);

test('the quarantine is looked at, tried again and emptied; what is wrong is said before anything is touched', async () => {
  await using scene = await lettersScene('duckdb');
  const run = (setup: LakeSetup, ...args: readonly string[]) => runLake(setup, args, { as: 'binary' });
  await scene.produce();
  const plan = await run(scene.refusing, 'plan', 'events');
  expect(plan.code).toBe(0);
  expect(plan.stdout).toContain('events\tbecome\t3 rows, 3 dead letters, 0 tombstones\n');
  await drain(scene.refusing, { as: 'binary' });
  const { events } = scene.topics;

  const listed = await run(scene.refusing, 'dead-letters', 'list', '--feed', 'events', '--target', 'lake', '--limit', '2');
  const lines = [1, 2].map(
    (n) => `events\tlake\t${events}:0:${n}\t2025-01-28T23:00:0${n + 1}.000Z\ttext\ttext: required, and missing or null\n`,
  );
  expect([listed.code, listed.stdout]).toEqual([0, `feed\ttarget\tmessage\ttime\tfield\treason\n${lines.join('')}`]);
  expect(listed.stderr).toContain('there are more than 2');
  const shown = await run(scene.refusing, 'dead-letters', 'show', `${events}:0:4`);
  expect(shown.code).toBe(0);
  expect(shown.stdout).toMatch(/value +no json\n +\^\n/);
  const none = await run(scene.refusing, 'dead-letters', 'show', `${events}:0:0`);
  expect([none.code, none.stdout, none.stderr.includes(`${events}:0:0 is no dead letter`)]).toEqual([3, '', true]);
  const still = await run(scene.refusing, 'dead-letters', 'retry', '--feed', 'events', '--target', 'lake', '--dry-run');
  expect(still.code).toBe(3);
  expect(still.stdout).toContain('\t2 × text: required, and missing or null; 1 × for other reasons\n');

  const wrong: readonly (readonly [readonly string[], string])[] = [
    [['show'], 'takes a message'],
    [['list', '--limit', 'all'], '--limit'],
    [['retry', 'events:0'], 'names no message'],
  ];
  for (const [args, words] of wrong) {
    const refused = await run(scene.refusing, 'dead-letters', ...args);
    expect({ args, code: refused.code, isSaid: refused.stderr.includes(words) }).toEqual({ args, code: 2, isSaid: true });
  }

  const one = await run(scene.corrected, 'dead-letters', 'retry', `${events}:0:1`);
  expect([one.code, one.stdout.split('\n').slice(1, 3)]).toEqual([
    ...[0, ['events\tlake\t1\t1\t0\t0\t0\t0\t', 'events\twarehouse\t1\t1\t0\t0\t0\t0\t']],
  ]);
  // Nobody can be asked.
  const unasked = await run(scene.corrected, 'dead-letters', 'drop', '--feed', 'events');
  expect([unasked.code, unasked.stderr.includes('4 dead letters would be dropped'), unasked.stderr.includes('--yes')]).toEqual([
    ...[2, true, true],
  ]);
  expect(await scene.states('events')).toEqual(['1 retried', '2 open', '4 open']);
  expect((await run(scene.corrected, 'dead-letters', 'drop', '--feed', 'events', '--reason', 'json', '--yes')).code).toBe(0);
  expect(await scene.states('events')).toEqual(['1 retried', '2 open', '4 dropped']);
  const traced = await run(scene.corrected, 'trace', `${events}:0:4`);
  expect(traced.stdout).toMatch(/events\tlake\tdead_letter\tit was a dead letter, and was dropped at/);
  await scene.verified('events', '--deep');
});
