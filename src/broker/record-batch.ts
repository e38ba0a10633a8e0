// Kafka's record batches (message format 2) read straight from a fetch response's bytes: no object a record.
// Keeps read_committed's promise: records of aborted transactions and control records are passed over, their offsets are not.
// Layout: Kafka protocol guide, "Record Batch"; lengths are bytes, integers big-endian, varints zigzag.

import { LakeError } from '../errors.ts';
import { decompress } from './codecs.ts';

/** Where one record's parts lie in `bytes`; -1 as a length stands for null. Valid only during the call. */
export type RecordSink = {
  record(bytes: Buffer, part: RecordParts): void;
};

export type RecordParts = {
  offset: number;
  timestampMs: number;
  keyStart: number;
  keyLength: number;
  valueStart: number;
  valueLength: number;
  headersStart: number;
  headerCount: number;
};

export type AbortedTransaction = { readonly producerId: bigint; readonly firstOffset: bigint };

const HEADER_BYTES = 61;
const MAGIC_AT = 16;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT_MARKER = 0;

/** Bytes of the complete batches at the start of `records`: a response may end in a partial one, which Kafka sends again. */
export function completeBatchBytes(records: Buffer): number {
  let at = 0;
  while (at + HEADER_BYTES <= records.length) {
    const size = 12 + records.readInt32BE(at + 8);
    if (at + size > records.length) break;
    at += size;
  }
  return at;
}

/** The offset after the last one covered by complete batches (log compaction keeps it), or null when there is none. */
export function nextOffsetOf(records: Buffer): bigint | null {
  let next: bigint | null = null;
  for (let at = 0; at < records.length; at += 12 + records.readInt32BE(at + 8)) {
    next = records.readBigInt64BE(at) + BigInt(records.readInt32BE(at + 23)) + 1n;
  }
  return next;
}

/** Calls the sink for every committed record at or beyond `from`, in offset order. `records` holds complete batches only. */
export function readRecords(records: Buffer, from: bigint, aborted: readonly AbortedTransaction[], sink: RecordSink): void {
  const pending = [...aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : a.firstOffset > b.firstOffset ? 1 : 0));
  const aborting = new Set<bigint>();
  let size = 0;
  for (let at = 0; at < records.length; at += size) {
    size = 12 + records.readInt32BE(at + 8);
    const magic = records.readInt8(at + MAGIC_AT);
    if (magic !== 2)
      throw new LakeError(
        'message_format',
        `messages are stored in format ${magic}; lake reads format 2, written since Kafka 0.11`,
      );
    const baseOffset = records.readBigInt64BE(at);
    const lastOffset = baseOffset + BigInt(records.readInt32BE(at + 23));
    const attributes = records.readInt16BE(at + 21);
    const producerId = records.readBigInt64BE(at + 43);
    for (let first = pending[0]; first && first.firstOffset <= lastOffset; first = pending[0]) {
      aborting.add(first.producerId);
      pending.shift();
    }
    if (attributes & CONTROL) {
      if (isAbortMarker(records, at, size)) aborting.delete(producerId);
    } else if (lastOffset >= from && !(attributes & TRANSACTIONAL && aborting.has(producerId))) {
      readBatch(records.subarray(at, at + size), attributes, from, sink);
    }
  }
}

/** A control record's key is version int16, type int16 (0: abort, 1: commit). */
function isAbortMarker(records: Buffer, at: number, size: number): boolean {
  const cursor: Cursor = { at: at + HEADER_BYTES };
  if (size <= HEADER_BYTES) return false;
  readVarint(records, cursor);
  cursor.at += 1;
  skipVarint(records, cursor);
  skipVarint(records, cursor);
  return readVarint(records, cursor) >= 4 && records.readInt16BE(cursor.at + 2) === ABORT_MARKER;
}

type Cursor = { at: number };

