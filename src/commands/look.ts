// What commands that only look have in common: an installation opened for them, and the same look again and again with --watch.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { type Installation, openInstallation } from '../operations/installation.ts';
import type { CommandOption } from './command.ts';
import { type CommandContext, configOf, type Result } from './context.ts';

export const WATCH: CommandOption = {
  flag: '--watch',
  text: 'Again every second on a terminal, every 2 s in a pipe, until Ctrl-C',
};
const EVERY_MS = { terminal: 1_000, pipe: 2_000 };

/** `errors`: what could not be looked at; the rest is shown all the same. */
export type Look = Result & { readonly errors: readonly LakeError[]; readonly notes: readonly string[]; readonly exit: ExitCode };

/** Shows what `look` sees, once or with --watch; the exit code is that of the first error, else the look's own. */
export async function lookAndShow(
  context: CommandContext,
  look: (installation: Installation) => Promise<Look>,
): Promise<ExitCode> {
  if (context.flags.has('watch')) return await watch(context, look);
  await using installation = openFor(context);
  const { table, json, errors, notes, exit } = await look(installation);
  context.print({ table, json });
  for (const note of notes) context.log.warn('look_incomplete', { reason: note });
  for (const error of distinct(errors)) context.tell(error);
  return errors[0]?.exit ?? exit;
}

const openFor = (context: CommandContext): Installation => {
  const { log, nowMs, newId, abort } = context;
  return openInstallation({ config: configOf(context), log, nowMs, newId, signal: abort });
};

/** One server that is away is told once, however many feeds it keeps from being seen. */
const distinct = (errors: readonly LakeError[]): readonly LakeError[] => [
  ...new Map(errors.map((error) => [error.message, error])).values(),
];

const EMPTY: Look = { table: { columns: [], rows: [] }, json: [], errors: [], notes: [], exit: EXIT.done };

/** Goes on while something is away, with a new connection each time. Throws what waiting does not mend. */
async function watch(context: CommandContext, look: (installation: Installation) => Promise<Look>): Promise<ExitCode> {
  const { stop, screen } = context;
  let installation = openFor(context);
  let last = EMPTY;
  let told = '';
  try {
    while (!stop.aborted) {
      const seen = await untilStopped(look(installation).catch(passing), stop);
      if (seen === null) break;
      if (seen instanceof LakeError) last = { ...last, errors: [seen] };
      else last = seen;
      const errors = distinct(last.errors);
      const messages = errors.map(({ message, todo }) => `${message}: ${todo}`);
      if (screen.isTerminal || !(seen instanceof LakeError)) screen.draw({ ...last, notes: [...last.notes, ...messages] });
      if (!screen.isTerminal && told !== messages.join('\n')) for (const error of errors) context.tell(error);
      told = messages.join('\n');
      if (errors.length > 0) {
        await close(installation);
        installation = openFor(context);
      }
      await installation.renew();
      await pause(screen.isTerminal ? EVERY_MS.terminal : EVERY_MS.pipe, stop);
    }
  } finally {
    await close(installation);
  }
  return EXIT.done;
}

/** What is away cannot be taken leave of. */
async function close(installation: Installation): Promise<void> {
  try {
    await installation[Symbol.asyncDispose]();
  } catch (error) {
    if (error instanceof LakeError && error.code === 'bug') throw error;
  }
}

function passing(error: unknown): LakeError {
  if (error instanceof LakeError && error.retriable) return error;
  throw error;
}

/** null: stopped first; what was under way is left to itself. */
function untilStopped<T>(work: Promise<T>, stop: AbortSignal): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const end = (): void => resolve(null);
    stop.addEventListener('abort', end, { once: true });
    if (stop.aborted) end();
    work.then(resolve, reject).finally(() => stop.removeEventListener('abort', end));
  });
}

function pause(delayMs: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    stop.addEventListener('abort', end, { once: true });
    if (stop.aborted) end();
  });
}
