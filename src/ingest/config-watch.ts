// feeds.json while it is in force: looked at every second, and read again when it has changed or when it is asked for (SIGHUP).
// Invariant: what is in force is always a whole configuration that was found without a problem; a file that has one changes nothing.

import { readFile } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import type { Checked } from '../config/load.ts';
import { restartKeys } from '../config/restart.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Readiness } from './readiness.ts';

export type ConfigWatchOptions = {
  readonly config: Config;
  /** Reads and checks the file. Throws LakeError when it is not there. */
  readonly load: () => Checked;
  /** Puts another configuration in force; `retry`: with what is stopped tried again. */
  readonly take: (config: Config, retry: boolean) => void;
  readonly readiness: Pick<Readiness, 'configTaken' | 'configRefused'>;
  readonly log: Log;
};

export type ConfigWatch = Disposable & {
  /** Reads it again now, changed or not. */
  readAgain(): void;
};

const LOOK_MS = 1_000;

export async function watchConfig(options: ConfigWatchOptions): Promise<ConfigWatch> {
  const { load, take, readiness, log } = options;
  const { path } = options.config;
  let inForce = options.config;
  let seen = await textOf(path);
  // What was written since the configuration was read is judged by the first looks.
  let judged = isAsRead(load, inForce) ? seen : undefined;
  let looking = false;

  const judge = (retry: boolean): void => {
    const verdict = verdictOn(load, inForce);
    if ('problems' in verdict) {
      const { problems } = verdict;
      const reason = problems.join('\n');
      log.error('config_refused', { file: path, problems: problems.length, reason });
      readiness.configRefused(reason);
      return;
    }
    inForce = verdict.config;
    log.info('config_taken', { file: path, feeds: inForce.feeds.length });
    readiness.configTaken();
    take(inForce, retry);
  };
  /** A file that is being written is left alone until two looks find the same. */
  const look = async (): Promise<void> => {
    if (looking) return;
    looking = true;
    const text = await textOf(path);
    looking = false;
    const isStill = text === seen;
    seen = text;
    if (!isStill || text === judged) return;
    judged = text;
    judge(false);
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  return {
    readAgain: () => judge(true),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** null: it cannot be read. */
const textOf = (path: string): Promise<string | null> => readFile(path, 'utf8').catch(() => null);

/** Whether the file still says what is in force. */
function isAsRead(load: () => Checked, inForce: Config): boolean {
  try {
    return JSON.stringify(load().config) === JSON.stringify(inForce);
  } catch (error) {
    if (error instanceof LakeError) return false;
    throw error;
  }
}

type Verdict = { readonly config: Config } | { readonly problems: readonly string[] };

function verdictOn(load: () => Checked, inForce: Config): Verdict {
  try {
    const { config, issues } = load();
    if (config === null) return { problems: issues.map(({ text }) => text) };
    const keys = restartKeys(inForce, config);
    return keys.length === 0 ? { config } : { problems: [`${keys.join(', ')}: a change here takes a restart of lake ingest`] };
  } catch (error) {
    if (error instanceof LakeError) return { problems: [error.message] };
    throw error;
  }
}
