// The one transaction of a batch: positions first, then tombstones, facts, dimensions and dead letters (DESIGN §4, PROTOCOL M1).
// Invariant: a row in the open snapshot is the greatest (timestamp, partition, offset) of its key, and no key that a later
// tombstone deleted is in it, however partitions and batches interleave.

import type { OpenSnapshot } from '../model/snapshot.ts';
import type { SnapshotRules } from '../model/snapshot-rules.ts';
import type { Dialect } from './dialect.ts';
import type { DimensionTable, FactTable, SqlColumn, SqlTable } from './fact-table.ts';
import { fittingLetter } from './large-letters.ts';
import { openFirst } from './open-snapshot.ts';
import { Bisect, type CoordinatesAt, RowsRefused } from './refused-rows.ts';
import { type BatchRows, factColumns, type RowSource } from './staged-batch.ts';
import type { RowsInsert, SqlScalar, Tx, Values, Warehouse } from './warehouse.ts';

export type BatchCommit = {
  readonly feed: string;
  readonly topic: string;
  readonly rows: BatchRows;
  /** null: there is no schema yet, and so no row. */
  readonly fact: FactTable | null;
  /** Names the first snapshot of a table; null: a stream. */
  readonly snapshots: SnapshotRules | null;
  readonly nowMs: number;
  /** The rows are all of the table: what is there and not among them goes. */
  readonly isWhole: boolean;
  /** A statement may have half of what the server takes. */
  readonly warehouse: Pick<Warehouse, 'dialect' | 'statementBytesMax'>;
};

type TableCommit = BatchCommit & { readonly fact: FactTable };

/** All but the positions, which are locked by now. Throws WarehouseFailure. */
export async function applyBatch(tx: Tx, commit: BatchCommit): Promise<void> {
  const { rows, fact, warehouse } = commit;
  if (fact) await applyRows(tx, commit, fact);
  await insertAll(
    tx,
    commit,
    insertDeadLetters(warehouse.dialect, commit.isWhole),
    mapped(rows.deadLetters, (values) =>
      fittingLetter([commit.feed, commit.topic, ...values], { statementBytesMax: commit.warehouse.statementBytesMax, bytesOf }),
    ),
  );
}

const mapped = ({ slices }: RowSource, change: (values: Values) => Values): RowSource => ({
  slices: async function* () {
    for await (const slice of slices()) yield slice.map(change);
  },
});

async function applyRows(tx: Tx, commit: BatchCommit, fact: FactTable): Promise<void> {
  const { rows, snapshots, warehouse } = commit;
  if (snapshots === null) await insertAll(tx, commit, insertFacts(fact), rows.facts);
  else await applyState(tx, { ...commit, fact }, await openFirst(tx, { ...commit, fact }, snapshots));
  for (const [index, dimension] of fact.dimensions.entries())
    if (rows.dimensions[index])
      await insertAll(tx, commit, insertDimension(warehouse.dialect, dimension), rows.dimensions[index]);
}

type Insert = Omit<RowsInsert, 'rows' | 'next'> & {
  /** null: no message can be blamed for a row that is refused. */
  readonly at: CoordinatesAt | null;
};

const quoted = (columns: readonly SqlColumn[]): string[] => columns.map((column) => column.quoted);

const touched = ({ columns }: SqlTable): string[] => quoted(columns.filter(({ holds }) => holds.kind === 'updated_at'));

/** `first_seen_at` may be NULL in a table that lake did not make. */
function insertDimension(dialect: Dialect, dimension: DimensionTable): Insert {
  const { attributes, keyHash, firstSeenAt, lastSeenAt } = dimension;
  const columns = [dimension.key, ...attributes, keyHash, firstSeenAt, lastSeenAt];
  const [first, last] = [firstSeenAt.quoted, lastSeenAt.quoted];
  const tail = dialect.upsert({
    table: dimension.quoted,
    key: [keyHash.quoted],
    sets: (old, incoming) => {
      const isNewer = `(${old(last)} IS NULL OR ${incoming(last)} >= ${old(last)})`;
      const newer = ({ quoted: name }: SqlColumn) => [name, `IF(${isNewer}, ${incoming(name)}, ${old(name)})`] as const;
      return [
        ...attributes.map(newer),
        [first, `LEAST(COALESCE(${old(first)}, ${incoming(first)}), ${incoming(first)})`],
        [last, `GREATEST(COALESCE(${old(last)}, ${incoming(last)}), ${incoming(last)})`],
      ];
    },
    touch: touched(dimension),
  });
  const at = { partition: columns.length, offset: columns.length + 1 };
  return { table: dimension.quoted, columns: quoted(columns), tail, at };
}

