// lake feeds <action>: the feeds of feeds.json and what belongs to them. One file an action; their flags are declared here together.

import type { ExitCode } from '../errors.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, oneOf } from './context.ts';
import { checkFeeds } from './feeds-check.ts';
import { enableFeed } from './feeds-enable.ts';
import { listFeeds } from './feeds-list.ts';

type Action = (context: CommandContext, names: readonly string[]) => ExitCode | Promise<ExitCode>;

/** In the order in which the command line names them. */
const ACTIONS = {
  list: listFeeds,
  check: checkFeeds,
  enable: enableFeed,
} as const satisfies Record<string, Action>;

const NAMES = Object.keys(ACTIONS) as (keyof typeof ACTIONS)[];

export const feeds: CommandSpec = {
  usage: 'feeds <action> [...names]',
  summary: 'list, check or enable feeds',
  options: [],
  examples: ['lake feeds list', 'lake feeds check --config feeds.json', 'lake feeds enable customer_events'],
  run: (context) => {
    const [action = '', ...names] = context.args;
    return ACTIONS[oneOf(action, NAMES, 'the action of lake feeds')](context, names);
  },
};
