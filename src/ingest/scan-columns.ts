// Columns that a scan of messages fills: each takes a value's text, and keeps the value as DuckDB does. Invariant: what is taken is
// the value that model/convert gives; of all else `put` says false, and the message is for the exact decoder.

import { type HeldText, SCAN_ROWS, type ScanColumn, type ScanType, TEXT_BYTES, writeText } from '../duckdb/memory-scan.ts';
import type { PlannedField } from '../model/convert.ts';
import { bigintOf, dayOfText, doubleOf, microsOfText, scaledNumber } from './scan-values.ts';

/** What a value looks like in the message. Of a string, the place of its text is between the quotes. */
export type ScannedKind = 'string' | 'number' | 'boolean' | 'container';

/** The text that is scanned: the columns of a scan share it, and it is another one for each chunk. */
export type ScannedText = { source: Buffer; held: HeldText['held'] };

/** Filled anew again and again, SCAN_ROWS rows at a time. */
export abstract class Column<Values extends ArrayBufferView<ArrayBuffer> = ArrayBufferView<ArrayBuffer>> implements ScanColumn {
  readonly name: string;
  readonly type: ScanType;
  readonly rowBytes: number;
  readonly data: ArrayBuffer;
  readonly validity = new Uint32Array(SCAN_ROWS / 32).fill(0xffffffff);
  anyNull = false;
  protected readonly values: Values;
  protected readonly text: ScannedText;

  constructor({ name, text }: Made, type: ScanType, values: Values) {
    this.name = name;
    this.type = type;
    this.values = values;
    this.data = values.buffer;
    this.rowBytes = values.byteLength / SCAN_ROWS;
    this.text = text;
  }

  begin(): void {
    if (this.anyNull) this.validity.fill(0xffffffff);
    this.anyNull = false;
  }

  /** A row may be put again, until it is NULL. */
  abstract put(row: number, from: number, to: number, kind: ScannedKind): boolean;

  setNull(row: number): void {
    this.anyNull = true;
    const index = row >>> 5;
    this.validity[index] = (this.validity[index] ?? 0) & ~(1 << (row & 31));
  }
}

type Made = { readonly name: string; readonly text: ScannedText };

/** Texts as they are, and JSON as it was sent. */
export class TextColumn extends Column<Uint32Array<ArrayBuffer>> {
  private readonly isJson: boolean;
  private readonly charsMax: number;

  constructor(made: Made, given: { readonly isJson: boolean; readonly charsMax: number | null; readonly type?: ScanType }) {
    super(made, given.type ?? { kind: 'varchar' }, new Uint32Array((SCAN_ROWS * TEXT_BYTES) / 4));
    this.isJson = given.isJson;
    this.charsMax = given.charsMax ?? Number.POSITIVE_INFINITY;
  }

  override put(row: number, from: number, to: number, kind: ScannedKind): boolean {
    const { text, charsMax } = this;
    const quotes = this.isJson && kind === 'string' ? 1 : 0;
    if (to - from > charsMax && charsOf(text.source, from, to) > charsMax) return false;
    writeText(this.values, row, text, from - quotes, to + quotes);
    return true;
  }
}

/** Code points of valid UTF-8. */
function charsOf(bytes: Uint8Array, from: number, to: number): number {
  let chars = 0;
  for (let at = from; at < to; at++) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) chars++;
  return chars;
}

/** Reads a whole number; NaN: not sure. */
type Reader = (bytes: Uint8Array, from: number, to: number, kind: 'string' | 'number') => number;

/** `limit`: no number further from zero is taken. */
type Numbers = { readonly type: ScanType; readonly limit: number; readonly read: Reader };

/** Whole numbers of 2 and 4 bytes. */
class ShortColumn extends Column<Int16Array<ArrayBuffer> | Int32Array<ArrayBuffer>> {
  private readonly read: Reader;
  private readonly limit: number;

  constructor(made: Made, { type, limit, read }: Numbers, rowBytes: 2 | 4) {
    super(made, type, rowBytes === 2 ? new Int16Array(SCAN_ROWS) : new Int32Array(SCAN_ROWS));
    this.read = read;
    this.limit = limit;
  }

  override put(row: number, from: number, to: number, kind: ScannedKind): boolean {
    if (kind !== 'string' && kind !== 'number') return false;
    const value = this.read(this.text.source, from, to, kind);
    if (!(Math.abs(value) <= this.limit)) return false;
    this.values[row] = value;
    return true;
  }
}

const WORD = 2 ** 32;

/** Whole numbers of 8 and 16 bytes, as far as a double keeps them, and BIGINTs of up to 18 digits. */
export class LongColumn extends Column<Int32Array<ArrayBuffer>> {
  private readonly longs: BigInt64Array;
  private readonly read: Reader;
  private readonly limit: number;

  constructor(made: Made, { type, limit, read }: Numbers, rowBytes: 8 | 16) {
    super(made, type, new Int32Array((SCAN_ROWS * rowBytes) / 4));
    this.longs = new BigInt64Array(this.data);
    this.read = read;
    this.limit = limit;
  }

