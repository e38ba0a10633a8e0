// Colour on a terminal only, and not where NO_COLOR is set: red does not move, yellow wants a look.

import { colorize } from 'consola/utils';
import type { LogLevel } from '../log.ts';
import type { Terminal } from './terminal.ts';

export type Paint = (level: LogLevel, text: string) => string;

const COLORS = { error: 'red', warn: 'yellow', info: 'cyan', debug: 'gray' } as const;

export function paintFor({ stderr, env }: Terminal): Paint {
  const plain = !stderr.isTerminal || (env['NO_COLOR'] ?? '') !== '';
  return plain ? (_level, text) => text : (level, text) => colorize(COLORS[level], text);
}