const MESSAGE = ['feed', 'topic', 'kafka_partition', 'kafka_offset'];
const REFUSAL = ['field', 'reason', 'schema_version'];

/** After a rewind the same message may be refused again. One that a rebuild finds again stays as it is, unless it had become a row, or an
 *  earlier rebuild closed it. */
const insertDeadLetters = (dialect: Dialect, isWhole: boolean): Insert => ({
  table: 'lake_dead_letters',
  columns: [...MESSAGE, 'kafka_timestamp', 'kafka_key', 'value', 'headers', ...REFUSAL, 'effective_timestamp'],
  tail: dialect.upsert({
    table: 'lake_dead_letters',
    key: MESSAGE,
    sets: (old, incoming) => [
      ...REFUSAL.map((name) => [name, incoming(name)] as const),
      // The state last: in MySQL what follows it would see the new one.
      ...(isWhole
        ? ([
            ['closed_at', `IF(${old('state')} = 'dropped', ${old('closed_at')}, NULL)`],
            ['state', `IF(${old('state')} = 'dropped', 'dropped', 'open')`],
          ] as const)
        : ([
            ['closed_at', 'NULL'],
            ['state', "'open'"],
          ] as const)),
    ],
    touch: [],
  }),
  at: null,
});

const insertFacts = (fact: FactTable): Insert => ({
  table: fact.quoted,
  columns: quoted(factColumns(fact)),
  tail: '',
  at: coordinatesOf(fact),
});

/** Behind the fields, and the hash of a table's key. */
const coordinatesOf = ({ values, own }: FactTable): CoordinatesAt => {
  const partition = values.length + (own.keyHash === null ? 0 : 1);
  return { partition, offset: partition + 1 };
};

const COORDINATES = ['kafka_timestamp', 'kafka_partition', 'kafka_offset'];

async function applyState(tx: Tx, commit: TableCommit, snapshot: OpenSnapshot): Promise<void> {
  const { feed, rows, fact, warehouse } = commit;
  const { own } = fact;
  const [date, version, hash] = [own.snapshotDate, own.snapshotVersion, own.keyHash];
  if (date === null || version === null || hash === null) return;
  const { latestWins, upsert } = warehouse.dialect;
  if (commit.isWhole) await tx.change({ text: 'DELETE FROM lake_tombstones WHERE feed = ?', values: [feed] });
  const tombstones: Insert = {
    table: 'lake_tombstones',
    columns: ['feed', 'key_hash', 'kafka_partition', 'kafka_offset', 'kafka_timestamp'],
    tail: latestWins({ table: 'lake_tombstones', key: ['feed', 'key_hash'], fields: [], order: COORDINATES, touch: [] }),
    at: null,
  };
  await insertAll(
    tx,
    commit,
    tombstones,
    mapped(rows.tombstones, (values) => [feed, ...values]),
  );
  const target = { table: fact.quoted, key: quoted([hash, date, version]), touch: touched(fact) };
  const order = quoted([own.kafkaTimestamp, own.kafkaPartition, own.kafkaOffset]);
  const fields = quoted(fact.values);
  const insert: Insert = {
    table: fact.quoted,
    columns: quoted([...factColumns(fact), date, version]),
    // What is there may be of messages that Kafka has no more, and later ones.
    tail: commit.isWhole
      ? upsert({ ...target, sets: (_, incoming) => [...fields, ...order].map((name) => [name, incoming(name)] as const) })
      : latestWins({ ...target, fields, order }),
    at: coordinatesOf(fact),
  };
  await insertAll(
    tx,
    commit,
    insert,
    mapped(rows.facts, (values) => [...values, snapshot.date, snapshot.version]),
  );
  if (commit.isWhole) await deleteOthers(tx, commit, snapshot);
  else await deleteDeleted(tx, commit, { snapshot, hashAt: fact.values.length });
}

