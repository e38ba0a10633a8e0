// A table's snapshots in the lake beside those in the warehouse: the open one row by row when both are at the same positions, the
// sealed ones by what was written down when they were sealed, and by their rows.

import { type Connection, queryColumns } from '../duckdb/connection.ts';
import { parquetScan, quoteText } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import { letterFiles } from '../lake/dead-letters.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { ObjectStore } from '../lake/store.ts';
import { type LetterPlace, letterKey } from '../model/dead-letters.ts';
import type { SealedSnapshot } from '../model/entry-seal.ts';
import type { FeedState, LiveFile } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import { compareNames, type SnapshotName } from '../model/snapshot.ts';
import { compareRows, rowsOfSnapshot } from '../warehouse/compared-rows.ts';
import {
  deadLetterPlaces,
  expiringSnapshots,
  openSnapshot,
  rowsBySnapshot,
  type SealedRow,
  sealedSnapshots,
  snapshotNames,
} from '../warehouse/inspect.ts';
import { readPositions, type WarehouseLook } from './verify-warehouse.ts';

export type SnapshotsLook = WarehouseLook & {
  readonly store: ObjectStore;
  readonly connection: Connection;
  readonly state: FeedState;
  /** Dead letters of the lake that somebody has dropped. */
  readonly dropped: readonly LetterPlace[];
};

/** Of a table whose destination is both. */
export async function verifySnapshots(look: SnapshotsLook): Promise<CheckResult> {
  const findings: Finding[] = [];
  const notes: string[] = [];
  const details = [await compareOpen(look, findings, notes), await compareSealed(look, findings, notes)];
  return { check: 'snapshots', target: 'both', findings, notes, detail: details.join('; ') };
}

const nameOf = ({ date, version }: SnapshotName): string => `${date}/${version}`;
const LETTERS_MAX = 10_000;
const DIFFERS =
  'lake and warehouse hold the same messages: one of them was changed by hand. Compare with  lake trace, and restore it from a backup';

/** Unequal positions are no fault: one of the two is behind. */
async function compareOpen(look: SnapshotsLook, findings: Finding[], notes: string[]): Promise<string> {
  const { warehouse, connection, store, feed, fact, state, signal } = look;
  const before = await readPositions(look);
  const open = await openSnapshot(warehouse, feed.name, signal);
  if (fact === null || open === null || state.snapshot === null) return 'no open snapshot in both targets yet';
  if (nameOf(open) !== nameOf(state.snapshot) || !samePositions(state, before.positions)) {
    notes.push('the open snapshots are at other positions in lake and warehouse: not comparable yet');
    return 'open: not comparable yet';
  }
  const file = fileOf(state, open);
  const key = file && (await resolveFile(store, feed.name, file));
  if (file && key === null) return 'open: its file is missing';
  const inWarehouse = await deadLetterPlaces(warehouse, feed.name, { countMax: LETTERS_MAX, signal });
  const letters = new Set([...inWarehouse, ...look.dropped.map(letterKey), ...(await lettersOfLake(look))]);
  const difference = await unlessDamaged(() =>
    compareRows({
      warehouse,
      connection,
      fact,
      where: rowsOfSnapshot(fact, open),
      side: 'lake',
      wanted: key ? `SELECT * FROM read_parquet(${quoteText(store.localPath(key))}, hive_partitioning = false)` : null,
      except: letters,
      signal,
    }),
  );
  if (typeof difference === 'string') {
    findings.push({
      place: file?.path ?? nameOf(open),
      kind: 'unreadable',
      what: `the open snapshot cannot be read: ${difference}`,
      todo: DIFFERS,
    });
    return 'open: not read';
  }
  if (!samePositions(state, (await readPositions(look)).positions)) {
    notes.push('the open snapshot went on while it was read: not comparable yet');
    return 'open: not comparable yet';
  }
  const { onlyWanted, onlyFound, rows, examples } = difference;
  if (letters.size > 0)
    notes.push(`${letters.size} messages are dead letters of one of the targets: the rows of their keys were not compared`);
  if (onlyWanted + onlyFound > 0)
    findings.push({
      place: `snapshot ${nameOf(open)}`,
      kind: 'rows_differ',
      what: `${onlyWanted} rows of the open snapshot are in the lake alone, ${onlyFound} in the warehouse alone: ${examples.join('; ')}`,
      todo: DIFFERS,
    });
  return `open ${nameOf(open)}: ${rows} rows compared`;
}

/** One target's letters may have been tried again before the other's. */
async function lettersOfLake({ store, connection, feed, state }: SnapshotsLook): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const file of letterFiles(state)) {
    const key = await resolveFile(store, feed.name, file);
    if (key !== null) paths.push(store.localPath(key));
  }
  if (paths.length === 0) return [];
  const at = `CAST(kafka_partition AS VARCHAR) || ':' || CAST(kafka_offset AS VARCHAR)`;
  const found = await unlessDamaged(() =>
    queryColumns(connection, `SELECT ${at} FROM ${parquetScan(paths)} LIMIT ${LETTERS_MAX}`),
  );
  return typeof found === 'string' ? [] : (found[0] ?? []).map(String);
}

/** The engine's words, when it cannot read a file: damage, which must not end the look at everything else. */
export async function unlessDamaged<T extends object>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'engine_failed') throw error;
    const words = error.cause instanceof Error ? (error.cause.message.split('\n')[0] ?? '') : error.message;
    // Too little memory or room to spill is no damage.
    if (/out of memory|no space left|failed to offload|could not allocate/i.test(words)) throw error;
    return words;
  }
}

