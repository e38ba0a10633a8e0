// Every key of a lake (DESIGN §4), '/'-separated and relative to the lake's folder. Nothing else builds such names.

import { assert } from '../errors.ts';

export const LAKE_IDENTITY_PATH = '_lake/lake.json';
/** One JSON object a line: what was done to which feed, by whom. */
export const JOURNAL_PATH = '_lake/audit.ndjson';
/** R5: a folder of the log holds this many entries. */
export const LOG_FOLDER_ENTRIES = 10_000;
/** Folders that people glob; they must be on the device of `_lake` (R8). */
export const PUBLISHED_FOLDERS = ['streams', 'tables', 'dead_letters'] as const;

const padVersion = (version: number): string => {
  assert(Number.isSafeInteger(version) && version >= 0, `log version ${version}`);
  return String(version).padStart(20, '0');
};

const safeSegment = (segment: string): string => {
  assert(/^[A-Za-z0-9][A-Za-z0-9_.=-]*$/.test(segment), `path segment ${JSON.stringify(segment)}`);
  return segment;
};

export const feedFolder = (feed: string): string => `_lake/feeds/${safeSegment(feed)}`;
export const logFolder = (feed: string, version: number): string =>
  `${feedFolder(feed)}/log/${padVersion(version - (version % LOG_FOLDER_ENTRIES))}`;
/** Versions 0–9,999 in …/00000000000000000000/, 10,000–19,999 in …/00000000000000010000/. */
export const entryPath = (feed: string, version: number): string => `${logFolder(feed, version)}/${padVersion(version)}.json`;
export const checkpointsFolder = (feed: string): string => `${feedFolder(feed)}/checkpoints`;
export const checkpointPath = (feed: string, version: number): string => `${checkpointsFolder(feed)}/${padVersion(version)}.json`;
export const stagingRoot = (feed: string): string => `${feedFolder(feed)}/staging`;
/** R1: all that a writer makes before its commit lies here. */
export const stagingFolder = (feed: string, writer: string): string => `${stagingRoot(feed)}/${safeSegment(writer)}`;
export const removedRoot = (feed: string): string => `${feedFolder(feed)}/removed`;
/** R6: where a removed file waits for readers that folded an older version. */
export const removedPath = (feed: string, path: string): string => `${removedRoot(feed)}/${path}`;
export const supersededRoot = (feed: string): string => `${removedRoot(feed)}/superseded`;
/** R6: files of a publish that a later one took the place of; there are many, and they wait for a shorter time. */
export const supersededPath = (feed: string, path: string): string => `${supersededRoot(feed)}/${path}`;
export const cutsFolder = (feed: string): string => `${feedFolder(feed)}/cuts`;
export const stateFolder = (feed: string): string => `${feedFolder(feed)}/state`;
export const ENGINE_FOLDER = '_lake/engine';
/** What the embedded warehouse holds; one process has it open. Readers have a copy. */
export const WAREHOUSE_STATE_PATH = `${ENGINE_FOLDER}/state.duckdb`;

export const streamFolder = (feed: string): string => `streams/${safeSegment(feed)}`;
export const tableFolder = (feed: string): string => `tables/${safeSegment(feed)}`;
export const deadLettersFolder = (feed: string): string => `dead_letters/${safeSegment(feed)}`;

/** A day of the Gregorian calendar, month and day zero-padded as in `month=01`. */
export type DayValues = { readonly year: string; readonly month: string; readonly day: string };

const dayFolders = ({ year, month, day }: DayValues): string =>
  `year=${safeSegment(year)}/month=${safeSegment(month)}/day=${safeSegment(day)}`;

export const streamFilePath = (feed: string, day: DayValues, batch: string, n: number): string =>
  `${streamFolder(feed)}/${dayFolders(day)}/data_${safeSegment(batch)}_${n}.parquet`;
export const deadLettersFilePath = (feed: string, day: DayValues, batch: string): string =>
  `${deadLettersFolder(feed)}/${dayFolders(day)}/data_${safeSegment(batch)}.parquet`;

/** A name is a snapshot's date, YYYY-MM-DD, and version. */
export const tableFilePath = (feed: string, name: { date: string; version: number }, batch: string): string =>
  `${tableFolder(feed)}/snapshot_date=${safeSegment(name.date)}/snapshot_version=${name.version}/data_${safeSegment(batch)}.parquet`;
export const stateFilePath = (feed: string, batch: string): string => `${stateFolder(feed)}/state_${safeSegment(batch)}.parquet`;

/** Whether a file may be given this final key. Checked before the entry: afterwards it could never be renamed. */
export const isPublishedPath = (feed: string, path: string): boolean =>
  [...PUBLISHED_FOLDERS.map((folder) => `${folder}/${feed}`), stateFolder(feed)].some((folder) =>
    path.startsWith(`${folder}/`),
  ) && !path.split('/').includes('..');

/** The version of an entry's or checkpoint's key, or null for a foreign name. */
export const versionOfKey = (key: string): number | null => {
  const match = /\/(\d{20})\.json$/.exec(key);
  return match?.[1] === undefined ? null : Number(match[1]);
};

/** The writer whose staging folder holds this key, or null. */
export const writerOfStagedKey = (feed: string, key: string): string | null => {
  const root = `${stagingRoot(feed)}/`;
  if (!key.startsWith(root)) return null;
  return key.slice(root.length).split('/')[0] ?? null;
};

/** Batch ids are 28 hex digits: 12 of milliseconds, 4 of a counter, 12 random; so names sort by time (R1). */
export const batchIdOf = (parts: { ms: number; count: number; random: Uint8Array }): string => {
  assert(parts.random.length === 6 && parts.count >= 0 && parts.count < 0x10000, 'parts of a batch id');
  const random = [...parts.random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${parts.ms.toString(16).padStart(12, '0')}${parts.count.toString(16).padStart(4, '0')}${random}`;
};

/** The batch id in a data, state or dead-letters file's name, or null: then the file is foreign (R7). */
export const batchOfPath = (path: string): string | null =>
  /\/(?:data|state)_([0-9a-f]{28})(?:_\d+)?\.parquet$/.exec(path)?.[1] ?? null;

const BATCH_MS_DIGITS = 12;
/** When the batch of a file of ours began, by its id. */
export const madeAtMs = (path: string): number => Number.parseInt(batchOfPath(path)?.slice(0, BATCH_MS_DIGITS) ?? '0', 16);
