// Questions to a person at a terminal, answered by a line each. Invariant: a line that comes before its question is not lost, so
// answers may be pasted or sent by a script; the terminal's own line editing and Ctrl-C stay as they are.

import { createInterface } from 'node:readline';

/** The answer without its line end; null when there is no more input, or who asks was told to stop. */
export type Ask = (question: string) => Promise<string | null>;

export function createAsk(input: NodeJS.ReadableStream, write: (text: string) => void, stop: AbortSignal): Ask {
  const lines: string[] = [];
  let isEnded = false;
  let waiting: (() => void) | null = null;
  let isOpen = false;
  const wake = (): void => {
    waiting?.();
    waiting = null;
  };
  const end = (): void => {
    isEnded = true;
    wake();
  };
  const open = (): void => {
    isOpen = true;
    const reader = createInterface({ input, terminal: false });
    reader.on('line', (line) => {
      lines.push(line);
      wake();
    });
    reader.on('close', end);
    stop.addEventListener('abort', end, { once: true });
    if (stop.aborted) end();
  };
  return async (question) => {
    if (!isOpen) open();
    write(question);
    if (lines.length === 0 && !isEnded) await new Promise<void>((resolve) => (waiting = resolve));
    return stop.aborted ? null : (lines.shift() ?? null);
  };
}
