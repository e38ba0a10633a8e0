// The views of `lake query`: what each is called, which committed files it reads, and which columns it has. Pure but for names.
// Invariant: the files of all views of a feed are those of one folded version of its log; columns have the types of the pinned schema.

import { globFree, parquetScan, quoteName } from '../duckdb/sql.ts';
import { pinnedFeed } from '../ingest/feed-schema.ts';
import { type Column, DEAD_LETTER_COLUMNS, lineageColumns, valueColumns } from '../model/columns.ts';
import type { Feed } from '../model/feed.ts';
import { type FeedState, type LiveFile, liveFiles } from '../model/feed-state.ts';
import { publishedFiles } from '../model/snapshot-files.ts';

export type ViewKind = 'rows' | 'history' | 'dead_letters';

export type ViewName = { readonly name: string; readonly kind: ViewKind; readonly feed: Feed };

export type View = ViewName & {
  /** Of the feed's log. */
  readonly version: number;
  readonly files: readonly LiveFile[];
  readonly columns: readonly Column[];
};

/** Columns that stand in the folders of a snapshot's file. */
const SNAPSHOT_COLUMNS: readonly Column[] = [
  { name: 'snapshot_date', type: 'DATE' },
  { name: 'snapshot_version', type: 'INTEGER' },
];

/** Of the feeds that have files in the lake. A feed that is called as another's view keeps its name. */
export function viewNames(feeds: readonly Feed[]): readonly ViewName[] {
  const inLake = feeds.filter(({ destination }) => destination !== 'data_warehouse');
  const taken = new Set(inLake.map(({ name }) => name));
  const more = inLake.flatMap((feed): ViewName[] => {
    const kinds = feed.type === 'table' ? (['history', 'dead_letters'] as const) : (['dead_letters'] as const);
    return kinds.map((kind) => ({ name: `${feed.name}_${kind}`, kind, feed }));
  });
  const rows = inLake.map((feed): ViewName => ({ name: feed.name, kind: 'rows', feed }));
  return [...rows, ...more.filter(({ name }) => !taken.has(name))].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Words by which SQL may come to a view without naming it. */
const ANY_VIEW = /\b(?:query|query_table|show|information_schema|duckdb_\w+|pg_\w+)\b/i;

/** Those that the SQL can read; too many rather than too few. */
export function viewsNamed(sql: string, names: readonly ViewName[]): readonly ViewName[] {
  if (ANY_VIEW.test(sql)) return names;
  const words = new Set(sql.toLowerCase().match(/\w+/g) ?? []);
  return names.filter(({ name }) => words.has(name));
}

export function viewOf({ name, kind, feed }: ViewName, state: FeedState): View {
  return { name, kind, feed, version: state.version, files: filesOf(kind, feed, state), columns: columnsOf(kind, feed, state) };
}

function filesOf(kind: ViewKind, feed: Feed, state: FeedState): readonly LiveFile[] {
  const files = liveFiles(state);
  if (kind === 'dead_letters') return files.filter((file) => file.kind === 'dead_letters');
  if (kind === 'history' || feed.type === 'stream') return files.filter((file) => file.kind === 'data');
  const open = publishedFiles(files, state.snapshot);
  return open ? [open.data] : [];
}

/** Without a schema only what every file has. */
function columnsOf(kind: ViewKind, feed: Feed, { schema }: FeedState): readonly Column[] {
  if (kind === 'dead_letters') return DEAD_LETTER_COLUMNS;
  const known = schema ? pinnedFeed(feed, schema) : feed;
  const isKnown = known.fields?.every(({ type }) => type !== null) === true;
  const columns = [...(isKnown ? valueColumns(known) : []), ...lineageColumns(feed)];
  return kind === 'history' ? [...SNAPSHOT_COLUMNS, ...columns] : columns;
}

/** Files that are read together: where they lie now, and the columns in them. */
export type Scan = { readonly paths: readonly string[]; readonly found: readonly string[] };

/** What makes the view. Each scan is cast by itself: together, a column of several types would become one that holds less. */
export function viewSql(view: View, scans: readonly Scan[]): string {
  const selects = (scans.length === 0 ? [{ paths: [], found: [] }] : scans).map((scan) => scanSql(view, scan));
  return `CREATE VIEW ${quoteName(view.name)} AS ${selects.join(' UNION ALL BY NAME ')}`;
}

function scanSql({ columns, kind }: View, { paths, found }: Scan): string {
  const partitions = kind === 'history' && paths.length > 0 ? SNAPSHOT_COLUMNS : [];
  const there = new Set([...found, ...partitions.map((column) => column.name)]);
  const known = new Set(columns.map((column) => column.name));
  const cast = columns.map((column) => {
    const value = there.has(column.name) ? quoteName(column.name) : 'NULL';
    return `CAST(${value} AS ${column.type}) AS ${quoteName(column.name)}`;
  });
  // A column that the schema has lost is shown as it lies in the files: nothing is hidden.
  const rest = found.filter((column) => !known.has(column)).map(quoteName);
  const types = Object.fromEntries(partitions.map((column) => [column.name, column.type]));
  const from = paths.length === 0 ? '(SELECT 1) WHERE false' : parquetScan(paths, types);
  return `SELECT ${[...cast, ...rest].join(', ')} FROM ${from}`;
}

/** A name with a pattern's characters in it is looked up as its pattern, then opened as itself. */
export const openedPaths = (paths: readonly string[]): readonly string[] => [
  ...new Set(paths.flatMap((path) => [path, globFree(path)])),
];
