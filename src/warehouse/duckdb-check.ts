// A table of the embedded warehouse, beside what a feed needs. Nobody else writes there, so what a schema may become is done at
// once: a column more, a number's wider type. Anything else is another schema under the same name. Pure.

import type { SqlColumn, SqlTable } from './fact-table.ts';
import type { FoundColumn, FoundTable } from './found-table.ts';
import type { TableVerdict } from './table-check.ts';

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

export function checkEmbedded(table: SqlTable, found: FoundTable): TableVerdict {
  const differs = (problems: readonly string[]): TableVerdict => ({ kind: 'differs', table: table.name, problems, alter: null });
  if (found.kind === 'view') return differs(['is a view, and no rows can be kept in it']);
  const pairs = table.columns.map((column) => ({ column, there: found.columns.find(({ name }) => same(name, column.name)) }));
  const missing = pairs.flatMap(({ column, there }) => (there ? [] : [column]));
  const other = pairs.flatMap(({ column, there }) => (there && !same(there.type, column.type) ? [{ column, there }] : []));
  const problems = [
    ...missing.filter(({ role }) => role !== 'field').map(({ name }) => `column ${name} is missing`),
    ...other
      .filter(({ column, there }) => !isWider(column.type, there.type))
      .map(({ column, there }) => `column ${column.name} is ${there.type.toUpperCase()}, and cannot become ${column.type}`),
    ...others(table, found).map(({ name }) => `column ${name} is NOT NULL, and is no field of the feed`),
  ];
  if (problems.length > 0) return differs(problems);
  return {
    kind: 'usable',
    missing,
    widened: other.map(({ column, there }) => ({ column, statement: widen(table, column), from: there.type, to: column.type })),
  };
}

const widen = (table: SqlTable, { quoted, type }: SqlColumn) => ({
  text: `ALTER TABLE ${table.quoted} ALTER COLUMN ${quoted} TYPE ${type}`,
  values: [],
});

const others = (table: SqlTable, found: FoundTable): FoundColumn[] =>
  found.columns.filter(
    ({ name, nullable, hasDefault }) => !nullable && !hasDefault && !table.columns.some((column) => same(column.name, name)),
  );

/** Digits before and after the point. */
function digitsOf(type: string): { readonly whole: number; readonly scale: number } | null {
  const name = type.toUpperCase();
  if (name === 'INTEGER') return { whole: 10, scale: 0 };
  if (name === 'BIGINT') return { whole: 19, scale: 0 };
  const [, precision, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(name) ?? [];
  return precision === undefined ? null : { whole: Number(precision) - Number(scale), scale: Number(scale) };
}

/** Holds every value of the other one, as it is. */
function isWider(type: string, than: string): boolean {
  const [wide, narrow] = [digitsOf(type), digitsOf(than)];
  return wide !== null && narrow !== null && wide.whole >= narrow.whole && wide.scale >= narrow.scale;
}
