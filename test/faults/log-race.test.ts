// Two writers on one log: the numbered interleavings of PROTOCOL, each with the paused writer stopped at one store call.

import { expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommitLog } from '../../src/lake/commit-log.ts';
import { readEntry } from '../../src/lake/read-log.ts';
import { resolveFile } from '../../src/lake/resolve-file.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { type Proposal, proposal } from '../../src/model/log-entry.ts';
import { entryPath } from '../../src/model/paths.ts';
import { faulty, pauseAt } from '../helpers/faulty-store.ts';
import {
  FEED,
  filesUnder,
  type LakeFolder,
  lakeFolder,
  newId,
  noSignal,
  positionsOf,
  rangeOf,
  removal,
  stageAppend,
} from '../helpers/lake-folder.ts';

const signal = noSignal;
const DAY_MS = 86_400_000;
/** A process that dies whenever it wants to move a file. */
const withoutMoves = (store: ObjectStore) =>
  faulty(store, {
    before: (call) => {
      if (call.method === 'move') throw new Error('died');
    },
  });
/** The commit of a process that dies right after its entry. */
const commitEntryOnly = async (lake: LakeFolder, wanted: Proposal) => {
  const dying = new CommitLog(
    { store: withoutMoves(lake.store), feed: FEED, writer: newId(), nowMs: Date.now, newId },
    await lake.state(),
  );
  expect((await dying.commit(wanted, { signal })).kind).toBe('committed');
};
const inAnHour = () => Date.now() + 3_700_000;

test('2: a writer that sleeps while its staging is cleaned cannot commit, and works again under a new id', async () => {
  await using lake = await lakeFolder();
  const pause = pauseAt((call) => call.method === 'createExclusive');
  const a = await lake.open({ store: faulty(lake.store, { before: pause.hook }) });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)]), { signal });
  await pause.reached;
  const b = await lake.open({ nowMs: inAnHour });
  expect(await b.cleanUpAbandoned({ ageMsMin: 3_600_000 })).toEqual([a.writer]);
  expect(filesUnder(lake.root, '_lake/feeds/orders/staging')).toEqual([]);
  pause.go();
  expect((await sleeping).kind).toBe('fenced');
  expect(positionsOf(await lake.state())).toEqual({});
  const again = await lake.open();
  expect((await again.commit(stageAppend(again, lake.store, [rangeOf(0, 10)]), { signal })).kind).toBe('committed');
});

test('2: a writer whose temporary entry was cleaned away under its link learns that it is fenced', async () => {
  await using lake = await lakeFolder();
  const pause = pauseAt((call) => call.method === 'createExclusive');
  const store = faulty(lake.store, {
    before: async (call) => {
      await pause.hook(call);
      if (call.method === 'createExclusive') throw Object.assign(new Error('no such file: link'), { code: 'ENOENT' });
    },
  });
  const a = await lake.open({ store });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)]), { signal });
  await pause.reached;
  const b = await lake.open();
  await b.fence(a.writer);
  pause.go();
  expect((await sleeping).kind).toBe('fenced');
  await b.fence(a.writer); // a clean-up that crashed after its fence is done again without another one
  expect((await lake.state()).version).toBe(1);
});

test('2: staged files that have changed in the last hour are left alone', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open();
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  const b = await lake.open();
  expect(await b.cleanUpAbandoned({ ageMsMin: 3_600_000 })).toEqual([]);
  expect((await a.commit(wanted, { signal })).kind).toBe('committed');
});

test('2: a clean-up keeps files that an entry names, although nobody has renamed them', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open({ store: withoutMoves(lake.store) });
  const b = await lake.open({ store: withoutMoves(lake.store), nowMs: inAnHour });
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  await a.commit(wanted, { signal });
  await b.cleanUpAbandoned({ ageMsMin: 3_600_000 }).catch(() => undefined);
  await lake.open();
  expect(lake.glob()).toEqual([wanted.added[0]?.path ?? '']);
});

test('2: staged files that are gone without a fence are a conflict, never an entry', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open();
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)], 2);
  rmSync(lake.store.localPath(wanted.added[1]?.staged ?? ''));
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'conflict', reason: 'staged_files' });
  expect((await lake.state()).version).toBe(0);
});

test('a staged file that was cut short is a conflict', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open();
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  writeFileSync(lake.store.localPath(wanted.added[0]?.staged ?? ''), 'half');
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'conflict', reason: 'staged_files' });
});

