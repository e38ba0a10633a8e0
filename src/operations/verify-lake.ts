// The lake's part of verify: the log from its first entry on, and what lies in the folders beside what it names.
// Invariant: reads names, sizes and footers, and no page of data.

import { type Connection, query } from '../duckdb/connection.ts';
import { quoteText } from '../duckdb/sql.ts';
import { LakeError } from '../errors.ts';
import { openCuts } from '../lake/cuts.ts';
import { type Footer, readFooters } from '../lake/footers.ts';
import { findStrays } from '../lake/orphans.ts';
import { readWholeLog, type WholeLog } from '../lake/read-whole-log.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { ObjectStore } from '../lake/store.ts';
import { isAdopted } from '../model/adopted.ts';
import { boundaryOfCutPath, cutPath } from '../model/cut.ts';
import { type FeedState, type LiveFile, liveFiles } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { batchOfPath, cutsFolder, removedPath, supersededPath } from '../model/paths.ts';
import { publishedFiles } from '../model/snapshot-files.ts';

export type LakeLook = { readonly log: WholeLog; readonly results: readonly CheckResult[] };

/** A writer that works has its staged files for less than this; older ones are left over (R7). */
const STAGED_MS_MAX = 3_600_000;

export async function verifyLake(options: {
  readonly store: ObjectStore;
  readonly connection: Connection;
  readonly feed: string;
  readonly nowMs: number;
}): Promise<LakeLook> {
  const { store, feed } = options;
  const log = await readWholeLog(store, feed);
  const files = await checkFiles(options, log);
  const cuts = await cutFindings(store, log.state);
  return {
    log,
    results: [checkLog(log, cuts), files, await checkStrays(options, log), checkCounts(log), await checkBeyond(options, log)],
  };
}

const RESTORE = 'restore it from a backup: nothing that lake does removes or changes log entries';

function checkLog({ state, damage, foreign, wrongCheckpoints }: WholeLog, cuts: readonly Finding[]): CheckResult {
  const findings: Finding[] = [...cuts];
  if (damage) findings.push({ place: damage.file, kind: 'damaged', what: damage.what, todo: RESTORE });
  for (const key of wrongCheckpoints)
    findings.push({
      place: key,
      kind: 'checkpoint',
      what: 'the checkpoint is not the fold of the entries up to its version',
      todo: 'delete it: it is only a shortcut, and will be made again',
    });
  for (const key of foreign)
    findings.push({
      place: key,
      kind: 'foreign_entry',
      what: 'the file in the log is no entry',
      todo: 'move it out of the lake',
    });
  const positions = [...state.positions.values()];
  const detail = `${state.version} entries, ${positions.length} partitions, ranges without gap or overlap`;
  return { check: 'log', target: 'lake', findings, notes: notesOfLog(state), detail };
}

/** Cuts are made once and are what both targets seal at; one that a sealed snapshot was at must be the same still. */
async function cutFindings(store: ObjectStore, { feed, sealed }: FeedState): Promise<Finding[]> {
  const findings: Finding[] = [];
  const cuts = openCuts({ store, feed, newId: () => '' });
  const listed = (await store.list(cutsFolder(feed))).flatMap(({ key }) => boundaryOfCutPath(key) ?? []);
  const met = sealed.flatMap((one) => (one.cut === 'at_cut' ? one.boundaryMs : []));
  for (const boundaryMs of new Set([...listed, ...met])) {
    const key = cutPath(feed, boundaryMs);
    const find = (kind: string, what: string): void => void findings.push({ place: key, kind, what, todo: RESTORE });
    try {
      const cut = await cuts.read(boundaryMs);
      if (cut === null) find('cut', `the cut ${key} is gone; a snapshot was sealed at it`);
      const at = sealed.find((one) => one.boundaryMs === boundaryMs && one.cut === 'at_cut');
      const isSame = (partition: number, position: bigint): boolean => cut?.positions.get(partition) === position;
      if (cut && at && ![...at.positions].every(([partition, position]) => isSame(partition, position)))
        find('cut', `the cut ${key} has other offsets than the snapshot that was sealed at it`);
    } catch (error) {
      if (!(error instanceof LakeError) || error.code === 'bug') throw error;
      find('cut', error.message);
    }
  }
  return findings;
}

function notesOfLog(state: FeedState): string[] {
  const notes = state.gaps.map(
    ({ partition, start, end, reason, at }) =>
      `offsets ${start}-${end} of partition ${partition} are a recorded gap (${reason}, ${at})`,
  );
  if (state.stopped) notes.push(`the feed is stopped since ${state.stopped.at}: ${state.stopped.reason}`);
  return notes;
}

