// Tombstones of a table: a message without a value deletes the key that its Kafka key names. They are staged in a table of their
// own, key columns and coordinates. Invariant: every tombstone ends as exactly one row of that table or one dead letter.

import type { Connection } from '../duckdb/connection.ts';
import { assert } from '../errors.ts';
import { type Column, DAY_COLUMN, duckdbType } from '../model/columns.ts';
import { decodeKey, type MessagePlan } from '../model/convert.ts';
import type { Value } from '../model/convert-value.ts';
import type { Feed } from '../model/feed.ts';
import { isKafkaTime, wrongTime } from '../model/kafka-time.ts';
import type { DeadLetter, DecodedRow } from '../model/memory-batch.ts';
import { textOf } from './chunk-read.ts';
import type { DecodePlan, StagedTables } from './decode.ts';
import { appendDeadLetters, appendDecoded } from './decode-exact.ts';
import type { RowShape } from './decode-sql.ts';

export type Tombstone = Pick<DeadLetter, 'partition' | 'offset' | 'timestampMs' | 'key' | 'headers'> & {
  /** The partition's largest timestamp up to this message. */
  readonly effectiveMs: bigint;
};

export type TombstonePlan = {
  readonly keyFields: readonly string[];
  /** Key columns in the order of the key, coordinates, the effective timestamp, the Kafka key, _day. */
  readonly columns: readonly Column[];
  readonly shape: RowShape;
};

export function tombstonePlan(feed: Feed, message: MessagePlan, timezone: string): TombstonePlan | null {
  const keys = feed.keyFields.map((name) => message.fields.find((field) => field.name === name));
  const values = keys.flatMap((field) => (field ? [{ column: field.name, type: field.type }] : []));
  // Before a schema is inferred there is no type to read a key by.
  if (values.length < keys.length) return null;
  return {
    keyFields: feed.keyFields,
    columns: [
      ...values.map(({ column, type }) => ({ name: column, type: duckdbType(type) })),
      { name: 'kafka_partition', type: 'INTEGER' },
      { name: 'kafka_offset', type: 'BIGINT' },
      { name: 'kafka_timestamp', type: 'TIMESTAMPTZ' },
      { name: 'kafka_key', type: 'BLOB' },
      DAY_COLUMN,
    ],
    shape: { values, headers: false, isTable: true, eventTime: null, timezone },
  };
}

/** Stages tombstones; returns how many of each partition became dead letters. Throws engine_failed. */
export async function appendTombstones(
  connection: Connection,
  plan: DecodePlan,
  tables: StagedTables,
  tombstones: readonly Tombstone[],
): Promise<ReadonlyMap<number, number>> {
  const { decoded, letters } = decodeTombstones(plan, tombstones);
  assert(decoded.length === 0 || (plan.tombstones && tables.tombstones), 'tombstones without a table for them');
  if (plan.tombstones && tables.tombstones) await appendDecoded(connection, plan.tombstones.shape, tables.tombstones, decoded);
  await appendDeadLetters(connection, plan, tables, letters);
  const refused = new Map<number, number>();
  for (const { partition } of letters) refused.set(partition, (refused.get(partition) ?? 0) + 1);
  return refused;
}

/** `values` are those of the key. */
export function decodeTombstones(
  plan: DecodePlan,
  tombstones: readonly Tombstone[],
): { decoded: DecodedRow[]; letters: DeadLetter[] } {
  const decoded: DecodedRow[] = [];
  const letters: DeadLetter[] = [];
  for (const tombstone of tombstones) {
    const result = decodeTombstone(plan, tombstone);
    if ('values' in result)
      decoded.push({ message: { ...tombstone, timestampMs: tombstone.effectiveMs }, values: result.values });
    else letters.push({ ...tombstone, value: null, ...result });
  }
  return { decoded, letters };
}

type DecodedKey = { readonly values: readonly Value[] } | Pick<DeadLetter, 'field' | 'reason'>;

function decodeTombstone(plan: DecodePlan, tombstone: Tombstone): DecodedKey {
  if (!plan.tombstones) return { field: null, reason: 'a tombstone, and no schema says yet how to read its key' };
  if (!isKafkaTime(tombstone.timestampMs)) return { field: null, reason: wrongTime(tombstone.timestampMs) };
  const result = decodeKey(tombstone.key && textOf(tombstone.key), plan.message, plan.tombstones.keyFields);
  if (result.kind === 'refused') return { field: result.field, reason: result.reason };
  return { values: result.values };
}
