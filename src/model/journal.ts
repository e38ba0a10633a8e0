// Lines of the lake's journal, `_lake/audit.ndjson`: what an entry of a log means for a person (DESIGN §8). Pure.
// Invariant: an `id` names one thing that happened once; a line that is there twice says the same.

import { offsetsOf } from './batch.ts';
import { positionsToJson } from './cut.ts';
import { type Closing, countClosings, type EntryLetters } from './entry-letters.ts';
import type { EntryRebuild } from './entry-rebuild.ts';
import type { EntryRewind } from './entry-rewind.ts';
import { type JsonObject, type JsonValue, nullOr, objectAt, stringAt } from './json-fields.ts';
import type { LogEntry } from './log-entry.ts';
import type { SnapshotName } from './snapshot.ts';

export type JournalLine = {
  readonly id: string;
  /** ISO 8601 UTC. */
  readonly at: string;
  /** null: whoever did it was gone before it could say so. */
  readonly actor: string | null;
  readonly feed: string | null;
  readonly target: 'lake' | 'warehouse';
  readonly action: string;
  /** The snapshot, offsets, table or writer it was done to. */
  readonly resource: string;
  readonly rows: number | null;
  readonly details: JsonObject;
};

export const lineToJson = (line: JournalLine): JsonObject => ({ ...line });

export function parseLine(value: unknown): JournalLine {
  const json = objectAt(value, 'line');
  const target = stringAt(json['target'], 'target');
  return {
    id: stringAt(json['id'], 'id'),
    at: stringAt(json['at'], 'at'),
    actor: nullOr(json['actor'], 'actor', stringAt),
    feed: nullOr(json['feed'], 'feed', stringAt),
    target: target === 'warehouse' ? target : 'lake',
    action: stringAt(json['action'], 'action'),
    resource: stringAt(json['resource'], 'resource'),
    rows: typeof json['rows'] === 'number' ? json['rows'] : null,
    details: objectAt(json['details'], 'details'),
  };
}

/** A name in messages that no field of the feed reads: told once, by whichever target met it first. */
export const UNKNOWN_FIELD = 'field_unknown';

export const unknownFieldLine = (seen: {
  readonly feed: string;
  readonly field: string;
  readonly atMs: number;
  readonly actor: string;
}): JournalLine => ({
  id: `${seen.feed}/${UNKNOWN_FIELD}/${seen.field}`,
  at: new Date(seen.atMs).toISOString(),
  actor: seen.actor,
  feed: seen.feed,
  target: 'lake',
  action: UNKNOWN_FIELD,
  resource: seen.field,
  rows: null,
  details: {},
});

type Told = Pick<JournalLine, 'action' | 'resource'> & { readonly rows?: number; readonly details?: JsonObject };

/** What is told of an entry; nothing of one that only moves data on. */
export function linesOf(entry: LogEntry, actor: string | null): readonly JournalLine[] {
  return toldOf(entry).map(({ rows = null, details = {}, ...told }, index) => ({
    id: `${entry.feed}/${entry.version}${index === 0 ? '' : `/${index}`}`,
    ...{ at: entry.at, actor, feed: entry.feed, target: 'lake', ...told, rows },
    details: { ...details, version: entry.version, writer: entry.writer },
  }));
}

function toldOf(entry: LogEntry): readonly Told[] {
  const { seal, schema, fence, stop, config, rebuild, rewind, snapshot, letters } = entry;
  const told: Told[] = entry.gaps.map((gap) => gapTold(gap));
  if (seal) told.push(sealTold(seal));
  if (entry.kind === 'retain') told.push({ action: 'files_deleted', ...filesTold(entry) });
  if (entry.kind === 'compact') told.push({ action: 'files_compacted', ...filesTold(entry) });
  if (entry.kind === 'adopt') told.push(adoptedTold(entry));
  if (rewind) told.push(rewindTold(entry, rewind));
  if (letters) told.push(lettersTold(letters));
  if (rebuild && snapshot) told.push(rebuildTold({ ...snapshot, ...rebuild, ranges: entry.ranges }));
  if (schema)
    told.push({ action: 'schema_pinned', resource: `schema ${schema.version}`, details: { fields: [...schema.fields] } });
  if (fence) told.push({ action: 'writer_fenced', resource: fence.writer });
  if (config)
    told.push({ action: 'config_pinned', resource: Object.keys(config.values).join(','), details: { ...config.values } });
  if (stop)
    told.push({ action: stop.reason === null ? 'feed_enabled' : 'feed_stopped', resource: entry.feed, details: { ...stop } });
  return told;
}

