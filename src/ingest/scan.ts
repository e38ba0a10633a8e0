// The scan: messages whose values are what they nearly always are become columns in one pass over their bytes, which DuckDB then
// reads where they lie. Invariant: a row is what model/convert makes of the message (held by a fuzz test); every other message is
// among those left.

import { Buffer } from 'node:buffer';
import type { Connection } from '../duckdb/connection.ts';
import { type HeldBytes, holdBytes, runOverMemory, SCAN_ROWS, type ScanColumn } from '../duckdb/memory-scan.ts';
import { assert } from '../errors.ts';
import type { MessagePlan } from '../model/convert.ts';
import type { Chunk } from './chunk.ts';
import { SEPARATOR } from './chunk-bytes.ts';
import * as json from './json-bytes.ts';
import { type Column, columnMaker, type ScannedKind, type ScannedText } from './scan-columns.ts';
import { Lineage } from './scan-lineage.ts';

type Name = { readonly bytes: Buffer; readonly index: number; readonly columns: number[] };

/** Names and values that the scan understands; what it scans with is used again and again. */
export type ScanPlan = {
  readonly names: readonly Name[];
  readonly required: readonly boolean[];
  readonly keepUnknown: boolean;
  readonly makers: readonly ((text: ScannedText) => Column)[];
  readonly spare: Scanner[];
};

/** null: the messages of this feed have something that is beyond a scan, such as a list, or a value inside an object. */
export function scanPlan(plan: MessagePlan): ScanPlan | null {
  const names = new Map<string, Name>();
  const makers: ((text: ScannedText) => Column)[] = [];
  for (const [column, field] of plan.fields.entries()) {
    const [name = '', ...rest] = field.from;
    const maker = columnMaker(`_c${column}`, field);
    if (field.isFromKey || rest.length > 0 || !maker || NEEDS_ESCAPES.test(name)) return null;
    const known = names.get(name) ?? { bytes: Buffer.from(name), index: names.size, columns: [] };
    known.columns.push(column);
    names.set(name, known);
    makers.push(maker);
  }
  const required = plan.fields.map((field) => field.required);
  return { names: [...names.values()], required, keepUnknown: plan.keepUnknown, makers, spare: [] };
}

