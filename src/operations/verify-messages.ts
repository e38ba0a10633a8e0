// What the topic says, beside what the targets hold: rows and dead letters of streams, winners of tables (DESIGN §7, verify --deep).
// Holes that Kafka made are no fault: what it no longer has is not looked for, and what log compaction took is counted as a note.

import { collapseSql, DELETED_COLUMN, mergeSql } from '../duckdb/collapse.ts';
import { type Connection, query, run } from '../duckdb/connection.ts';
import { parquetScan, quoteName, quoteNames, quoteText } from '../duckdb/sql.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { StagedBatch } from '../model/batch.ts';
import { duckdbType } from '../model/columns.ts';
import type { LiveFile } from '../model/feed-state.ts';
import type { CheckResult, Finding } from '../model/findings.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { dayStartMs } from '../model/snapshot.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import { compareRows, rowsOfRange } from '../warehouse/compared-rows.ts';
import { keptRows } from '../warehouse/expire.ts';
import { type FactTable, isOwn } from '../warehouse/fact-table.ts';
import { openDeadLetters, retainedCounts } from '../warehouse/inspect.ts';
import type { Statement } from '../warehouse/warehouse.ts';
import { reread, type TopicLook } from './verify-topic.ts';
import type { WarehouseLook } from './verify-warehouse.ts';

const TODO = 'look at one of them with  lake trace, then take the feed in again from there with  lake rewind';
const EXAMPLES_MAX = 3;
const LETTERS_MAX = 100_000;
const FOUND = 'verify_rows';

/** Adds up what batches differ in. */
function createTally(target: CheckResult['target'], isCompacted: boolean) {
  const counts = new Map<string, { count: number; examples: string[] }>();
  const add = (kind: string, rows: readonly { readonly at: string }[], count = rows.length): void => {
    if (count === 0) return;
    const known = counts.get(kind) ?? { count: 0, examples: [] };
    known.count += count;
    known.examples.push(...rows.slice(0, EXAMPLES_MAX - known.examples.length).map(({ at }) => at));
    counts.set(kind, known);
  };
  const result = (topic: string, messages: number): CheckResult => {
    const findings: Finding[] = [];
    const notes: string[] = [];
    for (const [kind, { count, examples }] of counts) {
      const what = `${count} ${WORDS[kind] ?? kind} (${examples.join(', ')})`;
      // Log compaction takes messages whose rows stay.
      if (kind === 'unknown' && isCompacted) notes.push(what);
      else findings.push({ place: topic, kind, what, todo: TODO });
    }
    return { check: 'topic', target, findings, notes, detail: `${messages} messages of ${topic} read again` };
  };
  return { add, result };
}

const WORDS: Readonly<Record<string, string>> = {
  missing: 'messages of the topic are not there',
  differs: 'rows have other values than their messages',
  doubled: 'messages are there more than once',
  unknown: 'rows are of offsets at which Kafka has no message',
  letters: 'dead letters are missing, or too many',
  undeleted: 'keys are there that a tombstone deleted',
};

type Tally = ReturnType<typeof createTally>;

/** `isCompacted`: the topic is subject to log compaction. */
export async function verifyTopic(look: TopicLook, isCompacted: boolean): Promise<CheckResult> {
  const tally = createTally('lake', isCompacted);
  const messages = look.feed.type === 'table' ? await foldTable(look, tally) : await readStream(look, tally);
  return tally.result(look.feed.topic, messages);
}

const readStream = (look: TopicLook, tally: Tally): Promise<number> =>
  reread(look, async (batch, plan) => {
    const names = quoteNames(plan.columns.map(({ name }) => name).filter((name) => name !== '_day'));
    const { connection } = look;
    await holdFound(look, batch, { kind: 'data', columns: names, empty: batch.tables.rows });
    const retained = [...look.log.retainedDays].map((day) => quoteText(day)).join(', ');
    const kept = retained === '' ? '' : `WHERE CAST(_day AS VARCHAR) NOT IN (${retained})`;
    const wanted = `SELECT ${names} FROM ${batch.tables.rows}`;
    const found = `SELECT ${names} FROM ${FOUND}`;
    const add = async (kind: string, sql: string): Promise<void> => tally.add(kind, await coordinates(connection, sql));
    await add(
      'missing',
      `SELECT * FROM (SELECT * FROM ${batch.tables.rows} ${kept}) w ANTI JOIN ${FOUND} f USING (kafka_partition, kafka_offset)`,
    );
    await add(
      'differs',
      `SELECT * FROM ((${wanted}) EXCEPT ALL (${found})) w SEMI JOIN ${FOUND} f USING (kafka_partition, kafka_offset)`,
    );
    await add('doubled', `SELECT kafka_partition, kafka_offset FROM ${FOUND} GROUP BY ALL HAVING count(*) > 1`);
    await add('unknown', `SELECT * FROM ${FOUND} f ANTI JOIN ${batch.tables.rows} w USING (kafka_partition, kafka_offset)`);
    await compareLetters(look, batch, tally);
  });

