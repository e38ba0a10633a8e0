// What retention reads and deletes in the warehouse: rows and closed dead letters before a day, snapshots by name.
// Invariant: deletions are small transactions of their own, each with its own account: a row that is gone is counted in
// lake_positions, and a snapshot is called expiring from before its first row goes until after its last.

import type { Expiry, WarehouseHoldings } from '../model/retention.ts';
import type { SnapshotName } from '../model/snapshot.ts';
import { type AuditEntry, addToAudit, auditStatement, timeText } from './audit.ts';
import type { FactTable, SqlColumn } from './fact-table.ts';
import type { SqlScalar, Statement, Tx, Warehouse } from './warehouse.ts';

export type Expiring = {
  readonly warehouse: Warehouse;
  readonly feed: string;
  readonly topic: string;
  readonly fact: FactTable;
  /** Name of the field that gives a row its day; null: the message's time does. */
  readonly eventTime: string | null;
  /** Does work again while the server is away or a deadlock passes. */
  readonly patiently: <T>(work: () => Promise<T>) => Promise<T>;
};

export async function snapshotsHeld(
  { warehouse, feed, patiently }: Expiring,
  signal: AbortSignal,
): Promise<WarehouseHoldings['snapshots']> {
  const text = `SELECT CAST(snapshot_date AS CHAR) AS snapshot_date, snapshot_version, state, row_count
    FROM lake_snapshots WHERE feed = ? ORDER BY 1, 2`;
  return (await patiently(() => warehouse.run({ text, values: [feed] }, signal))).map((row) => ({
    date: String(row['snapshot_date']),
    version: Number(row['snapshot_version']),
    state: String(row['state']),
    rows: Number(row['row_count'] ?? 0),
  }));
}

/** Of a stream. `tomorrow`: rows after it are of the future, and say nothing. */
export async function expiredRows(
  expiring: Expiring,
  { expiry, tomorrow }: { readonly expiry: Expiry; readonly tomorrow: Expiry },
  signal: AbortSignal,
): Promise<Pick<Expired, 'rows' | 'keepsSome'>> {
  const { fact } = expiring;
  const times = timesOf(expiring);
  const one = (statement: Statement): Promise<number> => foundBy(expiring, statement, signal);
  let [rows, keepsSome] = [0, false];
  for (const { condition, bound } of times) {
    rows += await one({ text: `SELECT COUNT(*) AS found FROM ${fact.quoted} WHERE ${condition('<')}`, values: [bound(expiry)] });
    keepsSome ||=
      (await one({
        text: `SELECT 1 AS found FROM ${fact.quoted} WHERE ${condition('>=')} AND ${condition('<')} LIMIT 1`,
        values: [bound(expiry), bound(tomorrow)],
      })) > 0;
  }
  return { rows, keepsSome };
}

type Expired = NonNullable<WarehouseHoldings['expired']>;

async function foundBy({ warehouse, patiently }: Expiring, statement: Statement, signal: AbortSignal): Promise<number> {
  const [row] = await patiently(() => warehouse.run(statement, signal));
  return Number(row?.['found'] ?? 0);
}

export async function expiredLetters(
  expiring: Expiring,
  expiry: Expiry,
  signal: AbortSignal,
): Promise<Pick<Expired, 'lettersClosed' | 'lettersOpen'>> {
  const letters = `SELECT COUNT(*) AS found FROM lake_dead_letters WHERE feed = ? AND ${LETTER_TIME} < ? AND state`;
  const values = [expiring.feed, timeText(expiry.ms)];
  const count = (state: string): Promise<number> => foundBy(expiring, { text: `${letters} ${state}`, values }, signal);
  return { lettersClosed: await count("<> 'open'"), lettersOpen: await count("= 'open'") };
}

/** Rows that one transaction deletes by their ids. */
const IDS_MAX = 5_000;
const LETTER_TIME = 'COALESCE(kafka_timestamp, created_at)';

type Time = {
  readonly condition: (operator: '<' | '>=') => string;
  readonly bound: (expiry: Expiry) => string;
  /** Quoted, as the index has it. */
  readonly order: string;
};

