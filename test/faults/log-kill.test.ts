// SIGKILL at random moments of a process that commits: the log folds, the offsets are there once, the files are in place (R2, R3, R6).

import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findStrays } from '../../src/lake/orphans.ts';
import { batchOfPath } from '../../src/model/paths.ts';
import { FEED, filesUnder, lakeFolder, positionsOf } from '../helpers/lake-folder.ts';

const ROUNDS = 12;

test('a process killed again and again while it commits leaves a whole log and no row twice', async () => {
  await using lake = await lakeFolder();
  let commits = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = spawn(process.execPath, [join(import.meta.dir, '../helpers/commit-forever.ts'), lake.root]);
    const linesWanted = 1 + Math.floor(Math.random() * 8);
    let lines = 0;
    let problems = '';
    child.stderr.on('data', (text) => {
      problems += text;
    });
    child.stdout.on('data', (text) => {
      lines += String(text).split('\n').length - 1;
      if (lines >= linesWanted) child.kill('SIGKILL');
    });
    await once(child, 'close');
    expect(problems).toBe('');
    commits += lines;
  }
  const log = await lake.open();
  const state = log.state();
  expect(state.version).toBeGreaterThanOrEqual(commits);
  expect(state.version).toBeLessThanOrEqual(commits + ROUNDS);
  expect(positionsOf(state)).toEqual({ 0: state.version * 3 });
  expect([...state.files.values()].reduce((sum, file) => sum + file.rows, 0)).toBe(state.version * 3);
  expect(lake.glob()).toEqual([...state.files.keys()].sort());
  expect(lake.glob().every((path) => batchOfPath(path) !== null)).toBe(true);
  expect((await findStrays(lake.store, state)).foreign).toEqual([]);
  const later = await lake.open({ nowMs: () => Date.now() + 3_700_000 });
  await later.cleanUpAbandoned({ ageMsMin: 3_600_000 });
  expect(filesUnder(lake.root, `_lake/feeds/${FEED}/staging`)).toEqual([]);
  expect(lake.glob().length).toBe(state.version * 2);
});
