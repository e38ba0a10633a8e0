// The one transaction of a batch: positions first, then tombstones, facts, dimensions and dead letters (DESIGN §4, PROTOCOL M1).
// Invariant: a row in the open snapshot is the greatest (timestamp, partition, offset) of its key, and no key that a later
// tombstone deleted is in it, however partitions and batches interleave.

import { type OpenSnapshot, periodOf, type SnapshotRule } from '../model/snapshot.ts';
import { mysqlTime } from './audit.ts';
import type { FactTable } from './fact-table.ts';
import { type BatchRows, factColumns, quotedNames, type Values } from './staged-batch.ts';
import type { SqlScalar, Statement, Tx } from './warehouse.ts';

export type BatchCommit = {
  readonly feed: string;
  readonly topic: string;
  readonly rows: BatchRows;
  /** null: there is no schema yet, and so no row. */
  readonly fact: FactTable | null;
  /** Names the first snapshot of a table; null: a stream. */
  readonly snapshots: SnapshotRule | null;
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
  const letters = rows.deadLetters.map((values) => [commit.feed, commit.topic, ...values]);
  await insertAll(tx, commit, DEAD_LETTERS, letters);
}

async function applyRows(tx: Tx, commit: BatchCommit, fact: FactTable): Promise<void> {
  const { rows, snapshots } = commit;
  if (snapshots === null) await insertAll(tx, commit, insertFacts(fact, factColumns(fact)), rows.facts);
  else await applyState(tx, { ...commit, fact }, await openSnapshot(tx, commit, snapshots));
  for (const [index, dimension] of fact.dimensions.entries()) {
    const columns = [dimension.key, ...dimension.attributes, dimension.keyHash, dimension.firstSeenAt, dimension.lastSeenAt];
    const newer = `VALUES(${dimension.lastSeenAt.quoted}) >= ${dimension.lastSeenAt.quoted}`;
    const [first, last] = [dimension.firstSeenAt.quoted, dimension.lastSeenAt.quoted];
    const updates = [
      ...dimension.attributes.map(({ quoted }) => `${quoted} = IF(${newer}, VALUES(${quoted}), ${quoted})`),
      `${first} = LEAST(${first}, VALUES(${first}))`,
      `${last} = GREATEST(${last}, VALUES(${last}))`,
    ];
    const head = `INSERT INTO ${dimension.quoted} (${quotedNames(columns)}) VALUES `;
    await insertAll(tx, commit, { head, tail: ` ON DUPLICATE KEY UPDATE ${updates.join(', ')}` }, rows.dimensions[index] ?? []);
  }
}

type Insert = { readonly head: string; readonly tail: string };

const DEAD_LETTERS: Insert = {
  head: `INSERT INTO lake_dead_letters (feed, topic, kafka_partition, kafka_offset, kafka_timestamp, kafka_key, value, headers, field, reason,
    schema_version) VALUES `,
  // After a rewind the same message may be refused again.
  tail: ` ON DUPLICATE KEY UPDATE field = VALUES(field), reason = VALUES(reason), schema_version = VALUES(schema_version), state = 'open'`,
};

const TOMBSTONES = 'INSERT INTO lake_tombstones (feed, key_hash, kafka_partition, kafka_offset, kafka_timestamp) VALUES ';

const insertFacts = (fact: FactTable, columns: Parameters<typeof quotedNames>[0]): Insert => ({
  head: `INSERT INTO ${fact.quoted} (${quotedNames(columns)}) VALUES `,
  tail: '',
});

/** Read after the positions are locked, never from a clock (M1); a feed's first batch opens the first one. */
async function openSnapshot(tx: Tx, { feed, nowMs }: BatchCommit, rule: SnapshotRule): Promise<OpenSnapshot> {
  const select: Statement = {
    text: "SELECT snapshot_date, snapshot_version, boundary_ms FROM lake_snapshots WHERE feed = ? AND state = 'open'",
    values: [feed],
  };
  const [row] = await tx.rows(select);
  if (row) {
    const [date, version] = [String(row['snapshot_date']), Number(row['snapshot_version'])];
    return { date, version, endsAtMs: Number(row['boundary_ms']) };
  }
  const { date, version, endsAtMs } = periodOf(nowMs, rule);
  await tx.change({
    text: `INSERT INTO lake_snapshots (feed, snapshot_date, snapshot_version, state, boundary_ms, opened_at) VALUES (?, ?, ?, 'open', ?, ?)`,
    values: [feed, date, version, endsAtMs, mysqlTime(nowMs)],
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
  const tombstones = { head: TOMBSTONES, tail: onNewer(deleted, [], ['kafka_offset', 'kafka_partition', 'kafka_timestamp']) };
  await insertAll(
    tx,
    commit,
    tombstones,
    rows.tombstones.map((values) => [feed, ...values]),
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
  };
  await insertAll(
    tx,
    commit,
    insert,
    rows.facts.map((values) => [...values, snapshot.date, snapshot.version]),
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
  const hashes = [...rows.tombstones.map(([hash]) => hash ?? null), ...rows.facts.map((values) => values[hashAt] ?? null)];
  const later = ['kafka_timestamp', 'kafka_partition', 'kafka_offset'].map((name) => `t.${name}`).join(', ');
  const row = [own.kafkaTimestamp, own.kafkaPartition, own.kafkaOffset].map(({ quoted }) => `f.${quoted}`).join(', ');
  for (let from = 0; from < hashes.length; from += ROWS_MAX) {
    const some = hashes.slice(from, from + ROWS_MAX);
    await tx.change({
      text: `DELETE f FROM ${fact.quoted} f JOIN lake_tombstones t ON t.feed = ? AND t.key_hash = f.${own.keyHash?.quoted}
        WHERE f.${own.snapshotDate?.quoted} = ? AND f.${own.snapshotVersion?.quoted} = ? AND f.${own.keyHash?.quoted} IN (${marks(some.length)})
          AND (${later}) > (${row})`,
      values: [feed, snapshot.date, snapshot.version, ...some],
    });
  }
}

const marks = (count: number): string => Array<string>(count).fill('?').join(', ');

/** Rows in as few statements as their number and the server's packet allow. */
async function insertAll(tx: Tx, { statementBytesMax }: BatchCommit, insert: Insert, rows: readonly Values[]): Promise<void> {
  let some: Values[] = [];
  let bytes = 0;
  const send = async (): Promise<void> => {
    if (some.length === 0) return;
    const row = `(${marks(some[0]?.length ?? 0)})`;
    const values: SqlScalar[] = some.flat();
    await tx.change({ text: `${insert.head}${Array<string>(some.length).fill(row).join(', ')}${insert.tail}`, values });
    some = [];
    bytes = 0;
  };
  for (const values of rows) {
    const more = bytesOf(values);
    if (some.length === ROWS_MAX || (some.length > 0 && bytes + more > statementBytesMax / 2)) await send();
    some.push(values);
    bytes += more;
  }
  await send();
}

/** Of a row's values as the text of a statement, at most: a character has up to three bytes, a byte two digits. */
const bytesOf = (values: Values): number =>
  values.reduce<number>(
    (sum, value) =>
      sum + (typeof value === 'string' ? 3 * value.length : value instanceof Uint8Array ? 2 * value.length : 20) + 4,
    0,
  );
