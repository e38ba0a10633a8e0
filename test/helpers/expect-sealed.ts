// After whatever happened around the ends of periods: the sealed snapshots of lake and warehouse are the same, cut where the cut files
// say, the fold of what lies before, and audited once.

import { expect } from 'bun:test';
import { readJournal } from '../../src/lake/audit.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { type SnapshotScene, same, shown } from './snapshot-scene.ts';
import { rowsOf } from './warehouse.ts';

/** A clean run at this time, then all of that. Answers how many snapshots are sealed. */
export async function expectSealed(one: SnapshotScene, clockMs: number): Promise<number> {
  await one.run(clockMs, 'all');
  const [lake, warehouse] = [await one.snapshots.lake(), await one.snapshots.warehouse()];
  expect(same(lake)).toEqual(same(warehouse));
  one.check(lake);
  one.check(warehouse);
  const sealed = lake.filter(({ state }) => state === 'sealed');
  expect(shown(lake)).toEqual([...sealed.map(({ name }) => `${name} sealed at_cut`), `${lake.at(-1)?.name} open null`]);
  expect(
    sealed.map(({ positions }) => Object.fromEntries([...(positions ?? [])].map(([p, o]) => [String(p), String(o)]))),
  ).toEqual(Object.values(one.cuts()));
  const names = sealed.map(({ name }) => name);
  const rows = await rowsOf(one.database, "SELECT resource FROM audit_log WHERE action = 'snapshot_sealed' ORDER BY audit_id");
  expect(rows.map(({ resource }) => resource)).toEqual(names);
  const journal = await readJournal(await openLocalStore({ root: one.setup.lakePath, access: 'read' }));
  const told = journal.filter(({ action, target }) => action === 'snapshot_sealed' && target === 'lake');
  expect(told.map(({ resource }) => resource).sort()).toEqual(names.toSorted());
  return sealed.length;
}
