// feeds.json as a command that changes it has it: the text it was read as, checked, and the configuration it means.
// Invariant: a text with problems is never taken for granted, and never written.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Config } from '../config/config.ts';
import { replaceText } from '../config/config-file.ts';
import { findConfigIssues, type LoadOptions, loadConfig } from '../config/load.ts';
import { starterText } from '../config/starter.ts';
import { LakeError } from '../errors.ts';

export type FeedsFile = {
  readonly options: LoadOptions;
  /** null: it is not there yet. */
  readonly before: string | null;
  /** `before`, or what a new file begins with. */
  readonly text: string;
  readonly config: Config;
};

/** Throws config_missing, config_invalid. `orNew`: one that is not there is begun. */
export function readFeedsFile(options: LoadOptions, { orNew }: { readonly orNew: boolean }): FeedsFile {
  const before = readOr(options.path, orNew);
  const text = before ?? starterText(options.overrides ?? {});
  return { options, before, text, config: loadConfig(reading(options, text)) };
}

/** The configuration that an edited text means. Throws usage with all that would be wrong. */
export function configOfText({ options }: FeedsFile, text: string): Config {
  const { config, issues } = findConfigIssues(reading(options, text));
  if (config !== null) return config;
  const said = issues.map(({ message }) => message);
  throw new LakeError(
    'usage',
    said.length === 1 ? (said[0] ?? '') : `the feed has ${said.length} problems\n  ${said.join('\n  ')}`,
    {
      where: { file: options.path },
      todo: 'correct the flags, or write the feed into the file by hand; nothing was changed',
    },
  );
}

/** Throws fenced, lake_not_writable, disk_full. */
export const writeFeedsFile = ({ options, before }: FeedsFile, after: string): Promise<void> =>
  replaceText(resolve(options.path), { before, after });

function reading(options: LoadOptions, text: string): LoadOptions {
  const path = resolve(options.path);
  return { ...options, readText: (asked) => (asked === path ? text : readFileSync(asked, 'utf8')) };
}

function readOr(path: string, orNew: boolean): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code === 'ENOENT' && orNew) return null;
    const message = code === 'ENOENT' ? `${path} is not there` : `${path} cannot be read (${code})`;
    throw new LakeError('config_missing', message, { where: { file: path }, cause });
  }
}