function samePositions(state: FeedState, positions: ReadonlyMap<number, { readonly position: bigint }>): boolean {
  const partitions = new Set([...state.positions.keys(), ...positions.keys()]);
  return [...partitions].every((partition) => state.positions.get(partition)?.position === positions.get(partition)?.position);
}

function fileOf(state: FeedState, { date, version }: SnapshotName): LiveFile | null {
  for (const file of state.files.values())
    if (file.kind === 'data' && file.values['snapshot_date'] === date && file.values['snapshot_version'] === String(version))
      return file;
  return null;
}

async function compareSealed(look: SnapshotsLook, findings: Finding[], notes: string[]): Promise<string> {
  const { warehouse, feed, fact, state, signal } = look;
  const inWarehouse = new Map((await sealedSnapshots(warehouse, feed.name, signal)).map((row) => [nameOf(row), row]));
  const held = fact === null ? new Map<string, number>() : await rowsBySnapshot(warehouse, fact, signal);
  const open = await openSnapshot(warehouse, feed.name, signal);
  const expiring = await expiringSnapshots(warehouse, feed.name, signal);
  if (expiring.size > 0) notes.push(`retention has begun to delete ${[...expiring].join(', ')} in the warehouse`);
  const oldest = [...inWarehouse.values(), ...(open ? [open] : [])].sort(compareNames)[0];
  let before = 0;
  const letters = await deadLetterPlaces(warehouse, feed.name, { countMax: 1, signal });
  const find = (name: string, kind: string, what: string): void =>
    void findings.push({ place: `snapshot ${name}`, kind, what, todo: DIFFERS });
  for (const sealed of state.sealed) {
    const name = nameOf(sealed);
    const other = inWarehouse.get(name);
    if (other) compareOne(name, { sealed, other }, { find, notes, areSome: letters.size > 0 });
    // The warehouse began later than the lake; one that is behind has not met this cut yet.
    else if (oldest === undefined || compareNames(sealed, oldest) < 0) before += 1;
    else if (open !== null && compareNames(open, sealed) > 0 && !expiring.has(name))
      find(name, 'missing', `sealed snapshot ${name} of the lake is not in the warehouse`);
  }
  if (before > 0) notes.push(`${before} sealed snapshots of the lake are from before the warehouse had its first one`);
  findings.push(...(await heldFindings(look, { held, sealed: inWarehouse })));
  return `${state.sealed.length} sealed in the lake, ${inWarehouse.size} in the warehouse`;
}

type HeldRows = { readonly held: ReadonlyMap<string, number>; readonly sealed: ReadonlyMap<string, SealedRow> };

/** What the fact table holds, beside what lake_snapshots names. */
async function heldFindings({ warehouse, feed, signal }: WarehouseLook, { held, sealed }: HeldRows): Promise<Finding[]> {
  const findings: Finding[] = [];
  const find = (name: string, kind: string, what: string): void =>
    void findings.push({ place: `snapshot ${name}`, kind, what, todo: CHANGED });
  for (const [name, { rows }] of sealed) {
    const is = held.get(name) ?? 0;
    if (is !== rows) find(name, 'rows', `snapshot ${name} has ${is} rows in the warehouse, it was sealed with ${rows}`);
  }
  const named = await snapshotNames(warehouse, feed.name, signal);
  for (const [name, rows] of held)
    if (!named.has(name))
      find(name, 'unnamed', `${rows} rows of the fact table are of snapshot ${name}, which lake_snapshots does not name`);
  return findings;
}

const CHANGED = 'the fact table or lake_snapshots was changed by hand: restore both from the same backup';

/** Of a table that is in the warehouse alone. */
export async function verifyOwnSnapshots(look: WarehouseLook): Promise<CheckResult> {
  const { warehouse, feed, fact, signal } = look;
  const sealed = new Map((await sealedSnapshots(warehouse, feed.name, signal)).map((row) => [nameOf(row), row]));
  const held = fact === null ? new Map<string, number>() : await rowsBySnapshot(warehouse, fact, signal);
  const findings = await heldFindings(look, { held, sealed });
  return { check: 'snapshots', target: 'warehouse', findings, notes: [], detail: `${sealed.size} sealed` };
}

type Pair = { readonly sealed: SealedSnapshot; readonly other: SealedRow };
type Told = {
  readonly find: (name: string, kind: string, what: string) => void;
  readonly notes: string[];
  /** Whether the warehouse has open dead letters: keys of theirs may have an older row there. */
  readonly areSome: boolean;
};

function compareOne(name: string, { sealed, other }: Pair, { find, notes, areSome }: Told): void {
  const positions = JSON.stringify(
    Object.fromEntries([...sealed.positions].sort(([a], [b]) => a - b).map(([partition, at]) => [partition, String(at)])),
  );
  if (positions !== other.positions) {
    notes.push(`snapshot ${name} was cut at other offsets in the two targets (${positions} and ${other.positions})`);
    return;
  }
  if (areSome && (sealed.rows !== other.rows || sealed.checksum !== other.checksum))
    notes.push(`snapshot ${name} has other rows in the two targets, and the warehouse has open dead letters`);
  else if (sealed.rows !== other.rows)
    find(name, 'rows_differ', `snapshot ${name} has ${sealed.rows} rows in the lake, ${other.rows} in the warehouse`);
  else if (sealed.checksum !== other.checksum)
    find(
      name,
      'checksum',
      `snapshot ${name} has other rows in the lake (${sealed.checksum}) than in the warehouse (${other.checksum})`,
    );
}
