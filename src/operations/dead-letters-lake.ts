// Dead letters of the lake tried again, or dropped: one entry takes them out of their files and adds their rows (PROTOCOL M3, R4).
// Invariant: an entry is made of the files of one fold; whoever was first with one of them makes it plan again.

import { collapseSql } from '../duckdb/collapse.ts';
import { query, queryColumns, run } from '../duckdb/connection.ts';
import { parquetScan, quoteName } from '../duckdb/sql.ts';
import { assert, LakeError } from '../errors.ts';
import { batchOf, dropStaged, type RawMessage, type StagedMessages, stageMessages } from '../ingest/stage-messages.ts';
import { type LakeLetter, lakeLetters, lakeMessages, writeLettersLeft } from '../lake/dead-letters.ts';
import type { FeedWriter } from '../lake/feed-writer.ts';
import { flushParquet, type WrittenFile } from '../lake/parquet.ts';
import { writePublish } from '../lake/publish.ts';
import type { StagedBatch } from '../model/batch.ts';
import { lineageColumns, valueColumns } from '../model/columns.ts';
import { addClosed, type Closed, type LetterPlace, letterKey, NO_CLOSED, type RefusedLetter } from '../model/dead-letters.ts';
import { type Closing, closedLetters } from '../model/entry-letters.ts';
import type { FeedState } from '../model/feed-state.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import {
  asRefused,
  type Decoding,
  decodingOf,
  isHopeless,
  letterOf,
  type Retried,
  type RetryParts,
  slicesOf,
  toRaw,
} from './dead-letters-retry.ts';

/** Letters of one entry, but for those of its last file. */
const GROUP_LETTERS = 20_000;
/** Each round that loses has seen another writer's commit. */
const ROUNDS_MAX = 20;
/** A file moves once from staging to its place, and once away. */
const READS_MAX = 3;

type Done = { readonly closed: readonly (LetterPlace & { readonly as: Closing })[]; readonly refused: readonly RefusedLetter[] };
/** null: another writer was first, and nothing was done. */
type GroupWork = (state: FeedState, group: readonly LakeLetter[]) => Promise<Done | null>;

export async function retryInLake(parts: RetryParts): Promise<Retried> {
  const { feed } = parts;
  const { chosen, closed, refused } = await inGroups(parts, (state, group) => retryGroup(parts, state, group));
  return { feed: feed.name, target: 'lake', chosen, closed, refused, failure: null };
}

export async function dropInLake(parts: RetryParts): Promise<Retried> {
  const { feed } = parts;
  const { chosen, closed, refused } = await inGroups(parts, (state, group) => dropGroup(parts, state, group));
  return { feed: feed.name, target: 'lake', chosen, closed, refused, failure: null };
}

/** Whole files at a time: what is left of one is written once. Letters that come in meanwhile are another call's. */
async function inGroups({ installation, feed, selection, only, lake, connection }: RetryParts, work: GroupWork) {
  const { store } = lake.writer;
  const { signal } = installation;
  const refused = new Map<string, RefusedLetter>();
  let chosen: ReadonlySet<string> | null = null;
  let closed: Closed = NO_CLOSED;
  let [lost, reads] = [0, 0];
  for (;;) {
    if (signal.aborted) throw new LakeError('aborted', `the dead letters of feed ${feed.name} were given up half-way`);
    const state = await lake.refresh();
    try {
      const limit = chosen === null ? selection.limit : null;
      const found = await lakeLetters(connection, { store, feed: feed.name, topic: feed.topic, state }, { ...selection, limit });
      const mine: ReadonlySet<string> = chosen ?? new Set(found.filter((one) => only?.has(letterOf(one)) ?? true).map(letterKey));
      chosen = mine;
      const todo = found.filter((letter) => mine.has(letterKey(letter)) && !refused.has(letterKey(letter)));
      if (todo.length === 0) return { chosen: mine.size, closed, refused: [...refused.values()] };
      const done = await work(state, groupOf(todo));
      lost = done ? 0 : lost + 1;
      if (lost === ROUNDS_MAX) throw noProgress(feed.name);
      for (const letter of done?.refused ?? []) refused.set(letterKey(letter), letter);
      closed = addClosed(closed, done?.closed ?? []);
    } catch (error) {
      const isOurs = error instanceof LakeError && (error.code === 'engine_failed' || error.code === 'lake_damaged');
      const before = state.version;
      reads += 1;
      if (!isOurs || (reads >= READS_MAX && (await lake.refresh()).version === before)) throw error;
    }
  }
}