/** Of both kinds of a batch's files, what lies in its offsets. */
async function holdFound(
  look: TopicLook,
  batch: StagedBatch,
  { kind, columns, empty }: { readonly kind: LiveFile['kind']; readonly columns: string; readonly empty: string },
): Promise<void> {
  const { store, state, log, connection } = look;
  const paths: string[] = [];
  for (const file of state.files.values()) {
    if (file.kind !== kind || !mayHold(log.added.get(file.version)?.ranges ?? null, batch.ranges)) continue;
    const key = await resolveFile(store, state.feed, file);
    if (key !== null) paths.push(store.localPath(key));
  }
  const inside = batch.ranges.map(
    ({ partition, start, end }) => `(kafka_partition = ${partition} AND kafka_offset >= ${start} AND kafka_offset < ${end})`,
  );
  const from = paths.length === 0 ? `${empty} WHERE false` : `${parquetScan(paths)} WHERE ${inside.join(' OR ')}`;
  await run(connection, `CREATE OR REPLACE TEMP TABLE ${FOUND} AS SELECT ${columns} FROM ${from}`);
}

/** An entry without ranges (compact) may hold any. */
function mayHold(ranges: readonly CommittedRange[] | null, wanted: readonly CommittedRange[]): boolean {
  if (ranges === null || ranges.length === 0) return true;
  return ranges.some((one) =>
    wanted.some(({ partition, start, end }) => one.partition === partition && one.start < end && start < one.end),
  );
}

async function compareLetters(look: TopicLook, batch: StagedBatch, tally: Tally): Promise<void> {
  const letters = 'kafka_partition, kafka_offset, kafka_key, value';
  await holdFound(look, batch, { kind: 'dead_letters', columns: letters, empty: batch.tables.deadLetters });
  const staged = `SELECT ${letters} FROM ${batch.tables.deadLetters}`;
  const found = `SELECT ${letters} FROM ${FOUND}`;
  const either = `((${staged}) EXCEPT ALL (${found})) UNION ALL ((${found}) EXCEPT ALL (${staged}))`;
  tally.add('letters', await coordinates(look.connection, `SELECT * FROM (${either})`));
}

async function coordinates(connection: Connection, sql: string): Promise<{ at: string }[]> {
  const rows = await query(
    connection,
    `SELECT kafka_partition || ':' || kafka_offset AS at FROM (${sql}) ORDER BY kafka_partition, kafka_offset`,
  );
  return rows.map((row) => ({ at: String(row['at']) }));
}

