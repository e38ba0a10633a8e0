// lake plan: a dry run on real messages. Exit 3 when an ingest would stop at something.

import { ERROR_TABLE, type ErrorCode, EXIT, type ExitCode, LakeError } from '../errors.ts';
import { letterKey } from '../model/dead-letters.ts';
import type { FeedPlan } from '../model/plan.ts';
import { openInstallation } from '../operations/installation.ts';
import { planFeeds } from '../operations/plan.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf } from './context.ts';

const MESSAGES = 5_000;
const MESSAGES_MAX = 1_000_000;

export const plan: CommandSpec = {
  usage: 'plan [...feeds]',
  summary: 'What an ingest would make of the next messages: rows, refusals, files, DDL, drift. Joins no group, touches nothing',
  options: [{ flag: '--messages <n>', text: 'How many to look at, of each feed', default: String(MESSAGES) }],
  examples: ['lake plan', 'lake plan customer_events --messages 20000', 'lake plan customer_events --json'],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const config = configOf(context);
  const feeds = chosenFeeds(config, context.args);
  const messagesMax = messagesOf(context.flags.text('messages'));
  const { log, nowMs, newId, stop: signal } = context;
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const plans = await planFeeds(installation, feeds, { messagesMax });
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'what' }, { title: 'found' }],
      rows: plans.flatMap((one) =>
        linesOf(one).map(([what, found]) => [one.feed, what, context.stdout.isTerminal ? cut(found) : found]),
      ),
    },
    json: plans.map(jsonOf),
  });
  return exitOf(plans.flatMap(({ problems }) => problems.map(({ code }) => code)));
}

function messagesOf(text: string | undefined): number {
  if (text === undefined) return MESSAGES;
  const count = /^[1-9]\d{0,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MESSAGES_MAX) return count;
  throw new LakeError('usage', `--messages is ${JSON.stringify(text)}; it takes a number from 1 to ${MESSAGES_MAX}`);
}

/** What is out of reach could not be looked at; what was looked at and would stop an ingest is the answer no. */
function exitOf(codes: readonly string[]): ExitCode {
  if (codes.length === 0) return EXIT.done;
  const isCode = (code: string): code is ErrorCode => code in ERROR_TABLE;
  return codes.some((code) => isCode(code) && ERROR_TABLE[code].exit === EXIT.unreachable) ? EXIT.unreachable : EXIT.no;
}

/** Powers of 1000, as in feeds.json. */
function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} KB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

const FOUND_CHARS_MAX = 140;

/** A statement is long; a pipe and --json have all of it. */
const cut = (text: string): string => (text.length > FOUND_CHARS_MAX ? `${text.slice(0, FOUND_CHARS_MAX - 1)}…` : text);

const REASONS_MAX = 10;
const SHOWN_MAX = 20;

function linesOf(one: FeedPlan): (readonly [string, string])[] {
  const { messages, bytes, unread, rows, tombstones, refusals, schema, file } = one;
  const from = one.from === 'position' ? `the next of ${unread} unread` : 'the newest, for nothing is unread';
  const refused = refusals.reduce((sum, { letters }) => sum + letters, 0);
  const isAway = one.problems.some(({ code }) => code.startsWith('kafka_'));
  const none = isAway ? 'not known, for Kafka could not be asked' : 'there is none';
  const read = messages === 0 ? none : `${messages} (${size(bytes)}): ${from}`;
  const rest =
    refusals.length > REASONS_MAX ? [['refused', `… and ${refusals.length - REASONS_MAX} other reasons`] as const] : [];
  return [
    ...one.problems.map(({ message, todo }) => ['problem', `${message}; ${todo}`] as const),
    ['messages', read],
    ['become', `${rows} rows, ${refused} dead letters, ${tombstones} tombstones`],
    ...refusals
      .slice(0, REASONS_MAX)
      .map(
        ({ letters, reason, first }) => ['refused', `${letters} × ${reason} (first ${one.topic}:${letterKey(first)})`] as const,
      ),
    ...rest,
    [
      'schema',
      schema ? `${schema.from}${schema.isNew ? ', would be pinned' : ''}: ${fieldsText(schema.fields)}` : 'not known yet',
    ],
    ...one.drift
      .slice(0, SHOWN_MAX)
      .map(({ field, messages: seen }) => ['drift', `${field}, in ${seen} messages, is in no field`] as const),
    ...one.parts.slice(0, SHOWN_MAX).map((part) => ['lake', `${part.what}: ${part.rows} rows, ${size(part.bytes)}`] as const),
    ...(file
      ? [['lake', `a full batch of one day would be a file of ${file.rows} rows, about ${size(file.bytes)}`] as const]
      : []),
    ...one.statements.map(({ sql }) => ['warehouse', sql.replaceAll(/\s+/g, ' ')] as const),
    ...one.retention.map(
      ({ target, what, rows: due, reason }) => ['retention', `${target} ${what}: ${due} rows (${reason})`] as const,
    ),
  ];
}

const fieldsText = (fields: NonNullable<FeedPlan['schema']>['fields']): string =>
  fields.map(({ name, type }) => `${name}:${type}`).join(',');

const jsonOf = (one: FeedPlan) => ({
  ...{ feed: one.feed, topic: one.topic, problems: one.problems },
  ...{ from: one.from, messages: one.messages, bytes: one.bytes, unread: one.unread },
  ...{ rows: one.rows, tombstones: one.tombstones },
  dead_letters: one.refusals.reduce((sum, { letters }) => sum + letters, 0),
  refused: one.refusals.map(({ field, reason, letters, first }) => ({ field, reason, letters, first: letterKey(first) })),
  schema: one.schema && { from: one.schema.from, is_new: one.schema.isNew, fields: one.schema.fields },
  drift: one.drift,
  files: one.parts,
  full_file: one.file,
  statements: one.statements,
  retention: one.retention,
});
