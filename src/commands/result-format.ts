// The result of a query as text: TSV, CSV, JSON, lines of JSON. Pure. Invariant: a reader of each format gets every value back
// exactly, and NULL apart from an empty text.

import { cellText, type Exact } from '../duckdb/exact.ts';
import type { ResultColumn } from '../duckdb/statement.ts';

export const TEXT_FORMATS = ['tsv', 'csv', 'json', 'ndjson'] as const;
export type TextFormat = (typeof TEXT_FORMATS)[number];

export type Encoder = {
  head(columns: readonly ResultColumn[]): string;
  /** `index` counts from 0 over the whole result. */
  row(row: readonly Exact[], index: number): string;
  tail(rows: number): string;
};

export function encoderOf(format: TextFormat): Encoder {
  switch (format) {
    case 'tsv':
      return lines(tsvCell, '\t');
    case 'csv':
      return lines(csvCell, ',');
    case 'ndjson':
      return objects({ head: () => '', row: (object) => `${object}\n`, tail: () => '' });
    case 'json':
      return objects({
        head: (columns) => `{\n  "columns": ${JSON.stringify(columns)},\n  "rows": [`,
        row: (object, index) => `${index === 0 ? '' : ','}\n    ${object}`,
        tail: (rows) => `${rows === 0 ? '' : '\n  '}],\n  "row_count": ${rows}\n}\n`,
      });
  }
}

function lines(cell: (text: string | null) => string, between: string): Encoder {
  const line = (cells: readonly (string | null)[]): string => `${cells.map(cell).join(between)}\n`;
  return { head: (columns) => line(columns.map(({ name }) => name)), row: (row) => line(row.map(cellText)), tail: () => '' };
}

const TSV_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** As PostgreSQL and MySQL write it: NULL is \N, and what would break the line is escaped. */
const tsvCell = (text: string | null): string =>
  text === null ? '\\N' : text.replaceAll(/[\\\t\n\r]/g, (found) => TSV_ESCAPES[found] ?? found);

/** NULL is nothing, an empty text is quoted. */
const csvCell = (text: string | null): string => {
  if (text === null) return '';
  return text === '' || /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

type Objects = {
  readonly head: (columns: readonly ResultColumn[]) => string;
  readonly row: (object: string, index: number) => string;
  readonly tail: (rows: number) => string;
};

function objects({ head, row, tail }: Objects): Encoder {
  let names: readonly string[] = [];
  return {
    head: (columns) => {
      names = columns.map(({ name }) => JSON.stringify(name));
      return head(columns);
    },
    // Not through an object, which would put a column called 1 before one called a.
    row: (cells, index) => row(`{${names.map((name, at) => `${name}: ${JSON.stringify(cells[at] ?? null)}`).join(', ')}}`, index),
    tail,
  };
}

/** For a terminal: control characters are shown, not obeyed. */
export const shownCell = (cell: Exact): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  (cellText(cell) ?? 'NULL').replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (found) => SHOWN[found] ?? `\\x${hex(found)}`);

const SHOWN: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const hex = (character: string): string => character.charCodeAt(0).toString(16).padStart(2, '0');
