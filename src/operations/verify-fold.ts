// A table's topic folded anew, beside the open snapshot of a target (DESIGN §7, verify --deep). What log compaction or topic retention
// took makes the fold one of what is left: then only rows of the same message are held to each other.

import { collapseSql, DELETED_COLUMN, mergeSql } from '../duckdb/collapse.ts';
import { type Connection, query, run } from '../duckdb/connection.ts';
import { parquetScan, quoteName, quoteNames } from '../duckdb/sql.ts';
import { resolveFile } from '../lake/resolve-file.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { CheckResult } from '../model/findings.ts';
import { publishedFiles } from '../model/snapshot-files.ts';
import { compareRows, rowsOfSnapshot } from '../warehouse/compared-rows.ts';
import type { FactTable } from '../warehouse/fact-table.ts';
import { deadLetterPlaces, openSnapshot } from '../warehouse/inspect.ts';
import { addRows, type Tally } from './verify-tally.ts';
import { type Reread, reread, type TopicLook } from './verify-topic.ts';
import { readPositions, type WarehouseLook } from './verify-warehouse.ts';

const LETTERS_MAX = 100_000;

/** The winner of each key in what Kafka has: all columns, and `_deleted`. null: it has nothing. */
async function foldTopic(look: TopicLook, also: (batch: StagedBatch) => Promise<void>) {
  const { connection, feed } = look;
  let delta: string | null = null;
  let count = 0;
  const read = await reread(look, async (batch) => {
    const [winners, merged] = ['verify_winners', `verify_delta_${count++}`];
    const { rows, tombstones } = batch.tables;
    await run(connection, collapseSql({ into: winners, rows, tombstones, keyColumns: feed.keyFields }));
    await run(connection, mergeSql({ into: merged, delta, winners, keyColumns: feed.keyFields }));
    await run(connection, `DROP TABLE ${winners}`);
    if (delta !== null) await run(connection, `DROP TABLE ${delta}`);
    delta = merged;
    await also(batch);
  });
  return { read, delta: delta as string | null };
}

/** Beside the rows of the open snapshot, which are held before the topic is read: a publish takes the file away meanwhile. */
export async function foldTable(
  look: TopicLook,
  { tally, isCompacted, letters }: Folding & { readonly letters: (batch: StagedBatch) => Promise<void> },
): Promise<Reread> {
  const { connection, feed, state } = look;
  const isHeld = await holdOpen(look);
  const { read, delta } = await foldTopic(look, letters);
  if (!isHeld) tally.note('the open snapshot was published anew before it could be read: its rows were not compared');
  if (delta === null || !isHeld) return read;
  const keys = feed.keyFields.map((name) => `w.${quoteName(name)} = f.${quoteName(name)}`).join(' AND ');
  const isFromStart = [...state.positions].every(([partition, { start }]) => (look.bounds.get(partition)?.low ?? 0n) <= start);
  // Effective timestamps are running maxima: they can be told again only with every message from a partition's first one on.
  const isWhole = isFromStart && !isCompacted && read.cutShort.length === 0;
  const columns = await columnsOf(connection, { delta, found: OPEN, isWhole });
  const live = `(SELECT * FROM ${delta} WHERE NOT ${DELETED_COLUMN})`;
  const add = (kind: string, sql: string): Promise<void> => addRows(connection, tally, { kind, sql });
  const sameMessage = 'w.kafka_partition = f.kafka_partition AND w.kafka_offset = f.kafka_offset';
  const differing = `(SELECT ${columns} FROM ${live}) EXCEPT ALL (SELECT ${columns} FROM ${OPEN})`;
  await add('differs', `SELECT w.* FROM (${differing}) w SEMI JOIN ${OPEN} f ON ${keys} AND ${sameMessage}`);
  // Of what is left of a topic another message may seem to be the last one of its key, and a deleted key may seem to live.
  const sure = (kind: string): string => (isWhole ? kind : `table_${kind}`);
  if (isWhole || isCompacted) {
    await add(sure('missing'), `SELECT w.* FROM ${live} w ANTI JOIN ${OPEN} f ON ${keys}`);
    await add(sure('winner'), `SELECT w.* FROM ${live} w SEMI JOIN ${OPEN} f ON ${keys} AND NOT (${sameMessage})`);
  }
  if (isWhole) {
    await add('undeleted', `SELECT f.* FROM ${OPEN} f SEMI JOIN (SELECT * FROM ${delta} WHERE ${DELETED_COLUMN}) w ON ${keys}`);
    await add('unknown', `SELECT f.* FROM ${OPEN} f ANTI JOIN ${delta} w ON ${keys}`);
  }
  await run(connection, `DROP TABLE ${delta}`);
  await run(connection, `DROP TABLE ${OPEN}`);
  return read;
}

