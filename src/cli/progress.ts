// Long work shows itself: a bar on a terminal, a log line every 30 s elsewhere.

import type { Progress } from '../ingest/progress.ts';
import type { Log } from '../log.ts';
import { duration, grouped, size } from './output.ts';
import type { Terminal } from './terminal.ts';

const LINE_MS = 30_000;
const DRAW_MS = 200;
const RATE_WINDOW_MS = 5_000;
const CLEAR_LINE = '\r\u001b[2K';

export type BytesDone = { readonly done: number; readonly total: number };

export type ProgressView = {
  show(progress: Progress): void;
  /** Of work that is measured in bytes; `total` may be an estimate, and grow. */
  showBytes(work: BytesDone): void;
  /** Writes a line above the bar. */
  line(text: string): void;
  /** Takes the bar away. */
  end(): void;
};

export function createProgress(terminal: Terminal, log: () => Log): ProgressView {
  const { stderr, nowMs } = terminal;
  const seen: { atMs: number; messages: number }[] = [];
  let drawn = '';
  let drawnMs = Number.NEGATIVE_INFINITY;
  let lineMs = nowMs();
  let lineMessages = 0;
  const rate = (messages: number): number => {
    seen.push({ atMs: nowMs(), messages });
    while (seen.length > 2 && nowMs() - (seen[0]?.atMs ?? 0) > RATE_WINDOW_MS) seen.shift();
    const [first] = seen;
    const elapsedMs = first ? nowMs() - first.atMs : 0;
    return first && elapsedMs > 0 ? ((messages - first.messages) / elapsedMs) * 1000 : 0;
  };
  const draw = (text: (columns: number) => string): void => {
    if (!stderr.isTerminal || nowMs() - drawnMs < DRAW_MS) return;
    drawnMs = nowMs();
    drawn = text(stderr.columns());
    stderr.write(`${CLEAR_LINE}${drawn}`);
  };
  let begunMs: number | null = null;
  return {
    showBytes: ({ done, total }) => {
      begunMs ??= nowMs();
      const leftSeconds = done > 0 ? ((nowMs() - begunMs) / 1000 / done) * (total - done) : null;
      const share = total > 0 ? done / total : 1;
      draw((columns) => barOf(share, bytesText({ done, total }, leftSeconds), columns));
      if (stderr.isTerminal || nowMs() - lineMs < LINE_MS) return;
      lineMs = nowMs();
      log().info('work_progress', { done: size(done), total: size(total), percent: Math.floor(share * 100) });
    },
    show: (progress) => {
      const perSecond = Math.round(rate(progress.messages));
      draw((columns) => bar(progress, perSecond, columns));
      if (nowMs() - lineMs < LINE_MS) return;
      const sinceLine = Math.round(((progress.messages - lineMessages) / (nowMs() - lineMs)) * 1000);
      lineMs = nowMs();
      lineMessages = progress.messages;
      const left = progress.total === null ? undefined : progress.total - progress.done;
      if (!stderr.isTerminal)
        log().info('ingest_progress', { messages: progress.messages, per_second: sinceLine, offsets_left: left });
    },
    line: (text) => stderr.write(drawn ? `${CLEAR_LINE}${text}${drawn}` : text),
    end: () => {
      if (drawn) stderr.write(CLEAR_LINE);
      drawn = '';
    },
  };
}

function bar(progress: Progress, perSecond: number, columns: number): string {
  const rate = `${grouped(progress.messages)} messages  ${grouped(perSecond)}/s`;
  if (progress.total === null) return rate.slice(0, columns - 1);
  return barOf(progress.total === 0n ? 1 : Number((progress.done * 1000n) / progress.total) / 1000, rate, columns);
}

function bytesText({ done, total }: BytesDone, leftSeconds: number | null): string {
  const left = leftSeconds === null ? '' : `  about ${duration(Math.ceil(leftSeconds))} left`;
  return `${size(done)} of ${size(total)}${left}`;
}

function barOf(share: number, said: string, columns: number): string {
  const text = `${String(Math.floor(share * 100)).padStart(3)} %  ${said}`;
  const width = Math.max(0, Math.min(40, columns - text.length - 4));
  const full = Math.round(share * width);
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${text}`.slice(0, columns - 1);
}
