// What a check reads of a feed in the warehouse. Only reads; nothing is locked.

import type { Audited } from '../model/audit-trail.ts';
import { objectAt } from '../model/json-fields.ts';
import { type Offset, toOffset } from '../model/offsets.ts';
import type { OpenSnapshot, SnapshotName } from '../model/snapshot.ts';
import { msOfTime } from './audit.ts';
import type { FactTable, SqlColumn } from './fact-table.ts';
import { openSnapshotOf, selectOpenSnapshot } from './open-snapshot.ts';
import type { PositionsOf } from './positions.ts';
import { type Row, type Statement, type Warehouse, WarehouseFailure } from './warehouse.ts';

/** What lies in a table of one partition. */
export type Held = { readonly partition: number; readonly rows: number; readonly offsetMax: bigint };

const heldOf = (rows: readonly Row[]): Held[] =>
  rows.map((row) => ({
    partition: Number(row['kafka_partition']),
    rows: Number(row['held']),
    offsetMax: BigInt(String(row['offset_max'])),
  }));

const statement = (text: string, values: Statement['values']): Statement => ({ text, values });

/** Rows that were there before lake have no coordinates, and are counted by nobody. */
const fromKafka = ({ quoted }: SqlColumn): string => `${quoted} IS NOT NULL`;

/** Of all rows of a stream; of a table, of its open snapshot. */
export async function heldInFacts(warehouse: Warehouse, fact: FactTable, signal: AbortSignal): Promise<readonly Held[]> {
  const { kafkaPartition, kafkaOffset, snapshotDate, snapshotVersion } = fact.own;
  const open = await openSnapshot(warehouse, fact.feed, signal);
  const of = `SELECT ${kafkaPartition.quoted} AS kafka_partition, COUNT(*) AS held, MAX(${kafkaOffset.quoted}) AS offset_max FROM ${fact.quoted}`;
  if (!snapshotDate || !snapshotVersion)
    return heldOf(await warehouse.run(statement(`${of} WHERE ${fromKafka(kafkaPartition)} GROUP BY 1`, []), signal));
  if (open === null) return [];
  const where = `WHERE ${snapshotDate.quoted} = ? AND ${snapshotVersion.quoted} = ? AND ${fromKafka(kafkaPartition)} GROUP BY 1`;
  return heldOf(await warehouse.run(statement(`${of} ${where}`, [open.date, open.version]), signal));
}

/** Dead letters that are such still, open or dropped: those that became rows, and those that a rebuild of the table did not find again,
 *  the positions do not count as dead letters. */
