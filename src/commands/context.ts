// What every command is given: its flags as text, the configuration's place, where to print, when to stop.

import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Overrides } from '../config/overrides.ts';
import { LakeError } from '../errors.ts';
import type { Progress } from '../ingest/progress.ts';
import type { Log } from '../log.ts';
import type { Feed } from '../model/feed.ts';

export type Table = { readonly columns: readonly Column[]; readonly rows: readonly (readonly string[])[] };

/** `as`: what the cells hold, as plain numbers; on a terminal they are written for a person, and aligned to the right. */
export type Column = {
  readonly title: string;
  readonly align?: 'left' | 'right';
  readonly as?: 'number' | 'seconds' | 'bytes';
};

/** What a command has to say: to a person or a pipe, and with --json. */
export type Result = { readonly table: Table; readonly json: unknown };

export type CommandContext = {
  /** The words after the verb. */
  readonly args: readonly string[];
  readonly flags: {
    /** The value as typed; undefined when the flag is not given. */
    text(name: string): string | undefined;
    /** Separated by commas. */
    list(name: string): readonly string[];
    has(name: string): boolean;
  };
  readonly configPath: string;
  readonly overrides: Overrides;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly newId: () => string;
  readonly stop: AbortSignal;
  readonly abort: AbortSignal;
  /** Calls back at every SIGHUP, which ends a process that does not ask for it. */
  readonly onHangup: (listener: () => void) => Disposable;
  readonly collectGarbage: (() => void) | null;
  readonly progress: {
    show(progress: Progress): void;
    /** Of work that is measured in bytes. */
    showBytes(work: { readonly done: number; readonly total: number }): void;
    end(): void;
  };
  /** stdout: the JSON document with --json, else the table; `isAligned`: as on a terminal, wherever it goes. */
  print(result: Result & { readonly isAligned?: boolean }): void;
  /** stdout: a text that is data as it is. */
  write(text: string): void;
  /** For what is too large or too exact for `print`. */
  readonly stdout: { send(bytes: Uint8Array): Promise<void>; readonly isTerminal: boolean };
  /** For results that follow each other. */
  readonly screen: Screen;
  /** All of stdin. */
  readonly stdin: () => Promise<string>;
  /** Asks the person at the terminal, on stderr, and answers with the line typed (null: there is no more input); null: nobody sits there. */
  readonly ask: ((question: string) => Promise<string | null>) | null;
  /** stderr: for the person at the terminal, beside the data. */
  say(text: string): void;
  sayTable(table: Table): void;
  /** One JSON document is wanted on stdout. */
  readonly isJson: boolean;
  /** stderr: the error as a person reads it. */
  tell(error: LakeError): void;
};

export type Screen = {
  readonly isTerminal: boolean;
  /** In the place of the frame before, with `notes` below; in a pipe after it, with --json one line a document. */
  draw(frame: Result & { readonly notes: readonly string[] }): void;
};

export const configOf = (context: CommandContext): Config =>
  loadConfig({ path: context.configPath, env: context.env, overrides: context.overrides });

/** The feeds named, or all enabled ones. Throws feed_unknown. */
export function chosenFeeds(config: Config, names: readonly string[]): readonly Feed[] {
  if (names.length === 0) return config.feeds.filter((feed) => feed.enabled);
  return names.map((name) => {
    const feed = config.feeds.find((one) => one.name === name);
    if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name} in ${config.path}`);
    if (!feed.enabled) throw new LakeError('feed_unknown', `feed ${name} is not enabled in ${config.path}`);
    return feed;
  });
}

export function oneOf<T extends string>(value: string, allowed: readonly T[], flag: string): T {
  const found = allowed.find((item) => item === value);
  if (found === undefined) throw new LakeError('usage', `${flag} is ${JSON.stringify(value)}; it takes ${allowed.join(', ')}`);
  return found;
}
