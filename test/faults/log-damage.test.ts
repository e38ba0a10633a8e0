// What the log does when its own files are damaged, missing, half-written or from the future.

import { expect, test } from 'bun:test';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { newestCheckpoint, writeCheckpoint } from '../../src/lake/checkpoint.ts';
import { sealJson, unsealJson } from '../../src/lake/entry-codec.ts';
import { openLake, readLakeIdentity } from '../../src/lake/lake-identity.ts';
import { findStrays } from '../../src/lake/orphans.ts';
import { foldNewer, readFeedState } from '../../src/lake/read-log.ts';
import { stateToJson } from '../../src/model/checkpoint.ts';
import { emptyState } from '../../src/model/feed-state.ts';
import { canonicalJson } from '../../src/model/json-fields.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { checkpointPath, checkpointsFolder, entryPath, LAKE_IDENTITY_PATH } from '../../src/model/paths.ts';
import { failOnce, faulty } from '../helpers/faulty-store.ts';
import { FEED, type LakeFolder, lakeFolder, newId, noSignal, rangeOf, removal, stageAppend } from '../helpers/lake-folder.ts';

const signal = noSignal;
const textOf = (state: Parameters<typeof stateToJson>[0]) => canonicalJson(stateToJson(state));

/** Commits of one partition, every fifth a removal of the first file. */
const mixedLake = async (versions: number): Promise<LakeFolder> => {
  const lake = await lakeFolder();
  const log = await lake.open();
  for (let i = 0; log.state().version < versions; i += 1) {
    const first = [...log.state().files.keys()].slice(0, 1);
    const wanted = i % 5 === 4 ? removal(log.state(), first) : null;
    const position = Number(log.state().positions.get(0)?.position ?? 0n);
    await log.commit(wanted ?? stageAppend(log, lake.store, [rangeOf(position, position + 2)]), { signal });
  }
  return lake;
};

test('1: half an entry in staging, left by a kill while it was written, is nothing to the log', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  const half = lake.store.localPath(`${log.stagingFolder}/${newId()}-1.entry`);
  mkdirSync(dirname(half), { recursive: true });
  writeFileSync(half, '{"format":1,"vers');
  const next = await lake.open();
  expect((await next.commit(stageAppend(next, lake.store, [rangeOf(0, 10)]), { signal })).kind).toBe('committed');
  expect((await lake.state()).version).toBe(1);
});

test('1: a full disk while the entry is written costs the attempt, not the feed', async () => {
  await using lake = await lakeFolder();
  const full = failOnce(
    (call) => call.method === 'createExclusive',
    () => Object.assign(new Error('no space'), { code: 'ENOSPC' }),
  );
  const log = await lake.open({ store: faulty(lake.store, { before: full }) });
  const wanted = stageAppend(log, lake.store, [rangeOf(0, 10)]);
  await expect(log.commit(wanted, { signal })).rejects.toThrow('no space');
  expect(await log.commit(wanted, { signal })).toMatchObject({ kind: 'committed', version: 1 });
});

test('an entry with one changed byte is refused by version and file', async () => {
  await using lake = await mixedLake(5);
  const path = lake.store.localPath(entryPath(FEED, 3));
  writeFileSync(path, readFileSync(path, 'utf8').replace('"messages":2', '"messages":3'));
  await expect(lake.state()).rejects.toMatchObject({
    code: 'lake_damaged',
    where: { version: 3, file: entryPath(FEED, 3) },
    message: expect.stringContaining('checksum'),
  });
});

test('an empty or cut entry is refused', async () => {
  for (const length of [0, 1, 100]) {
    await using lake = await mixedLake(3);
    const path = lake.store.localPath(entryPath(FEED, 2));
    writeFileSync(path, readFileSync(path).subarray(0, length));
    await expect(lake.open()).rejects.toMatchObject({ code: 'lake_damaged', where: { version: 2 } });
  }
});

test('an entry copied to another version is refused', async () => {
  await using lake = await mixedLake(3);
  writeFileSync(lake.store.localPath(entryPath(FEED, 4)), readFileSync(lake.store.localPath(entryPath(FEED, 3))));
  await expect(lake.state()).rejects.toMatchObject({ code: 'lake_damaged', where: { version: 4 } });
});

test('an entry that does not start where the one before ended is refused', async () => {
  await using lake = await mixedLake(2);
  const entry = unsealJson(readFileSync(lake.store.localPath(entryPath(FEED, 2))));
  writeFileSync(
    lake.store.localPath(entryPath(FEED, 3)),
    sealJson({ ...entry, version: 3, added: [], removed: [], batch: newId() }),
  );
  await expect(lake.state()).rejects.toMatchObject({ code: 'lake_damaged', where: { version: 3 } });
});

test('a version missing in the middle is refused, not taken again', async () => {
  await using lake = await mixedLake(5);
  rmSync(lake.store.localPath(entryPath(FEED, 3)));
  await expect(lake.open()).rejects.toMatchObject({ code: 'lake_damaged', where: { version: 3 } });
});

test('a log that ends before its checkpoint is refused', async () => {
  await using lake = await mixedLake(100);
  rmSync(lake.store.localPath(entryPath(FEED, 100)));
  await expect(lake.open()).rejects.toMatchObject({ code: 'lake_damaged', where: { version: 100 } });
});

test('an entry of a newer format or an unknown kind is refused, not skipped', async () => {
  for (const change of [{ format: 2 }, { kind: 'teleport' }]) {
    await using lake = await mixedLake(1);
    const entry = unsealJson(readFileSync(lake.store.localPath(entryPath(FEED, 1))));
    writeFileSync(lake.store.localPath(entryPath(FEED, 2)), sealJson({ ...entry, version: 2, ...change }));
    await expect(lake.state()).rejects.toMatchObject({ code: 'lake_foreign_format' });
  }
});

