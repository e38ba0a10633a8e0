// The warehouse's part of verify: rows and dead letters beside their positions, tables beside their feeds, the registry beside
// feeds.json. Invariant: counts are judged only if the positions are the same before and after they were read.

import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { FactTable } from '../warehouse/fact-table.ts';
import {
  adoptedRows,
  expiringSnapshots,
  governanceRows,
  type Held,
  heldInDeadLetters,
  heldInFacts,
  heldInTombstones,
  type Retained,
  retainedCounts,
  rowsBySnapshot,
} from '../warehouse/inspect.ts';
import { isOutgrown, selectPositions, stateOf } from '../warehouse/positions.ts';
import { lostGrants, missingGrantees } from '../warehouse/readers.ts';
import { type GovernanceValues, policyValues, registryValues } from '../warehouse/registry.ts';
import { tableDrift } from '../warehouse/setup-table.ts';
import type { Row, Warehouse } from '../warehouse/warehouse.ts';

export type WarehouseLook = {
  readonly warehouse: Warehouse;
  readonly feed: Feed;
  /** null: nothing is pinned yet, so there is no table. */
  readonly fact: FactTable | null;
  /** Pinned; 0: none is. */
  readonly schemaVersion: number;
  readonly signal: AbortSignal;
};

type Positions = ReadonlyMap<number, PositionState>;

export async function readPositions({ warehouse, feed, signal }: WarehouseLook) {
  const rows = await warehouse.run(selectPositions({ feed: feed.name, topic: feed.topic }), signal);
  return { ...stateOf(rows), clusterId: rows[0]?.['cluster_id'] == null ? null : String(rows[0]['cluster_id']) };
}

export async function verifyWarehouse(look: WarehouseLook): Promise<readonly CheckResult[]> {
  return [
    ...(await checkRows(look)),
    await checkColumns(look),
    ...(await checkReaders(look)),
    await checkRegistry(look),
    ...(await checkAdopted(look)),
  ];
}

/** A pipeline that commits all the time leaves no moment in between; then the last look is told as it is. */
const LOOKS_MAX = 5;

async function checkRows(look: WarehouseLook): Promise<CheckResult[]> {
  for (let attempt = 1; ; attempt += 1) {
    const { positions } = await readPositions(look);
    const retained = await readRetained(look);
    const held = await readHeld(look);
    const after = (await readPositions(look)).positions;
    const retainedAfter = await readRetained(look);
    const isStill =
      [...after].every(([partition, one]) => isSamePlace(positions.get(partition), one)) &&
      [...retainedAfter].every(([partition, one]) => isSame(retained.get(partition), one));
    if (isStill || attempt === LOOKS_MAX)
      return [checkBeyond(after, held), checkCounts(look.feed, after, isStill ? { held, retained } : null)];
  }
}

const readRetained = ({ warehouse, feed, signal }: WarehouseLook): Promise<ReadonlyMap<number, Retained>> =>
  retainedCounts(warehouse, { feed: feed.name, topic: feed.topic }, signal);

/** A retry of dead letters moves counts from one to the other, and no position. */
const isSamePlace = (one: PositionState | undefined, other: PositionState): boolean =>
  one?.position === other.position &&
  one.totals.rows === other.totals.rows &&
  one.totals.deadLetters === other.totals.deadLetters &&
  one.totals.tombstones === other.totals.tombstones;

const isSame = (one: Retained | undefined, other: Retained): boolean =>
  one?.rows === other.rows && one.deadLetters === other.deadLetters;

type Counted = { readonly held: AllHeld; readonly retained: ReadonlyMap<number, Retained> };

type AllHeld = Readonly<Record<'facts' | 'deadLetters' | 'tombstones', readonly Held[]>>;

