// Fills chunks: values and keys are copied into one buffer each, coordinates into arrays; no object a message.
// Invariant: every record appended is in the next built chunk or among its refused ones.

import { isUtf8 } from 'node:buffer';
import { type RecordParts, type RecordSink, readHeaders } from '../broker/record-batch.ts';
import { assert } from '../errors.ts';
import type { DeadLetter } from '../model/memory-batch.ts';
import type { Chunk } from './chunk.ts';
import { encodedKeys, grown, headersJson, KEY_PRESENT, SEPARATOR, splitByUtf8 } from './chunk-bytes.ts';
import type { Tombstone } from './tombstones.ts';

/** A chunk closes at this many bytes of values or messages: enough to amortise a statement, small enough for the cache and the budget. */
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024;
export const CHUNK_MESSAGES_MAX = 32_768;

const WORD = 2 ** 32;

export type BuiltChunk = {
  readonly chunk: Chunk | null;
  readonly refused: readonly DeadLetter[];
  readonly tombstones: readonly Tombstone[];
  readonly bytes: number;
  /** Gives the chunk's buffers back, to be filled again; nobody reads the chunk afterwards. */
  readonly release: () => void;
};

/** What a chunk is made of. Fresh ones for every chunk would be garbage of 4 MiB, which the collector sees too late. */
class ChunkBuffers {
  values: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  keys: Buffer = Buffer.allocUnsafeSlow(16 * 1024);
  partitions = new Int32Array(1024);
  keyLengths = new Int32Array(1024);
  offsets = new BigInt64Array(1024);
  timestamps = new BigInt64Array(1024);
  effective = new BigInt64Array(0);
  offsetWords = new Int32Array(this.offsets.buffer);
  timestampWords = new Int32Array(this.timestamps.buffer);
  effectiveWords = new Int32Array(this.effective.buffer);

  constructor(forTable: boolean) {
    if (!forTable) return;
    this.effective = new BigInt64Array(1024);
    this.effectiveWords = new Int32Array(this.effective.buffer);
  }

  growArrays(): void {
    const size = Math.min(CHUNK_MESSAGES_MAX + 1, this.partitions.length * 4);
    this.partitions = larger(this.partitions, new Int32Array(size));
    this.keyLengths = larger(this.keyLengths, new Int32Array(size));
    this.offsets = larger(this.offsets, new BigInt64Array(size));
    this.timestamps = larger(this.timestamps, new BigInt64Array(size));
    this.offsetWords = new Int32Array(this.offsets.buffer);
    this.timestampWords = new Int32Array(this.timestamps.buffer);
    if (this.effective.length === 0) return;
    this.effective = larger(this.effective, new BigInt64Array(size));
    this.effectiveWords = new Int32Array(this.effective.buffer);
  }

  /** A chunk of few, very large messages is not kept: it would stay that large. */
  get isUsual(): boolean {
    return this.values.length <= 2 * CHUNK_BYTES_MAX && this.keys.length <= 2 * CHUNK_BYTES_MAX;
  }
}

const larger = <T extends Int32Array | BigInt64Array>(from: T, to: T): T => {
  (to as Int32Array).set(from as Int32Array);
  return to;
};

/** Buffers at rest; as many as chunks are ever under way. */
const SPARE_MAX = 4;

/** Grows to what it is given, and is used again after `build`d chunks are released. */
export class ChunkBuilder implements RecordSink {
  partition = 0;
  /** Of a table: the partition's largest timestamp up to the next record. */
  effectiveMs = 0;
  bytes = 0;

  private readonly forTable: boolean;
  private buffers: ChunkBuffers;
  private readonly spare: ChunkBuffers[] = [];
  private valuesEnd = 0;
  private keysEnd = 0;
  private anyKey = false;
  private count = 0;
  private headers = new Map<number, string>();
  private refused: DeadLetter[] = [];
  private tombstones: Tombstone[] = [];
  private marksIn: Buffer | null = null;
  private nextMark = -1;

  constructor(forTable = false) {
    this.forTable = forTable;
    this.buffers = new ChunkBuffers(forTable);
  }

  get full(): boolean {
    return this.bytes >= CHUNK_BYTES_MAX || this.count >= CHUNK_MESSAGES_MAX;
  }

  record(bytes: Buffer, part: RecordParts): void {
    const length = part.valueLength;
    assert(length >= 0, 'a tombstone never enters a chunk');
    const end = part.valueStart + length;
    const fault = this.faultOf(bytes, part.valueStart, end);
    if (fault !== null) {
      this.refuse(bytes, part, fault);
      return;
    }
    const { buffers } = this;
    const index = this.count;
    if (index >= buffers.partitions.length) buffers.growArrays();
    if (this.valuesEnd + length + 1 > buffers.values.length) buffers.values = grown(buffers.values, this.valuesEnd, length + 1);
    if (index > 0) buffers.values[this.valuesEnd++] = SEPARATOR;
    bytes.copy(buffers.values, this.valuesEnd, part.valueStart, end);
    this.valuesEnd += length;
    this.appendKey(bytes, part, index);
    buffers.partitions[index] = this.partition;
    buffers.offsetWords[2 * index] = part.offset | 0;
    buffers.offsetWords[2 * index + 1] = Math.floor(part.offset / WORD);
    buffers.timestampWords[2 * index] = part.timestampMs | 0;
    buffers.timestampWords[2 * index + 1] = Math.floor(part.timestampMs / WORD);
    if (this.forTable) {
      buffers.effectiveWords[2 * index] = this.effectiveMs | 0;
      buffers.effectiveWords[2 * index + 1] = Math.floor(this.effectiveMs / WORD);
    }
    if (part.headerCount > 0) this.headers.set(index, headersJson(readHeaders(bytes, part)));
    this.count++;
    this.bytes += length + Math.max(0, part.keyLength) + 24;
  }