const PLACES_MAX = 100;

/** The days or snapshots that files lay in, the first of them by name. */
function placesTold(paths: readonly string[]): { readonly resource: string; readonly places: readonly string[] } {
  const places = [...new Set(paths.map((path) => path.split('/').slice(2, -1).join('/')))].sort();
  const resource = places.length === 1 ? (places[0] ?? '') : `${places.length} places`;
  return { resource, places: places.slice(0, PLACES_MAX) };
}

const rowsIn = (files: LogEntry['added']): number => files.reduce((sum, { rows }) => sum + rows, 0);

/** The same words for both targets. `rows`: dead letters that were closed. */
export function lettersTold(letters: EntryLetters) {
  const counts = [...countClosings(letters).values()];
  const of = (as: Closing): number => counts.reduce((sum, one) => sum + one[as], 0);
  const all = letters.closed.flatMap(({ partition, offsets }) => offsets.map((offset) => `${partition}:${offset}`));
  const [became, dropped] = [{ rows: of('row'), superseded: of('superseded'), tombstones: of('tombstone') }, of('dropped')];
  return {
    action: dropped > 0 ? ('dead_letters_dropped' as const) : ('dead_letters_retried' as const),
    resource: all.length === 1 ? (all[0] ?? '') : `${all.length} dead letters`,
    rows: all.length,
    details: { ...(dropped > 0 ? {} : became), letters: all.slice(0, PLACES_MAX) },
  };
}

function filesTold({ removed, added }: LogEntry): Omit<Told, 'action'> {
  const { resource, places } = placesTold(removed);
  return {
    resource,
    ...(added.length > 0 && { rows: rowsIn(added) }),
    details: { files_removed: removed.length, files_added: added.length, places: [...places] },
  };
}

function adoptedTold({ added }: LogEntry): Told {
  const { resource, places } = placesTold(added.map(({ path }) => path));
  return {
    action: 'files_adopted',
    resource,
    rows: rowsIn(added),
    details: { files_adopted: added.length, places: [...places] },
  };
}

/** The same words for both targets. */
export const gapTold = (gap: LogEntry['gaps'][number]) => ({
  action: gap.reason === 'takeover' ? ('takeover' as const) : ('gap_recorded' as const),
  resource: `${gap.partition}:${gap.start}-${gap.end}`,
  details: { partition: gap.partition, start: String(gap.start), end: String(gap.end), reason: gap.reason },
});

/** What was taken out of the lake; of a table, that it is to be read anew. */
const rewindTold = ({ feed, removed, added }: LogEntry, { to, partitions }: EntryRewind): Told => ({
  action: 'feed_rewound',
  resource: feed,
  details: {
    to,
    offsets: partitions.map(({ partition, from, position }) => `${partition}:${position}-${from}`).join(','),
    files_removed: removed.length,
    files_added: added.length,
  },
});

type RebuildTold = SnapshotName & EntryRebuild & Pick<LogEntry, 'ranges'> & { readonly rows: number };

export const rebuildTold = ({ date, version, rows, reason, from, ranges }: RebuildTold) => ({
  action: 'table_rebuilt' as const,
  resource: `${date}/${version}`,
  rows,
  details: { reason, from: positionsToJson(from), read: offsetsOf(ranges.toSorted((a, b) => a.partition - b.partition)) },
});

type SealTold = Pick<
  NonNullable<LogEntry['seal']>,
  'date' | 'version' | 'rows' | 'checksum' | 'cut' | 'positions' | 'opens' | 'missed'
> & {
  readonly forgets?: { readonly rows: number } | null;
};

export const sealTold = ({ date, version, rows, checksum, cut, positions, opens, missed, forgets = null }: SealTold) => ({
  action: 'snapshot_sealed' as const,
  resource: `${date}/${version}`,
  rows,
  details: {
    ...{ cut, checksum, opens: `${opens.date}/${opens.version}`, missed_runs: missed.length },
    ...(forgets && { tombstones_forgotten: forgets.rows }),
    positions: Object.fromEntries(
      [...positions]
        .sort(([a], [b]) => a - b)
        .map(([partition, offset]): [string, JsonValue] => [String(partition), String(offset)]),
    ),
  },
});
