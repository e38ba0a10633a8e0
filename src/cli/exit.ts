// One place that turns an error into what the screen says and the exit code (STYLE, "Errors").

import { ERROR_TABLE, EXIT, type ExitCode, LakeError } from '../errors.ts';
import type { LogLevel } from '../log.ts';
import type { Paint } from './paint.ts';

/** Subject, where, what to do, code; a bug also shows its stack. Ends with a newline. */
export function renderError(error: unknown, level: LogLevel, paint: Paint): string {
  const known = error instanceof LakeError ? error : new LakeError('bug', messageOf(error), { cause: error });
  const lines = [`${paint('error', 'error:')} ${known.message}`];
  const place = Object.entries(known.where).map(([name, value]) => `${name} ${value}`);
  if (place.length > 0) lines.push(`  where  ${place.join(' · ')}`);
  const cause = causeOf(known);
  if (cause) lines.push(`  cause  ${cause}`);
  lines.push(`  do     ${known.todo}`, `  code   ${known.code} (exit ${known.exit})`);
  const stack = known.code === 'bug' || level === 'debug' ? stackOf(known) : null;
  if (stack) lines.push(stack);
  return `${lines.join('\n')}\n`;
}

export const exitCodeOf = (error: unknown): ExitCode => (error instanceof LakeError ? ERROR_TABLE[error.code].exit : EXIT.bug);

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The innermost words that the message does not already say. */
function causeOf(error: LakeError): string | null {
  let deepest: unknown = error.cause;
  while (deepest instanceof Error && deepest.cause !== undefined) deepest = deepest.cause;
  const text = deepest === undefined ? '' : messageOf(deepest).split('\n')[0];
  return text && !error.message.includes(text) ? text : null;
}

function stackOf(error: LakeError): string | null {
  const source = error.cause instanceof Error ? error.cause : error;
  return source.stack ?? null;
}
