// Long work shows itself: a bar on a terminal, a log line every 30 s elsewhere.

import type { Progress } from '../ingest/progress.ts';
import type { Log } from '../log.ts';
import { grouped } from './output.ts';
import type { Terminal } from './terminal.ts';

const LINE_MS = 30_000;
const DRAW_MS = 200;
const RATE_WINDOW_MS = 5_000;
const CLEAR_LINE = '\r\u001b[2K';

export type ProgressView = {
  show(progress: Progress): void;
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
  return {
    show: (progress) => {
      const perSecond = Math.round(rate(progress.messages));
      if (stderr.isTerminal && nowMs() - drawnMs >= DRAW_MS) {
        drawnMs = nowMs();
        drawn = bar(progress, perSecond, stderr.columns());
        stderr.write(`${CLEAR_LINE}${drawn}`);
      }
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
  const share = progress.total === 0n ? 1 : Number((progress.done * 1000n) / progress.total) / 1000;
  const text = `${String(Math.floor(share * 100)).padStart(3)} %  ${rate}`;
  const width = Math.max(0, Math.min(40, columns - text.length - 4));
  const full = Math.round(share * width);
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${text}`.slice(0, columns - 1);
}