test('3: what a writer left between entry and renames is finished by the next commit of another', async () => {
  await using lake = await lakeFolder();
  const seen: string[] = [];
  let globAtOffer: string[] = [];
  const store: ObjectStore = {
    ...lake.store,
    makeDurable: async (keys) => {
      await lake.store.makeDurable(keys);
      seen.push(...keys);
    },
    move: async (from, to) => {
      seen.push(from);
      return lake.store.move(from, to);
    },
    createExclusive: async (request) => {
      globAtOffer = lake.glob();
      return lake.store.createExclusive(request);
    },
  };
  const b = await lake.open({ store });
  const a = await lake.open({ store: withoutMoves(lake.store) });
  const left = stageAppend(a, lake.store, [rangeOf(0, 10)], 2);
  expect((await a.commit(left, { signal })).kind).toBe('committed');
  expect(lake.glob()).toEqual([]);
  await b.commit(stageAppend(b, lake.store, [rangeOf(0, 5, 1)]), { signal });
  expect(globAtOffer).toEqual(left.added.map((file) => file.path));
  // The entry of a writer that died before its last fsync is durable before anything of it can be seen.
  expect(seen.slice(0, 2)).toEqual([entryPath(FEED, 1), left.added[0]?.staged ?? '']);
  expect(lake.glob()).toEqual([...(await lake.state()).files.keys()].sort());
  expect(lake.glob().length).toBe(3);
});

test('3: renames are finished by a start, even one that folds from nothing', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open({ store: withoutMoves(lake.store) });
  await a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)], 2), { signal });
  await lake.open();
  expect(lake.glob().length).toBe(2);
});

test('4: a writer that sleeps before its renames does not bring back what retention removed', async () => {
  await using lake = await lakeFolder();
  const pause = pauseAt((call) => call.method === 'move');
  const a = await lake.open({ store: faulty(lake.store, { before: pause.hook }) });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)], 2), { signal });
  await pause.reached;
  const b = await lake.open();
  await b.commit(removal(b.state(), [...b.state().files.keys()]), { signal });
  pause.go();
  expect((await sleeping).kind).toBe('committed');
  expect(lake.glob()).toEqual([]);
  expect((await lake.state()).files.size).toBe(0);
});

test('4: a removal whose writer died is carried out by the sleeper, for files it has renamed and files it has not', async () => {
  await using lake = await lakeFolder();
  let moves = 0;
  const pause = pauseAt((call) => call.method === 'move' && ++moves === 2);
  const a = await lake.open({ store: faulty(lake.store, { before: pause.hook }) });
  // Retention has started before A's commit, and after its own entry it moves nothing.
  const b = await lake.open({ store: withoutMoves(lake.store) });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)], 2), { signal });
  await pause.reached;
  await b.refresh();
  const state = b.state();
  await b.rollForward().catch(() => undefined); // dies, and forgets nothing
  await commitEntryOnly(lake, removal(state, [...state.files.keys()]));
  pause.go();
  await sleeping;
  expect(lake.glob()).toEqual([]);
});

test('4: a removal of files that were never renamed is finished by a later start', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open({ store: withoutMoves(lake.store) });
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 1)]), { signal });
  const files = [...log.state().files.values()];
  await commitEntryOnly(
    lake,
    removal(
      log.state(),
      files.map((file) => file.path),
    ),
  );
  await lake.open();
  expect(filesUnder(lake.root, log.stagingFolder)).toEqual([]);
  expect(filesUnder(lake.root, '_lake/feeds/orders/removed').length).toBe(1);
});

test('4: a removal is finished by a later start, from a checkpoint too', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 1)]), { signal });
  await commitEntryOnly(lake, removal(log.state(), [...log.state().files.keys()]));
  expect(lake.glob().length).toBe(1);
  await lake.open();
  expect(lake.glob()).toEqual([]);
});

test('5: a compaction of files that retention removed meanwhile is a conflict; two compactions of one file: one', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  const other = await lake.open();
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 10)]), { signal });
  const state = await lake.state();
  const paths = [...state.files.keys()];
  const compaction = (by: typeof log) => {
    const { batch, added } = stageAppend(by, lake.store, [rangeOf(0, 10)]);
    return proposal({ kind: 'compact', batch, epoch: 0, schemaVersion: 0, added, removed: paths });
  };
  expect((await other.commit(compaction(other), { signal })).kind).toBe('committed');
  expect(await log.commit(compaction(log), { signal })).toMatchObject({ kind: 'conflict', reason: 'files' });
  expect((await lake.state()).files.size).toBe(1);
});

test('6: a batch decoded under an older schema or epoch is a conflict', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open();
  const b = await lake.open();
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  const pin = { kind: 'schema', epoch: 0, schemaVersion: 0 } as const;
  const schema = { version: 1, fields: [{ name: 'id', type: 'BIGINT' }] };
  expect((await b.commit(proposal({ ...pin, batch: newId(), schema }), { signal })).kind).toBe('committed');
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'conflict', reason: 'epoch' });
  expect(await a.commit(proposal({ ...pin, batch: newId(), schema }), { signal })).toMatchObject({ kind: 'conflict' });
  expect((await lake.state()).schema).toEqual(schema);
});