const OPEN = 'verify_open';

/** The rows of the open snapshot as it was folded; false: its file is gone for good. */
async function holdOpen({ connection, store, state }: TopicLook): Promise<boolean> {
  const files = state.snapshot && publishedFiles(state.files.values(), state.snapshot);
  for (let attempt = 0; files && attempt < HOLD_ATTEMPTS_MAX; attempt += 1) {
    const key = await resolveFile(store, state.feed, files.data);
    if (key === null) return false;
    const path = store.localPath(key);
    try {
      await run(connection, `CREATE OR REPLACE TABLE ${OPEN} AS SELECT * FROM ${parquetScan([path])}`);
      return true;
    } catch (error) {
      // Moved away between the two; damage stays where it is.
      if ((await store.size(key)) !== null) throw error;
    }
  }
  return false;
}

const HOLD_ATTEMPTS_MAX = 5;

/** Those that both have. */
async function columnsOf(
  connection: Connection,
  { delta, found, isWhole }: { readonly delta: string; readonly found: string; readonly isWhole: boolean },
): Promise<string> {
  const names = async (of: string): Promise<string[]> =>
    (await query(connection, `DESCRIBE SELECT * FROM ${of}`)).map((row) => String(row['column_name']));
  const there = new Set(await names(found));
  return quoteNames((await names(delta)).filter((name) => there.has(name) && (isWhole || name !== 'kafka_timestamp')));
}

/** A table that is in the warehouse alone: its open snapshot, if nothing is committed meanwhile. */
export async function foldForWarehouse(
  look: TopicLook & WarehouseLook & { readonly fact: FactTable },
  { tally, isCompacted }: Folding,
): Promise<CheckResult> {
  const { warehouse, connection, fact, feed, signal } = look;
  const { read, delta } = await foldTopic(look, async () => undefined);
  const open = await openSnapshot(warehouse, feed.name, signal);
  const isFromStart = [...look.starts].every(([partition, start]) => (look.bounds.get(partition)?.low ?? 0n) <= start);
  if (delta === null || open === null) return tally.result(feed.topic, read);
  if (isCompacted || !isFromStart || read.cutShort.length > 0) {
    tally.note('Kafka no longer has every message of the table: its rows in the warehouse were not compared');
    await run(connection, `DROP TABLE ${delta}`);
    return tally.result(feed.topic, read);
  }
  const except = await deadLetterPlaces(warehouse, feed.name, { countMax: LETTERS_MAX, signal });
  const wanted = `SELECT * FROM ${delta} WHERE NOT ${DELETED_COLUMN}`;
  const where = rowsOfSnapshot(fact, open);
  const { onlyWanted, onlyFound, examples } = await compareRows({
    warehouse,
    connection,
    fact,
    where,
    wanted,
    side: 'Kafka',
    except,
    signal,
  });
  const now = (await readPositions(look)).positions;
  const isStill = [...look.positions].every(([partition, position]) => now.get(partition)?.position === position);
  if (!isStill) tally.note('the table went on while it was read: its rows in the warehouse were not compared');
  else {
    const shown = examples.map((at) => ({ at }));
    if (onlyWanted > 0) tally.add(onlyFound > 0 ? 'differs' : 'missing', shown, onlyWanted);
    else tally.add('unknown', shown, onlyFound);
  }
  await run(connection, `DROP TABLE ${delta}`);
  return tally.result(feed.topic, read);
}

type Folding = { readonly tally: Tally; readonly isCompacted: boolean };
