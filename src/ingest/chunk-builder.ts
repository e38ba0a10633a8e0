// Fills chunks: values and keys are copied into one buffer each, coordinates into arrays; no object a message.
// Invariant: every record appended is in the next built chunk or among its refused ones.

import { isUtf8 } from 'node:buffer';
import { type RecordParts, type RecordSink, readHeaders } from '../broker/record-batch.ts';
import { assert } from '../errors.ts';
import type { Chunk } from './chunk.ts';
import { encodedKeys, grown, headersJson, KEY_PRESENT, SEPARATOR, splitByUtf8 } from './chunk-bytes.ts';
import type { DeadLetter } from './decode.ts';

/** A chunk closes at this many bytes of values or messages: enough to amortise a statement, small enough for the cache and the budget. */
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024;
export const CHUNK_MESSAGES_MAX = 32_768;

const WORD = 2 ** 32;

export type BuiltChunk = { readonly chunk: Chunk | null; readonly refused: readonly DeadLetter[]; readonly bytes: number };

/** Grows to what it is given, and is used again after `build`d chunks are released. */
export class ChunkBuilder implements RecordSink {
  partition = 0;
  bytes = 0;

  private values: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  private valuesEnd = 0;
  private keys: Buffer = Buffer.allocUnsafeSlow(16 * 1024);
  private keysEnd = 0;
  private anyKey = false;
  private count = 0;
  private partitions = new Int32Array(1024);
  private offsets = new BigInt64Array(1024);
  private timestamps = new BigInt64Array(1024);
  private offsetWords = new Int32Array(this.offsets.buffer);
  private timestampWords = new Int32Array(this.timestamps.buffer);
  private keyLengths = new Int32Array(1024);
  private headers = new Map<number, string>();
  private refused: DeadLetter[] = [];
  private marksIn: Buffer | null = null;
  private nextMark = -1;

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
    const index = this.count;
    if (index >= this.partitions.length) this.growArrays();
    if (this.valuesEnd + length + 1 > this.values.length) this.values = grown(this.values, this.valuesEnd, length + 1);
    if (index > 0) this.values[this.valuesEnd++] = SEPARATOR;
    bytes.copy(this.values, this.valuesEnd, part.valueStart, end);
    this.valuesEnd += length;
    this.appendKey(bytes, part, index);
    this.partitions[index] = this.partition;
    this.offsetWords[2 * index] = part.offset | 0;
    this.offsetWords[2 * index + 1] = Math.floor(part.offset / WORD);
    this.timestampWords[2 * index] = part.timestampMs | 0;
    this.timestampWords[2 * index + 1] = Math.floor(part.timestampMs / WORD);
    if (part.headerCount > 0) this.headers.set(index, headersJson(readHeaders(bytes, part)));
    this.count++;
    this.bytes += length + Math.max(0, part.keyLength) + 24;
  }

  /** What came since the last build, its buffers its own from here on; chunk is null when nothing decodable came. */
  build(): BuiltChunk {
    const { bytes, refused } = this;
    const chunk = this.count === 0 ? null : this.chunk();
    this.reset();
    if (!chunk || isUtf8(chunk.values)) return { chunk, refused, bytes };
    const split = splitByUtf8(chunk);
    return { chunk: split.valid, refused: [...refused, ...split.invalid], bytes };
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
    const length = part.keyLength;
    this.keyLengths[index] = length;
    if (this.keysEnd + Math.max(0, length) + 2 > this.keys.length)
      this.keys = grown(this.keys, this.keysEnd, Math.max(0, length) + 2);
    if (index > 0) this.keys[this.keysEnd++] = SEPARATOR;
    if (length < 0) return;
    this.anyKey = true;
    this.keys[this.keysEnd++] = KEY_PRESENT;
    bytes.copy(this.keys, this.keysEnd, part.keyStart, part.keyStart + length);
    this.keysEnd += length;
  }

  private refuse(bytes: Buffer, part: RecordParts, reason: string): void {
    this.bytes += Math.max(0, part.valueLength) + 64;
    this.refused.push({
      partition: this.partition,
      offset: BigInt(part.offset),
      timestampMs: BigInt(part.timestampMs),
      key: part.keyLength < 0 ? null : Buffer.from(bytes.subarray(part.keyStart, part.keyStart + part.keyLength)),
      value: Buffer.from(bytes.subarray(part.valueStart, part.valueStart + part.valueLength)),
      headers: part.headerCount > 0 ? headersJson(readHeaders(bytes, part)) : null,
      field: null,
      reason,
    });
  }

  private growArrays(): void {
    const size = Math.min(CHUNK_MESSAGES_MAX + 1, this.partitions.length * 4);
    const copyOf = (from: BigInt64Array): BigInt64Array<ArrayBuffer> => {
      const to = new BigInt64Array(size);
      to.set(from);
      return to;
    };
    const partitions = new Int32Array(size);
    partitions.set(this.partitions);
    const keyLengths = new Int32Array(size);
    keyLengths.set(this.keyLengths);
    this.partitions = partitions;
    this.keyLengths = keyLengths;
    this.offsets = copyOf(this.offsets);
    this.timestamps = copyOf(this.timestamps);
    this.offsetWords = new Int32Array(this.offsets.buffer);
    this.timestampWords = new Int32Array(this.timestamps.buffer);
  }

  private chunk(): Chunk {
    return {
      count: this.count,
      values: this.values.subarray(0, this.valuesEnd),
      partitions: this.partitions,
      offsets: this.offsets,
      timestampsMs: this.timestamps,
      keys: this.anyKey ? encodedKeys(this.keys.subarray(0, this.keysEnd), this.keyLengths.subarray(0, this.count)) : null,
      headers: this.headers.size > 0 ? this.headers : null,
    };
  }

  /** New buffers: DuckDB may still be reading the old ones. */
  private reset(): void {
    const size = this.partitions.length;
    this.values = Buffer.allocUnsafeSlow(Math.min(this.values.length, CHUNK_BYTES_MAX + 65_536));
    this.keys = Buffer.allocUnsafeSlow(Math.min(this.keys.length, CHUNK_BYTES_MAX));
    this.partitions = new Int32Array(size);
    this.keyLengths = new Int32Array(size);
    this.offsets = new BigInt64Array(size);
    this.timestamps = new BigInt64Array(size);
    this.offsetWords = new Int32Array(this.offsets.buffer);
    this.timestampWords = new Int32Array(this.timestamps.buffer);
    this.headers = new Map();
    this.refused = [];
    this.valuesEnd = 0;
    this.keysEnd = 0;
    this.anyKey = false;
    this.count = 0;
    this.bytes = 0;
  }
}
