// lake rewind killed at each of its steps: verify finds nothing in between, the next run ends what the killed one began, and what was taken
// out is read again once.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import type { Fault } from '../helpers/ingest.ts';
import { rewindScene } from '../helpers/rewind-scene.ts';

setDefaultTimeout(300_000);

let scene: Awaited<ReturnType<typeof rewindScene>>;
beforeAll(async () => {
  scene = await rewindScene();
  await scene.drain();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
});

const POINTS = [21, 33] as const;
const TO = ['--to', '0:21,1:33', '--yes'];

const STEPS: readonly [string, Fault][] = [
  ['while files are written', { method: 'localPath', key: '/staging/', n: 2, when: 'before' }],
  ['before the entry', { method: 'createExclusive', key: 'orders/log', when: 'before' }],
  ['after the entry, before any file is moved', { method: 'createExclusive', key: 'orders/log', when: 'after' }],
  ['between two files', { method: 'move', key: 'orders/', n: 2, when: 'after' }],
  ['within the transaction', { method: 'change', key: 'UPDATE lake_gaps', when: 'before' }],
  ['after the transaction', { method: 'change', key: 'INSERT INTO audit_log', when: 'after' }],
];

test.each(STEPS)('%s', async (_, fault) => {
  const killed = await scene.rewind(TO, { fault });
  expect(killed.code).toBeNull();
  await scene.verified();
  expect((await scene.rewind(TO)).code).toBe(0);
  await scene.holdsBefore(POINTS);
  await scene.drain();
  await scene.holdsAll();
});

test('and nothing was lost or doubled by any of them', async () => {
  await scene.verified('--deep');
});