test('7: a commit whose answer was lost is recognised, and its files are not taken for garbage', async () => {
  await using lake = await lakeFolder();
  let lost = 0;
  const a = await lake.open({
    store: faulty(lake.store, {
      after: (call) => {
        if (call.method !== 'createExclusive') return;
        lost += 1;
        throw new Error('the answer got lost');
      },
    }),
  });
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'committed', version: 1 });
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'committed', version: 1 });
  expect(lost).toBe(1);
  await a.discardStaged(wanted.added.map((file) => file.staged));
  expect(lake.glob().length).toBe(1);
});

test('7: given-up files are kept when an entry names them, and deleted when none does', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open({ store: withoutMoves(lake.store) });
  const committed = stageAppend(a, lake.store, [rangeOf(0, 10)]);
  const givenUp = stageAppend(a, lake.store, [rangeOf(10, 20)]);
  await a.commit(committed, { signal });
  await a.discardStaged([...committed.added, ...givenUp.added].map((file) => file.staged));
  const exists = (files: typeof givenUp.added) => files.map((file) => existsSync(lake.store.localPath(file.staged)));
  expect([...exists(committed.added), ...exists(givenUp.added)]).toEqual([true, false]);
});

test('8: a writer that slept through hundreds of versions and checkpoints wins no number below the newest', async () => {
  await using lake = await lakeFolder();
  const others = await lake.open();
  for (let i = 0; i < 10; i += 1) await others.commit(stageAppend(others, lake.store, [rangeOf(i, i + 1)]), { signal });
  const pause = pauseAt((call) => call.method === 'createExclusive');
  const a = await lake.open({ store: faulty(lake.store, { before: pause.hook }) });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 7, 1)]), { signal });
  await pause.reached;
  for (let i = 10; i < 320; i += 1) await others.commit(stageAppend(others, lake.store, [rangeOf(i, i + 1)]), { signal });
  expect(filesUnder(lake.root, '_lake/feeds/orders/checkpoints').length).toBe(3);
  pause.go();
  expect(await sleeping).toMatchObject({ kind: 'committed', version: 321 });
  expect(positionsOf(await lake.state())).toEqual({ 0: 320, 1: 7 });
  for (const version of [11, 100, 320]) expect((await readEntry(lake.store, FEED, version))?.writer).toBe(others.writer);
});

test('9: a reader finds a file before its rename, after it, and after its removal until that is swept', async () => {
  await using lake = await lakeFolder();
  const pause = pauseAt((call) => call.method === 'move');
  const a = await lake.open({ store: faulty(lake.store, { before: pause.hook }) });
  const sleeping = a.commit(stageAppend(a, lake.store, [rangeOf(0, 10)]), { signal });
  await pause.reached;
  const [file] = [...(await lake.state()).files.values()];
  if (!file) throw new Error('the entry is not there');
  expect(await resolveFile(lake.store, FEED, file)).toBe(file.staged);
  pause.go();
  await sleeping;
  expect(await resolveFile(lake.store, FEED, file)).toBe(file.path);
  await a.commit(removal(a.state(), [file.path]), { signal });
  const away = await resolveFile(lake.store, FEED, file);
  expect(away).toStartWith('_lake/feeds/orders/removed/');
  expect(lake.glob()).toEqual([]);
  expect(await a.sweepRemoved({ ageMsMin: DAY_MS, supersededAgeMsMin: 0 })).toBe(0);
  const tomorrow = await lake.open({ nowMs: () => Date.now() + DAY_MS + 1_000 });
  expect(await tomorrow.sweepRemoved({ ageMsMin: DAY_MS, supersededAgeMsMin: DAY_MS })).toBe(1);
  expect(await resolveFile(lake.store, FEED, file)).toBeNull();
});

test('10: a zombie with a staged batch loses to the partitions new owner, and is told which partitions', async () => {
  await using lake = await lakeFolder();
  const a = await lake.open();
  const wanted = stageAppend(a, lake.store, [rangeOf(0, 10), rangeOf(0, 10, 1), rangeOf(0, 4, 2)]);
  const b = await lake.open();
  await b.commit(stageAppend(b, lake.store, [rangeOf(0, 6), rangeOf(0, 12, 2)]), { signal });
  expect(await a.commit(wanted, { signal })).toMatchObject({ kind: 'conflict', reason: 'positions', lostPartitions: [0, 2] });
  expect(positionsOf(a.state())).toEqual({ 0: 6, 2: 12 });
  await a.discardStaged(wanted.added.map((file) => file.staged));
  expect((await a.commit(stageAppend(a, lake.store, [rangeOf(0, 10, 1)]), { signal })).kind).toBe('committed');
  expect(lake.glob().length).toBe(2);
});