test('an entry that could not be read again is never written', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  const fine = stageAppend(log, lake.store, [rangeOf(0, 10)]);
  const [range] = fine.ranges;
  if (!range) throw new Error('no range');
  for (const change of [{ partition: -1 }, { partition: 0.5 }, { start: toOffset(-5n) }, { timestampMsMax: 1.5 }]) {
    await expect(log.commit({ ...fine, ranges: [{ ...range, ...change }] }, { signal })).rejects.toMatchObject({ code: 'bug' });
  }
  expect(await log.commit(fine, { signal })).toMatchObject({ kind: 'committed', version: 1 });
});

test('a checkpoint is the fold: the same bytes from any fold, the same state from it, from an older one, from none', async () => {
  await using lake = await mixedLake(220);
  const key = checkpointPath(FEED, 200);
  const file = lake.store.localPath(key);
  const made = readFileSync(file, 'utf8');
  const state = await lake.state();
  const whole = textOf(state);
  expect(state.version).toBe(220);
  expect(textOf(await foldNewer(lake.store, emptyState(FEED)))).toBe(whole);
  const content = unsealJson(Buffer.from(made));
  expect(content).toMatchObject({ version: 200 });
  for (const damaged of ['', made.slice(0, 50), made.replace('"position":"', '"position":"1'), '{"format":9}', 'null']) {
    writeFileSync(file, damaged);
    expect(textOf(await lake.state())).toBe(whole);
  }
  rmSync(dirname(file), { recursive: true });
  expect(textOf(await lake.state())).toBe(whole);
});

test('two lakes with the same entries have the same checkpoint', async () => {
  await using lake = await mixedLake(100);
  await using copy = await lakeFolder();
  for (let version = 1; version <= 100; version += 1) {
    const target = copy.store.localPath(entryPath(FEED, version));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, readFileSync(lake.store.localPath(entryPath(FEED, version))));
  }
  const made = readFileSync(lake.store.localPath(checkpointPath(FEED, 100)), 'utf8');
  expect(Buffer.from(sealJson(stateToJson(await readFeedState(copy.store, FEED)))).toString('utf8')).toBe(made);
});

test('the newest three checkpoints are kept, and a start reads the newest', async () => {
  await using lake = await lakeFolder();
  for (const version of [100, 200, 300, 400, 500]) {
    await writeCheckpoint(lake.store, { ...emptyState(FEED), version }, '_lake/staging/checkpoint');
  }
  const kept = await lake.store.list(checkpointsFolder(FEED));
  expect(kept.map(({ key }) => key)).toEqual([300, 400, 500].map((version) => checkpointPath(FEED, version)));
  expect((await newestCheckpoint(lake.store, FEED))?.version).toBe(500);
});

test('a checkpoint that cannot be written does not fail the commit', async () => {
  await using lake = await lakeFolder();
  const events: string[] = [];
  const broken = failOnce(
    (call) => call.method === 'replace',
    () => new Error('no'),
  );
  const log = await lake.open({ store: faulty(lake.store, { before: broken }), onEvent: ({ event }) => events.push(event) });
  for (let i = 0; i < 100; i += 1) await log.commit(stageAppend(log, lake.store, [rangeOf(i, i + 1)]), { signal });
  expect(events).toEqual(['checkpoint_skipped']);
  expect((await lake.state()).version).toBe(100);
});

test('a committed file that is neither staged nor in place is damage, named by path', async () => {
  await using lake = await lakeFolder();
  const dead = failOnce(
    (call) => call.method === 'move',
    () => new Error('died'),
  );
  const log = await lake.open({ store: faulty(lake.store, { before: dead }) });
  const wanted = stageAppend(log, lake.store, [rangeOf(0, 10)]);
  await log.commit(wanted, { signal });
  rmSync(lake.store.localPath(wanted.added[0]?.staged ?? ''));
  await expect(log.rollForward()).rejects.toMatchObject({ code: 'lake_damaged', where: { file: wanted.added[0]?.path } });
});

test('orphans are ours and unnamed; the rest is foreign', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 10)]), { signal });
  const givenUp = stageAppend(log, lake.store, [rangeOf(10, 20)]).added[0]?.staged ?? '';
  const lost = `streams/${FEED}/year=2025/month=01/day=28/data_${newId()}_0.parquet`;
  const foreign = `streams/${FEED}/part-0001.parquet`;
  for (const key of [lost, foreign]) writeFileSync(lake.store.localPath(key), 'x');
  const strays = await findStrays(lake.store, await lake.state());
  expect(strays.orphans.map(({ key }) => key).sort()).toEqual([givenUp, lost].sort());
  expect(strays.foreign.map(({ key }) => key)).toEqual([foreign]);
});

test('a lake is made once, keeps its id, and refuses a newer format', async () => {
  await using lake = await lakeFolder();
  const facts = { store: lake.store, newId, nowMs: Date.now };
  expect(await readLakeIdentity(lake.store)).toBeNull();
  const made = await Promise.all([openLake(facts), openLake(facts), openLake(facts)]);
  expect(new Set(made.map(({ lakeId }) => lakeId)).size).toBe(1);
  expect(await openLake(facts)).toEqual(made[0] ?? expect.anything());
  const path = lake.store.localPath(LAKE_IDENTITY_PATH);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"format":1', '"format":2'));
  await expect(openLake(facts)).rejects.toMatchObject({ code: 'lake_foreign_format' });
  writeFileSync(path, '');
  await expect(openLake(facts)).rejects.toMatchObject({ code: 'lake_damaged' });
});