async function checkFiles(
  { store, connection, feed }: { readonly store: ObjectStore; readonly connection: Connection; readonly feed: string },
  log: WholeLog,
): Promise<CheckResult> {
  const findings: Finding[] = [];
  const found = (file: LiveFile, kind: string, what: string) => finding(feed, file, kind, what);
  const live = liveFiles(log.state);
  const whole: { file: LiveFile; path: string }[] = [];
  for (const file of live) {
    const key = await resolveFile(store, feed, file);
    const bytes = key === null ? null : await store.size(key);
    if (key === null || bytes === null) findings.push(found(file, 'missing', `${file.rows} rows are gone with it`));
    else if (bytes !== file.bytes) findings.push(found(file, 'size', `has ${bytes} bytes instead of ${file.bytes}`));
    else whole.push({ file, path: store.localPath(key) });
  }
  const footers = await readFooters(
    connection,
    whole.map(({ path }) => path),
  );
  for (const { file, path } of whole) {
    const what = footerProblem(file, footers.get(path), log);
    if (what !== null) findings.push(found(file, 'footer', what));
  }
  const rows = live.reduce((sum, file) => sum + (file.kind === 'data' ? file.rows : 0), 0);
  const adopted = live.filter(isAdopted);
  const before = adopted.reduce((sum, file) => sum + file.rows, 0);
  const among = adopted.length === 0 ? '' : `, ${before} of them in ${adopted.length} adopted files`;
  return { check: 'files', target: 'lake', findings, notes: [], detail: `${live.length} files, ${rows} rows${among}` };
}

const finding = (feed: string, file: LiveFile, kind: string, what: string): Finding => ({
  place: file.path,
  kind,
  what: `${file.path} ${kind === 'missing' ? 'is not there: ' : ''}${what}`,
  todo: `restore it from a backup (log version ${file.version}), or while Kafka has the messages:  lake rewind ${feed} --to earliest`,
});

function footerProblem(
  file: LiveFile,
  footer: Footer | { readonly unreadable: string } | undefined,
  log: WholeLog,
): string | null {
  if (footer === undefined) return 'has no footer';
  if ('unreadable' in footer) return `cannot be read: ${footer.unreadable}`;
  if (footer.rows !== file.rows) return `holds ${footer.rows} rows instead of ${file.rows}`;
  // From before lake: others wrote its footer.
  if (isAdopted(file)) return null;
  const feed = footer.metadata.get('lake_feed');
  if (feed !== log.state.feed) return `belongs to ${feed === undefined ? 'no feed' : `feed ${feed}`}`;
  const by = log.added.get(file.version);
  // A seal copies the files of another batch.
  if (!by || by.kind === 'seal') return null;
  const batch = footer.metadata.get('lake_batch');
  if (batch !== batchOfPath(file.path)) return `is of batch ${batch}, as another file`;
  const ranges = footer.metadata.get('lake_ranges');
  return ranges === rangesText(by.ranges) ? null : `says it has the offsets ${ranges}, the log says ${rangesText(by.ranges)}`;
}

const rangesText = (ranges: readonly CommittedRange[]): string =>
  JSON.stringify(ranges.map(({ partition, start, end }) => [partition, String(start), String(end)]));

async function checkStrays(
  options: { readonly store: ObjectStore; readonly connection: Connection; readonly nowMs: number },
  { state, damage }: WholeLog,
): Promise<CheckResult> {
  const { store, connection, nowMs } = options;
  const strays = await findStrays(store, state);
  const todo = 'lake takes left-overs away by itself after an hour; a copy made by hand must be moved out of the lake';
  const findings: Finding[] = [];
  const notes: string[] = [];
  const isStaged = (key: string): boolean => key.includes('/staging/');
  for (const { key, changedAtMs } of strays.orphans) {
    if (!isStaged(key)) findings.push({ place: key, kind: 'orphan', what: `${key} is named by no log entry`, todo });
    else if (nowMs - changedAtMs > STAGED_MS_MAX)
      notes.push(`${key} was left over by a writer that did not end; it will be swept`);
  }
  for (const { path, superseded } of state.removed.values()) {
    if ((await store.size(path)) === null) continue;
    // A file goes from one place to the other: whoever died in between has left it where it was.
    const isTaken = (await store.size((superseded ? supersededPath : removedPath)(state.feed, path))) !== null;
    if (!isTaken) notes.push(`${path} was removed by the log and is still there; the next start takes it away`);
    else findings.push({ place: path, kind: 'removed', what: `${path} was removed by the log and is there again`, todo });
  }
  const parquet = strays.foreign.filter(({ key }) => key.endsWith('.parquet'));
  const footers = await readFooters(
    connection,
    parquet.map(({ key }) => store.localPath(key)),
  );
  for (const { key } of strays.foreign) {
    const footer = footers.get(store.localPath(key));
    if (footer && 'metadata' in footer && footer.metadata.has('lake_batch'))
      findings.push({ place: key, kind: 'copy', what: `${key} is a copy of a file of ours under another name`, todo });
    else notes.push(`${key} is not ours (foreign):  lake adopt ${state.feed}  takes old files of a feed into its log`);
  }
  // Behind a damaged entry everything looks like a stray.
  const counted = damage === null ? findings : [];
  return { check: 'strays', target: 'lake', findings: counted, notes, detail: `${strays.foreign.length} foreign files` };
}