/** A row's day is that of its event time; without one, of its message (as in the lake). Each has its own condition for an index. */
function timesOf({ fact, eventTime }: Pick<Expiring, 'fact' | 'eventTime'>): readonly Time[] {
  const byMessage = fact.own.kafkaTimestamp.quoted;
  const instant = ({ ms }: Expiry): string => timeText(ms);
  const column = fact.values.find(({ name }) => name === eventTime);
  if (!column) return [{ condition: (operator) => `${byMessage} ${operator} ?`, bound: instant, order: byMessage }];
  const { quoted } = column;
  return [
    {
      condition: (operator) => `${quoted} ${operator} ?`,
      bound: column.holds.kind === 'date' ? ({ date }) => date : instant,
      order: quoted,
    },
    { condition: (operator) => `${quoted} IS NULL AND ${byMessage} ${operator} ?`, bound: instant, order: byMessage },
  ];
}

/** The rows of days that are kept. */
export function keptRows(of: Pick<Expiring, 'fact' | 'eventTime'>, expiry: Expiry): Statement {
  const times = timesOf(of);
  return {
    text: `(${times.map(({ condition }) => condition('>=')).join(' OR ')})`,
    values: times.map(({ bound }) => bound(expiry)),
  };
}

/** From here on it is no longer compared, and whoever comes after a kill goes on with it. */
export async function markExpiring(
  { warehouse, feed, patiently }: Expiring,
  names: readonly SnapshotName[],
  signal: AbortSignal,
): Promise<void> {
  if (names.length === 0) return;
  await patiently(() =>
    warehouse.transaction(async (tx) => {
      for (const { date, version } of names)
        await tx.change({
          text: `UPDATE lake_snapshots SET state = 'expiring'
            WHERE feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'sealed'`,
          values: [feed, date, version],
        });
    }, signal),
  );
}

/** One that was marked. `audit`: what is written down with its end, by whoever comes to it first. */
export async function deleteSnapshot(
  { warehouse, feed, fact, patiently }: Expiring,
  { date, version }: SnapshotName,
  { audit, signal }: { readonly audit: AuditEntry; readonly signal: AbortSignal },
): Promise<void> {
  const { deleteSome, copyRowsMax } = warehouse.dialect;
  const quoted = (column: SqlColumn | null): string => column?.quoted ?? '';
  const where = `${quoted(fact.own.snapshotDate)} = ? AND ${quoted(fact.own.snapshotVersion)} = ?`;
  const some: Statement = { text: deleteSome(fact.quoted, where, copyRowsMax), values: [date, version] };
  const isExpiring = `feed = ? AND snapshot_date = ? AND snapshot_version = ? AND state = 'expiring'`;
  const values = [feed, date, version];
  const [found] = await patiently(() =>
    warehouse.run({ text: `SELECT 1 AS found FROM lake_snapshots WHERE ${isExpiring}`, values }, signal),
  );
  if (!found) return;
  while ((await patiently(() => warehouse.transaction((tx) => tx.change(some), signal))) > 0);
  await patiently(() =>
    warehouse.transaction(async (tx) => {
      const isMine = await tx.change({ text: `DELETE FROM lake_snapshots WHERE ${isExpiring}`, values });
      if (isMine > 0) await tx.change(auditStatement(warehouse.dialect, audit));
    }, signal),
  );
}

export type Deleting = {
  readonly expiry: Expiry;
  /** Of this run: its `feed`, `action`, `resource` and `atMs` make its row known again. */
  readonly audit: AuditEntry & { readonly atMs: number };
  readonly signal: AbortSignal;
};

/** Rows of a stream. Returns how many. */
export async function deleteRows(expiring: Expiring, deleting: Deleting): Promise<number> {
  const { fact } = expiring;
  const { id, kafkaPartition } = fact.own;
  const batches = timesOf(expiring).map(({ condition, bound, order }) => ({
    text: `SELECT ${id.quoted} AS id, ${kafkaPartition.quoted} AS kafka_partition FROM ${fact.quoted}
      WHERE ${condition('<')} ORDER BY ${order} LIMIT ${IDS_MAX}`,
    values: [bound(deleting.expiry)],
  }));
  return deleteBatches(expiring, { table: fact.quoted, id: id.quoted, account: 'retained_rows', batches }, deleting);
}

