// lake feeds <action>: the feeds of feeds.json and what belongs to them. One file an action; their flags are declared here together.

import { type ExitCode, LakeError } from '../errors.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, oneOf } from './context.ts';
import { addFeedCommand } from './feeds-add.ts';
import { ADD_OPTIONS } from './feeds-add-flags.ts';
import { checkFeeds } from './feeds-check.ts';
import { disableFeed, enableFeed } from './feeds-enable.ts';
import { importFeeds } from './feeds-import.ts';
import { inferFeed } from './feeds-infer.ts';
import { listFeeds } from './feeds-list.ts';
import { removeFeedCommand } from './feeds-remove.ts';
import { showFeed } from './feeds-show.ts';
import { syncFeeds } from './feeds-sync.ts';

type Action = (context: CommandContext, names: readonly string[]) => ExitCode | Promise<ExitCode>;

/** In the order in which the command line names them. */
const ACTIONS = {
  list: listFeeds,
  show: showFeed,
  add: addFeedCommand,
  infer: inferFeed,
  enable: enableFeed,
  disable: disableFeed,
  remove: removeFeedCommand,
  sync: syncFeeds,
  import: importFeeds,
  check: checkFeeds,
} as const satisfies Record<string, Action>;

const NAMES = Object.keys(ACTIONS) as (keyof typeof ACTIONS)[];

export const feeds: CommandSpec = {
  usage: 'feeds <action> [...names]',
  words: NAMES,
  summary: 'Feeds: list, show, add, infer, enable, disable, remove, sync, import, check',
  options: [
    ...ADD_OPTIONS,
    { flag: '--yes', text: 'Ask nothing' },
    { flag: '--dry-run', text: 'Show every change as a diff, and change nothing' },
  ],
  examples: [
    'lake feeds list',
    'lake feeds add orders --dry-run',
    'lake feeds add customer_events --type stream --destination data_lake --fields customer_id:VARCHAR,event:VARCHAR,timestamp:TIMESTAMP --event-time timestamp --retention-days 180 --create-topic --partitions 3 --yes',
    'lake feeds add user_totals --type table --key user_id --retention-versions 30 --yes',
    'lake feeds infer shop.orders',
    'lake feeds show customer_events',
    'lake feeds enable customer_events',
    'lake feeds remove customer_events --dry-run',
    'lake feeds sync --dry-run',
    'lake feeds import --dry-run',
    'lake feeds check --config feeds.json',
  ],
  run: (context) => {
    const [word = '', ...names] = context.args;
    const action = oneOf(word, NAMES, 'the action of lake feeds');
    if (action !== 'add' && action !== 'infer') refuseAddFlags(context, action);
    return ACTIONS[action](context, names);
  },
};

/** A flag that would be passed over is a mistake. */
function refuseAddFlags({ flags }: CommandContext, action: string): void {
  for (const { flag } of ADD_OPTIONS) {
    const [name = ''] = flag.split(' ');
    const key = name.slice(2).replace(/-([a-z])/g, (_all, letter: string) => letter.toUpperCase());
    if (flags.text(key) === undefined && !flags.has(key)) continue;
    throw new LakeError('usage', `${name} has no meaning for lake feeds ${action}; it is for add and infer`);
  }
}
