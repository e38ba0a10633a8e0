// lake retention: deletes what is older than a feed keeps, in lake and warehouse, where its auto_delete says so.

import { EXIT, type ExitCode } from '../errors.ts';
import type { RetentionAction } from '../model/retention.ts';
import { openInstallation } from '../operations/installation.ts';
import { type Retained, retainFeeds } from '../operations/retention.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, type Table } from './context.ts';

export const retention: CommandSpec = {
  usage: 'retention [...feeds]',
  summary: 'Delete days and snapshots beyond the limits of their feeds, where auto_delete is on',
  options: [{ flag: '--dry-run', text: 'Show what would be deleted, and delete nothing' }],
  examples: ['lake retention --dry-run', 'lake retention', 'lake retention customer_events --json'],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const config = configOf(context);
  const feeds = chosenFeeds(config, context.args);
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const dryRun = context.flags.has('dryRun');
  const retained = await retainFeeds(installation, feeds, { dryRun });
  context.print(retentionReport(retained, { dryRun }));
  const failures = retained.flatMap(({ failure }) => failure ?? []);
  for (const failure of failures) context.tell(failure);
  return failures[0]?.exit ?? EXIT.done;
}

/** The plan, which a dry run and a real one show alike. */
export const retentionReport = (retained: readonly Retained[], { dryRun }: { readonly dryRun: boolean }) => ({
  table: tableOf(retained),
  json: {
    dry_run: dryRun,
    actions: retained.flatMap(({ actions }) => actions.map(jsonOf)),
    kept: retained.flatMap(({ kept }) => kept.map(jsonOf)),
    failed: retained.flatMap(({ feed, failure }) => (failure ? [{ feed, code: failure.code, message: failure.message }] : [])),
  },
});

const jsonOf = ({ feed, target, kind, what, rows, files, bytes, reason }: RetentionAction) => ({
  ...{ feed, target, kind, what, rows, files, bytes, reason },
});

function tableOf(retained: readonly Retained[]): Table {
  const actions = retained.flatMap((one) => one.actions);
  const kept = retained.flatMap((one) => one.kept);
  const row = (word: string, { feed, target, kind, what, rows, files, bytes, reason }: RetentionAction): string[] => [
    ...[word, feed, target, kind, what, String(rows), String(files), String(bytes), reason],
  ];
  const sum = (name: 'rows' | 'files' | 'bytes'): string => String(actions.reduce((all, action) => all + action[name], 0));
  return {
    columns: [
      ...['', 'feed', 'target', 'kind', 'what'].map((title) => ({ title })),
      ...['rows', 'files', 'bytes'].map((title) => ({ title, align: 'right' }) as const),
      { title: 'reason' },
    ],
    rows: [
      ...actions.map((action) => row('delete', action)),
      ...kept.map((action) => row('keep', action)),
      ['total', '', '', '', '', sum('rows'), sum('files'), sum('bytes'), 'to delete'],
    ],
  };
}
