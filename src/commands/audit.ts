// lake audit: who did what to which feed, when, and how much of it.

import { parseSeconds } from '../config/units.ts';
import { EXIT, LakeError } from '../errors.ts';
import type { Audited } from '../model/audit-trail.ts';
import { lookAtAudit } from '../operations/audit.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, configOf, type Table } from './context.ts';
import { lookAndShow } from './look.ts';

export const audit: CommandSpec = {
  usage: 'audit',
  summary: 'What was done to feeds, tables and snapshots: who, when, what, how much',
  options: [
    { flag: '--since <when>', text: 'A day (2025-01-28), an instant (2025-01-28T12:00:00Z), or how long ago (24h, 7d)' },
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

/** Milliseconds; days are UTC's. */
function sinceOf({ flags, nowMs }: CommandContext): number | null {
  const text = flags.text('since');
  if (text === undefined) return null;
  const seconds = /[a-z]$/i.test(text) && !text.endsWith('Z') ? parseSeconds(text) : null;
  if (seconds !== null) return nowMs() - seconds * 1000;
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new LakeError('usage', `--since is ${JSON.stringify(text)}; it takes 2025-01-28, 2025-01-28T12:00:00Z, 24h or 7d`);
  return ms;
}

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
