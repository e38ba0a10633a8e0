// lake feeds list | check | enable: what is configured, whether it is right, and a stopped feed set free again.

import { currentActor } from '../config/actor.ts';
import { findConfigIssues } from '../config/load.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { openLakeFeed } from '../lake/lake.ts';
import { openLocalStore } from '../lake/local-store.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, oneOf } from './context.ts';

export const feeds: CommandSpec = {
  usage: 'feeds <action> [name]',
  summary: 'list, check or enable feeds',
  options: [],
  examples: ['lake feeds list', 'lake feeds check --config feeds.json', 'lake feeds enable customer_events'],
  run,
};

function run(context: CommandContext): ExitCode | Promise<ExitCode> {
  const [action = '', name] = context.args;
  switch (oneOf(action, ['list', 'check', 'enable'], 'the action of lake feeds')) {
    case 'list':
      return list(context);
    case 'check':
      return check(context);
    case 'enable':
      return enable(context, name);
  }
}

function list(context: CommandContext): ExitCode {
  const listed = configOf(context).feeds.map(({ name, type, topic, destination, enabled, fields }) => {
    return { feed: name, type, topic, destination, enabled, fields: fields?.map((field) => field.name) ?? null };
  });
  context.print({
    table: {
      columns: [
        { title: 'feed' },
        { title: 'type' },
        { title: 'topic' },
        { title: 'destination' },
        { title: 'enabled' },
        { title: 'fields' },
      ],
      rows: listed.map((feed) => [
        feed.feed,
        feed.type,
        feed.topic,
        feed.destination,
        feed.enabled ? 'yes' : 'no',
        feed.fields?.join(' ') ?? 'inferred',
      ]),
    },
    json: listed,
  });
  return EXIT.done;
}

/** Every problem of the file at once; exit 2 when there is one. */
function check(context: CommandContext): ExitCode {
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

/** Clears the stop that too many refused messages set (DESIGN §6). */
async function enable(context: CommandContext, name: string | undefined): Promise<ExitCode> {
  if (name === undefined) throw new LakeError('usage', 'lake feeds enable takes the name of a feed');
  const config = configOf(context);
  const [feed] = chosenFeeds(config, [name]);
  if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name}`);
  const store = await openLocalStore({ root: config.lake.path, access: 'write' });
  const { stopped } = await readFeedState(store, feed.name);
  if (stopped) {
    const { nowMs, newId } = context;
    const audit = openAudit({ store, actor: currentActor(), nowMs, log: context.log });
    const lake = await openLakeFeed({
      store,
      feed: feed.name,
      topic: null,
      clusterId: null,
      compression: config.lake.compression,
      nowMs,
      newId,
      onEntry: audit.entry,
    });
    const answer = await lake.enable(context.abort).finally(audit.end);
    if (answer.kind !== 'committed') throw new LakeError('fenced', `feed ${name} changed at the same moment; run it again`);
  }
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'was stopped for' }],
      rows: [[feed.name, stopped?.reason ?? 'it was not stopped']],
    },
    json: { feed: feed.name, was_stopped: stopped !== null, reason: stopped?.reason ?? null },
  });
  return EXIT.done;
}
