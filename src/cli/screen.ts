// Frames that follow each other: redrawn in place on a terminal, one after the other in a pipe.
// Invariant: on a terminal a frame is never taller than the window, so the next one begins where this one did.

import type { Screen } from '../commands/context.ts';
import { renderJsonLine, renderTable } from './output.ts';
import type { Terminal } from './terminal.ts';

const HOME = '\u001b[H';
const CLEAR_ALL = '\u001b[2J';
const CLEAR_TO_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

export function createScreen(stdout: Pick<Terminal['stdout'], 'write' | 'isTerminal' | 'rows'>, isJson: boolean): Screen {
  let isFirst = true;
  const isTerminal = stdout.isTerminal && !isJson;
  return {
    isTerminal,
    draw: ({ table, json, notes }) => {
      if (isJson) return stdout.write(renderJsonLine(json));
      // Between two tables of a pipe an empty line.
      if (!isTerminal) stdout.write(`${isFirst ? '' : '\n'}${renderTable(table, false)}`);
      else {
        const text = `${renderTable(table, true)}${notes.map((note) => `\n${note}`).join('')}`.trimEnd();
        const lines = fitting(text.split('\n'), stdout.rows()).map((line) => `${line}${CLEAR_TO_LINE_END}\n`);
        stdout.write(`${isFirst ? CLEAR_ALL : ''}${HOME}${lines.join('')}${CLEAR_BELOW}`);
      }
      isFirst = false;
    },
  };
}

/** The cursor stays on the last row, which is therefore empty. */
function fitting(lines: readonly string[], rows: number): readonly string[] {
  const room = Math.max(1, rows - 1);
  if (lines.length <= room) return lines;
  return [...lines.slice(0, room - 1), `… ${lines.length - room + 1} lines more`];
}