async function readHeld({ warehouse, feed, fact, signal }: WarehouseLook): Promise<AllHeld> {
  return {
    facts: fact === null ? [] : await heldInFacts(warehouse, fact, signal),
    deadLetters: await heldInDeadLetters(warehouse, feed.name, signal),
    tombstones: await heldInTombstones(warehouse, feed.name, signal),
  };
}

const BY_HAND =
  'somebody changed lake_positions or the table by hand: restore both from the same backup, or while Kafka has the messages have them read again:  lake rewind <feed> --to earliest';

function checkBeyond(positions: Positions, held: AllHeld): CheckResult {
  const findings: Finding[] = [];
  for (const [kind, list] of Object.entries(held)) {
    for (const { partition, offsetMax } of list) {
      const position = positions.get(partition)?.position;
      if (position !== undefined && offsetMax < position) continue;
      findings.push({
        place: `partition ${partition}`,
        kind: `beyond_${kind}`,
        what: `${WORDS[kind] ?? kind} reach offset ${offsetMax} of partition ${partition}, the position is ${position ?? 'not known'}`,
        todo: BY_HAND,
      });
    }
  }
  return { check: 'beyond', target: 'warehouse', findings, notes: [], detail: `${positions.size} positions` };
}

const WORDS: Readonly<Record<string, string>> = { facts: 'rows', deadLetters: 'dead letters', tombstones: 'tombstones' };

/** What was committed is there, or was deleted by retention. null: what was read is of no one moment. */
function checkCounts(feed: Feed, positions: Positions, counted: Counted | null): CheckResult {
  const findings: Finding[] = [];
  const notes = counted === null ? ['the feed is committed to all the time: its counts were not compared'] : [];
  const total = (name: 'rows' | 'deadLetters'): number =>
    [...positions.values()].reduce((sum, { totals }) => sum + totals[name], 0);
  for (const [partition, { totals }] of counted === null ? [] : positions) {
    const rowsOf = (list: readonly Held[]): number => list.find((one) => one.partition === partition)?.rows ?? 0;
    const { messages, ...kinds } = totals;
    const counts = kinds.rows + kinds.deadLetters + kinds.tombstones;
    if (messages !== counts)
      findings.push({
        place: `partition ${partition}`,
        kind: 'messages',
        what: `lake_positions counts ${messages} messages of partition ${partition}, and ${counts} rows, dead letters and tombstones`,
        todo: BY_HAND,
      });
    const compare = (what: string, is: number, should: number): void => {
      if (is !== should)
        findings.push({
          place: `partition ${partition}`,
          kind: what.replace(' ', '_'),
          what: `${is} ${what} of partition ${partition} are there or were deleted by retention, ${should} were committed`,
          todo: BY_HAND,
        });
    };
    if (counted === null) continue;
    const { held, retained } = counted;
    const gone = retained.get(partition) ?? { rows: 0, deadLetters: 0, before: null };
    if (feed.type === 'stream') compare('rows', rowsOf(held.facts) + gone.rows, totals.rows);
    compare('dead letters', rowsOf(held.deadLetters) + gone.deadLetters, totals.deadLetters);
  }
  const detail = `${total('rows')} rows and ${total('deadLetters')} dead letters were committed`;
  return { check: 'counts', target: 'warehouse', findings, notes, detail };
}

/** Snapshots that were there before lake: nothing is known of them but how many rows they had when they were adopted. */
async function checkAdopted({ warehouse, feed, fact, signal }: WarehouseLook): Promise<CheckResult[]> {
  const adopted = fact === null ? new Map<string, number>() : await adoptedRows(warehouse, feed.name, signal);
  if (fact === null || adopted.size === 0) return [];
  const held = await rowsBySnapshot(warehouse, fact, signal);
  const expiring = await expiringSnapshots(warehouse, feed.name, signal);
  const findings = [...adopted].flatMap(([name, rows]): Finding[] => {
    const is = held.get(name) ?? 0;
    if (is === rows || expiring.has(name)) return [];
    const what = `snapshot ${name} has ${is} rows, it was adopted with ${rows}`;
    return [{ place: `snapshot ${name}`, kind: 'rows', what, todo: 'restore it from a backup' }];
  });
  const rows = [...adopted.values()].reduce((sum, count) => sum + count, 0);
  const detail = `${adopted.size} snapshots with ${rows} rows from before lake`;
  return [{ check: 'adopted', target: 'warehouse', findings, notes: [], detail }];
}

