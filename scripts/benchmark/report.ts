// Medians, ratios and the table that is printed.

import type { Run } from './contenders.ts';
import type { BenchTopic, Contender } from './options.ts';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export type Figures = {
  readonly contender: Contender;
  readonly perSecond: number;
  /** The whole process, start and end included. */
  readonly wallSeconds: number;
  readonly cpuSecondsPerMillion: number;
  readonly rssMbMax: number;
  readonly files: number;
  readonly bytes: number;
};

export function figuresOf(runs: readonly Run[], contender: Contender): Figures | null {
  const own = runs.filter((run) => run.contender === contender);
  const [first] = own;
  if (!first) return null;
  return {
    contender,
    perSecond: median(own.map(({ messages, ms }) => (messages / ms) * 1000)),
    wallSeconds: median(own.map(({ measured }) => measured.wallMs / 1000)),
    cpuSecondsPerMillion: median(own.map(({ messages, measured }) => (measured.cpuMs * 1000) / messages)),
    // The worst, not the middle: a bound is a bound.
    rssMbMax: Math.max(...own.map(({ measured }) => measured.rssMbMax)),
    files: first.files,
    bytes: first.bytes,
  };
}

const NAMES: Record<Contender, string> = {
  drain: 'floor A: kafkajs drain',
  duckdb: 'floor B: DuckDB alone',
  lake: 'lake ingest',
  rival: 'Python, tuned',
};

/** A Markdown table for one topic: as it stands in docs/performance.md. */
export function topicTable(topic: BenchTopic, figures: readonly Figures[]): string {
  const lake = figures.find(({ contender }) => contender === 'lake');
  const rows = figures.map((row) => [
    NAMES[row.contender],
    String(Math.round(row.perSecond / 1000)),
    lake && row !== lake ? (lake.perSecond / row.perSecond).toFixed(2) : '',
    row.cpuSecondsPerMillion.toFixed(2),
    row.rssMbMax.toFixed(0),
    row.wallSeconds.toFixed(1),
    String(row.files),
    (row.bytes / 1e6).toFixed(1),
  ]);
  const title = ['', 'k messages/s', 'lake ÷ this', 'CPU s per million', 'peak RSS MB', 'process s', 'files', 'MB written'];
  const widths = title.map((cell, index) => Math.max(cell.length, ...rows.map((row) => (row[index] ?? '').length), 4));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, index) => (index === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const heading = `${topic.name}: ${topic.messages} messages of about ${topic.size} B`;
  return [heading, line(title), rule, ...rows.map(line)].join('\n');
}

export type Aim = { readonly what: string; readonly met: boolean };

/** What the project asks of itself; printed, never asserted: seconds are the machine's. */
export function aims(figures: readonly Figures[]): Aim[] {
  const of = (contender: Contender): Figures | undefined => figures.find((one) => one.contender === contender);
  const [lake, drain, rival] = [of('lake'), of('drain'), of('rival')];
  if (!lake) return [];
  const found: Aim[] = [];
  if (drain) {
    const ratio = lake.perSecond / drain.perSecond;
    found.push({ what: `${ratio.toFixed(2)} of the bare drain (aim: at least 0.60)`, met: ratio >= 0.6 });
  }
  found.push({ what: `peak RSS ${lake.rssMbMax.toFixed(0)} MB (aim: under 400)`, met: lake.rssMbMax < 400 });
  if (rival) {
    const ratio = lake.perSecond / rival.perSecond;
    found.push({ what: `${ratio.toFixed(2)} of the tuned Python (aim: above 1)`, met: ratio > 1 });
  }
  return found;
}
