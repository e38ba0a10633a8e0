// lake feeds check: every problem of feeds.json, by line. Asks nobody and touches nothing.

import { findConfigIssues } from '../config/load.ts';
import { EXIT, type ExitCode } from '../errors.ts';
import type { CommandContext } from './context.ts';

/** Every problem of the file at once; exit 2 when there is one. */
export function checkFeeds(context: CommandContext): ExitCode {
  const { config, issues } = findConfigIssues({ path: context.configPath, env: context.env, overrides: context.overrides });
  context.print({
    table: {
      columns: [
        {
          title: config
            ? `${context.configPath}: ${config.feeds.length} feeds, no problems`
            : `${context.configPath}: ${issues.length} problems`,
        },
      ],
      rows: issues.map((issue) => [issue.text]),
    },
    json: {
      ok: issues.length === 0,
      issues: issues.map(({ file, line, feed, path, message }) => ({ file, line, feed, path, message })),
    },
  });
  return config ? EXIT.done : EXIT.usage;
}
