// The one validity rule of the log (PROTOCOL R4) and the fold that follows from it. Pure.
// Invariant: an entry that `validity` refuses is never folded; ranges and gaps of a partition since its start tile [start, position).

import { LakeError } from '../errors.ts';
import { adoptConflict, adoptProblem, isAdopted } from './adopted.ts';
import { restarted } from './entry-rebuild.ts';
import { rewindConflict, rewound } from './entry-rewind.ts';
import type { SealedSnapshot } from './entry-seal.ts';
import {
  type FeedState,
  type LiveFile,
  type PositionState,
  type RecordedGap,
  type RemovedFile,
  schemaVersionOf,
} from './feed-state.ts';
import { lettersConflict, lettersProblem, positionsAfter } from './fold-letters.ts';
import { removalConflict, removalProblem, sealedAfter } from './fold-removal.ts';
import { movedPartitions, openedBy, sealConflict, sealedBy } from './fold-seal.ts';
import { publishConflicts, snapshotProblem } from './fold-snapshot.ts';
import type { CommittedRange, EntryKind, Gap, LogEntry, Proposal } from './log-entry.ts';
import { entryPath } from './paths.ts';

export type ConflictReason = 'positions' | 'files' | 'schema' | 'epoch' | 'topic' | 'stopped' | 'config' | 'snapshot';
export type Validity =
  | { readonly kind: 'valid' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'conflict'; readonly reason: ConflictReason; readonly partitions: readonly number[] };

/** How long a removal is remembered, in versions: many times the entries one crash or power cut can leave undone. */
export const REMOVED_KEPT_VERSIONS = 1_000;

type KindFacts = {
  /** Whether the entry relied on the epoch and on the schema version that it names. */
  usesEpoch: boolean;
  usesSchema: boolean;
  /** Whether a stopped feed refuses it. */
  movesData: boolean;
};
const FACTS: Partial<Record<EntryKind, KindFacts>> = {
  append: { usesEpoch: true, usesSchema: true, movesData: true },
  publish: { usesEpoch: true, usesSchema: true, movesData: true },
  seal: { usesEpoch: true, usesSchema: true, movesData: true },
  rebuild: { usesEpoch: true, usesSchema: true, movesData: true },
  hole: { usesEpoch: true, usesSchema: false, movesData: true },
  gap: { usesEpoch: true, usesSchema: false, movesData: true },
  schema: { usesEpoch: true, usesSchema: true, movesData: false },
  compact: { usesEpoch: true, usesSchema: true, movesData: false },
  adopt: { usesEpoch: false, usesSchema: false, movesData: false },
  // A stopped feed is rewound before it is enabled again.
  rewind: { usesEpoch: true, usesSchema: false, movesData: false },
  // What was not a row becomes one by the schema that is pinned now, also while the feed is stopped for it.
  retry: { usesEpoch: true, usesSchema: true, movesData: false },
  drop: { usesEpoch: false, usesSchema: false, movesData: false },
  retain: { usesEpoch: false, usesSchema: false, movesData: false },
  stop: { usesEpoch: false, usesSchema: false, movesData: false },
  config: { usesEpoch: false, usesSchema: false, movesData: false },
  fence: { usesEpoch: false, usesSchema: false, movesData: false },
};

const conflict = (reason: ConflictReason, partitions: readonly number[] = []): Validity => ({
  kind: 'conflict',
  reason,
  partitions,
});

/** Whether the proposal of `writer` may become the version after `state`. Staged files are the log's to check. */
export const validity = (state: FeedState, writer: string, wanted: Proposal): Validity => {
  const facts = FACTS[wanted.kind];
  if (!facts) throw new LakeError('lake_foreign_format', `log entries of kind ${wanted.kind} are not known to this version`);
  if (state.fenced.has(writer)) return { kind: 'fenced' };
  if (facts.usesEpoch && wanted.epoch !== state.epoch) return conflict('epoch');
  if (facts.usesSchema && wanted.schemaVersion !== schemaVersionOf(state)) return conflict('schema');
  if (wanted.schema && wanted.schema.version !== schemaVersionOf(state) + 1) return conflict('schema');
  if (facts.movesData && state.stopped) return conflict('stopped');
  if (differs(wanted.clusterId, state.clusterId) || differs(wanted.topic, state.topic)) return conflict('topic');
  if (wanted.config && wanted.config.replaces !== state.config.version) return conflict('config');
  const lost = lostPartitions(state, wanted);
  if (lost.length > 0) return conflict('positions', lost);
  if (wanted.snapshot && !wanted.letters && publishConflicts(state, wanted, wanted.snapshot)) return conflict('snapshot');
  const ofSeal = wanted.seal && sealConflict(state, wanted, wanted.seal);
  if (ofSeal) return conflict(ofSeal.reason, ofSeal.partitions);
  const ofRewind = wanted.rewind && rewindConflict(state, wanted, wanted.rewind);
  if (ofRewind) return conflict(ofRewind.reason, ofRewind.partitions);
  const ofRemoval = removalConflict(state, wanted) ?? adoptConflict(state, wanted) ?? lettersConflict(state, wanted);
  if (ofRemoval) return conflict(ofRemoval);
  const removedLive = wanted.removed.every((path) => state.files.has(path));
  const addedNew = wanted.added.every((file) => !state.files.has(file.path));
  return removedLive && addedNew ? { kind: 'valid' } : conflict('files');
};

