// stdout is data: a table on a terminal, tab-separated in a pipe, one JSON document with --json.

import type { Table } from '../commands/context.ts';

export function renderTable(table: Table, isTerminal: boolean): string {
  return isTerminal ? aligned(table) : tabSeparated(table);
}

/** Tabs and newlines inside a value would break the line, so they become spaces. */
function tabSeparated({ columns, rows }: Table): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  return lines.map((line) => `${line.map((cell) => cell.replaceAll(/[\t\n\r]+/g, ' ')).join('\t')}\n`).join('');
}

function aligned({ columns, rows }: Table): string {
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...rows.map((row) => (row[index] ?? '').length)));
  const pad = (text: string, index: number): string =>
    columns[index]?.align === 'right' ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0);
  const line = (cells: readonly string[]): string => `${cells.map(pad).join('  ').trimEnd()}\n`;
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return `${line(columns.map(({ title }) => title))}${rule}\n${rows.map(line).join('')}`;
}

/** bigint offsets as strings; two-space indentation. */
export const renderJson = (value: unknown): string =>
  `${JSON.stringify(value, (_key, item) => (typeof item === 'bigint' ? String(item) : item), 2)}\n`;

/** 1234567 → "1,234,567". */
export const grouped = (value: number | bigint): string => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
