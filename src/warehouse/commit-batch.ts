// The one transaction of a batch: positions first, then tombstones, facts, dimensions and dead letters (DESIGN §4, PROTOCOL M1).
// Invariant: a row in the open snapshot is the greatest (timestamp, partition, offset) of its key, and no key that a later
// tombstone deleted is in it, however partitions and batches interleave.

import type { OpenSnapshot } from '../model/snapshot.ts';
import { periodIn, type SnapshotRules } from '../model/snapshot-rules.ts';
import { mysqlTime } from './audit.ts';
import type { DimensionTable, FactTable } from './fact-table.ts';
import { openSnapshotOf, selectOpenSnapshot } from './open-snapshot.ts';
import { Bisect, type CoordinatesAt, RowsRefused } from './refused-rows.ts';
import { type BatchRows, factColumns, quotedNames, type RowSource, type Values } from './staged-batch.ts';
import { type SqlScalar, type Statement, type Tx, WarehouseFailure } from './warehouse.ts';

export type BatchCommit = {
  readonly feed: string;
  readonly topic: string;
  readonly rows: BatchRows;
  /** null: there is no schema yet, and so no row. */
  readonly fact: FactTable | null;
  /** Names the first snapshot of a table; null: a stream. */
  readonly snapshots: SnapshotRules | null;
  readonly nowMs: number;
  /** A statement may have half of what the server takes. */
  readonly statementBytesMax: number;
};

type TableCommit = BatchCommit & { readonly fact: FactTable };

const ROWS_MAX = 1_000;

/** All but the positions, which are locked by now. Throws WarehouseFailure. */
export async function applyBatch(tx: Tx, commit: BatchCommit): Promise<void> {
  const { rows, fact } = commit;
  if (fact) await applyRows(tx, commit, fact);
  await insertAll(
    tx,
    commit,
    DEAD_LETTERS,
    mapped(rows.deadLetters, (values) => [commit.feed, commit.topic, ...values]),
  );
}

const mapped = ({ slices }: RowSource, change: (values: Values) => Values): RowSource => ({
  slices: async function* () {
    for await (const slice of slices()) yield slice.map(change);
  },
});

async function applyRows(tx: Tx, commit: BatchCommit, fact: FactTable): Promise<void> {
  const { rows, snapshots } = commit;
  if (snapshots === null) await insertAll(tx, commit, insertFacts(fact), rows.facts);
  else await applyState(tx, { ...commit, fact }, await openSnapshot(tx, commit, snapshots));
  for (const [index, dimension] of fact.dimensions.entries())
    if (rows.dimensions[index]) await insertAll(tx, commit, insertDimension(dimension), rows.dimensions[index]);
}

/** `first_seen_at` may be NULL in a table that lake did not make. */
function insertDimension(dimension: DimensionTable): Insert {
  const columns = [dimension.key, ...dimension.attributes, dimension.keyHash, dimension.firstSeenAt, dimension.lastSeenAt];
  const [first, last] = [dimension.firstSeenAt.quoted, dimension.lastSeenAt.quoted];
  const newer = `(${last} IS NULL OR VALUES(${last}) >= ${last})`;
  const updates = [
    ...dimension.attributes.map(({ quoted }) => `${quoted} = IF(${newer}, VALUES(${quoted}), ${quoted})`),
    `${first} = LEAST(COALESCE(${first}, VALUES(${first})), VALUES(${first}))`,
    `${last} = GREATEST(COALESCE(${last}, VALUES(${last})), VALUES(${last}))`,
  ];
  return {
    head: `INSERT INTO ${dimension.quoted} (${quotedNames(columns)}) VALUES `,
    tail: ` ON DUPLICATE KEY UPDATE ${updates.join(', ')}`,
    columnCount: columns.length,
    at: { partition: columns.length, offset: columns.length + 1 },
  };
}

type Insert = {
  readonly head: string;
  readonly tail: string;
  /** Values beyond these are not inserted. */
  readonly columnCount: number;
  /** null: no message can be blamed for a row that is refused. */
  readonly at: CoordinatesAt | null;
};