/** Such a name stands otherwise in a message. */
const NEEDS_ESCAPES = /["\\\p{Cc}\p{Cs}]/u;

/** Runs a statement over the rows of those messages that the scan is sure about: the columns of the fields by their places
 *  (`_c0`, …), and the coordinates. Gives the indexes of the other messages. Throws engine_failed. */
export async function runOverScan(
  connection: Connection,
  { plan, chunk }: { readonly plan: ScanPlan; readonly chunk: Chunk },
  sql: (from: string) => string,
): Promise<readonly number[]> {
  const held: HeldBytes[] = [];
  const scanner = plan.spare.pop() ?? new Scanner(plan);
  try {
    for (const bytes of chunk.keys ? [chunk.values, chunk.keys.bytes] : [chunk.values])
      held.push(await holdBytes(connection, bytes));
    const fill = scanner.start(chunk, held);
    const changed = await runOverMemory(connection, { columns: scanner.columns, fill }, sql);
    const left = scanner.left;
    assert(
      changed + left.length === chunk.count,
      `of ${chunk.count} messages ${changed} became rows, and ${left.length} are left`,
    );
    return left;
  } finally {
    for (const { release } of held) release();
    scanner.rest();
    plan.spare.push(scanner);
  }
}

const NONE = new Uint8Array(0);
const NOWHERE: HeldBytes = { low: 0, high: 0, release: () => undefined };

/** What became of a name's value in the message at hand. */
const [ABSENT, PRESENT, NULL] = [0, 1, 2];

/** Of longer messages only the first names are expected where they were before. */
const ORDER_MAX = 256;

/** One chunk at a time. */
class Scanner {
  left: number[] = [];
  private readonly plan: ScanPlan;
  private readonly text: ScannedText;
  private readonly fields: readonly Column[];
  private readonly lineage = new Lineage();
  private readonly states: Uint8Array;
  /** By its place in the message before, for messages are alike. */
  private readonly order: (Name | null)[] = [];
  private values = new json.JsonBytes(NONE);
  /** Set by `value`. */
  private from = 0;
  private to = 0;
  private kind: ScannedKind | 'null' = 'null';

  constructor(plan: ScanPlan) {
    this.plan = plan;
    this.text = { source: this.values.bytes, held: NOWHERE };
    this.fields = plan.makers.map((make) => make(this.text));
    this.states = new Uint8Array(plan.names.length);
  }

  get columns(): readonly ScanColumn[] {
    return [...this.fields, ...this.lineage.columns];
  }

  /** Gives what fills the columns with the next rows. */
  start(chunk: Chunk, [held, heldKeys]: readonly HeldBytes[]): () => number {
    assert(held, 'the values are held');
    this.values = new json.JsonBytes(chunk.values);
    this.text.source = this.values.bytes;
    this.text.held = held;
    this.left = [];
    this.lineage.start(chunk, heldKeys ?? null);
    let index = 0;
    let start = 0;
    return () => {
      for (const column of this.fields) column.begin();
      this.lineage.begin();
      let row = 0;
      for (; index < chunk.count && row < SCAN_ROWS; index++) {
        const behind = this.lineage.put(row, index) ? this.message(row, start) : json.NOT_SURE;
        if (behind >= 0) row++;
        else this.left.push(index);
        start = this.next(start, behind);
        // Messages would otherwise get the coordinates of others.
        assert(start > this.values.bytes.length === (index === chunk.count - 1), `${chunk.count} messages hold other values`);
      }
      return row;
    };
  }

  /** Holds nothing of the chunk any more: a large message would be kept for as long as its feed has no other. */
  rest(): void {
    this.values = new json.JsonBytes(NONE);
    this.text.source = this.values.bytes;
    this.text.held = NOWHERE;
    this.left = [];
    this.lineage.rest();
  }

  /** Where the next message starts, behind the separator. */
  private next(start: number, behind: number): number {
    const { bytes } = this.values;
    if (behind >= 0) return behind + 1;
    const found = bytes.indexOf(SEPARATOR, start);
    return (found < 0 ? bytes.length : found) + 1;
  }

  /** Gives the place behind the message; NOT_SURE: this one is not for the scan, and its row is to be put again. */
  private message(row: number, start: number): number {
    const { values, states, order } = this;
    const { bytes } = values;
    let at = values.skipSpace(start);
    if (bytes[at] !== json.OPEN) return json.NOT_SURE;
    states.fill(ABSENT);
    at = values.skipSpace(at + 1);
    if (bytes[at] === json.CLOSE) return this.endOf(row, at + 1);
    for (let place = 0; ; place++) {
      if (bytes[at] !== json.QUOTE) return json.NOT_SURE;
      const expected = order[place];
      let name = expected && this.isName(expected, at + 1) ? expected : null;
      let quote = name ? at + 1 + name.bytes.length : json.NOT_SURE;
      if (!name) {
        quote = values.stringEnd(at + 1);
        if (quote < 0) return json.NOT_SURE;
        name = this.nameAt(at + 1, quote);
        if (place < ORDER_MAX) order[place] = name;
      }
      at = values.skipSpace(quote + 1);
      if (bytes[at] !== json.COLON) return json.NOT_SURE;
      at = this.value(values.skipSpace(at + 1));
      if (at < 0 || !this.take(name, row)) return json.NOT_SURE;
      at = values.skipSpace(at);
      if (bytes[at] === json.CLOSE) return this.endOf(row, at + 1);
      if (bytes[at] !== json.COMMA) return json.NOT_SURE;
      at = values.skipSpace(at + 1);
    }
  }

  /** A string cannot run on into the next message: the separator is a control character. */
  private endOf(row: number, from: number): number {
    const { values } = this;
    const at = values.skipSpace(from);
    const isEnd = at === values.bytes.length || values.bytes[at] === SEPARATOR;
    return isEnd && this.complete(row) ? at : json.NOT_SURE;
  }

  private isName({ bytes: name }: Name, from: number): boolean {
    const { bytes } = this.values;
    if (bytes[from + name.length] !== json.QUOTE) return false;
    for (let index = 0; index < name.length; index++) if (bytes[from + index] !== name[index]) return false;
    return true;
  }

  private nameAt(from: number, quote: number): Name | null {
    for (const name of this.plan.names) if (name.bytes.length === quote - from && this.isName(name, from)) return name;
    return null;
  }

  /** Reads a value, and gives the place behind it. */
  private value(from: number): number {
    const { values } = this;
    const first = values.bytes[from] ?? 0;
    const behind = values.valueEnd(from);
    if (behind < 0) return behind;
    this.from = from;
    this.to = behind;
    if (first === json.QUOTE) {
      this.from++;
      this.to--;
      this.kind = 'string';
    } else if (first === json.OPEN || first === json.LIST) this.kind = 'container';
    else if (first === json.SMALL_N) this.kind = 'null';
    else this.kind = first === json.SMALL_T || first === json.SMALL_F ? 'boolean' : 'number';
    return behind;
  }

  /** Of equal names the first one wins. */
  private take(name: Name | null, row: number): boolean {
    if (name === null) return !this.plan.keepUnknown;
    if (this.states[name.index] !== ABSENT) return true;
    const { kind } = this;
    this.states[name.index] = kind === 'null' ? NULL : PRESENT;
    if (kind === 'null') return true;
    for (const column of name.columns) if (!this.fields[column]?.put(row, this.from, this.to, kind)) return false;
    return true;
  }

  /** Nothing is NULL before all of the message has been read and found sound. */
  private complete(row: number): boolean {
    const { names, required } = this.plan;
    for (const { index, columns } of names)
      if (this.states[index] !== PRESENT && columns.some((column) => required[column])) return false;
    for (const { index, columns } of names)
      if (this.states[index] !== PRESENT) for (const column of columns) this.fields[column]?.setNull(row);
    return true;
  }
}