/** Rows of a stream that were committed are in live files, or were taken away by retention. */
function checkCounts({ state, retainedRows, adoptedRows, closed, damage }: WholeLog): CheckResult {
  const findings: Finding[] = [];
  const sum = (kind: 'data' | 'dead_letters'): number =>
    liveFiles(state).reduce((rows, file) => rows + (file.kind === kind ? file.rows : 0), 0);
  const total = (name: 'rows' | 'deadLetters'): number =>
    [...state.positions.values()].reduce((rows, { totals }) => rows + totals[name], 0);
  const open = state.snapshot;
  const what =
    open === null
      ? { is: sum('data') + retainedRows, should: total('rows') + adoptedRows, of: 'rows' }
      : { is: openRows(state), should: open.rows, of: 'rows of the open snapshot' };
  if (damage === null && what.is !== what.should)
    findings.push({
      place: 'counts',
      kind: 'rows',
      what: `${what.is} ${what.of} are in files, ${what.should} were committed`,
      todo: RESTORE,
    });
  const adopted = adoptedRows === 0 ? '' : `, ${adoptedRows} rows were adopted`;
  const droppedCount = closed.filter(({ as }) => as === 'dropped').length;
  const dropped = droppedCount === 0 ? '' : ` (${droppedCount} of them dropped since)`;
  const detail = `${total('rows')} rows and ${total('deadLetters')} dead letters${dropped} were committed${adopted}`;
  return { check: 'counts', target: 'lake', findings, notes: [], detail };
}

const openRows = (state: FeedState): number =>
  openFiles(state).reduce((sum, { kind, rows }) => sum + (kind === 'data' ? rows : 0), 0);

/** The data file of a table's open snapshot, and its tombstones. */
function openFiles(state: FeedState): readonly LiveFile[] {
  const files = state.snapshot && publishedFiles(state.files.values(), state.snapshot);
  return files === null ? [] : [files.data, files.state];
}

/** Streams by the ranges of their entries, which the fold has seen end at the positions; of a table the open snapshot's rows and
 *  tombstones. */
async function checkBeyond(
  { store, connection, feed }: { readonly store: ObjectStore; readonly connection: Connection; readonly feed: string },
  { state }: WholeLog,
): Promise<CheckResult> {
  const findings: Finding[] = [];
  for (const file of openFiles(state)) {
    const key = await resolveFile(store, feed, file);
    if (key === null) continue;
    for (const { partition, offsetMax } of await offsetsIn(connection, store.localPath(key))) {
      const position = state.positions.get(partition)?.position;
      if (position !== undefined && offsetMax < position) continue;
      const what = `${file.path} reaches offset ${offsetMax} of partition ${partition}, the position is ${position ?? 'not known'}`;
      findings.push({ place: file.path, kind: `beyond_${file.kind}`, what, todo: RESTORE });
    }
  }
  return { check: 'beyond', target: 'lake', findings, notes: [], detail: `${state.positions.size} positions` };
}

/** A file that is damaged is told by another check. */
async function offsetsIn(connection: Connection, path: string): Promise<{ partition: number; offsetMax: bigint }[]> {
  const text = `SELECT kafka_partition AS p, max(kafka_offset) AS o FROM read_parquet(${quoteText(path)}, hive_partitioning = false) GROUP BY 1`;
  try {
    return (await query(connection, text)).map((row) => ({ partition: Number(row['p']), offsetMax: BigInt(String(row['o'])) }));
  } catch (error) {
    if (error instanceof LakeError && error.code === 'engine_failed') return [];
    throw error;
  }
}
