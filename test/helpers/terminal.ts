// A program at a terminal of its own (`script` of util-linux), answered as a person would: what it shows is waited for, then a line is typed.

import { until } from './until.ts';

export type TerminalSession = {
  /** All that was shown so far, line ends as \n. */
  shown(): string;
  /** Waits until it shows the text after what was answered last, then types a line. */
  answer(question: string, line: string): Promise<void>;
  readonly ended: Promise<{ readonly code: number; readonly shown: string }>;
};

const WAIT = { timeoutMs: 180_000 };
export const CTRL_C = '\u0003';
export const CTRL_D = '\u0004';

export function terminal(
  command: readonly string[],
  options: { readonly cwd: string; readonly env?: Record<string, string> },
): TerminalSession {
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const child = Bun.spawn(['script', '-qefc', quoted, '/dev/null'], {
    cwd: options.cwd,
    env: { ...process.env, TERM: 'dumb', SHELL: '/bin/sh', ...options.env },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
  });
  let [all, answeredAt, isOver] = ['', 0, false];
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) all += decoder.decode(chunk, { stream: true }).replaceAll('\r', '');
    isOver = true;
  })();
  return {
    shown: () => all,
    answer: async (question, line) => {
      const at = await until(
        () => {
          const found = all.indexOf(question, answeredAt);
          if (found < 0 && isOver) throw new Error(`it ended without ${JSON.stringify(question)}:\n${all}`);
          return found >= 0 ? found + 1 : undefined;
        },
        { ...WAIT, what: `the terminal shows ${JSON.stringify(question)}, not only:\n${all.slice(answeredAt)}` },
      );
      answeredAt = at + question.length - 1;
      child.stdin.write(line === CTRL_C || line === CTRL_D ? line : `${line}\n`);
      await child.stdin.flush();
    },
    ended: (async () => {
      await Promise.all([reading, child.exited]);
      return { code: child.exitCode ?? -1, shown: all };
    })(),
  };
}
