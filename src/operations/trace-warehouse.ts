// What became of a message in the warehouse. Invariant: positions are read first, so that what lies before them is committed.

import { LakeError } from '../errors.ts';
import type { Feed, TypedField } from '../model/feed.ts';
import type { PositionState } from '../model/feed-state.ts';
import type { JsonObject, JsonValue } from '../model/json-fields.ts';
import { type MessagePlace, type Told, told } from '../model/trace.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import {
  rowsFor,
  selectDeadLetter,
  selectGap,
  selectKey,
  selectPosition,
  selectRows,
  selectTombstone,
} from '../warehouse/find-message.ts';
import { openSnapshot } from '../warehouse/inspect.ts';
import { selectPositions, stateOf } from '../warehouse/positions.ts';
import { type Row, type Warehouse, WarehouseFailure, warehouseError } from '../warehouse/warehouse.ts';
import { type KafkaLook, keyHashOf } from './trace-message.ts';

export type WarehouseTrace = {
  readonly warehouse: () => Promise<Warehouse>;
  readonly feed: Feed;
  /** Those that are pinned; null: none are, and there is no table. */
  readonly fields: readonly TypedField[] | null;
  readonly place: MessagePlace;
  readonly look: KafkaLook;
  readonly signal: AbortSignal;
};

/** A server that is away is an answer. Throws warehouse_failed, warehouse_table_differs: what a server says that is there. */
export async function traceWarehouse(trace: WarehouseTrace): Promise<Told> {
  try {
    return await traceIn(trace, await trace.warehouse());
  } catch (error) {
    const isAway =
      (error instanceof LakeError && error.code === 'warehouse_unreachable') ||
      (error instanceof WarehouseFailure && error.class === 'wait');
    if (isAway) return told('unreachable', error.message);
    throw error instanceof WarehouseFailure ? warehouseError(error, `feed ${trace.feed.name} in the warehouse`) : error;
  }
}

async function traceIn(trace: WarehouseTrace, warehouse: Warehouse): Promise<Told> {
  const { feed, place, signal, fields } = trace;
  const of = { ...place, feed: feed.name };
  const read = (statement: Parameters<typeof rowsFor>[1]): Promise<readonly Row[]> => rowsFor(warehouse, statement, signal);
  let positions: readonly Row[];
  try {
    positions = await read(selectPositions(of));
  } catch (error) {
    if (error instanceof WarehouseFailure && error.class === 'missing')
      return told('not_yet', 'nothing is in yet', { position: null });
    throw error;
  }
  const at = stateOf(positions).positions.get(place.partition);
  if (!at) return told('not_yet', `nothing of partition ${place.partition} is in yet`, { position: null });
  const facts = { position: String(at.position), start: String(at.start) };
  if (place.offset >= at.position) return told('not_yet', `the position is ${at.position}`, facts);
  if (place.offset < at.start) return told('before_start', `the feed begins at offset ${at.start}`, facts);
  const [gap] = (await read(selectGap(of))).map(plainRow);
  if (gap) return told('gap', `recorded at ${gap['recorded_at']}: ${gap['reason']}`, gap);
  const [letter] = (await read(selectDeadLetter(of))).map(plainRow);
  // Closed by a retry, or by a rebuild that did not find it again: there is a row, or something else to tell.
  if (letter && letter['state'] !== 'retried' && letter['state'] !== 'superseded')
    return told('dead_letter', `lake_dead_letters id ${letter['id']} (${letter['state']}): ${letter['reason']}`, letter);
  if (fields === null) return told('unknown', 'no schema is pinned, and it is no dead letter', facts);
  const [counts] = await read(selectPosition(of));
  const retained = Number(counts?.['retained_rows'] ?? 0) + Number(counts?.['retained_dead_letters'] ?? 0);
  const found = { ...trace, read, fact: factTable(feed, fields, warehouse.dialect), fields, at, retained };
  return feed.type === 'table' ? traceKey(found) : traceAppended(found);
}

type FoundIn = WarehouseTrace & {
  readonly read: (statement: Parameters<typeof rowsFor>[1]) => Promise<readonly Row[]>;
  readonly fact: FactTable;
  readonly fields: readonly TypedField[];
  readonly at: PositionState;
  /** Rows and dead letters of the partition that retention has deleted. */
  readonly retained: number;
};

async function traceAppended({ feed, place, look, read, fact, at, retained }: FoundIn): Promise<Told> {
  const [row] = await read(selectRows(fact, { ...place, feed: feed.name }));
  if (row) return told('row', `${fact.name} ${fact.own.id.name} ${row[fact.own.id.name]}`, rowFacts(fact, row));
  const { totals } = at;
  if (look.kind === 'message') {
    if (look.message.value === null) return told('tombstone', 'it has no value: a stream counts it and keeps no row');
    if (retained > 0)
      return told('removed', `retention has deleted ${retained} rows of the partition, and it is not among those that are left`);
    return told('unknown', `the position is beyond it, and ${fact.name} has no row of it`);
  }
  if (look.kind === 'absent') return told('hole', 'Kafka has no message at this offset');
  if (retained === 0 && totals.tombstones === 0 && BigInt(totals.messages) === at.position - at.start)
    return told('unknown', `every offset of the partition was a row or a dead letter, and ${fact.name} has none of this one`);
  return told(
    'hole',
    'no row: there was no message, a tombstone, or its row is older than retention; Kafka cannot tell any more',
  );
}

