// Rows, dead letters, tombstones and gaps of one message in the warehouse. Only reads; every question has an index, but a table's row
// whose key is not known.

import type { FactTable } from './fact-table.ts';
import type { Row, Statement, Warehouse } from './warehouse.ts';

export type MessageOf = { readonly feed: string; readonly topic: string; readonly partition: number; readonly offset: bigint };

const at = ({ partition, offset }: MessageOf): readonly (number | bigint)[] => [partition, offset];

/** With whatever this database counts: one from before there was retention has no account of it. */
export const selectPosition = (message: MessageOf): Statement => ({
  text: 'SELECT * FROM lake_positions WHERE feed = ? AND topic = ? AND kafka_partition = ?',
  values: [message.feed, message.topic, message.partition],
});

export const selectGap = (message: MessageOf): Statement => ({
  text: `SELECT start_offset, end_offset, reason, recorded_at FROM lake_gaps
    WHERE feed = ? AND topic = ? AND kafka_partition = ? AND start_offset <= ? AND end_offset > ? ORDER BY epoch DESC LIMIT 1`,
  values: [message.feed, message.topic, message.partition, message.offset, message.offset],
});

export const selectDeadLetter = (message: MessageOf): Statement => ({
  text: `SELECT id, field, reason, state, created_at FROM lake_dead_letters
    WHERE feed = ? AND topic = ? AND kafka_partition = ? AND kafka_offset = ?`,
  values: [message.feed, message.topic, ...at(message)],
});

/** In all its snapshots. */
export const selectRows = ({ quoted, own }: FactTable, message: MessageOf): Statement => ({
  text: `SELECT * FROM ${quoted} WHERE ${own.kafkaPartition.quoted} = ? AND ${own.kafkaOffset.quoted} = ?`,
  values: [...at(message)],
});

/** null: a stream has no key. */
export const selectKey = ({ quoted, own }: FactTable, hash: Uint8Array): Statement | null =>
  own.keyHash && { text: `SELECT * FROM ${quoted} WHERE ${own.keyHash.quoted} = ?`, values: [hash] };

/** By the key where it is known. */
export const selectTombstone = (message: MessageOf, hash: Uint8Array | null): Statement => {
  const where = hash === null ? 'kafka_partition = ? AND kafka_offset = ?' : 'key_hash = ?';
  return {
    text: `SELECT key_hash, kafka_partition, kafka_offset, kafka_timestamp FROM lake_tombstones WHERE feed = ? AND ${where}`,
    values: [message.feed, ...(hash === null ? at(message) : [hash])],
  };
};

export const rowsFor = async (warehouse: Warehouse, statement: Statement | null, signal: AbortSignal): Promise<readonly Row[]> =>
  statement === null ? [] : await warehouse.run(statement, signal);