const DEAD_LETTERS: Insert = {
  head: `INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, kafka_key, value, headers, field, reason,
    schema_version) VALUES `,
  // After a rewind the same message may be refused again.
  tail: ` ON DUPLICATE KEY UPDATE field = VALUES(field), reason = VALUES(reason), schema_version = VALUES(schema_version), state = 'open',
    closed_at = NULL`,
  columnCount: 11,
  at: null,
};

const TOMBSTONES = 'INSERT INTO lake_tombstones (feed, key_hash, kafka_partition, kafka_offset, kafka_timestamp) VALUES ';

const insertFacts = (fact: FactTable): Insert => {
  const columns = factColumns(fact);
  return {
    head: `INSERT INTO ${fact.quoted} (${quotedNames(columns)}) VALUES `,
    tail: '',
    columnCount: columns.length,
    at: coordinatesOf(fact),
  };
};

/** Behind the fields, and the hash of a table's key. */
const coordinatesOf = ({ values, own }: FactTable): CoordinatesAt => {
  const partition = values.length + (own.keyHash === null ? 0 : 1);
  return { partition, offset: partition + 1 };
};

/**
 * Read after the positions are locked, never from a clock (M1); a feed's first batch opens the first one. Locked as well: two
 * writers of one table, with different partitions, would not see each other's row and tombstone of one key.
 */
async function openSnapshot(tx: Tx, { feed, nowMs }: BatchCommit, rules: SnapshotRules): Promise<OpenSnapshot> {
  const open = openSnapshotOf(await tx.rows(selectOpenSnapshot(feed, true)));
  if (open) return open;
  const { date, version, endsAtMs } = periodIn(nowMs, rules);
  const insert: Statement = {
    text: `INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, opened_at) VALUES (?, ?, ?, 'open', ?, ?)`,
    values: [feed, date, version, endsAtMs, mysqlTime(nowMs)],
  };
  await tx.change(insert).catch((error: unknown) => {
    if (!(error instanceof WarehouseFailure) || error.class !== 'duplicate') throw error;
    throw new WarehouseFailure('retry', 'another writer opened the first snapshot at the same moment', { cause: error });
  });
  return { date, version, endsAtMs };
}

async function applyState(tx: Tx, commit: TableCommit, snapshot: OpenSnapshot): Promise<void> {
  const { feed, rows, fact } = commit;
  const { own } = fact;
  const [date, version, hash] = [own.snapshotDate, own.snapshotVersion, own.keyHash];
  if (date === null || version === null || hash === null) return;
  const order = [own.kafkaTimestamp, own.kafkaPartition, own.kafkaOffset].map(({ quoted }) => quoted);
  const newer = newerThan(order);
  const deleted = newerThan(['kafka_timestamp', 'kafka_partition', 'kafka_offset']);
  const tombstones: Insert = {
    head: TOMBSTONES,
    tail: onNewer(deleted, [], ['kafka_offset', 'kafka_partition', 'kafka_timestamp']),
    columnCount: 5,
    at: null,
  };
  await insertAll(
    tx,
    commit,
    tombstones,
    mapped(rows.tombstones, (values) => [feed, ...values]),
  );
  const columns = factColumns(fact);
  const insert: Insert = {
    head: `INSERT INTO ${fact.quoted} (${quotedNames([...columns, date, version])}) VALUES `,
    // Assigned from left to right: what `newer` compares changes last.
    tail: onNewer(
      newer,
      fact.values.map(({ quoted }) => quoted),
      [own.kafkaOffset.quoted, own.kafkaPartition.quoted, own.kafkaTimestamp.quoted],
    ),
    columnCount: columns.length + 2,
    at: coordinatesOf(fact),
  };
  await insertAll(
    tx,
    commit,
    insert,
    mapped(rows.facts, (values) => [...values, snapshot.date, snapshot.version]),
  );
  await deleteDeleted(tx, commit, { snapshot, hashAt: fact.values.length });
}

const newerThan = (order: readonly string[]): string =>
  `(${order.map((name) => `VALUES(${name})`).join(', ')}) > (${order.join(', ')})`;

