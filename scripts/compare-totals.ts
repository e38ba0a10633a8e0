// The same table from several stores, row by row and added up. Every value is compared as its text, so down to the last digit
// and the last microsecond. Invariant: a row that one store has and another has not is a difference.

import type { Row } from './text-table.ts';

/** What a table is of the transactions. */
export type TableTotals = {
  readonly feed: string;
  readonly key: string;
  /** All but the key. */
  readonly columns: readonly string[];
  /** Those that are added up and shown. */
  readonly sums: readonly string[];
  /** A row a key with those columns, out of a relation with the transactions' own columns; DuckDB. */
  readonly select: (transactions: string) => string;
};

/** A table as one store has it; the sums are the store's own, `rows` first. */
export type Source = { readonly title: string; readonly rows: ReadonlyMap<string, string>; readonly sums: readonly string[] };

export type Comparison = { readonly table: string; readonly lines: readonly Row[]; readonly wrong: readonly string[] };

export function rowTexts(rows: readonly Row[], { key, columns }: TableTotals): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [String(row[key]), columns.map((column) => `${column} ${row[column]}`).join(', ')]));
}

export const sumTexts = (row: Row | undefined, { sums }: TableTotals): readonly string[] =>
  ['rows', ...sums].map((name) => String(row?.[name]));

/** Keys whose rows are not the same, with what each side has. */
function differences(wanted: Source, found: Source): string[] {
  const keys = [...new Set([...wanted.rows.keys(), ...found.rows.keys()])].sort();
  const side = (key: string, { title, rows }: Source): string => `    ${key} ${title}: ${rows.get(key) ?? 'no such row'}`;
  return keys
    .filter((key) => wanted.rows.get(key) !== found.rows.get(key))
    .map((key) => `${side(key, wanted)}\n${side(key, found)}`);
}

/** Every source against the first; `lines` are for people, a column a source. */
export function compare(table: string, totals: TableTotals, [wanted, ...found]: readonly [Source, ...Source[]]): Comparison {
  const titled = (texts: readonly (string | undefined)[]): Row =>
    Object.fromEntries([wanted, ...found].map(({ title }, index) => [title, texts[index]]));
  const wrong = found.map((source) => differences(wanted, source));
  const sums = ['rows', ...totals.sums].map((total, index) => {
    const texts = [wanted, ...found].map((source) => source.sums[index]);
    return { table: index === 0 ? table : '', total, ...titled(texts), equal: yesOrNo(texts.every((text) => text === texts[0])) };
  });
  const counts = ['', ...wrong.map(({ length }) => String(length))];
  const last = { table: '', total: 'rows that differ', ...titled(counts), equal: yesOrNo(wrong.flat().length === 0) };
  return { table, lines: [...sums, last], wrong: wrong.flat() };
}

const yesOrNo = (yes: boolean): string => (yes ? 'yes' : 'NO');

export const agrees = ({ lines }: Comparison): boolean => lines.every((line) => line['equal'] === 'yes');
