// What verify --deep reads beyond footers: every byte of every file, and every row of every sealed snapshot.

import type { Connection } from '../duckdb/connection.ts';
import { type KeyColumn, snapshotTotals } from '../duckdb/snapshot-checksum.ts';
import { quoteText } from '../duckdb/sql.ts';
import { sha256Of } from '../lake/parquet.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { SealedSnapshot } from '../model/entry-seal.ts';
import { type FeedState, liveFiles } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { compareRows, rowsOfSnapshot } from '../warehouse/compared-rows.ts';
import { deadLetterPlaces, sealedSnapshots } from '../warehouse/inspect.ts';
import { snapshotTotalsOf } from '../warehouse/seal.ts';
import { unlessDamaged } from './verify-snapshots.ts';
import type { WarehouseLook } from './verify-warehouse.ts';

export type DeepLook = {
  readonly store: ObjectStore;
  readonly connection: Connection;
  readonly state: FeedState;
  /** So much of the work is done, in bytes. */
  readonly read: (bytes: number) => void;
};

/** A file that is missing, or has another size, is told by the quick check. */
export async function verifyContent({ store, state, read }: DeepLook): Promise<CheckResult> {
  const findings: Finding[] = [];
  const files = liveFiles(state);
  let bytes = 0;
  for (const file of files) {
    const key = await resolveFile(store, state.feed, file);
    if (key === null || (await store.size(key)) !== file.bytes) continue;
    const sha256 = await sha256Of(store.localPath(key));
    bytes += file.bytes;
    read(file.bytes);
    if (sha256 === file.sha256) continue;
    findings.push({
      place: file.path,
      kind: 'sha256',
      what: `${file.path} is not what was written: its SHA-256 is ${sha256.slice(0, 12)}…, the log says ${file.sha256.slice(0, 12)}…`,
      todo: `restore it from a backup (log version ${file.version}), or while Kafka has the messages:  lake rewind ${state.feed} --to earliest`,
    });
  }
  return { check: 'content', target: 'lake', findings, notes: [], detail: `SHA-256 of ${files.length} files, ${bytes} bytes` };
}

const nameOf = ({ date, version }: SnapshotName): string => `${date}/${version}`;
const LETTERS_MAX = 10_000;
const RESTORE = 'nothing changes a sealed snapshot but retention: restore it from a backup, or from the other target';

/** `key`: of the table, by the schema that is pinned. */
export async function verifySealedInLake(look: DeepLook, key: readonly KeyColumn[]): Promise<CheckResult> {
  const { store, connection, state } = look;
  const findings: Finding[] = [];
  for (const sealed of state.sealed) {
    const file = sealed.path === null ? undefined : state.files.get(sealed.path);
    const at = file && (await resolveFile(store, state.feed, file));
    if (!at) continue;
    const table = `read_parquet(${quoteText(store.localPath(at))}, hive_partitioning = false)`;
    const is = await unlessDamaged(() => snapshotTotals(connection, { table, key }));
    if (typeof is === 'string') findings.push(unreadable(sealed, is));
    else if (is.rows !== sealed.rows || is.checksum !== sealed.checksum)
      findings.push(differing('lake', sealed, { rows: String(is.rows), checksum: is.checksum }));
  }
  return { check: 'sealed', target: 'lake', findings, notes: [], detail: `${state.sealed.length} sealed snapshots` };
}

function differing(
  target: string,
  sealed: SnapshotName & { readonly rows: number; readonly checksum: string },
  is: { readonly rows: string; readonly checksum: string },
): Finding {
  const what = `sealed snapshot ${nameOf(sealed)} has ${is.rows} rows with the checksum ${is.checksum} in the ${target}; it was sealed with ${sealed.rows} and ${sealed.checksum}`;
  return { place: `snapshot ${nameOf(sealed)}`, kind: 'checksum', what, todo: RESTORE };
}

const unreadable = (sealed: SnapshotName, words: string): Finding => ({
  place: `snapshot ${nameOf(sealed)}`,
  kind: 'unreadable',
  what: `sealed snapshot ${nameOf(sealed)} cannot be read in the lake: ${words}`,
  todo: RESTORE,
});

export async function verifySealedInWarehouse({ warehouse, feed, fact, signal }: WarehouseLook): Promise<CheckResult> {
  const findings: Finding[] = [];
  const sealed = fact === null ? [] : await sealedSnapshots(warehouse, feed.name, signal);
  for (const one of fact === null ? [] : sealed) {
    if (fact === null) continue;
    const is = await snapshotTotalsOf({ warehouse, fact }, one, signal);
    if (Number(is.rows) !== one.rows || is.checksum !== one.checksum) findings.push(differing('warehouse', one, is));
  }
  return { check: 'sealed', target: 'warehouse', findings, notes: [], detail: `${sealed.length} sealed snapshots` };
}

/** The checksum knows keys and coordinates; here the values are compared too, of snapshots cut at the same offsets. */
export async function compareSealed(look: DeepLook & WarehouseLook): Promise<CheckResult> {
  const { store, connection, state, warehouse, feed, fact, signal } = look;
  const findings: Finding[] = [];
  const except = await deadLetterPlaces(warehouse, feed.name, { countMax: LETTERS_MAX, signal });
  const others = new Map((await sealedSnapshots(warehouse, feed.name, signal)).map((one) => [nameOf(one), one]));
  let compared = 0;
  for (const sealed of state.sealed) {
    const other = others.get(nameOf(sealed));
    const wanted = await rowsOf(store, state, sealed);
    if (fact === null || !other || other.checksum !== sealed.checksum || wanted === 'missing') continue;
    const of = {
      warehouse,
      connection,
      fact,
      where: rowsOfSnapshot(fact, sealed),
      side: 'lake',
      wanted,
      except,
      signal,
    };
    const difference = await unlessDamaged(() => compareRows(of));
    if (typeof difference === 'string') continue; // told by the lake's own check
    const { onlyWanted, onlyFound, rows, examples } = difference;
    compared += rows;
    if (onlyWanted + onlyFound === 0) continue;
    const what = `${onlyWanted} rows of sealed snapshot ${nameOf(sealed)} are in the lake alone, ${onlyFound} in the warehouse alone: ${examples.join('; ')}`;
    findings.push({ place: `snapshot ${nameOf(sealed)}`, kind: 'rows_differ', what, todo: RESTORE });
  }
  return { check: 'sealed', target: 'both', findings, notes: [], detail: `${compared} rows of sealed snapshots compared` };
}

async function rowsOf(store: ObjectStore, state: FeedState, { path }: SealedSnapshot): Promise<string | null | 'missing'> {
  const file = path === null ? undefined : state.files.get(path);
  if (!file) return null;
  const key = await resolveFile(store, state.feed, file);
  return key === null ? 'missing' : `SELECT * FROM read_parquet(${quoteText(store.localPath(key))}, hive_partitioning = false)`;
}
