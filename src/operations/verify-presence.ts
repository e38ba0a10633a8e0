// Whether the warehouse's tables are there at all: none of them are before the first ingest, and one that is gone later was dropped.

import type { CheckResult, Finding } from '../model/findings.ts';
import type { WarehouseFailure } from '../warehouse/warehouse.ts';
import { readPositions, type WarehouseLook } from './verify-warehouse.ts';

const noted = (note: string): CheckResult => ({
  check: 'columns',
  target: 'warehouse',
  findings: [],
  notes: [note],
  detail: 'nothing is there yet',
});

export const NOT_THERE = noted('the warehouse has no tables of lake yet: lake ingest makes them');

/** null: everything is there that the other checks read. */
export async function presence(look: WarehouseLook): Promise<CheckResult | null> {
  const { warehouse, feed, fact, signal } = look;
  const { dialect } = warehouse;
  const own = [...dialect.identityTables, ...dialect.otherTables].map(({ name }) => name);
  const wanted = [...own, ...(fact === null ? [] : [fact.name])];
  const text = `SELECT table_name AS name FROM information_schema.tables
    WHERE ${dialect.isHere} AND table_name IN (${wanted.map(() => '?').join(', ')})`;
  const there = new Set((await warehouse.run({ text, values: wanted }, signal)).map((row) => String(row['name'])));
  if (own.every((name) => !there.has(name))) return NOT_THERE;
  const gone = wanted.filter((name) => !there.has(name));
  if (gone.length === 0) return null;
  // A feed that is new here has no table yet.
  const isNew = there.has('lake_positions') && (await readPositions(look)).positions.size === 0;
  if (isNew && gone.every((name) => name === fact?.name))
    return noted(`the warehouse has nothing of feed ${feed.name} yet: lake ingest makes ${gone.join(', ')}`);
  const findings = gone.map(
    (name): Finding => ({
      place: name,
      kind: 'missing',
      what: `the table ${name} is not there, and others of lake are: it was dropped, or renamed`,
      todo: 'stop ingesting this feed, and restore the table together with lake_positions from one backup: lake ingest would make it anew, empty',
    }),
  );
  return {
    check: 'columns',
    target: 'warehouse',
    findings,
    notes: [],
    detail: `${there.size} of ${wanted.length} tables are there`,
  };
}

/** All tables are there, and what the server was asked is not: a column is gone. What was looked at before it stands. */
export const incomplete = ({ message }: WarehouseFailure): CheckResult => ({
  check: 'columns',
  target: 'warehouse',
  findings: [
    {
      place: 'warehouse',
      kind: 'missing',
      what: `a column that lake reads is not there, so not all could be looked at: ${message}`,
      todo: 'restore the table together with lake_positions from one backup; after an update of lake itself run  lake ingest  once: it adds what is new',
    },
  ],
  notes: [],
  detail: 'not all of it could be read',
});
