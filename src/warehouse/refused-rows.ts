// Which rows of a statement the server refuses: halves are tried until single ones are found (design 4, §1.3).
// Invariant: what is answered is refused by itself; the transaction is rolled back by whoever asked, so that what was tried and
// taken leaves nothing behind.

import type { RefusedRow } from '../model/batch.ts';
import { toOffset } from '../model/offsets.ts';
import { type RowsInsert, type Tx, type Values, WarehouseFailure } from './warehouse.ts';

/** The batch cannot be committed with these in it. `triedCount`: rows that were looked at until then. */
export class RowsRefused extends Error {
  readonly rows: readonly RefusedRow[];
  readonly triedCount: number;

  constructor(rows: readonly RefusedRow[], triedCount: number) {
    super(`${rows.length} rows are refused`);
    this.rows = rows;
    this.triedCount = triedCount;
  }
}

/** In one pass; the others are found in the next. A rebuild reads the whole topic for each pass. */
const REFUSED_MAX = { ofBatch: 100, ofRebuild: 10_000 };

/** Where a row came from: the places of its partition and its offset among the values. */
export type CoordinatesAt = { readonly partition: number; readonly offset: number };

export type BisectOptions = Omit<RowsInsert, 'rows' | 'next'> & {
  readonly at: CoordinatesAt;
  /** The rows are all of a table that is read anew. */
  readonly isWhole: boolean;
};

const isRefusal = (error: unknown): error is WarehouseFailure =>
  error instanceof WarehouseFailure && (error.class === 'row' || error.class === 'packet');

export class Bisect {
  readonly refused: RefusedRow[] = [];
  triedCount = 0;
  private readonly tx: Tx;
  private readonly at: CoordinatesAt;
  private readonly into: Omit<RowsInsert, 'rows' | 'next'>;
  private readonly refusedMax: number;

  constructor(tx: Tx, { at, isWhole, ...into }: BisectOptions) {
    this.tx = tx;
    this.at = at;
    this.into = into;
    this.refusedMax = isWhole ? REFUSED_MAX.ofRebuild : REFUSED_MAX.ofBatch;
  }

  /** Inserts what the server takes of these rows, and remembers the others. `next` comes after them. */
  async insert(rows: readonly Values[], next?: readonly Values[]): Promise<void> {
    try {
      await this.tx.insert({ ...this.into, rows, next });
      this.triedCount += rows.length;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      await this.search(rows, error);
    }
  }

  /** `error` is what these rows were refused with. A statement that fails leaves nothing, so each half is tried as it is. */
  private async search(rows: readonly Values[], error: WarehouseFailure): Promise<void> {
    if (error.class === 'packet') await this.assertConnected(error);
    const [first] = rows;
    if (rows.length === 1 && first) {
      this.refused.push(this.refusedRow(first, error));
      this.triedCount++;
      return;
    }
    const middle = rows.length >> 1;
    for (const half of [rows.slice(0, middle), rows.slice(middle)]) {
      if (!this.isFull) await this.insert(half);
    }
  }

  get isFull(): boolean {
    return this.refused.length >= this.refusedMax;
  }

  /** A packet that the server itself refuses takes the connection with it, and says nothing about a row. */
  private async assertConnected(error: WarehouseFailure): Promise<void> {
    try {
      await this.tx.rows({ text: 'SELECT 1 AS one', values: [] });
    } catch (cause) {
      if (!isRefusal(cause)) throw cause;
      throw new WarehouseFailure('wait', error.message, { number: error.number, cause });
    }
  }

  private refusedRow(values: Values, { message, number }: WarehouseFailure): RefusedRow {
    const words = message.replace(/ at row \d+$/, '');
    return {
      partition: Number(values[this.at.partition]),
      offset: toOffset(String(values[this.at.offset])),
      reason: `the warehouse refuses it: ${words}${number === null ? '' : ` (${number})`}`,
    };
  }
}
