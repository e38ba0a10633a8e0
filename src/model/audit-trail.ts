// The lake's journal and the warehouse's audit_log as one trail, in the order of time. Pure.
// Invariant: what both of them tell is there once, and as the warehouse has it: its row was committed with what it tells of.

import type { JournalLine } from './journal.ts';

export type Audited = Omit<JournalLine, 'id'> & { readonly files: number | null; readonly bytes: number | null };

/** A line is written after the row's commit, by another clock. */
const APART_MS_MAX = 300_000;

export function auditTrail(lines: readonly JournalLine[], rows: readonly Audited[]): readonly Audited[] {
  const left = Map.groupBy(rows, whatOf);
  const isRow = (line: JournalLine): boolean => {
    const same = left.get(whatOf(line)) ?? [];
    const index = same.findIndex((row) => Math.abs(Date.parse(row.at) - Date.parse(line.at)) <= APART_MS_MAX);
    if (index >= 0) same.splice(index, 1);
    return index >= 0;
  };
  const alone = lines.filter((line) => line.target === 'lake' || !isRow(line));
  const told = alone.map(({ id: _id, ...line }): Audited => ({ ...line, files: null, bytes: null }));
  return [...told, ...rows].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

const whatOf = ({ feed, action, resource }: Pick<JournalLine, 'feed' | 'action' | 'resource'>): string =>
  JSON.stringify([feed, action, resource]);