  /** A table's record without a value: its key is all there is to decode. */
  tombstone(bytes: Buffer, part: RecordParts): void {
    this.bytes += Math.max(0, part.keyLength) + 64;
    this.tombstones.push(this.outside(bytes, part));
  }

  /** What came since the last build, its buffers its own from here on; chunk is null when nothing decodable came. */
  build(): BuiltChunk {
    const { bytes, refused, tombstones, buffers } = this;
    const chunk = this.count === 0 ? null : this.chunk();
    this.reset();
    const release = (): void => {
      if (this.spare.length < SPARE_MAX && buffers.isUsual) this.spare.push(buffers);
    };
    if (!chunk || isUtf8(chunk.values)) return { chunk, refused, tombstones, bytes, release };
    const split = splitByUtf8(chunk);
    return { chunk: split.valid, refused: [...refused, ...split.invalid], tombstones, bytes, release };
  }

  private faultOf(bytes: Buffer, start: number, end: number): string | null {
    if (end === start) return 'the value is empty';
    return this.holdsMark(bytes, start, end) ? 'the value holds the raw control character 0x1E' : null;
  }

  private holdsMark(bytes: Buffer, start: number, end: number): boolean {
    if (this.marksIn !== bytes || this.nextMark < start) {
      this.marksIn = bytes;
      this.nextMark = bytes.indexOf(SEPARATOR, start);
      if (this.nextMark < 0) this.nextMark = bytes.length;
    }
    return this.nextMark < end;
  }

  private appendKey(bytes: Buffer, part: RecordParts, index: number): void {
    const { buffers } = this;
    const length = part.keyLength;
    const room = Math.max(0, length) + 2;
    buffers.keyLengths[index] = length;
    if (this.keysEnd + room > buffers.keys.length) buffers.keys = grown(buffers.keys, this.keysEnd, room);
    if (index > 0) buffers.keys[this.keysEnd++] = SEPARATOR;
    if (length < 0) return;
    this.anyKey = true;
    buffers.keys[this.keysEnd++] = KEY_PRESENT;
    bytes.copy(buffers.keys, this.keysEnd, part.keyStart, part.keyStart + length);
    this.keysEnd += length;
  }

  /** A record that becomes a dead letter without being decoded. */
  refuse(bytes: Buffer, part: RecordParts, reason: string): void {
    this.bytes += Math.max(0, part.valueLength) + 64;
    const value = Buffer.from(bytes.subarray(part.valueStart, part.valueStart + part.valueLength));
    this.refused.push({ ...this.outside(bytes, part), value, field: null, reason });
  }

  /** A record that goes another way than its chunk, in bytes of its own. */
  private outside(
    bytes: Buffer,
    part: RecordParts,
  ): Pick<DeadLetter, 'partition' | 'offset' | 'timestampMs' | 'effectiveMs' | 'key' | 'headers'> {
    return {
      partition: this.partition,
      offset: BigInt(part.offset),
      timestampMs: BigInt(part.timestampMs),
      effectiveMs: BigInt(this.forTable ? this.effectiveMs : part.timestampMs),
      key: part.keyLength < 0 ? null : Buffer.from(bytes.subarray(part.keyStart, part.keyStart + part.keyLength)),
      headers: part.headerCount > 0 ? headersJson(readHeaders(bytes, part)) : null,
    };
  }

  private chunk(): Chunk {
    const { values, keys, partitions, offsets, timestamps, effective, keyLengths } = this.buffers;
    return {
      count: this.count,
      values: values.subarray(0, this.valuesEnd),
      partitions,
      offsets,
      timestampsMs: timestamps,
      effectiveMs: this.forTable ? effective : null,
      keys: this.anyKey ? encodedKeys(keys.subarray(0, this.keysEnd), keyLengths.subarray(0, this.count)) : null,
      headers: this.headers.size > 0 ? this.headers : null,
    };
  }

  /** Other buffers: DuckDB may still be reading these. */
  private reset(): void {
    this.buffers = this.spare.pop() ?? new ChunkBuffers(this.forTable);
    this.headers = new Map();
    this.refused = [];
    this.tombstones = [];
    this.valuesEnd = 0;
    this.keysEnd = 0;
    this.anyKey = false;
    this.count = 0;
    this.bytes = 0;
  }
}
