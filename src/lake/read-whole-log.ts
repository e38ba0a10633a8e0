// The log from its first entry on, for verify: no checkpoint is trusted, each is compared with the fold of its version.
// Invariant: changes nothing, and never throws for damage: it tells where the fold ends, and why.

import { LakeError } from '../errors.ts';
import { stateToJson } from '../model/checkpoint.ts';
import type { Closing } from '../model/entry-letters.ts';
import { emptyState, type FeedState } from '../model/feed-state.ts';
import { foldAll } from '../model/fold.ts';
import { canonicalJson } from '../model/json-fields.ts';
import type { CommittedRange, EntryKind, LakeFile, LogEntry, LogSchema } from '../model/log-entry.ts';
import type { Offset } from '../model/offsets.ts';
import { checkpointsFolder, entryPath, feedFolder, versionOfKey } from '../model/paths.ts';
import type { SchemaStretch } from '../model/stretches.ts';
import { CHECKPOINT_EVERY, readCheckpoint } from './checkpoint.ts';
import { readEntry } from './read-log.ts';
import type { ObjectStore } from './store.ts';

export type WholeLog = {
  /** As far as the fold goes. */
  readonly state: FeedState;
  /** Where and why it ends before the newest entry; null: it does not. */
  readonly damage: Damage | null;
  /** Names under `log/` that are no entry's. */
  readonly foreign: readonly string[];
  /** Checkpoints that are not the fold of their version. */
  readonly wrongCheckpoints: readonly string[];
  /** What entries say of the files they added. */
  readonly added: ReadonlyMap<number, AddedBy>;
  /** Rows of data files that are no longer live because an entry of retention took them away. */
  readonly retainedRows: number;
  /** Rows that were there before lake and were adopted, also those that are gone since: no position counts them. */
  readonly adoptedRows: number;
  /** Days (YYYY-MM-DD) that retention took files of. */
  readonly retainedDays: ReadonlySet<string>;
  /** By partition, in order: which schema committed which offsets; gaps are left out. */
  readonly stretches: ReadonlyMap<number, readonly SchemaStretch[]>;
  /** Dead letters that an entry closed and no rebuild has read anew since. */
  readonly closed: readonly ClosedLetter[];
  /** By version. */
  readonly schemas: ReadonlyMap<number, LogSchema>;
};

/** `schemaVersion`: of the schema that it was decoded by when it was closed. */
export type ClosedLetter = {
  readonly partition: number;
  readonly offset: Offset;
  readonly as: Closing;
  readonly schemaVersion: number;
};

export type AddedBy = { readonly kind: EntryKind; readonly batch: string; readonly ranges: readonly CommittedRange[] };

export async function readWholeLog(store: ObjectStore, feed: string): Promise<WholeLog> {
  const listed = (await store.list(`${feedFolder(feed)}/log`)).map(({ key }) => key);
  const newest = Math.max(0, ...listed.flatMap((key) => versionOfKey(key) ?? []));
  const checkpoints = new Map(
    (await store.list(checkpointsFolder(feed))).map(({ key }): [number, string] => [versionOfKey(key) ?? 0, key]),
  );
  const wrongCheckpoints: string[] = [];
  const tally = createTally();
  let state = emptyState(feed);
  let damage: Damage | null = null;
  for (let atEnd = false; !atEnd && damage === null; ) {
    const read = await readUpTo(store, state, nextCheckpoint(state.version));
    atEnd = read.atEnd;
    damage = read.damage;
    const folded = foldSome(state, read.entries);
    for (const entry of read.entries.slice(0, folded.state.version - state.version)) tally.count(entry);
    state = folded.state;
    damage = folded.damage ?? damage;
    const key = checkpoints.get(state.version);
    if (key !== undefined && !(await isFold(store, key, state))) wrongCheckpoints.push(key);
  }
  if (damage === null && state.version < newest) {
    const version = state.version + 1;
    damage = { file: entryPath(feed, version), what: `entry ${version} is missing, and newer ones are there` };
  }
  const foreign = listed.filter((key) => key !== entryPath(feed, versionOfKey(key) ?? 0));
  return { state, damage, foreign, wrongCheckpoints, ...tally.totals() };
}

type Damage = { readonly file: string; readonly what: string };

const nextCheckpoint = (version: number): number => version - (version % CHECKPOINT_EVERY) + CHECKPOINT_EVERY;

type Read = { readonly entries: readonly LogEntry[]; readonly atEnd: boolean; readonly damage: Damage | null };