const onNewer = (newer: string, fields: readonly string[], order: readonly string[]): string =>
  ` ON DUPLICATE KEY UPDATE ${[...fields, ...order].map((name) => `${name} = IF(${newer}, VALUES(${name}), ${name})`).join(', ')}`;

/** Rows that a tombstone, of this batch or an earlier one, is newer than: a key may sit in several partitions. */
async function deleteDeleted(
  tx: Tx,
  { feed, rows, fact }: TableCommit,
  { snapshot, hashAt }: { readonly snapshot: OpenSnapshot; readonly hashAt: number },
): Promise<void> {
  const { own } = fact;
  const [any] = await tx.rows({ text: 'SELECT 1 AS one FROM lake_tombstones WHERE feed = ? LIMIT 1', values: [feed] });
  if (!any) return;
  const later = ['kafka_timestamp', 'kafka_partition', 'kafka_offset'].map((name) => `t.${name}`).join(', ');
  const row = [own.kafkaTimestamp, own.kafkaPartition, own.kafkaOffset].map(({ quoted }) => `f.${quoted}`).join(', ');
  const deleteOf = async (hashes: readonly SqlScalar[]): Promise<void> => {
    for (let from = 0; from < hashes.length; from += ROWS_MAX) {
      const some = hashes.slice(from, from + ROWS_MAX);
      await tx.change({
        text: `DELETE f FROM ${fact.quoted} f JOIN lake_tombstones t ON t.feed = ? AND t.key_hash = f.${own.keyHash?.quoted}
        WHERE f.${own.snapshotDate?.quoted} = ? AND f.${own.snapshotVersion?.quoted} = ? AND f.${own.keyHash?.quoted} IN (${marks(some.length)})
          AND (${later}) > (${row})`,
        values: [feed, snapshot.date, snapshot.version, ...some],
      });
    }
  };
  for await (const slice of rows.tombstones.slices()) await deleteOf(slice.map(([hash]) => hash ?? null));
  for await (const slice of rows.facts.slices()) await deleteOf(slice.map((values) => values[hashAt] ?? null));
}

const marks = (count: number): string => Array<string>(count).fill('?').join(', ');

/** Rows in as few statements as their number and the server's packet allow. Throws RowsRefused when messages are to blame. */
async function insertAll(tx: Tx, { statementBytesMax }: BatchCommit, insert: Insert, rows: RowSource): Promise<void> {
  const row = `(${marks(insert.columnCount)})`;
  const statementOf = (some: readonly Values[]): Statement => ({
    text: `${insert.head}${Array<string>(some.length).fill(row).join(', ')}${insert.tail}`,
    values: some.flatMap((values) => values.slice(0, insert.columnCount)),
  });
  const bisect = insert.at && new Bisect(tx, insert.at, statementOf);
  for await (const slice of rows.slices()) {
    for (const some of statementsOf(slice, statementBytesMax / 2)) {
      if (!bisect) await tx.change(statementOf(some));
      else if (!bisect.isFull) await bisect.insert(some);
    }
    if (bisect?.isFull) break;
  }
  if (bisect && bisect.refused.length > 0) throw new RowsRefused(bisect.refused, bisect.triedCount);
}

/** A row that is too large by itself makes a statement of its own. */
function* statementsOf(rows: readonly Values[], bytesMax: number): Generator<readonly Values[]> {
  let from = 0;
  let bytes = 0;
  for (const [index, values] of rows.entries()) {
    const more = bytesOf(values);
    if (index > from && (index - from === ROWS_MAX || bytes + more > bytesMax)) {
      yield rows.slice(from, index);
      from = index;
      bytes = 0;
    }
    bytes += more;
  }
  if (from < rows.length) yield rows.slice(from);
}

/** Of a row's values as the text of a statement, at most: a character has up to three bytes, a byte two digits. */
const bytesOf = (values: Values): number =>
  values.reduce<number>(
    (sum, value) =>
      sum + (typeof value === 'string' ? 3 * value.length : value instanceof Uint8Array ? 2 * value.length : 20) + 4,
    0,
  );