const noProgress = (feed: string): LakeError =>
  new LakeError('no_progress', `the dead letters of feed ${feed} lost ${ROUNDS_MAX} times to other writers`, { where: { feed } });

function groupOf(letters: readonly LakeLetter[]): readonly LakeLetter[] {
  const group: LakeLetter[] = [];
  for (const some of Map.groupBy(letters, ({ file }) => file.path).values()) {
    if (group.length >= GROUP_LETTERS) break;
    group.push(...some);
  }
  return group;
}

type Group = readonly LakeLetter[];
type Staging = { readonly batch: string; readonly mine: ReturnType<FeedWriter['log']> };

async function retryGroup(parts: RetryParts, state: FeedState, group: Group): Promise<Done | null> {
  const { installation, feed, lake, connection } = parts;
  const decoding = decodingOf(feed, state, installation.config.lake.timezone);
  if (decoding === null) return { closed: [], refused: group.map(asRefused) };
  const hopeless = group.filter(isHopeless).map(asRefused);
  const candidates = group.filter((letter) => !isHopeless(letter));
  const tombstones = new Set<string>();
  const [batch, mine] = [lake.writer.newId(), lake.writer.log()];
  const slices = messagesOf(parts, state, { candidates, tombstones });
  const staged = await stageMessages(connection, decoding.plan, { name: `retry_${batch}`, slices });
  try {
    const refused = [
      ...hopeless,
      ...staged.refused.map(({ partition, offset, field, reason }) => ({ partition, offset, field, reason })),
    ];
    const still = new Set(refused.map(letterKey));
    const converted = candidates.filter((letter) => !still.has(letterKey(letter)));
    if (converted.length === 0) return { closed: [], refused };
    const files = await writeRows({ parts, state, staging: { batch, mine }, staged, decoding });
    const closed = converted.map((letter) => ({ ...letter, as: becameOf(letter, { tombstones, won: files.won }) }));
    const isDone = await commitGroup({ parts, state, kind: 'retry', staging: { batch, mine } }, { ...files, closed, group });
    return isDone ? { closed, refused } : null;
  } catch (error) {
    await lake.writer.discard(mine, batch);
    throw error;
  } finally {
    await dropStaged(connection, staged.tables);
  }
}

async function dropGroup(parts: RetryParts, state: FeedState, group: Group): Promise<Done | null> {
  const { lake } = parts;
  const staging = { batch: lake.writer.newId(), mine: lake.writer.log() };
  const closed = group.map((letter) => ({ ...letter, as: 'dropped' as const }));
  try {
    const none = { data: [], removed: [], snapshot: null };
    const isDone = await commitGroup({ parts, state, kind: 'drop', staging }, { ...none, closed, group });
    return isDone ? { closed, refused: [] } : null;
  } catch (error) {
    await lake.writer.discard(staging.mine, staging.batch);
    throw error;
  }
}

const becameOf = (
  letter: LetterPlace,
  { tombstones, won }: { readonly tombstones: ReadonlySet<string>; readonly won: ReadonlySet<string> | null },
): Closing => {
  if (tombstones.has(letterKey(letter))) return 'tombstone';
  return won === null || won.has(letterKey(letter)) ? 'row' : 'superseded';
};

async function* messagesOf(
  { feed, lake, connection }: RetryParts,
  state: FeedState,
  { candidates, tombstones }: { readonly candidates: Group; readonly tombstones: Set<string> },
): AsyncGenerator<readonly RawMessage[]> {
  const of = { store: lake.writer.store, feed: feed.name, topic: feed.topic, state };
  for (const ofFile of Map.groupBy(candidates, ({ file }) => file.path).values())
    for (const slice of slicesOf(ofFile)) {
      const messages = await lakeMessages(connection, of, slice);
      for (const message of messages) if (message.value === null) tombstones.add(letterKey(message));
      yield messages.map(toRaw);
    }
}

type Rows = {
  readonly data: readonly WrittenFile[];
  /** Files of the open snapshot that these replace. */
  readonly removed: readonly string[];
  readonly snapshot: FeedState['snapshot'];
  /** Coordinates of a table's letters that are what their key is now; null: a stream. */
  readonly won: ReadonlySet<string> | null;
};

type RowParts = {
  readonly parts: RetryParts;
  readonly state: FeedState;
  readonly staging: Staging;
  readonly staged: StagedMessages;
  readonly decoding: Decoding;
};

