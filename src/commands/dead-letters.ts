// lake dead-letters <action>: the quarantine of both targets. One file an action; their flags are declared here together.

import { LakeError } from '../errors.ts';
import type { TargetName } from '../ingest/target.ts';
import type { LetterPlace, Selection } from '../model/dead-letters.ts';
import { parsePlace } from '../model/trace.ts';
import type { Choice } from '../operations/dead-letters.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, oneOf } from './context.ts';
import { dropCommand, retryCommand } from './dead-letters-close.ts';
import { listCommand } from './dead-letters-list.ts';
import { showCommand } from './dead-letters-show.ts';
import { SINCE_TEXT, sinceOf } from './since.ts';

const ACTIONS = { list: listCommand, show: showCommand, retry: retryCommand, drop: dropCommand } as const;
const NAMES = Object.keys(ACTIONS) as (keyof typeof ACTIONS)[];

export const deadLetters: CommandSpec = {
  usage: 'dead-letters <action> [message]',
  summary: 'list, show, retry or drop messages that could not become rows; a message is named <topic>:<partition>:<offset>',
  options: [
    { flag: '--feed <names>', text: 'Only these feeds, separated by commas' },
    { flag: '--target <target>', text: 'lake or warehouse; both, when it is not given', values: ['lake', 'warehouse'] },
    { flag: '--field <name>', text: 'Only those that this field is to blame for' },
    { flag: '--reason <text>', text: 'Only those whose reason holds this text' },
    { flag: '--since <when>', text: SINCE_TEXT },
    { flag: '--limit <n>', text: 'At most so many of each feed and target (list: 100 unless given)' },
    { flag: '--dry-run', text: 'retry, drop: show what would become of them, and change nothing' },
    { flag: '--yes', text: 'drop: do not ask' },
  ],
  words: NAMES,
  examples: [
    'lake dead-letters list --feed customer_events --since 7d',
    'lake dead-letters show customer_events:0:18204',
    'lake dead-letters retry --feed customer_events --dry-run',
    'lake dead-letters retry --feed customer_events --reason "not a number"',
    'lake dead-letters drop customer_events:0:18204 --yes',
  ],
  run: (context) => {
    const [action = '', message, ...more] = context.args;
    const chosen = oneOf(action, NAMES, 'the action of lake dead-letters');
    if (more.length > 0) throw new LakeError('usage', `lake dead-letters ${chosen} takes one message at most`);
    if (chosen === 'show' && message === undefined)
      throw new LakeError('usage', 'lake dead-letters show takes a message', {
        todo: 'for example  lake dead-letters show customer_events:0:18204',
      });
    return ACTIONS[chosen](context, choiceOf(context, message ?? null));
  },
};

const TARGETS: readonly TargetName[] = ['lake', 'warehouse'];

function choiceOf(context: CommandContext, message: string | null): Choice {
  const { flags } = context;
  const config = configOf(context);
  const named = chosenFeeds(config, flags.list('feed'));
  const target = flags.text('target');
  const parsed = message === null ? null : parsePlace(message);
  if (message !== null && !parsed)
    throw new LakeError('usage', `${JSON.stringify(message)} names no message; one is named <topic>:<partition>:<offset>`, {
      todo: 'for example  lake dead-letters show customer_events:0:18204',
    });
  const feeds = parsed ? named.filter(({ topic }) => topic === parsed.topic) : named;
  if (parsed && feeds.length === 0) throw new LakeError('feed_unknown', `no chosen feed reads topic ${parsed.topic}`);
  const place: LetterPlace | null = parsed && { partition: parsed.partition, offset: BigInt(parsed.offset) };
  const selection: Selection = {
    place,
    field: flags.text('field') ?? null,
    reason: flags.text('reason') ?? null,
    sinceMs: sinceOf(context),
    limit: limitOf(flags.text('limit')),
  };
  return { feeds, targets: target === undefined ? TARGETS : [oneOf(target, TARGETS, '--target')], selection };
}

function limitOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new LakeError('usage', `--limit is ${JSON.stringify(text)}; it takes a number from 1`);
}