export async function heldInDeadLetters(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<readonly Held[]> {
  const text = `SELECT kafka_partition, COUNT(*) AS held, MAX(kafka_offset) AS offset_max
    FROM lake_dead_letters WHERE feed = ? AND state NOT IN ('retried', 'superseded') GROUP BY kafka_partition`;
  return heldOf(await warehouse.run(statement(text, [feed]), signal));
}

/** Those that wait for someone. */
export async function openLetters(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<number> {
  const text = "SELECT COUNT(*) AS held FROM lake_dead_letters WHERE feed = ? AND state = 'open'";
  const [row] = await warehouse.run(statement(text, [feed]), signal);
  return Number(row?.['held'] ?? 0);
}

/** When a position of the feed moved last; null: none has. */
export async function lastMoveMs(
  warehouse: Warehouse,
  { feed, topic }: PositionsOf,
  signal: AbortSignal,
): Promise<number | null> {
  const text = 'SELECT MAX(updated_at) AS moved_at FROM lake_positions WHERE feed = ? AND topic = ?';
  const [row] = await warehouse.run(statement(text, [feed, topic]), signal);
  const at = row?.['moved_at'] ?? null;
  return at === null ? null : msOfTime(String(at));
}

/** All rows of audit_log, in the order they were written. */
export async function auditRows(warehouse: Warehouse, signal: AbortSignal): Promise<readonly Audited[]> {
  const text = `SELECT feed_name, action, resource, CAST(details AS CHAR) AS details, row_count, file_count, byte_count, actor, performed_at
    FROM audit_log ORDER BY audit_id`;
  const textOf = (value: Row[string] | undefined): string | null => (value == null ? null : String(value));
  const countOf = (value: Row[string] | undefined): number | null => (value == null ? null : Number(value));
  return (await warehouse.run(statement(text, []), signal)).map((row) => ({
    at: new Date(msOfTime(String(row['performed_at']))).toISOString(),
    target: 'warehouse',
    actor: textOf(row['actor']),
    feed: textOf(row['feed_name']),
    action: String(row['action']),
    resource: textOf(row['resource']) ?? '',
    rows: countOf(row['row_count']),
    files: countOf(row['file_count']),
    bytes: countOf(row['byte_count']),
    details: objectAt(JSON.parse(textOf(row['details']) ?? '{}'), 'details'),
  }));
}

export async function heldInTombstones(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<readonly Held[]> {
  const text = `SELECT kafka_partition, COUNT(*) AS held, MAX(kafka_offset) AS offset_max
    FROM lake_tombstones WHERE feed = ? GROUP BY kafka_partition`;
  return heldOf(await warehouse.run(statement(text, [feed]), signal));
}

/** What retention has deleted of one partition. */
export type Retained = {
  readonly rows: number;
  readonly deadLetters: number;
  /** Rows of days before it, `YYYY-MM-DD`, may be gone; null: none are. */
  readonly before: string | null;
};

/** By partition; empty in a database that was made before there was retention. */
export async function retainedCounts(
  warehouse: Warehouse,
  { feed, topic }: PositionsOf,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, Retained>> {
  const text = `SELECT kafka_partition, retained_rows, retained_dead_letters, CAST(retained_before AS CHAR) AS retained_before FROM lake_positions
    WHERE feed = ? AND topic = ? ORDER BY kafka_partition`;
  try {
    const rows = await warehouse.run(statement(text, [feed, topic]), signal);
    return new Map(
      rows.map((row) => [
        Number(row['kafka_partition']),
        {
          rows: Number(row['retained_rows']),
          deadLetters: Number(row['retained_dead_letters']),
          before: row['retained_before'] == null ? null : String(row['retained_before']),
        },
      ]),
    );
  } catch (error) {
    if (error instanceof WarehouseFailure && error.class === 'missing') return new Map();
    throw error;
  }
}

type Names = ReadonlySet<string>;

/** Names of the snapshots that retention has begun to delete, `date/version`. */
export const expiringSnapshots = (warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<Names> =>
  namesWhere(warehouse, statement("WHERE feed = ? AND state = 'expiring'", [feed]), signal);

/** Of all snapshots, also those that are being opened or deleted, `date/version`. */
export const snapshotNames = (warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<Names> =>
  namesWhere(warehouse, statement('WHERE feed = ?', [feed]), signal);

async function namesWhere(warehouse: Warehouse, { text, values }: Statement, signal: AbortSignal): Promise<Names> {
  const select = 'SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version FROM lake_snapshots';
  const rows = await warehouse.run(statement(`${select} ${text}`, values), signal);
  return new Set(rows.map((row) => `${row['snapshot_date']}/${row['snapshot_version']}`));
}

export async function openSnapshot(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<OpenSnapshot | null> {
  return openSnapshotOf(await warehouse.run(selectOpenSnapshot(warehouse.dialect, feed), signal));
}

export type SealedRow = SnapshotName & {
  readonly cut: string;
  /** JSON, partition to position. */
  readonly positions: string;
  readonly rows: number;
  readonly checksum: string;
};

/** `cut_kind` of a snapshot that was there before lake: nobody knows its positions, and its rows have no coordinates. */
export const ADOPTED = 'adopted';

/** Those that lake sealed. */
export async function sealedSnapshots(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<readonly SealedRow[]> {
  const text = `SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version, cut_kind, positions, row_count, checksum
    FROM lake_snapshots WHERE feed = ? AND state = 'sealed' AND cut_kind <> '${ADOPTED}' ORDER BY snapshot_date, snapshot_version`;
  return (await warehouse.run(statement(text, [feed]), signal)).map((row) => ({
    date: String(row['snapshot_date']),
    version: Number(row['snapshot_version']),
    cut: String(row['cut_kind']),
    positions: String(row['positions']),
    rows: Number(row['row_count']),
    checksum: String(row['checksum']),
  }));
}

/** Offsets that were recorded as lost, or as left to others. */
export async function gapsOf(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<readonly OffsetRange[]> {
  const text = 'SELECT kafka_partition, start_offset, end_offset FROM lake_gaps WHERE feed = ?';
  return (await warehouse.run(statement(text, [feed]), signal)).map((row) => ({
    partition: Number(row['kafka_partition']),
    start: toOffset(String(row['start_offset'])),
    end: toOffset(String(row['end_offset'])),
  }));
}

export type OffsetRange = { readonly partition: number; readonly start: Offset; readonly end: Offset };

/** Rows of each snapshot that the fact table holds, by `date/version`. */
export async function rowsBySnapshot(
  warehouse: Warehouse,
  fact: FactTable,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const { snapshotDate, snapshotVersion } = fact.own;
  if (!snapshotDate || !snapshotVersion) return new Map();
  const text = `SELECT CAST(${snapshotDate.quoted} AS CHAR) AS snapshot_date, ${snapshotVersion.quoted} AS snapshot_version,
      COUNT(*) AS held FROM ${fact.quoted} GROUP BY ${snapshotDate.quoted}, ${snapshotVersion.quoted}`;
  const rows = await warehouse.run(statement(text, []), signal);
  return new Map(rows.map((row) => [`${row['snapshot_date']}/${row['snapshot_version']}`, Number(row['held'])]));
}

/** Coordinates of messages that are dead letters still, open or dropped, `partition:offset`; at most so many. */
export async function deadLetterPlaces(
  warehouse: Warehouse,
  feed: string,
  { countMax, signal }: { readonly countMax: number; readonly signal: AbortSignal },
): Promise<ReadonlySet<string>> {
  const text = `SELECT kafka_partition, kafka_offset FROM lake_dead_letters
    WHERE feed = ? AND state IN ('open', 'dropped') LIMIT ${countMax}`;
  const rows = await warehouse.run(statement(text, [feed]), signal);
  return new Set(rows.map((row) => `${row['kafka_partition']}:${row['kafka_offset']}`));
}

/** The rows of the registry and of the policies that a feed has; null: there is none. */
export async function governanceRows(
  warehouse: Warehouse,
  feed: string,
  signal: AbortSignal,
): Promise<{ readonly registry: Row | null; readonly policy: Row | null }> {
  const of = async (table: string): Promise<Row | null> => {
    const [row] = await warehouse.run(statement(`SELECT * FROM ${table} WHERE feed_name = ?`, [feed]), signal);
    return row ?? null;
  };
  return { registry: await of('feed_registry'), policy: await of('data_retention_policies') };
}

/** Rows of the snapshots that were adopted, as counted then, by `date/version`. */
export async function adoptedRows(warehouse: Warehouse, feed: string, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const text = `SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version, row_count
    FROM lake_snapshots WHERE feed = ? AND state = 'sealed' AND cut_kind = '${ADOPTED}'`;
  const rows = await warehouse.run(statement(text, [feed]), signal);
  return new Map(rows.map((row) => [`${row['snapshot_date']}/${row['snapshot_version']}`, Number(row['row_count'])]));
}
