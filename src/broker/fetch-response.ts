// The wire format of Fetch responses, versions 4 to 11 (Kafka protocol guide): reads each partition's header and records,
// writes the same response with one ticket record in the place of the records.

import { type AbortedTransaction, completeBatchBytes, nextOffsetOf } from './record-batch.ts';

/** What Kafka answered for one partition. Offsets are Kafka's at the moment of the fetch. */
export type Fetched = {
  readonly topic: string;
  readonly partition: number;
  /** Complete record batches. */
  readonly records: Buffer;
  readonly nextOffset: bigint;
  /** The last stable offset: up to here there is something to read. */
  readonly endOffset: bigint;
  readonly abortedTransactions: readonly AbortedTransaction[];
  /** Whether `records` still holds these bytes: the next response of the same connection is written over them. */
  readonly isCurrent: () => boolean;
  /** Whether nothing else of the same response waits to be taken. */
  readonly isLast: () => boolean;
};

export type FetchHooks = {
  /** Returns the ticket under which kafkajs will deliver these records. */
  onRecords(fetched: Omit<Fetched, 'isCurrent' | 'isLast'>): bigint;
  onOutOfRange(topic: string, partition: number): void;
  /** The end of the partition as the leader sees it; it goes back when the topic is created anew, or messages are lost. */
  onEnd(topic: string, partition: number, end: bigint): void;
  /** The broker knows no such topic (any more). */
  onUnknownTopic(topic: string): void;
};

const OFFSET_OUT_OF_RANGE = 1;
const UNKNOWN_TOPIC_OR_PARTITION = 3;
const TICKET_BATCH_BYTES = 61 + 15;

/** `frame` begins with its int32 length and the correlation id. Returns a new frame. */
export function rewriteFetchResponse(frame: Buffer, version: number, hooks: FetchHooks): Buffer {
  const out: Buffer[] = [];
  let at = 8;
  let copied = 0;
  at += version >= 7 ? 4 + 2 + 4 : 4;
  const topics = frame.readInt32BE(at);
  at += 4;
  for (let topicIndex = 0; topicIndex < topics; topicIndex++) {
    const nameBytes = frame.readInt16BE(at);
    const topic = frame.toString('utf8', at + 2, at + 2 + nameBytes);
    at += 2 + nameBytes;
    const partitions = frame.readInt32BE(at);
    at += 4;
    for (let partitionIndex = 0; partitionIndex < partitions; partitionIndex++) {
      const header = readPartitionHeader(frame, at, version);
      if (header.errorCode === 0) hooks.onEnd(topic, header.partition, header.highWatermark);
      if (header.errorCode === OFFSET_OUT_OF_RANGE) hooks.onOutOfRange(topic, header.partition);
      if (header.errorCode === UNKNOWN_TOPIC_OR_PARTITION) hooks.onUnknownTopic(topic);
      const sizeAt = header.end;
      const size = Math.max(0, frame.readInt32BE(sizeAt));
      const all = frame.subarray(sizeAt + 4, sizeAt + 4 + size);
      const records = all.subarray(0, completeBatchBytes(all));
      at = sizeAt + 4 + size;
      const nextOffset = nextOffsetOf(records);
      if (nextOffset === null) continue;
      const { partition, abortedTransactions, endOffset } = header;
      const ticket = hooks.onRecords({ topic, partition, records, nextOffset, endOffset, abortedTransactions });
      out.push(frame.subarray(copied, sizeAt), ticketRecords(nextOffset - 1n, ticket));
      copied = at;
    }
  }
  out.push(frame.subarray(copied));
  const rewritten = Buffer.concat(out);
  rewritten.writeInt32BE(rewritten.length - 4, 0);
  return rewritten;
}

type PartitionHeader = Pick<Fetched, 'partition' | 'endOffset' | 'abortedTransactions'> & {
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly end: number;
};

function readPartitionHeader(frame: Buffer, start: number, version: number): PartitionHeader {
  const logStartBytes = version >= 5 ? 8 : 0;
  let at = start + 4 + 2 + 8 + 8 + logStartBytes;
  const count = Math.max(0, frame.readInt32BE(at));
  at += 4;
  const abortedTransactions: AbortedTransaction[] = [];
  for (let index = 0; index < count; index++, at += 16) {
    abortedTransactions.push({ producerId: frame.readBigInt64BE(at), firstOffset: frame.readBigInt64BE(at + 8) });
  }
  return {
    partition: frame.readInt32BE(start),
    errorCode: frame.readInt16BE(start + 4),
    highWatermark: frame.readBigInt64BE(start + 6),
    endOffset: frame.readBigInt64BE(start + 14),
    abortedTransactions,
    end: at + (version >= 11 ? 4 : 0),
  };
}

/** int32 size, then one record batch of format 2 that holds a single record: its offset `offset`, its value the ticket. */
function ticketRecords(offset: bigint, ticket: bigint): Buffer {
  const bytes = Buffer.alloc(4 + TICKET_BATCH_BYTES);
  bytes.writeInt32BE(TICKET_BATCH_BYTES, 0);
  const batch = bytes.subarray(4);
  batch.writeBigInt64BE(offset, 0);
  batch.writeInt32BE(TICKET_BATCH_BYTES - 12, 8);
  batch.writeInt8(2, 16);
  batch.writeBigInt64BE(-1n, 43);
  batch.writeInt16BE(-1, 51);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(1, 57);
  // length 14 (zigzag 28), attributes, timestamp and offset deltas 0, no key (zigzag 1), 8 value bytes (zigzag 16), no headers
  batch.set([28, 0, 0, 0, 1, 16], 61);
  batch.writeBigInt64BE(ticket, 67);
  batch.writeInt8(0, 75);
  return bytes;
}