async function traceKey(found: FoundIn): Promise<Told> {
  const { feed, fields, place, look, read, fact, warehouse, signal } = found;
  const hash = keyHashOf(feed, fields, look);
  const of = { ...place, feed: feed.name };
  const rows = await read(hash === null ? selectRows(fact, of) : selectKey(fact, hash));
  checkColumns(fact, rows);
  const open = await openSnapshot(await warehouse(), feed.name, signal);
  const { kafkaPartition, kafkaOffset, snapshotDate, snapshotVersion } = fact.own;
  const isMine = (row: Row): boolean =>
    Number(row[kafkaPartition.name]) === place.partition && BigInt(String(row[kafkaOffset.name])) === place.offset;
  const nameOf = (row: Row): JsonObject => ({
    snapshot_date: snapshotDate && String(row[snapshotDate.name]),
    snapshot_version: snapshotVersion && Number(row[snapshotVersion.name]),
    id: String(row[fact.own.id.name]),
  });
  const isOpen = (row: Row): boolean =>
    open !== null && nameOf(row)['snapshot_date'] === open.date && nameOf(row)['snapshot_version'] === open.version;
  const facts: JsonObject = { snapshots: rows.filter(isMine).map(nameOf) };
  const live = rows.find(isOpen);
  if (live && isMine(live))
    return told('row', `${fact.name} ${fact.own.id.name} ${live[fact.own.id.name]}`, { ...rowFacts(fact, live), ...facts });
  const [grave] = await read(selectTombstone(of, hash));
  const isGrave =
    grave !== undefined &&
    Number(grave['kafka_partition']) === place.partition &&
    BigInt(String(grave['kafka_offset'])) === place.offset;
  if (isGrave) return told('tombstone', 'its key is deleted', { key_is_gone: true, ...facts });
  const by = live
    ? { kafka_partition: Number(live[kafkaPartition.name]), kafka_offset: String(live[kafkaOffset.name]) }
    : grave && { kafka_partition: Number(grave['kafka_partition']), kafka_offset: String(grave['kafka_offset']) };
  const shown = by && `${by.kafka_partition}:${by.kafka_offset}`;
  const more = { superseded_by: by ?? null, ...facts };
  if (look.kind === 'message' && look.message.value === null) {
    const how = live ? `it deleted its key, which ${shown} brought back` : 'its key is deleted';
    return told('tombstone', how, { key_is_gone: !live, ...more });
  }
  if (hash !== null && by) return told('superseded', `${shown} of the same key came later`, more);
  return withoutWinner(found, more, rows.some(isMine));
}

function checkColumns(fact: FactTable, [row]: readonly Row[]): void {
  const gone = Object.values(fact.own).find((column) => row && column && !(column.name in row));
  if (!gone) return;
  throw new LakeError('warehouse_table_differs', `table ${fact.name} has no column ${gone.name} any more`, {
    where: { feed: fact.feed, target: 'warehouse' },
    todo: `see what  lake verify ${fact.feed}  finds`,
  });
}

/** Tombstones are forgotten at a seal, and of a key that Kafka cannot tell only its own coordinates can be looked for. */
async function withoutWinner({ look, read, feed, at }: FoundIn, facts: JsonObject, isInOlder: boolean): Promise<Told> {
  if (isInOlder) return told('superseded', 'it is a row of older snapshots, and of the open one no more', facts);
  if (look.kind === 'message') {
    const sealed = await read({
      text: "SELECT 1 AS one FROM lake_snapshots WHERE feed = ? AND state = 'sealed' LIMIT 1",
      values: [feed.name],
    });
    if (sealed.length > 0) return told('superseded', 'its key is gone, deleted by a tombstone that is forgotten by now', facts);
    return told('unknown', 'the position is beyond it, and its key is neither there nor deleted', facts);
  }
  if (look.kind === 'absent' && BigInt(at.totals.messages) < at.position - at.start)
    return told(
      'hole',
      'Kafka has no message at this offset: there was none, or log compaction took it after a later one',
      facts,
    );
  return told('superseded', 'a later message of its key, or it was a tombstone; which one, Kafka cannot tell any more', facts);
}

const rowFacts = (fact: FactTable, row: Row): JsonObject => ({
  table: fact.name,
  id: String(row[fact.own.id.name]),
  columns: plainRow(row),
});

/** Bytes as base64, but a key_hash in the hexadecimal that SQL takes. */
const plainRow = (row: Row): Record<string, JsonValue> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      value instanceof Uint8Array ? Buffer.from(value).toString(name.endsWith('key_hash') ? 'hex' : 'base64') : value,
    ]),
  );