function readBatch(batch: Buffer, attributes: number, from: bigint, sink: RecordSink): void {
  const baseOffset = safe(batch.readBigInt64BE(0), 'offset');
  const baseTimestampMs = safe(batch.readBigInt64BE(27), 'timestamp');
  const maxTimestampMs = safe(batch.readBigInt64BE(35), 'timestamp');
  const appendTime = (attributes & LOG_APPEND_TIME) !== 0;
  const count = batch.readInt32BE(57);
  const codec = attributes & COMPRESSION_MASK;
  const payload = codec === 0 ? batch : decompress(codec, batch.subarray(HEADER_BYTES));
  const cursor: Cursor = { at: codec === 0 ? HEADER_BYTES : 0 };
  const fromOffset = Number(from);
  const part: RecordParts = {
    offset: 0,
    timestampMs: 0,
    keyStart: 0,
    keyLength: -1,
    valueStart: 0,
    valueLength: -1,
    headersStart: 0,
    headerCount: 0,
  };
  for (let index = 0; index < count; index++) {
    const length = readVarint(payload, cursor);
    const end = cursor.at + length;
    if (length < 6 || end > payload.length) throw damaged(baseOffset, index);
    cursor.at += 1;
    const timestampDelta = readVarlong(payload, cursor);
    part.offset = baseOffset + readVarint(payload, cursor);
    part.timestampMs = appendTime ? maxTimestampMs : baseTimestampMs + timestampDelta;
    part.keyLength = readVarint(payload, cursor);
    part.keyStart = cursor.at;
    if (part.keyLength > 0) cursor.at += part.keyLength;
    part.valueLength = readVarint(payload, cursor);
    part.valueStart = cursor.at;
    if (part.valueLength > 0) cursor.at += part.valueLength;
    part.headerCount = readVarint(payload, cursor);
    part.headersStart = cursor.at;
    if (cursor.at > end) throw damaged(baseOffset, index);
    cursor.at = end;
    if (part.offset >= fromOffset) sink.record(payload, part);
  }
}

/** Headers as [name, bytes] in their order; a name may occur twice. */
export function readHeaders(bytes: Buffer, part: RecordParts): [string, Buffer | null][] {
  const cursor: Cursor = { at: part.headersStart };
  const headers: [string, Buffer | null][] = [];
  for (let index = 0; index < part.headerCount; index++) {
    const nameLength = readVarint(bytes, cursor);
    const name = bytes.toString('utf8', cursor.at, cursor.at + nameLength);
    cursor.at += nameLength;
    const valueLength = readVarint(bytes, cursor);
    headers.push([name, valueLength < 0 ? null : Buffer.from(bytes.subarray(cursor.at, cursor.at + valueLength))]);
    if (valueLength > 0) cursor.at += valueLength;
  }
  return headers;
}

/** Offsets and milliseconds pass through doubles on the way to DuckDB; beyond 2^53 they would lose digits, so refuse. */
function safe(value: bigint, what: string): number {
  if (value > 9007199254740991n || value < -9007199254740991n)
    throw new LakeError('message_format', `${what} ${value} is beyond 2^53`);
  return Number(value);
}

const damaged = (baseOffset: number, index: number): LakeError =>
  new LakeError('message_format', `record ${index} of the batch at offset ${baseOffset} is damaged`, {
    where: { offset: baseOffset },
  });

function readVarint(bytes: Buffer, cursor: Cursor): number {
  let byte = bytes[cursor.at++] ?? 0;
  let value = byte & 0x7f;
  for (let shift = 7; byte & 0x80 && shift < 35; shift += 7) {
    byte = bytes[cursor.at++] ?? 0;
    value |= (byte & 0x7f) << shift;
  }
  return (value >>> 1) ^ -(value & 1);
}

function skipVarint(bytes: Buffer, cursor: Cursor): void {
  while ((bytes[cursor.at++] ?? 0) & 0x80);
}

/** A 64-bit zigzag varint; deltas of up to 2^53 are exact. */
function readVarlong(bytes: Buffer, cursor: Cursor): number {
  const start = cursor.at;
  let low = 0;
  let byte = 0x80;
  for (let shift = 0; byte & 0x80 && shift < 28; shift += 7) {
    byte = bytes[cursor.at++] ?? 0;
    low |= (byte & 0x7f) << shift;
  }
  if (!(byte & 0x80)) return (low >>> 1) ^ -(low & 1);
  cursor.at = start;
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    byte = bytes[cursor.at++] ?? 0;
    value |= BigInt(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return safe((value >> 1n) ^ -(value & 1n), 'timestamp');
}
