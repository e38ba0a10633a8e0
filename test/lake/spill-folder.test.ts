// What a killed process has left under _lake/engine is taken away by a later start; what somebody uses is not.

import { expect, test } from 'bun:test';
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { openSpillFolder } from '../../src/lake/spill-folder.ts';
import { drain, runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { messages } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

const HOUR_MS = 3_600_000;

/** `spill-<name>` with a file in it, last used so long ago. */
function leave(engine: string, name: string, agoMs: number): void {
  const folder = join(engine, `spill-${name}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'duckdb_temp_storage-0.tmp'), 'left over');
  const at = new Date(Date.now() - agoMs);
  utimesSync(folder, at, at);
}

test.each(['ingest', 'compact'] as const)('lake %s takes away what was left an hour ago, and nothing else', async (verb) => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await kafka.produce(topic, messages(0, 10));
  await drain(setup);
  const engine = join(setup.lakePath, '_lake/engine');
  leave(engine, 'old', 2 * HOUR_MS);
  leave(engine, 'busy', HOUR_MS / 2);
  mkdirSync(join(engine, 'kept'));
  if (verb === 'ingest') await drain(setup);
  else expect((await runLake(setup, ['compact'])).code).toBe(0);
  expect(readdirSync(engine).sort()).toEqual(['kept', 'spill-busy']);
});

test('it is there while it is used, and gone afterwards', async () => {
  await using folder = await tempDir();
  const store = await openLocalStore({ root: folder.path, access: 'write' });
  const engine = join(folder.path, '_lake/engine');
  {
    await using spill = await openSpillFolder(store, { newId: () => 'mine', nowMs: Date.now });
    expect(spill.path).toBe(join(engine, 'spill-mine'));
    expect(readdirSync(engine)).toEqual(['spill-mine']);
  }
  expect(readdirSync(engine)).toEqual([]);
});