const differs = (wanted: string | null, pinned: string | null): boolean =>
  wanted !== null && pinned !== null && wanted !== pinned;

/** Gaps move a position before ranges do. A partition the feed has never seen may start anywhere, and so does every one in a rebuild. */
const lostPartitions = (state: FeedState, wanted: Proposal): readonly number[] => {
  if (wanted.rebuild) return movedPartitions(state, { positions: wanted.rebuild.from });
  const moved = new Map<number, bigint>();
  const lost = new Set<number>();
  for (const { partition, start, end } of [...wanted.gaps, ...wanted.ranges]) {
    const position = moved.get(partition) ?? state.positions.get(partition)?.position;
    if (position !== undefined && position !== start) lost.add(partition);
    moved.set(partition, end);
  }
  return [...lost].sort((a, b) => a - b);
};

/** The state after `entry`. Throws lake_damaged, naming version and file, when it cannot follow `state`. */
export const fold = (state: FeedState, entry: LogEntry): FeedState => foldAll(state, [entry]);

/** As `fold`, copying the state once for all entries. */
export const foldAll = (state: FeedState, entries: readonly LogEntry[]): FeedState => {
  if (entries.length === 0) return state;
  const draft = draftOf(state);
  for (const entry of entries) apply(draft, entry);
  return draft;
};

type Draft = {
  -readonly [K in keyof FeedState]: FeedState[K];
} & {
  positions: Map<number, PositionState>;
  files: Map<string, LiveFile>;
  removed: Map<string, RemovedFile>;
  fenced: Set<string>;
  gaps: RecordedGap[];
  sealed: SealedSnapshot[];
};

const draftOf = (state: FeedState): Draft => ({
  ...state,
  positions: new Map(state.positions),
  files: new Map(state.files),
  removed: new Map(state.removed),
  fenced: new Set(state.fenced),
  gaps: [...state.gaps],
  sealed: [...state.sealed],
});

const apply = (draft: Draft, entry: LogEntry): void => {
  const damaged = (what: string) =>
    new LakeError('lake_damaged', `log entry ${entry.version} of feed ${draft.feed} ${what}`, {
      where: { feed: draft.feed, version: entry.version, file: entryPath(draft.feed, entry.version) },
    });
  if (entry.feed !== draft.feed) throw damaged(`belongs to feed ${entry.feed}`);
  if (entry.version !== draft.version + 1) throw damaged(`follows version ${draft.version}`);
  const problem = entryProblem(entry);
  if (problem !== null) throw damaged(problem);
  const verdict = validity(draft, entry.writer, entry);
  if (verdict.kind === 'conflict') throw damaged(`does not follow from the entries before it: ${verdict.reason}`);
  draft.version = entry.version;
  if (verdict.kind === 'fenced') return; // R7: entries of a writer after its fence are void
  applyScalars(draft, entry);
  for (const gap of entry.gaps) applyGap(draft, gap, entry);
  for (const range of entry.ranges) applyRange(draft, range);
  applyFiles(draft, entry);
};

/** What is wrong with an entry or proposal by itself, or null. The log asserts it before writing and after reading. */
export const entryProblem = (entry: Proposal): string | null => {
  const partitions = new Set<number>();
  for (const range of entry.ranges) {
    const place = `range of partition ${range.partition} from ${range.start} to ${range.end}`;
    if (range.end <= range.start) return `has an empty ${place}`;
    if (range.messages !== range.rows + range.deadLetters + range.tombstones)
      return `has counts that do not add up in the ${place}`;
    if (BigInt(range.messages) > range.end - range.start) return `counts more messages than offsets in the ${place}`;
    if (range.last && (range.last.offset < range.start || range.last.offset >= range.end))
      return `has its last message outside the ${place}`;
    if (range.messages > 0 !== (range.last !== null)) return `has no last message, or one too many, in the ${place}`;
    if (partitions.has(range.partition)) return `has two ranges of partition ${range.partition}`;
    partitions.add(range.partition);
  }
  if (entry.gaps.some((gap) => gap.end <= gap.start)) return 'has an empty gap';
  if (new Set(entry.removed).size !== entry.removed.length) return 'removes a file twice';
  const keys = entry.added.flatMap((file) => (isAdopted(file) ? [file.path] : [file.path, file.staged]));
  if (new Set(keys).size !== keys.length) return 'adds a file twice';
  const ofParts = snapshotProblem(entry) ?? removalProblem(entry) ?? adoptProblem(entry) ?? lettersProblem(entry);
  if (ofParts !== null) return ofParts;
  return entry.kind === 'append' || entry.kind === 'hole' ? rowsProblem(entry) : partsProblem(entry);
};