  override put(row: number, from: number, to: number, kind: ScannedKind): boolean {
    if (kind !== 'string' && kind !== 'number') return false;
    const value = this.read(this.text.source, from, to, kind);
    if (Math.abs(value) <= this.limit) {
      this.set(row, value);
      return true;
    }
    const long = this.type.kind === 'bigint' ? bigintOf(this.text.source, from, to) : null;
    if (long !== null) this.longs[row] = long;
    return long !== null;
  }

  set(row: number, value: number): void {
    const { values } = this;
    const at = row * (this.rowBytes / 4);
    values[at] = value | 0;
    values[at + 1] = Math.floor(value / WORD);
    if (this.rowBytes === 8) return;
    values[at + 2] = value < 0 ? -1 : 0;
    values[at + 3] = value < 0 ? -1 : 0;
  }
}

class DoubleColumn extends Column<Float64Array<ArrayBuffer>> {
  constructor(made: Made) {
    super(made, { kind: 'double' }, new Float64Array(SCAN_ROWS));
  }

  override put(row: number, from: number, to: number, kind: ScannedKind): boolean {
    const { source } = this.text;
    if (kind !== 'string' && kind !== 'number') return false;
    let value = doubleOf(source, from, to);
    // More digits than a double keeps. What becomes zero is perhaps none, and minus zero has a way of its own.
    if (Number.isNaN(value) && kind === 'number') value = Number(source.toString('latin1', from, to)) || Number.NaN;
    if (!Number.isFinite(value)) return false;
    this.values[row] = value;
    return true;
  }
}

class BooleanColumn extends Column<Uint8Array<ArrayBuffer>> {
  constructor(made: Made) {
    super(made, { kind: 'boolean' }, new Uint8Array(SCAN_ROWS));
  }

  override put(row: number, from: number, to: number, kind: ScannedKind): boolean {
    if ((kind !== 'string' && kind !== 'boolean') || to - from > 5) return false;
    const word = this.text.source.toString('latin1', from, to);
    if (word !== 'true' && word !== 'false') return false;
    this.values[row] = word === 'true' ? 1 : 0;
    return true;
  }
}

const MOST = Number.MAX_SAFE_INTEGER;
const whole: Reader = (bytes, from, to) => scaledNumber(bytes, from, to, 0);

/** Makes a column of this name for a field, over a text; null: there is none for its type. */
export function columnMaker(name: string, { type, rules }: PlannedField): ((text: ScannedText) => Column) | null {
  switch (type.kind) {
    case 'varchar':
      return (text) => new TextColumn({ name, text }, { isJson: false, charsMax: type.charsMax });
    case 'json':
      return (text) => new TextColumn({ name, text }, { isJson: true, charsMax: null });
    case 'double':
      return (text) => new DoubleColumn({ name, text });
    case 'boolean':
      return (text) => new BooleanColumn({ name, text });
    case 'bigint':
      return (text) => new LongColumn({ name, text }, { type: { kind: 'bigint' }, limit: MOST, read: whole }, 8);
    case 'integer':
      return (text) => new ShortColumn({ name, text }, { type: { kind: 'integer' }, limit: 2 ** 31 - 1, read: whole }, 4);
    case 'decimal':
      return decimalMaker(name, type);
    case 'date': {
      const read: Reader = (bytes, from, to, kind) =>
        kind === 'string' && to - from === 10 ? dayOfText(bytes, from, to) : Number.NaN;
      return rules.format === 'iso8601'
        ? (text) => new ShortColumn({ name, text }, { type: { kind: 'date' }, limit: MOST, read }, 4)
        : null;
    }
    case 'timestamp': {
      const read = timeReader(rules);
      return read && ((text) => new LongColumn({ name, text }, { type: { kind: 'timestamp' }, limit: MOST, read }, 8));
    }
    default:
      return null;
  }
}

/** A decimal is kept in as few bytes as hold the digits of its precision. */
function decimalMaker(name: string, type: ScanType & { kind: 'decimal' }): (text: ScannedText) => Column {
  const { precision, scale } = type;
  const read: Reader = (bytes, from, to) => scaledNumber(bytes, from, to, scale);
  const numbers = { type, read, limit: Math.min(MOST, 10 ** precision - 1) };
  if (precision <= 9) return (text) => new ShortColumn({ name, text }, numbers, precision <= 4 ? 2 : 4);
  return (text) => new LongColumn({ name, text }, numbers, precision <= 18 ? 8 : 16);
}

function timeReader({ format, timezone }: PlannedField['rules']): Reader | null {
  if (format === 'epoch_ms') return (bytes, from, to) => scaledNumber(bytes, from, to, 3);
  if (format === 'epoch_s') return (bytes, from, to) => scaledNumber(bytes, from, to, 6);
  if (format !== 'iso8601') return null;
  // A local time needs the rules of its zone.
  const isUtc = timezone === null || timezone === 'UTC';
  return (bytes, from, to, kind) => (kind === 'string' ? microsOfText(bytes, from, to, isUtc) : Number.NaN);
}
