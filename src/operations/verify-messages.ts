// What the topic says of a feed, beside what the targets hold: rows and dead letters of streams; tables in verify-fold (DESIGN §7, verify
// --deep). Holes that Kafka made are no fault: what it no longer has is not looked for.

import { run } from '../duckdb/connection.ts';
import { parquetScan, quoteName, quoteNames, quoteText } from '../duckdb/sql.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import { isAdopted } from '../model/adopted.ts';
import type { StagedBatch } from '../model/batch.ts';
import { duckdbType } from '../model/columns.ts';
import type { LiveFile } from '../model/feed-state.ts';
import type { CheckResult } from '../model/findings.ts';
import type { CommittedRange } from '../model/log-entry.ts';
import { dayStartMs } from '../model/snapshot.ts';
import { compareRows, rowsOfRange } from '../warehouse/compared-rows.ts';
import { keptRows } from '../warehouse/expire.ts';
import { type FactTable, isOwn } from '../warehouse/fact-table.ts';
import { deadLetterPlaces, retainedCounts } from '../warehouse/inspect.ts';
import type { Statement } from '../warehouse/warehouse.ts';
import { foldForWarehouse, foldTable } from './verify-fold.ts';
import { addRows, createTally, type Tally } from './verify-tally.ts';
import { type Reread, reread, type TopicLook } from './verify-topic.ts';
import type { WarehouseLook } from './verify-warehouse.ts';

const LETTERS_MAX = 100_000;
const FOUND = 'verify_rows';

/** `isCompacted`: the topic is subject to log compaction. */
export async function verifyTopic(look: TopicLook, isCompacted: boolean): Promise<CheckResult> {
  const tally = createTally('lake', isCompacted);
  // A rewind took the table's letters out; the rebuild that it has ordered files those again that it finds.
  const isDue = look.state.rewoundVersion > look.state.rebuiltVersion;
  if (look.feed.type === 'table' && isDue)
    tally.note('the table was rewound and is not read anew yet: its dead letters were not compared');
  const letters = (batch: StagedBatch): Promise<void> => (isDue ? Promise.resolve() : compareLetters(look, batch, tally));
  const read =
    look.feed.type === 'table' ? await foldTable(look, { tally, isCompacted, letters }) : await readStream(look, tally);
  return tally.result(look.feed.topic, read);
}

const readStream = (look: TopicLook, tally: Tally): Promise<Reread> =>
  reread(look, async (batch, plan) => {
    const names = quoteNames(plan.columns.map(({ name }) => name).filter((name) => name !== '_day'));
    const { connection } = look;
    await holdFound(look, batch, { kind: 'data', columns: names, empty: batch.tables.rows });
    const retained = [...look.log.retainedDays].map((day) => quoteText(day)).join(', ');
    const kept = retained === '' ? '' : `WHERE CAST(_day AS VARCHAR) NOT IN (${retained})`;
    const wanted = `SELECT ${names} FROM ${batch.tables.rows}`;
    const found = `SELECT ${names} FROM ${FOUND}`;
    const add = (kind: string, sql: string): Promise<void> => addRows(connection, tally, { kind, sql });
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
    if (file.kind !== kind || isAdopted(file) || !mayHold(log.added.get(file.version)?.ranges ?? null, batch.ranges)) continue;
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
  const staged = `SELECT ${letters} FROM ${batch.tables.deadLetters} ${notDropped(look, batch)}`;
  const found = `SELECT ${letters} FROM ${FOUND}`;
  const add = (kind: string, sql: string): Promise<void> => addRows(look.connection, tally, { kind, sql });
  await add('letters', `SELECT * FROM ((${staged}) EXCEPT ALL (${found}))`);
  await add('letters_surplus', `SELECT * FROM ((${found}) EXCEPT ALL (${staged}))`);
}

/** Those that somebody has dropped are refused still, and in no file. */
function notDropped({ log }: TopicLook, { ranges }: StagedBatch): string {
  const dropped = log.closed.filter(
    ({ as, partition, offset }) =>
      as === 'dropped' && ranges.some((range) => range.partition === partition && range.start <= offset && offset < range.end),
  );
  if (dropped.length === 0) return '';
  return `WHERE (kafka_partition, kafka_offset) NOT IN (${dropped.map(({ partition, offset }) => `(${partition}, ${offset})`).join(', ')})`;
}

/** A stream's rows in the warehouse, beside what Kafka has of its offsets. */
export async function verifyTopicInWarehouse(look: TopicLook & WarehouseLook, isCompacted: boolean): Promise<CheckResult> {
  const { warehouse, connection, fact, feed, signal } = look;
  const tally = createTally('warehouse', isCompacted);
  if (fact === null) return tally.result(feed.topic, { messages: 0, cutShort: [] });
  if (feed.type === 'table') return await foldForWarehouse({ ...look, fact }, { tally, isCompacted });
  const letters = await deadLetterPlaces(warehouse, feed.name, { countMax: LETTERS_MAX, signal });
  const all = fact.values.map(({ name, holds }) => `NULL::${isOwn(holds) ? 'VARCHAR' : duckdbType(holds)} AS ${quoteName(name)}`);
  const kept = await keptOf(look, fact);
  const read = await reread(look, async (batch) => {
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
  return tally.result(feed.topic, read);
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