/** The winner of each key in what Kafka has, beside the rows of the open snapshot. */
async function foldTable(look: TopicLook, tally: Tally): Promise<number> {
  const { connection, feed, store, state } = look;
  let delta: string | null = null;
  let count = 0;
  const messages = await reread(look, async (batch) => {
    const [winners, merged] = [`verify_winners`, `verify_delta_${count++}`];
    const { rows, tombstones } = batch.tables;
    await run(connection, collapseSql({ into: winners, rows, tombstones, keyColumns: feed.keyFields }));
    await run(connection, mergeSql({ into: merged, delta, winners, keyColumns: feed.keyFields }));
    await run(connection, `DROP TABLE ${winners}`);
    if (delta !== null) await run(connection, `DROP TABLE ${delta}`);
    delta = merged;
    await compareLetters(look, batch, tally);
  });
  const files = state.snapshot && publishedFiles(state.files.values(), state.snapshot);
  const key = files && (await resolveFile(store, state.feed, files.data));
  if (delta === null || !key) return messages;
  const found = parquetScan([store.localPath(key)]);
  const keys = feed.keyFields.map((name) => `w.${quoteName(name)} = f.${quoteName(name)}`).join(' AND ');
  // Effective timestamps are running maxima: they can be told again only from a partition's first message on.
  const isWhole = [...state.positions].every(([partition, { start }]) => (look.bounds.get(partition)?.low ?? 0n) <= start);
  const columns = await columnsOf(connection, delta, found, isWhole);
  const live = `(SELECT * FROM ${delta} WHERE NOT ${DELETED_COLUMN})`;
  const add = async (kind: string, sql: string): Promise<void> => tally.add(kind, await coordinates(connection, sql));
  await add('missing', `SELECT w.* FROM ${live} w ANTI JOIN ${found} f ON ${keys}`);
  const same = `(SELECT ${columns} FROM ${live}) EXCEPT ALL (SELECT ${columns} FROM ${found})`;
  await add('differs', `SELECT w.* FROM (${same}) w SEMI JOIN ${found} f ON ${keys}`);
  await add('undeleted', `SELECT f.* FROM ${found} f SEMI JOIN (SELECT * FROM ${delta} WHERE ${DELETED_COLUMN}) w ON ${keys}`);
  if (isWhole) await add('unknown', `SELECT f.* FROM ${found} f ANTI JOIN ${delta} w ON ${keys}`);
  await run(connection, `DROP TABLE ${delta}`);
  return messages;
}

/** Those that both have. */
async function columnsOf(connection: Connection, delta: string, found: string, isWhole: boolean): Promise<string> {
  const names = async (of: string): Promise<string[]> =>
    (await query(connection, `DESCRIBE SELECT * FROM ${of}`)).map((row) => String(row['column_name']));
  const there = new Set(await names(found));
  return quoteNames((await names(delta)).filter((name) => there.has(name) && (isWhole || name !== 'kafka_timestamp')));
}

/** A stream's rows in the warehouse, beside what Kafka has of its offsets. */
export async function verifyTopicInWarehouse(look: TopicLook & WarehouseLook, isCompacted: boolean): Promise<CheckResult> {
  const { warehouse, connection, fact, feed, signal } = look;
  const tally = createTally('warehouse', isCompacted);
  if (fact === null) return tally.result(feed.topic, 0);
  const letters = await openDeadLetters(warehouse, feed.name, { countMax: LETTERS_MAX, signal });
  const all = fact.values.map(({ name, holds }) => `NULL::${isOwn(holds) ? 'VARCHAR' : duckdbType(holds)} AS ${quoteName(name)}`);
  const kept = await keptOf(look, fact);
  const messages = await reread(look, async (batch) => {
    for (const range of batch.ranges) {
      const { partition, start, end } = range;
      const inside = `${kept ? `CAST(_day AS VARCHAR) >= ${quoteText(kept.date)} AND ` : ''}kafka_partition = ${partition} AND kafka_offset >= ${start} AND kafka_offset < ${end}`;
      // A column that was added since is NULL in rows from before.
      const wanted = `SELECT * FROM ${batch.tables.rows} WHERE ${inside} UNION ALL BY NAME (SELECT ${all.join(', ')} WHERE false)`;
      const where = both(rowsOfRange(fact, range), kept);
      const of = { warehouse, connection, fact, where, wanted, side: 'Kafka', except: letters, signal };
      const { onlyWanted, onlyFound, examples } = await compareRows(of);
      const shown = examples.map((at) => ({ at }));
      if (onlyWanted > 0) tally.add(onlyFound > 0 ? 'differs' : 'missing', shown, onlyWanted);
      else tally.add('unknown', shown, onlyFound);
    }
  });
  return tally.result(feed.topic, messages);
}

/** The rows of days that retention has not begun to delete; null: all. */
async function keptOf({ warehouse, feed, timezone, signal }: TopicLook & WarehouseLook, fact: FactTable) {
  const retained = await retainedCounts(warehouse, { feed: feed.name, topic: feed.topic }, signal);
  const date = [...retained.values()].reduce((most, { before }) => (before !== null && before > most ? before : most), '');
  if (date === '') return null;
  return { date, where: keptRows({ fact, eventTime: feed.eventTime }, { date, ms: dayStartMs(date, timezone) }) };
}

const both = (one: Statement, other: { readonly where: Statement } | null): Statement =>
  other === null ? one : { text: `${one.text} AND ${other.where.text}`, values: [...one.values, ...other.where.values] };
