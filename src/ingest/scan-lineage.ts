// The columns of where messages come from, beside those of a scan. Invariant: a row has the coordinates and the key of its message.

import { Buffer } from 'node:buffer';
import { type HeldBytes, SCAN_ROWS, type ScanColumn, type ScanType, TEXT_BYTES, writeText } from '../duckdb/memory-scan.ts';
import { assert } from '../errors.ts';
import { isKafkaTime } from '../model/kafka-time.ts';
import type { Chunk } from './chunk.ts';
import { KEY_PRESENT, SEPARATOR } from './chunk-bytes.ts';

const WORD = 2 ** 32;
const NONE = new Uint8Array(0);

const wordsOf = ({ buffer, byteOffset, length }: BigInt64Array): Int32Array => new Int32Array(buffer, byteOffset, 2 * length);

/** Rows are put in the order of their messages, each message once. */
export class Lineage {
  private readonly partitions = new Int32Array(SCAN_ROWS);
  private readonly offsets = new Int32Array(2 * SCAN_ROWS);
  private readonly times = new Int32Array(2 * SCAN_ROWS);
  private readonly effective = new Int32Array(2 * SCAN_ROWS);
  private readonly keys = new Uint32Array((SCAN_ROWS * TEXT_BYTES) / 4);
  private readonly keyValidity = new Uint32Array(SCAN_ROWS / 32);
  private from: Int32Array = new Int32Array(0);
  private fromOffsets: Int32Array = this.from;
  private fromTimes: Int32Array = this.from;
  private fromEffective: Int32Array | null = null;
  private keyText: { source: Buffer; held: HeldBytes } | null = null;
  private keyStart = 0;
  private isHex = false;
  private count = 0;

  start(chunk: Chunk, heldKeys: HeldBytes | null): void {
    this.count = chunk.count;
    this.from = chunk.partitions;
    this.fromOffsets = wordsOf(chunk.offsets);
    this.fromTimes = wordsOf(chunk.timestampsMs);
    this.fromEffective = chunk.effectiveMs && wordsOf(chunk.effectiveMs);
    const bytes = chunk.keys?.bytes ?? NONE;
    this.keyText = heldKeys && { source: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), held: heldKeys };
    this.keyStart = 0;
    this.isHex = chunk.keys?.encoding === 'hex';
  }

  /** Holds nothing of the chunk any more. */
  rest(): void {
    this.from = this.fromOffsets = this.fromTimes = new Int32Array(0);
    this.fromEffective = null;
    this.keyText = null;
  }

  /** `_ms`, `_effective_ms`, and `_raw_key`: a BLOB, or the text of its hexadecimal digits. */
  get columns(): ScanColumn[] {
    const { keyValidity } = this;
    const number = (name: string, kind: 'integer' | 'bigint', { buffer: data }: Int32Array<ArrayBuffer>): ScanColumn => {
      return { name, type: { kind }, data, rowBytes: kind === 'integer' ? 4 : 8, validity: keyValidity, anyNull: false };
    };
    const type: ScanType = { kind: this.isHex ? 'varchar' : 'blob' };
    return [
      number('_partition', 'integer', this.partitions),
      number('_offset', 'bigint', this.offsets),
      number('_ms', 'bigint', this.times),
      number('_effective_ms', 'bigint', this.effective),
      { name: '_raw_key', type, data: this.keys.buffer, rowBytes: TEXT_BYTES, validity: keyValidity, anyNull: true },
    ];
  }

  begin(): void {
    this.keyValidity.fill(this.keyText ? 0xffffffff : 0);
  }

  /** false: no column holds the message's time. */
  put(row: number, index: number): boolean {
    this.putKey(row, index);
    const [low, high] = [this.fromTimes[2 * index] ?? 0, this.fromTimes[2 * index + 1] ?? 0];
    if (!isKafkaTime(high * WORD + (low >>> 0))) return false;
    this.partitions[row] = this.from[index] ?? 0;
    this.offsets[2 * row] = this.fromOffsets[2 * index] ?? 0;
    this.offsets[2 * row + 1] = this.fromOffsets[2 * index + 1] ?? 0;
    this.times[2 * row] = low;
    this.times[2 * row + 1] = high;
    const effective = this.fromEffective ?? this.fromTimes;
    this.effective[2 * row] = effective[2 * index] ?? 0;
    this.effective[2 * row + 1] = effective[2 * index + 1] ?? 0;
    return true;
  }

  private putKey(row: number, index: number): void {
    if (!this.keyText) return;
    const { source } = this.keyText;
    const from = this.keyStart;
    const found = source.indexOf(SEPARATOR, from);
    const to = found < 0 ? source.length : found;
    assert(found < 0 === (index === this.count - 1), `a chunk of ${this.count} messages has another number of keys`);
    this.keyStart = to + 1;
    const word = row >>> 5;
    const bit = 1 << (row & 31);
    const validity = this.keyValidity[word] ?? 0;
    // The row may be put again, for another message.
    this.keyValidity[word] = source[from] === KEY_PRESENT && from < to ? validity | bit : validity & ~bit;
    if (from < to) writeText(this.keys, row, this.keyText, from + 1, to);
  }
}