async function checkColumns({ warehouse, fact, schemaVersion, signal }: WarehouseLook): Promise<CheckResult> {
  const result = (findings: Finding[], detail: string): CheckResult => ({
    check: 'columns',
    target: 'warehouse',
    findings,
    notes: [],
    detail,
  });
  if (fact === null) return result([], 'there is no table yet');
  try {
    const mayWiden = await isOutgrown(warehouse, { feed: fact.feed, table: fact.name, version: schemaVersion }, signal);
    const drift = await tableDrift(warehouse, fact, signal, { mayWiden });
    const findings = drift.map(({ action, resource }) => ({
      place: resource,
      kind: action,
      what: `${resource} is ${action === 'column_widened' ? 'narrower than the schema' : 'missing'} (${action.replace('_', ' ')} at the next start)`,
      todo: 'run  lake ingest: it makes what is missing, and audits it',
    }));
    return result(findings, `${fact.name}, ${fact.columns.length} columns, ${fact.dimensions.length} dimensions`);
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'warehouse_table_differs') throw error;
    return result([{ place: fact.name, kind: 'differs', what: error.message, todo: error.todo }], fact.name);
  }
}

/** Whom feed_permissions names, and, where lake may see it, what the server says of them. */
async function checkReaders({ warehouse, feed, fact, signal }: WarehouseLook): Promise<CheckResult[]> {
  if (feed.permissions.mysqlReaders.length === 0 || fact === null) return [];
  const missing = await missingGrantees(warehouse, [feed], signal);
  const lost = missing.length > 0 ? [] : await lostGrants(warehouse, feed, fact, signal);
  const todo = 'grant it:  lake feeds sync --yes  or start lake ingest again';
  const findings = [
    ...missing.map(({ grantee }) => ({
      ...{
        place: 'feed_permissions',
        kind: 'permissions',
        what: `${grantee} was not given the right to read ${fact.name}`,
        todo,
      },
    })),
    ...lost.map((account) => ({
      ...{ place: fact.name, kind: 'permissions', what: `${account} has no right to read ${fact.name} any more`, todo },
    })),
  ];
  return [{ check: 'permissions', target: 'warehouse', findings, notes: [], detail: feed.permissions.mysqlReaders.join(', ') }];
}

async function checkRegistry({ warehouse, feed, signal }: WarehouseLook): Promise<CheckResult> {
  const { registry, policy } = await governanceRows(warehouse, feed.name, signal);
  const findings = [
    ...rowFindings('feed_registry', registry, registryValues(feed)),
    ...rowFindings('data_retention_policies', policy, policyValues(feed)),
  ];
  return { check: 'registry', target: 'warehouse', findings, notes: [], detail: 'feed_registry, data_retention_policies' };
}

function rowFindings(table: string, row: Row | null, wanted: GovernanceValues): Finding[] {
  const todo = 'feeds.json is the source: write it with  lake feeds sync --yes,  or correct it';
  if (row === null) return [{ place: table, kind: 'missing', what: `${table} has no row of this feed`, todo }];
  return Object.entries(wanted).flatMap(([column, value]) => {
    const [is, should] = [textOf(row[column]), textOf(value)];
    if (is === should) return [];
    return [
      { place: `${table}.${column}`, kind: 'differs', what: `${table}.${column} is ${is}, feeds.json says ${should}`, todo },
    ];
  });
}

const textOf = (value: Row[string] | undefined): string => {
  if (value === null || value === undefined) return 'NULL';
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
};