async function writeRows(rows: RowParts): Promise<Rows> {
  const { parts, state, staging, staged, decoding } = rows;
  const { feed, lake, connection } = parts;
  const { store, compression } = lake.writer;
  const of = { id: staging.batch, feed: feed.name, topic: feed.topic, eventTime: feed.eventTime };
  const batch = batchOf(staged, { ...of, epoch: state.epoch, schemaVersion: decoding.schemaVersion });
  if (feed.type === 'table') return writeTable(rows, batch);
  const flush = { stagingFolder: staging.mine.stagingFolder, localPath: store.localPath, compression };
  return { data: await flushParquet(connection, batch, flush), removed: [], snapshot: null, won: null };
}

/** The next files of the open snapshot, as a publish makes them. Letters that have all lost against what is there change nothing. */
async function writeTable({ parts, state, staging, decoding }: RowParts, batch: StagedBatch): Promise<Rows> {
  const { feed, lake, connection } = parts;
  const { writer } = lake;
  const open = state.snapshot;
  assert(open, `feed ${feed.name} has dead letters of a table, and no snapshot`);
  const base = publishedFiles(state.files.values(), open);
  const winners = quoteName(`retry_${staging.batch}_winners`);
  const { rows, tombstones } = batch.tables;
  await run(connection, collapseSql({ into: winners, rows, tombstones, keyColumns: feed.keyFields }));
  try {
    const [count] = await query(connection, `SELECT count(*) AS count FROM ${winners}`);
    const written = await writePublish(connection, {
      ...{ writer, mine: staging.mine, base, snapshot: open, isWhole: false, deadLetters: null, filedLetters: [] },
      origin: { id: staging.batch, feed: feed.name, topic: feed.topic, schemaVersion: decoding.schemaVersion, ranges: [] },
      delta: { table: winners, rows: Number(count?.['count']), bytes: batch.bytes },
      keyColumns: feed.keyFields,
      columns: [...valueColumns(decoding.feed), ...lineageColumns(decoding.feed)],
    });
    const won = new Set<string>();
    for (const { staged } of written) {
      const at = `CAST(kafka_partition AS VARCHAR) || ':' || CAST(kafka_offset AS VARCHAR)`;
      const from = `${parquetScan([writer.store.localPath(staged)])} SEMI JOIN ${winners} USING (kafka_partition, kafka_offset)`;
      const [found = []] = await queryColumns(connection, `SELECT ${at} FROM ${from}`);
      for (const one of found) won.add(String(one));
    }
    if (won.size === 0) return { data: [], removed: [], snapshot: open, won };
    const data = written.find(({ kind }) => kind === 'data');
    return {
      data: written,
      removed: base ? [base.data.path, base.state.path] : [],
      snapshot: { ...open, rows: data?.rows ?? open.rows },
      won,
    };
  } finally {
    await run(connection, `DROP TABLE IF EXISTS ${winners}`);
  }
}

type Commit = {
  readonly parts: RetryParts;
  readonly state: FeedState;
  readonly kind: 'retry' | 'drop';
  readonly staging: Staging;
};

async function commitGroup(
  { parts, state, kind, staging }: Commit,
  {
    data,
    removed,
    snapshot,
    closed,
    group,
  }: Pick<Rows, 'data' | 'removed' | 'snapshot'> & {
    readonly closed: readonly (LakeLetter & { readonly as: Closing })[];
    readonly group: Group;
  },
): Promise<boolean> {
  const { installation, feed, lake, connection } = parts;
  const { writer } = lake;
  const { batch, mine } = staging;
  const gone = new Set(closed.map(({ file }) => file.path));
  const files = [...new Map(group.map(({ file }) => [file.path, file])).values()].filter(({ path }) => gone.has(path));
  const schemaVersion = state.schema?.version ?? 0;
  const origin = { id: batch, feed: feed.name, topic: feed.topic, schemaVersion, ranges: [] };
  const left = await writeLettersLeft(connection, { writer, mine, origin, files, closed });
  const answer = await writer.commitFiles(
    [...data, ...left],
    (added) =>
      writer.propose({
        ...{ kind, batch, epoch: state.epoch, schemaVersion, added, snapshot },
        removed: [...removed, ...files.map(({ path }) => path)],
        letters: { closed: closedLetters(closed) },
      }),
    { batch, mine, signal: installation.signal },
  );
  if (answer.kind !== 'committed') {
    // The files of rows that lost against what is there are named by no proposal.
    await writer.discard(mine, batch);
    return false;
  }
  if (kind === 'retry' && data.length === 0) await writer.discard(mine, batch);
  installation.log.info('dead_letters_closed', {
    feed: feed.name,
    target: 'lake',
    version: answer.version,
    letters: closed.length,
  });
  return true;
}