/** Closed dead letters. Returns how many. */
export async function deleteLetters(expiring: Expiring, deleting: Deleting): Promise<number> {
  const of = (state: string) => ({
    ...{ table: 'lake_dead_letters', id: 'id', still: state },
    batches: [
      {
        text: `SELECT id, kafka_partition FROM lake_dead_letters
          WHERE feed = ? AND ${state} AND ${LETTER_TIME} < ? ORDER BY id LIMIT ${IDS_MAX}`,
        values: [expiring.feed, timeText(deleting.expiry.ms)],
      },
    ],
  });
  const counted = { ...of("state = 'dropped'"), account: 'retained_dead_letters' } as const;
  const uncounted = { ...of("state IN ('retried', 'superseded')"), account: null };
  return (await deleteBatches(expiring, counted, deleting)) + (await deleteBatches(expiring, uncounted, deleting));
}

const NO_PARTITION = -1;

type Batches = {
  readonly table: string;
  readonly id: string;
  /** Whoever read a table anew meanwhile may have opened a letter again, or closed it as another one. */
  readonly still?: string;
  /** Column of lake_positions; null: the positions do not count them. */
  readonly account: 'retained_rows' | 'retained_dead_letters' | null;
  /** Each selects the next ids with their partitions, until there are none. */
  readonly batches: readonly Statement[];
};

async function deleteBatches(
  expiring: Expiring,
  { batches, ...from }: Batches,
  { expiry, audit, signal }: Deleting,
): Promise<number> {
  const { warehouse, patiently } = expiring;
  let deleted = 0;
  for (const batch of batches) {
    for (;;) {
      const found = await patiently(() => warehouse.run(batch, signal));
      if (found.length === 0) break;
      // Rows that were there before lake have no partition, and no position counts them.
      const partitions = Map.groupBy(found, (row) =>
        row['kafka_partition'] == null ? NO_PARTITION : Number(row['kafka_partition']),
      );
      const ids = new Map([...partitions].map(([partition, rows]) => [partition, rows.map((row) => row['id'] ?? null)]));
      deleted += await patiently(() =>
        warehouse.transaction(async (tx) => {
          const rows = await deleteByIds(tx, expiring, { ...from, before: expiry.date, ids });
          if (rows > 0) await addToAudit(tx, warehouse.dialect, { ...audit, rowCount: rows });
          return rows;
        }, signal),
      );
    }
  }
  return deleted;
}

type Ids = Omit<Batches, 'batches'> & {
  /** The first day that is kept. */ readonly before: string;
  readonly ids: ReadonlyMap<number, readonly SqlScalar[]>;
};

/** Of two retentions at once each counts what it deleted itself. Positions come last: a batch that is committed waits the least. */
async function deleteByIds(
  tx: Tx,
  { feed, topic }: Expiring,
  { table, id, still = 'TRUE', account, before, ids }: Ids,
): Promise<number> {
  const counts: (readonly [partition: number, rows: number])[] = [];
  for (const [partition, list] of [...ids].sort(([a], [b]) => a - b)) {
    const marks = list.map(() => '?').join(', ');
    counts.push([
      partition,
      await tx.change({ text: `DELETE FROM ${table} WHERE ${id} IN (${marks}) AND ${still}`, values: list }),
    ]);
  }
  for (const [partition, rows] of counts)
    if (rows > 0 && account !== null && partition !== NO_PARTITION)
      await tx.change({
        text: `UPDATE lake_positions SET ${account} = ${account} + ?,
            retained_before = GREATEST(COALESCE(retained_before, CAST(? AS DATE)), CAST(? AS DATE))
          WHERE feed = ? AND topic = ? AND kafka_partition = ?`,
        values: [rows, before, before, feed, topic, partition],
      });
  return counts.reduce((sum, [, rows]) => sum + rows, 0);
}
