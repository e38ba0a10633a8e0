// lake status: every feed and target on one screen.

import { EXIT } from '../errors.ts';
import { lookAtStatus, type StatusLine } from '../operations/status.ts';
import type { CommandSpec } from './command.ts';
import { chosenFeeds, configOf, type Table } from './context.ts';
import { lookAndShow, WATCH } from './look.ts';

export const status: CommandSpec = {
  usage: 'status',
  summary: 'Every feed at a glance: state, lag, last commit, snapshot, files, dead letters',
  options: [WATCH],
  examples: ['lake status', 'lake status --watch', 'lake status --json | jq -r \'.[] | select(.state == "stopped") | .feed\''],
  run: (context) => {
    const feeds = chosenFeeds(configOf(context), []);
    return lookAndShow(context, async (installation) => {
      const { lines, errors } = await lookAtStatus(installation, feeds);
      const shown = lines.map((line) => jsonOf(line, context.nowMs()));
      const isStopped = lines.some(({ state }) => state === 'stopped');
      return { table: tableOf(shown), json: shown, errors, notes: [], exit: isStopped ? EXIT.no : EXIT.done };
    });
  },
};

type Shown = ReturnType<typeof jsonOf>;

const jsonOf = (
  { feed, target, state, reason, lag, lastCommitMs, snapshot, files, bytes, deadLetters }: StatusLine,
  nowMs: number,
) => ({
  feed,
  target,
  state,
  reason,
  lag: lag === null ? null : Number(lag),
  last_commit_at: lastCommitMs === null ? null : new Date(lastCommitMs).toISOString(),
  last_commit_seconds_ago: lastCommitMs === null ? null : Math.max(0, nowMs - lastCommitMs) / 1000,
  snapshot_date: snapshot?.date ?? null,
  snapshot_version: snapshot?.version ?? null,
  files,
  bytes,
  open_dead_letters: deadLetters,
});

const tableOf = (lines: readonly Shown[]): Table => ({
  columns: [
    { title: 'feed' },
    { title: 'target' },
    { title: 'state' },
    { title: 'lag', as: 'number' },
    { title: 'last commit' },
    { title: 'ago', as: 'seconds' },
    { title: 'snapshot' },
    { title: 'files', as: 'number' },
    { title: 'size', as: 'bytes' },
    { title: 'dead letters', as: 'number' },
    { title: 'reason' },
  ],
  rows: lines.map((line) => {
    const snapshot = line.snapshot_date === null ? '-' : `${line.snapshot_date}/${line.snapshot_version}`;
    const cells = [
      line.lag,
      line.last_commit_at,
      line.last_commit_seconds_ago,
      snapshot,
      line.files,
      line.bytes,
      line.open_dead_letters,
    ];
    return [
      line.feed,
      line.target,
      line.state.replaceAll('_', ' '),
      ...cells.map((cell) => String(cell ?? '-')),
      line.reason ?? '',
    ];
  }),
});
