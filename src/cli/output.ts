// stdout is data: a table on a terminal, tab-separated in a pipe, one JSON document with --json.

import type { Column, Table } from '../commands/context.ts';

export function renderTable(table: Table, isTerminal: boolean): string {
  return isTerminal ? aligned(table) : tabSeparated(table);
}

/** Tabs and newlines inside a value would break the line, so they become spaces. */
function tabSeparated({ columns, rows }: Table): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  return lines.map((line) => `${line.map((cell) => cell.replaceAll(/[\t\n\r]+/g, ' ')).join('\t')}\n`).join('');
}

function aligned({ columns, rows: plain }: Table): string {
  const rows = plain.map((row) => row.map((cell, index) => readable(cell, columns[index]?.as)));
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...rows.map((row) => (row[index] ?? '').length)));
  const pad = (text: string, index: number): string => {
    const { as, align = as === undefined ? 'left' : 'right' } = columns[index] ?? {};
    return align === 'right' ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0);
  };
  const line = (cells: readonly string[]): string => `${cells.map(pad).join('  ').trimEnd()}\n`;
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return `${line(columns.map(({ title }) => title))}${rule}\n${rows.map(line).join('')}`;
}

function readable(cell: string, as: Column['as']): string {
  if (as === undefined || !/^-?\d+(\.\d+)?$/.test(cell)) return cell;
  if (as === 'number') return grouped(cell);
  return as === 'seconds' ? duration(Number(cell)) : size(Number(cell));
}

/** bigint offsets as strings; two-space indentation. */
export const renderJson = (value: unknown): string => `${JSON.stringify(value, withBigints, 2)}\n`;

/** As renderJson, on one line: a document of many. */
export const renderJsonLine = (value: unknown): string => `${JSON.stringify(value, withBigints)}\n`;

const withBigints = (_key: string, item: unknown): unknown => (typeof item === 'bigint' ? String(item) : item);

/** 1234567 → "1,234,567". */
export const grouped = (value: number | bigint | string): string => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');

const UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
] as const;

/** 0.42 → "0.4 s", 75 → "1 min 15 s", 90061 → "1 d 1 h"; at most two units. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? Math.floor(seconds * 10) / 10 : Math.floor(seconds)} s`;
  const [unit, of] = UNITS.find(([, each]) => seconds >= each) ?? UNITS[2];
  const [smaller, each] = UNITS[UNITS.findIndex(([name]) => name === unit) + 1] ?? (['s', 1] as const);
  const rest = Math.floor((seconds % of) / each);
  return `${grouped(Math.floor(seconds / of))} ${unit}${rest > 0 ? ` ${rest} ${smaller}` : ''}`;
}

/** Powers of 1000, as in feeds.json: 1234567 → "1.2 MB". */
export function size(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** power;
  return `${power > 0 && value < 100 ? value.toFixed(1) : Math.round(value)} ${['B', 'KB', 'MB', 'GB', 'TB'][power]}`;
}
