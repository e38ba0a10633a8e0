// lake audit: who did what to which feed, when, and how much of it.

import { EXIT, LakeError } from '../errors.ts';
import type { Audited } from '../model/audit-trail.ts';
import { lookAtAudit } from '../operations/audit.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, configOf, type Table } from './context.ts';
import { lookAndShow } from './look.ts';
import { SINCE_TEXT, sinceOf } from './since.ts';

export const audit: CommandSpec = {
  usage: 'audit',
  summary: 'What was done to feeds, tables and snapshots: who, when, what, how much',
  options: [
    { flag: '--since <when>', text: SINCE_TEXT },
    { flag: '--feed <names>', text: 'Only these feeds, separated by commas' },
  ],
  examples: [
    'lake audit --since 24h',
    'lake audit --feed customer_events --since 2026-11-01',
    'lake audit --json | jq \'.[] | select(.action == "gap_recorded")\'',
  ],
  run: (context) => {
    const sinceMs = sinceOf(context);
    const feeds = context.flags.list('feed');
    return lookAndShow(context, async (installation) => {
      const { trail, errors } = await lookAtAudit(installation, sinceMs);
      checkNames(context, feeds, trail);
      const shown = feeds.length === 0 ? trail : trail.filter(({ feed }) => feed !== null && feeds.includes(feed));
      return {
        table: tableOf(shown, context.screen.isTerminal ? DETAILS_CHARS_MAX : Number.POSITIVE_INFINITY),
        json: shown.map(jsonOf),
        errors,
        notes: [],
        exit: EXIT.done,
      };
    });
  },
};

/** A feed that was taken out of the file still has its past. */
function checkNames(context: CommandContext, names: readonly string[], trail: readonly Audited[]): void {
  if (names.length === 0) return;
  const config = configOf(context);
  const known = new Set([...config.feeds.map(({ name }) => name), ...trail.map(({ feed }) => feed)]);
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined)
    throw new LakeError('feed_unknown', `nothing is told of a feed ${unknown}, and there is none in ${config.path}`);
}

const jsonOf = ({ at, target, actor, feed, action, resource, rows, files, bytes, details }: Audited) => {
  return { at, target, actor, feed, action, resource, rows, files, bytes, details };
};

/** A screen is not for whole schemas; a pipe and --json have all of it. */
const DETAILS_CHARS_MAX = 60;

const tableOf = (trail: readonly Audited[], charsMax: number): Table => ({
  columns: [
    { title: 'at' },
    { title: 'target' },
    { title: 'actor' },
    { title: 'feed' },
    { title: 'action' },
    { title: 'resource' },
    { title: 'rows', as: 'number' },
    { title: 'details' },
  ],
  rows: trail.map(({ at, target, actor, feed, action, resource, rows, details }) => {
    const told = Object.keys(details).length === 0 ? '' : JSON.stringify(details);
    return [
      at,
      target,
      actor ?? '-',
      feed ?? '-',
      action,
      resource,
      rows === null ? '-' : String(rows),
      told.length > charsMax ? `${told.slice(0, charsMax)}…` : told,
    ];
  }),
});