/** Rows of the snapshot whose keys are not among these, which come in the order of their hashes: a stretch of hashes at a time. */
async function deleteOthers(tx: Tx, { rows, fact, warehouse }: TableCommit, { date, version }: OpenSnapshot): Promise<void> {
  const { snapshotDate, snapshotVersion, keyHash } = fact.own;
  const hash = keyHash?.quoted;
  const from = `DELETE FROM ${fact.quoted} WHERE ${snapshotDate?.quoted} = ? AND ${snapshotVersion?.quoted} = ?`;
  let after: SqlScalar = new Uint8Array();
  for await (const slice of rows.facts.slices()) {
    for (const some of statementsOf(slice, { rowsMax: warehouse.dialect.insertRowsMax, bytesMax: Number.POSITIVE_INFINITY })) {
      const hashes = some.map((values) => values[fact.values.length] ?? null);
      const last = hashes.at(-1) ?? null;
      const stretch = `${hash} > ? AND ${hash} < ? AND ${hash} NOT IN (${marks(hashes.length)})`;
      await tx.change({ text: `${from} AND ${stretch}`, values: [date, version, after, last, ...hashes] });
      after = last;
    }
  }
  await tx.change({ text: `${from} AND ${hash} > ?`, values: [date, version, after] });
}

/** Rows that a tombstone, of this batch or an earlier one, is newer than: a key may sit in several partitions. */
async function deleteDeleted(
  tx: Tx,
  { feed, rows, fact, warehouse }: TableCommit,
  { snapshot, hashAt }: { readonly snapshot: OpenSnapshot; readonly hashAt: number },
): Promise<void> {
  const { own } = fact;
  const [any] = await tx.rows({ text: 'SELECT 1 AS one FROM lake_tombstones WHERE feed = ? LIMIT 1', values: [feed] });
  if (!any) return;
  const { deleteJoined, insertRowsMax } = warehouse.dialect;
  const later = COORDINATES.map((name) => `t.${name}`).join(', ');
  const row = [own.kafkaTimestamp, own.kafkaPartition, own.kafkaOffset].map(({ quoted }) => `f.${quoted}`).join(', ');
  const deleteOf = async (hashes: readonly SqlScalar[]): Promise<void> => {
    for (let from = 0; from < hashes.length; from += insertRowsMax) {
      const some = hashes.slice(from, from + insertRowsMax);
      await tx.change({
        text: deleteJoined({
          table: fact.quoted,
          other: 'lake_tombstones',
          on: `t.feed = ? AND t.key_hash = f.${own.keyHash?.quoted}`,
          where: `f.${own.snapshotDate?.quoted} = ? AND f.${own.snapshotVersion?.quoted} = ?
            AND f.${own.keyHash?.quoted} IN (${marks(some.length)}) AND (${later}) > (${row})`,
        }),
        values: [feed, snapshot.date, snapshot.version, ...some],
      });
    }
  };
  for await (const slice of rows.tombstones.slices()) await deleteOf(slice.map(([hash]) => hash ?? null));
  for await (const slice of rows.facts.slices()) await deleteOf(slice.map((values) => values[hashAt] ?? null));
}

const marks = (count: number): string => Array<string>(count).fill('?').join(', ');

/** Rows in as few statements as their number and the server's packet allow. Throws RowsRefused when messages are to blame. */
async function insertAll(tx: Tx, { warehouse, isWhole }: BatchCommit, { at, ...into }: Insert, rows: RowSource): Promise<void> {
  const limits = { rowsMax: warehouse.dialect.insertRowsMax, bytesMax: warehouse.statementBytesMax / 2 };
  const bisect = at && new Bisect(tx, { ...into, at, isWhole });
  for await (const slice of rows.slices()) {
    const parts = [...statementsOf(slice, limits)];
    for (const [index, some] of parts.entries()) {
      const next = parts[index + 1];
      if (!bisect) await tx.insert({ ...into, rows: some, next });
      else if (!bisect.isFull) await bisect.insert(some, next);
    }
    if (bisect?.isFull) break;
  }
  if (bisect && bisect.refused.length > 0) throw new RowsRefused(bisect.refused, bisect.triedCount);
}

type Limits = { readonly rowsMax: number; readonly bytesMax: number };

/** A row that is too large by itself makes a statement of its own. */
function* statementsOf(rows: readonly Values[], { rowsMax, bytesMax }: Limits): Generator<readonly Values[]> {
  let from = 0;
  let bytes = 0;
  for (const [index, values] of rows.entries()) {
    const more = bytesOf(values);
    if (index > from && (index - from === rowsMax || bytes + more > bytesMax)) {
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