const rowsProblem = (entry: Proposal): string | null => {
  const rowsOf = (kind: 'data' | 'dead_letters') =>
    entry.added.reduce((sum, file) => sum + (file.kind === kind ? file.rows : 0), 0);
  const rows = entry.ranges.reduce((sum, range) => sum + range.rows, 0);
  const deadLetters = entry.ranges.reduce((sum, range) => sum + range.deadLetters, 0);
  if (rowsOf('data') !== rows) return `has ${rows} rows in its ranges and ${rowsOf('data')} in its files`;
  if (rowsOf('dead_letters') !== deadLetters) {
    return `has ${deadLetters} dead letters in its ranges and ${rowsOf('dead_letters')} in its files`;
  }
  return entry.ranges.length === 0 ? 'has no ranges' : null;
};

/** Each of these kinds is nothing without its own part. */
const partsProblem = (entry: Proposal): string | null => {
  const parts: Partial<Record<EntryKind, unknown>> = {
    fence: entry.fence,
    schema: entry.schema,
    stop: entry.stop,
    config: entry.config,
    gap: entry.gaps[0],
  };
  return entry.kind in parts && !parts[entry.kind] ? `is of kind ${entry.kind} without a ${entry.kind} in it` : null;
};

const applyScalars = (draft: Draft, entry: LogEntry): void => {
  draft.clusterId ??= entry.clusterId;
  draft.topic ??= entry.topic;
  if (entry.schema) {
    draft.schema = entry.schema;
    draft.epoch += 1;
  }
  if (entry.rebuild) {
    draft.positions = restarted(draft, entry);
    draft.epoch += 1;
    draft.rebuiltVersion = entry.version;
  }
  if (entry.rewind) {
    Object.assign(draft, rewound(draft, entry.rewind));
    draft.epoch += 1;
    draft.rewoundVersion = entry.version;
  }
  if (entry.fence) draft.fenced.add(entry.fence.writer);
  if (entry.stop)
    draft.stopped = entry.stop.reason === null ? null : { version: entry.version, at: entry.at, reason: entry.stop.reason };
  // A retry does not know when the table was caught up.
  const caughtUpAt = entry.letters ? draft.snapshot?.caughtUpAt : undefined;
  if (entry.snapshot) draft.snapshot = { ...entry.snapshot, ...(caughtUpAt !== undefined && { caughtUpAt }) };
  if (entry.letters) draft.positions = positionsAfter(draft.positions, entry.letters);
  if (entry.seal) {
    // Its files are found before the entry takes one of them away.
    draft.sealed.push(sealedBy(draft.files.values(), entry.seal, entry.version));
    draft.snapshot = openedBy(entry.seal, draft.snapshot);
  }
  if (entry.kind === 'retain') draft.sealed = sealedAfter(draft.sealed, entry.removed);
  if (entry.config) draft.config = { version: entry.version, values: { ...draft.config.values, ...entry.config.values } };
};

const NO_COUNTS = { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 };

const applyGap = (draft: Draft, gap: Gap, entry: LogEntry): void => {
  draft.gaps.push({ ...gap, version: entry.version, at: entry.at });
  const before = draft.positions.get(gap.partition);
  draft.positions.set(gap.partition, {
    start: before?.start ?? gap.start,
    position: gap.end,
    last: before?.last ?? null,
    timestampMsMax: before?.timestampMsMax ?? null,
    totals: before?.totals ?? NO_COUNTS,
  });
};

const applyRange = (draft: Draft, range: CommittedRange): void => {
  const before = draft.positions.get(range.partition);
  const totals = before?.totals ?? NO_COUNTS;
  draft.positions.set(range.partition, {
    start: before?.start ?? range.start,
    position: range.end,
    last: range.last ?? before?.last ?? null,
    timestampMsMax: maxOf(before?.timestampMsMax ?? null, range.timestampMsMax),
    totals: {
      messages: totals.messages + range.messages,
      rows: totals.rows + range.rows,
      deadLetters: totals.deadLetters + range.deadLetters,
      tombstones: totals.tombstones + range.tombstones,
    },
  });
};

const maxOf = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));

const applyFiles = (draft: Draft, entry: LogEntry): void => {
  for (const [path, removed] of draft.removed) {
    if (removed.version > entry.version - REMOVED_KEPT_VERSIONS) break; // in order of version
    draft.removed.delete(path);
  }
  for (const path of entry.removed) {
    const file = draft.files.get(path);
    if (!file) continue;
    draft.files.delete(path);
    const superseded = entry.snapshot !== null || entry.kind === 'seal';
    draft.removed.set(path, { staged: file.staged, path, version: entry.version, superseded });
  }
  for (const file of entry.added) {
    draft.removed.delete(file.path);
    draft.files.set(file.path, { ...file, version: entry.version });
  }
};
