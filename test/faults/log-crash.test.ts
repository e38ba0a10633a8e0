// A commit may die at any store call, before or after the call took effect: the next process finds all of it or none (R2, R3, R6).

import { expect, test } from 'bun:test';
import { LakeError } from '../../src/errors.ts';
import { crashAt, faulty, type StoreCall } from '../helpers/faulty-store.ts';
import { type LakeFolder, lakeFolder, noSignal, positionsOf, rangeOf, stageAppend } from '../helpers/lake-folder.ts';

/** A first commit of [0,10), then the second of [10,30) with three files, by a log over `hooked`. */
const secondCommit = async (lake: LakeFolder, hooks: Parameters<typeof faulty>[1]) => {
  const first = await lake.open();
  await first.commit(stageAppend(first, lake.store, [rangeOf(0, 10)]), { signal: noSignal });
  let calls = 0;
  let on = false;
  const store = faulty(lake.store, {
    before: async (call) => {
      if (on) {
        calls += 1;
        await hooks.before?.({ ...call, n: calls });
      }
    },
    after: async (call) => {
      if (on) await hooks.after?.({ ...call, n: calls });
    },
  });
  const log = await lake.open({ store });
  const wanted = stageAppend(log, lake.store, [rangeOf(10, 30)], 3);
  on = true;
  return { log, wanted, commit: () => log.commit(wanted, { signal: noSignal }), calls: () => calls };
};

const expectOnce = async (lake: LakeFolder) => {
  const state = await lake.state();
  expect(positionsOf(state)).toEqual({ 0: 30 });
  expect(lake.glob()).toEqual([...state.files.keys()].sort());
  let rows = 0;
  for (const file of state.files.values()) {
    expect(await lake.store.size(file.path)).toBe(file.bytes);
    rows += file.rows;
  }
  expect(rows).toBe(30);
};

const countCalls = async (): Promise<StoreCall[]> => {
  await using lake = await lakeFolder();
  const seen: StoreCall[] = [];
  const { commit } = await secondCommit(lake, { before: (call) => void seen.push(call) });
  await commit();
  return seen;
};

test('a process that dies at any step leaves all of a commit or none of it', async () => {
  const calls = await countCalls();
  expect(new Set(calls.map(({ method }) => method))).toContain('createExclusive');
  const outcomes = new Set<number>();
  for (const { n } of calls) {
    for (const done of ['before', 'after'] as const) {
      await using lake = await lakeFolder();
      const dying = await secondCommit(lake, crashAt(n, done));
      await dying.commit().catch(() => undefined);
      const next = await lake.open();
      const position = positionsOf(next.state())[0] ?? -1;
      outcomes.add(position);
      expect([10, 30]).toContain(position);
      if (position === 10) await next.commit(stageAppend(next, lake.store, [rangeOf(10, 30)], 2), { signal: noSignal });
      await expectOnce(lake);
    }
  }
  expect(outcomes).toEqual(new Set([10, 30]));
});

test('a disk that is full at any step fails the commit or not, and the same commit asked for again stands once', async () => {
  const calls = await countCalls();
  let failed = 0;
  for (const { n } of calls) {
    for (const when of ['before', 'after'] as const) {
      await using lake = await lakeFolder();
      const full = (call: StoreCall) => {
        if (call.n === n) throw new LakeError('disk_full', 'no space');
      };
      const { log, wanted, commit } = await secondCommit(lake, { [when]: full });
      const outcome = await commit().catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'disk_full' });
        failed += 1;
        return null;
      });
      const again = await log.commit(wanted, { signal: noSignal });
      expect(again.kind).toBe('committed');
      if (outcome?.kind === 'committed') expect(again).toMatchObject({ version: outcome.version });
      await log.rollForward();
      await expectOnce(lake);
    }
  }
  expect(failed).toBeGreaterThan(5);
});
