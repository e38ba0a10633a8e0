// What the entries 1…version of a feed add up to: positions, live files, schema, pins. Made by fold.ts only.

import type { SealedSnapshot } from './entry-seal.ts';
import type { EntrySnapshot } from './entry-snapshot.ts';
import type { Gap, LakeFile, LastMessage, LogSchema, RangeCounts } from './log-entry.ts';
import type { Offset } from './offsets.ts';

export type PositionState = {
  /** Where the feed began on this partition; ranges and gaps tile [start, position). */
  readonly start: Offset;
  /** The next offset the lake needs. */
  readonly position: Offset;
  /** The last message that was committed, over all ranges. */
  readonly last: LastMessage | null;
  readonly timestampMsMax: number | null;
  readonly totals: RangeCounts;
};

/** A file that the log names; `version` is that of the entry that added it. */
export type LiveFile = LakeFile & { readonly version: number };
/** A file that an entry took away; kept for the next REMOVED_KEPT_VERSIONS versions, to finish removals that crashed. */
export type RemovedFile = {
  readonly staged: string;
  readonly path: string;
  /** Version of the entry that removed it. */
  readonly version: number;
  /** A newer publish took its place: it is kept for minutes, not for a day (R6). */
  readonly superseded: boolean;
};

export type RecordedGap = Gap & { readonly version: number; readonly at: string };

export type FeedState = {
  readonly feed: string;
  /** Version of the newest folded entry; 0: none. */
  readonly version: number;
  /** Raised by rewind, rebuild and schema: what was staged under an older epoch is void. */
  readonly epoch: number;
  readonly clusterId: string | null;
  readonly topic: string | null;
  readonly schema: LogSchema | null;
  readonly positions: ReadonlyMap<number, PositionState>;
  /** By final path. */
  readonly files: ReadonlyMap<string, LiveFile>;
  readonly removed: ReadonlyMap<string, RemovedFile>;
  readonly fenced: ReadonlySet<string>;
  readonly stopped: { readonly version: number; readonly at: string; readonly reason: string } | null;
  readonly gaps: readonly RecordedGap[];
  /** Version of the newest rebuild, 0: none. What gaps before it have left out of the table does not matter any more. */
  readonly rebuiltVersion: number;
  /** Version of the newest rewind, 0: none. A table is to be read anew until it is rebuilt. */
  readonly rewoundVersion: number;
  /** A table's open snapshot; null: a stream, or nothing is published yet. */
  readonly snapshot: EntrySnapshot | null;
  /** A table's snapshots before the open one, oldest first; their data files are live. */
  readonly sealed: readonly SealedSnapshot[];
  /** Pins (timezone, snapshot_every); `version` is that of the newest config entry, 0: none. */
  readonly config: { readonly version: number; readonly values: Readonly<Record<string, string>> };
};

export const emptyState = (feed: string): FeedState => ({
  feed,
  version: 0,
  epoch: 0,
  clusterId: null,
  topic: null,
  schema: null,
  positions: new Map(),
  files: new Map(),
  removed: new Map(),
  fenced: new Set(),
  stopped: null,
  gaps: [],
  rebuiltVersion: 0,
  rewoundVersion: 0,
  snapshot: null,
  sealed: [],
  config: { version: 0, values: {} },
});

/** 0: no schema is pinned yet. */
export const schemaVersionOf = (state: FeedState): number => state.schema?.version ?? 0;

/** All files of the feed at this version, in path order. */
export const liveFiles = (state: FeedState): readonly LiveFile[] =>
  [...state.files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
