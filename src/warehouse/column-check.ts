// Whether a column that is there holds what a feed needs: every value, exactly. Pure.

import { KEY_CHARS_MAX } from '../model/columns.ts';
import type { FieldType } from '../model/feed.ts';
import type { OwnHolds, SqlColumn } from './fact-table.ts';
import type { FoundColumn } from './found-table.ts';

export type Fit =
  | { readonly kind: 'fits' }
  /** `type`: what to make of it, without loss for what it holds now. */
  | { readonly kind: 'narrower' | 'wrong'; readonly why: string; readonly type: string };

const FITS: Fit = { kind: 'fits' };

/** Signed whole numbers by the digits they hold in any case. */
const INTEGER_BYTES: Readonly<Record<string, number>> = { tinyint: 1, smallint: 2, mediumint: 3, int: 4, bigint: 8 };
const INTEGER_DIGITS: Readonly<Record<string, number>> = { tinyint: 3, smallint: 5, mediumint: 7, int: 10, bigint: 19 };
const TEXT_BYTES: Readonly<Record<string, number>> = {
  tinytext: 255,
  text: 65_535,
  mediumtext: 2 ** 24 - 1,
  longtext: 2 ** 32 - 1,
};

export function columnFit(found: FoundColumn, column: SqlColumn): Fit {
  const fit = new Comparison(found, column);
  return fit.with(column.holds);
}

/** One column beside what is needed of it. */
class Comparison {
  readonly #found: FoundColumn;
  readonly #column: SqlColumn;
  readonly #numbers: readonly number[];
  readonly #unsigned: boolean;

  constructor(found: FoundColumn, column: SqlColumn) {
    this.#found = found;
    this.#column = column;
    this.#numbers = (/\(([\d,]+)\)/.exec(found.type)?.[1] ?? '').split(',').map(Number);
    this.#unsigned = found.type.includes('unsigned');
  }

  with(needed: FieldType | OwnHolds): Fit {
    switch (needed.kind) {
      case 'varchar':
        return this.#text(this.#column.role === 'key' ? (needed.charsMax ?? KEY_CHARS_MAX) : needed.charsMax);
      case 'json':
      case 'struct':
      case 'list':
        return this.#text(null);
      case 'boolean':
        return this.#found.kind in INTEGER_BYTES ? FITS : this.#wrong();
      case 'integer':
        return this.#integer(4);
      case 'bigint':
      case 'id':
        return this.#integer(8);
      case 'decimal':
        return this.#decimal(needed.precision, needed.scale);
      case 'double':
        return this.#one('double', 'float');
      case 'date':
        return this.#one('date');
      case 'blob':
        return this.#one('longblob', 'tinyblob', 'blob', 'mediumblob', 'varbinary');
      case 'timestamp':
        return this.#timestamp();
      case 'created_at':
      case 'updated_at':
        return ['datetime', 'timestamp'].includes(this.#found.kind) ? FITS : this.#wrong();
      case 'key_hash':
        return /^(?:binary\(32\)|varbinary\((?:3[2-9]|[4-9]\d|\d{3,})\))$/.test(this.#found.type) ? FITS : this.#wrong();
    }
  }

  #wrong(why = `is ${this.#found.type}, which cannot hold every value of ${this.#column.type} as it is`): Fit {
    return { kind: 'wrong', why, type: this.#column.type };
  }

  #narrower(type = this.#column.type): Fit {
    return { kind: 'narrower', why: `is ${this.#found.type}, narrower than ${type}`, type };
  }

  #one(kind: string, ...narrower: readonly string[]): Fit {
    if (this.#found.kind === kind) return FITS;
    return narrower.includes(this.#found.kind) ? this.#narrower() : this.#wrong();
  }

  /** null: without a bound. */
  #text(charsMax: number | null): Fit {
    const { kind } = this.#found;
    if (kind === 'varchar') return charsMax !== null && (this.#numbers[0] ?? 0) >= charsMax ? FITS : this.#narrower();
    const bytes = TEXT_BYTES[kind];
    if (bytes !== undefined) return bytes >= (charsMax === null ? 2 ** 32 - 1 : charsMax * 4) ? FITS : this.#narrower();
    if (kind === 'json') return this.#wrong('is json, which writes numbers anew and drops keys that come twice');
    if (kind === 'char') return this.#wrong(`is ${this.#found.type}, which cuts spaces at the end`);
    return this.#wrong();
  }

  #integer(bytes: number): Fit {
    const has = INTEGER_BYTES[this.#found.kind];
    if (has !== undefined) {
      // A wider unsigned one still has no negative numbers; an id never is negative.
      if (this.#unsigned && this.#column.holds.kind !== 'id') return this.#wrong();
      return has >= bytes ? FITS : this.#narrower();
    }
    const [digits = 0, scale = 0] = this.#numbers;
    const wide = this.#found.kind === 'decimal' && !this.#unsigned && digits - scale >= (bytes === 4 ? 10 : 19);
    return wide && this.#column.holds.kind !== 'id' ? FITS : this.#wrong();
  }

  #decimal(precision: number, scale: number): Fit {
    if (this.#found.kind === 'bigint' && !this.#unsigned && scale === 0 && precision <= 18) return FITS;
    const integerDigits = this.#unsigned ? undefined : INTEGER_DIGITS[this.#found.kind];
    if (integerDigits !== undefined && precision - scale >= integerDigits) return this.#narrower();
    if (this.#found.kind !== 'decimal' || this.#unsigned) return this.#wrong();
    const [hasDigits = 0, hasScale = 0] = this.#numbers;
    if (hasScale >= scale && hasDigits - hasScale >= precision - scale) return FITS;
    // Room for both: what is in the column stays as it is.
    const fraction = Math.max(hasScale, scale);
    return this.#narrower(`DECIMAL(${Math.max(hasDigits - hasScale, precision - scale) + fraction},${fraction})`);
  }

  #timestamp(): Fit {
    if (this.#found.kind === 'timestamp') return this.#wrong(`is ${this.#found.type}, which holds the years 1970 to 2037 only`);
    if (this.#found.kind !== 'datetime') return this.#wrong();
    return this.#numbers[0] === 6 ? FITS : this.#narrower();
  }
}
