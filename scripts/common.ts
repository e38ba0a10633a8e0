// What every script needs: the project's root, plain progress lines with elapsed seconds, and one way to end with an error.

import { join } from 'node:path';

export const root = join(import.meta.dir, '..');

// kafkajs computes a negative delay on connect; every recent runtime warns about it and it means nothing.
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
});

const startedMs = performance.now();

/** A progress line on stderr: stdout stays free for what a script is asked for. */
export function say(text: string): void {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(6);
  process.stderr.write(`${seconds}s  ${text}\n`);
}

/** The world is not as a script needs it: one sentence, and the command that helps. */
export class ScriptError extends Error {}

/** Runs a script's main function; a ScriptError becomes one line and exit code 1. */
export async function runScript(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    process.exitCode = 1;
    if (!(error instanceof ScriptError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
  }
}