test('two writers on one partition at once: one commits, one has a conflict', async () => {
  await using lake = await lakeFolder();
  const logs = [await lake.open(), await lake.open()];
  const outcomes = await Promise.all(logs.map((log) => log.commit(stageAppend(log, lake.store, [rangeOf(0, 10)]), { signal })));
  expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['committed', 'conflict']);
  expect(lake.glob().length).toBe(1);
});

test('two writers on different partitions commit a hundred batches each, and all offsets are there once', async () => {
  await using lake = await lakeFolder();
  const run = async (partition: number) => {
    const log = await lake.open();
    for (let i = 0; i < 100; i += 1) {
      const outcome = await log.commit(stageAppend(log, lake.store, [rangeOf(i * 3, i * 3 + 3, partition)]), { signal });
      expect(outcome.kind).toBe('committed');
    }
  };
  await Promise.all([run(0), run(1)]);
  const state = await lake.state();
  expect(state.version).toBe(200);
  expect(positionsOf(state)).toEqual({ 0: 300, 1: 300 });
  expect(state.positions.get(1)?.totals).toEqual({ messages: 300, rows: 300, deadLetters: 0, tombstones: 0 });
  expect(lake.glob()).toEqual([...state.files.keys()].sort());
});

test('every staged file is durable before the entry that names it, and before each attempt it is still there', async () => {
  await using lake = await lakeFolder();
  const order: string[] = [];
  const store: ObjectStore = {
    ...lake.store,
    makeDurable: async (keys) => {
      await lake.store.makeDurable(keys);
      order.push(...keys);
    },
    createExclusive: async (request) => {
      order.push(request.key);
      return lake.store.createExclusive(request);
    },
  };
  const log = await lake.open({ store });
  const wanted = stageAppend(log, lake.store, [rangeOf(0, 10)], 3);
  await log.commit(wanted, { signal });
  expect(order.slice(0, 4)).toEqual([...wanted.added.map((file) => file.staged), entryPath(FEED, 1)]);
});

test('what is asked of one log at once is done in order', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  const wanted = [0, 10, 20].map((start) => stageAppend(log, lake.store, [rangeOf(start, start + 10)]));
  const outcomes = await Promise.all([
    ...wanted.map((one) => log.commit(one, { signal })),
    log.rollForward(),
    log.refresh().then(({ version }) => version),
  ]);
  expect(outcomes).toMatchObject([{ version: 1 }, { version: 2 }, { version: 3 }, undefined, 3]);
});

test('no empty folders are left: not of batches, not of writers that closed, not of writers that died', async () => {
  await using lake = await lakeFolder();
  const folders = () => readdirSync(join(lake.root, '_lake/feeds/orders/staging'));
  const log = await lake.open();
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 10)]), { signal });
  const givenUp = stageAppend(log, lake.store, [rangeOf(10, 20)]);
  await log.discardStaged(givenUp.added.map((file) => file.staged));
  expect(readdirSync(lake.store.localPath(log.stagingFolder))).toEqual([]);
  await log.close();
  expect(folders()).toEqual([]);
  const died = await lake.open();
  await died.commit(stageAppend(died, lake.store, [rangeOf(10, 20)]), { signal });
  await (await lake.open()).cleanUpAbandoned({ ageMsMin: 3_600_000 });
  expect(folders()).toEqual([died.writer]);
  await (await lake.open({ nowMs: inAnHour })).cleanUpAbandoned({ ageMsMin: 3_600_000 });
  expect(existsSync(lake.store.localPath(died.stagingFolder))).toBe(false);
});

test('an aborted commit leaves nothing behind', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open();
  const wanted = stageAppend(log, lake.store, [rangeOf(0, 10)]);
  await expect(log.commit(wanted, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  expect((await log.commit(wanted, { signal })).kind).toBe('committed');
});

test('the entry carries the facts of the commit in one line', async () => {
  await using lake = await lakeFolder();
  const log = await lake.open({ nowMs: () => Date.UTC(2025, 0, 28) });
  await log.commit(stageAppend(log, lake.store, [rangeOf(0, 10)]), { signal });
  const text = readFileSync(join(lake.root, entryPath(FEED, 1)), 'utf8');
  expect(text.split('\n').length).toBe(2);
  expect(JSON.parse(text)).toMatchObject({
    format: 1,
    version: 1,
    feed: FEED,
    kind: 'append',
    writer: log.writer,
    at: '2025-01-28T00:00:00.000Z',
    cluster_id: 'cluster-1',
    ranges: [{ partition: 0, start: '0', end: '10', messages: 10, rows: 10 }],
  });
});