async function readUpTo(store: ObjectStore, { feed, version }: FeedState, last: number): Promise<Read> {
  const versions = Array.from({ length: last - version }, (_, index) => version + 1 + index);
  const reads = await Promise.allSettled(versions.map((one) => readEntry(store, feed, one)));
  const entries: LogEntry[] = [];
  for (const [index, read] of reads.entries()) {
    const file = entryPath(feed, versions[index] ?? 0);
    if (read.status === 'rejected') return { entries, atEnd: true, damage: damageOf(read.reason, file) };
    if (read.value === null) return { entries, atEnd: true, damage: null };
    entries.push(read.value);
  }
  return { entries, atEnd: false, damage: null };
}

/** At once, and one by one only to find where it ends. */
function foldSome(state: FeedState, entries: readonly LogEntry[]): { state: FeedState; damage: Damage | null } {
  try {
    return { state: foldAll(state, entries), damage: null };
  } catch {
    let folded = state;
    for (const entry of entries) {
      try {
        folded = foldAll(folded, [entry]);
      } catch (error) {
        return { state: folded, damage: damageOf(error, entryPath(state.feed, folded.version + 1)) };
      }
    }
    return { state: folded, damage: null };
  }
}

function damageOf(error: unknown, file: string): Damage {
  if (!(error instanceof LakeError) || error.code === 'bug') throw error;
  return { file, what: error.message };
}

/** What the fold does not keep. */
function createTally() {
  const added = new Map<number, AddedBy>();
  const dataFiles = new Map<string, LakeFile>();
  const retainedDays = new Set<string>();
  const stretches = new Map<number, SchemaStretch[]>();
  const schemas = new Map<number, LogSchema>();
  let [retainedRows, adoptedRows] = [0, 0];
  let closed: ClosedLetter[] = [];
  const fenced = new Set<string>();
  const count = (entry: LogEntry): void => {
    // Void: what a writer says after its fence (R7).
    if (fenced.has(entry.writer)) return;
    if (entry.fence) fenced.add(entry.fence.writer);
    for (const path of entry.removed) {
      const file = dataFiles.get(path);
      dataFiles.delete(path);
      if (entry.kind !== 'retain' || !file) continue;
      retainedRows += file.rows;
      retainedDays.add(`${file.values['year']}-${file.values['month']}-${file.values['day']}`);
    }
    for (const file of entry.added) if (file.kind === 'data') dataFiles.set(file.path, file);
    if (entry.kind === 'adopt') adoptedRows += entry.added.reduce((sum, { rows }) => sum + rows, 0);
    if (entry.added.length > 0) added.set(entry.version, { kind: entry.kind, batch: entry.batch, ranges: entry.ranges });
    if (entry.schema) schemas.set(entry.schema.version, entry.schema);
    // They are read again, each from its point on.
    retainedRows -= entry.rewind?.retainedRows ?? 0;
    for (const { partition, position } of entry.rewind?.partitions ?? []) {
      const kept = (stretches.get(partition) ?? []).filter(({ start }) => start < position);
      stretches.set(
        partition,
        kept.map((one) => (one.end > position ? { ...one, end: position } : one)),
      );
      closed = closed.filter((one) => one.partition !== partition || one.offset < position);
    }
    // It reads its partitions anew.
    if (entry.kind === 'rebuild') {
      const anew = new Set(entry.ranges.map(({ partition }) => partition));
      for (const partition of anew) stretches.delete(partition);
      closed = closed.filter(({ partition }) => !anew.has(partition));
    }
    for (const { partition, as, offsets } of entry.letters?.closed ?? [])
      for (const offset of offsets) closed.push({ partition, offset, as, schemaVersion: entry.schemaVersion });
    for (const range of entry.ranges) addStretch(stretches, range, entry.schemaVersion);
  };
  return { count, totals: () => ({ added, retainedRows, adoptedRows, retainedDays, stretches, closed, schemas }) };
}

function addStretch(
  stretches: Map<number, SchemaStretch[]>,
  { partition, start, end }: CommittedRange,
  schemaVersion: number,
): void {
  const list = stretches.get(partition) ?? [];
  const last = list.at(-1);
  if (last?.end === start && last.schemaVersion === schemaVersion) list[list.length - 1] = { ...last, end };
  else list.push({ start, end, schemaVersion });
  stretches.set(partition, list);
}

async function isFold(store: ObjectStore, key: string, state: FeedState): Promise<boolean> {
  const found = await readCheckpoint(store, key);
  if (found !== null) return canonicalJson(stateToJson(found)) === canonicalJson(stateToJson(state));
  // Taken away meanwhile, as older ones are.
  return (await store.size(key)) === null;
}
