// lake feeds sync: writes feeds.json into feed_registry and data_retention_policies. Shows the rows that differ, asks at a terminal
// (elsewhere: --yes), writes and audits them.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { performFeedsSync, planFeedsSync, type SyncPlan } from '../operations/feeds-sync.ts';
import { openInstallation } from '../operations/installation.ts';
import { type CommandContext, configOf, type Table } from './context.ts';
import { confirmed } from './feeds-add-ask.ts';

export async function syncFeeds(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  if (names.length > 0) throw new LakeError('usage', 'lake feeds sync takes no names: it writes all feeds of feeds.json');
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config: configOf(context), log, nowMs, newId, signal });
  const plan = await planFeedsSync(installation);
  const isDryRun = context.flags.has('dryRun');
  if (isDryRun || plan.changes.length === 0) return report(context, plan, isDryRun);
  if (!(await agreed(context, plan))) return EXIT.done;
  await performFeedsSync(installation, plan);
  return report(context, plan, false);
}

async function agreed(context: CommandContext, plan: SyncPlan): Promise<boolean> {
  if (context.flags.has('yes')) return true;
  if (context.ask === null || context.isJson) {
    throw new LakeError('usage', 'lake feeds sync changes nothing without --yes where nobody can be asked', {
      todo: 'see the changes with --dry-run, then say --yes',
    });
  }
  context.sayTable(tableOf(plan));
  return await confirmed({ ask: context.ask, say: context.say }, '\nWrite this?');
}

function report(context: CommandContext, plan: SyncPlan, isDryRun: boolean): ExitCode {
  const changes = plan.changes.map(({ table, feed, columns }) => ({
    ...{ table, feed, kind: columns === null ? 'add' : 'change' },
    columns: Object.fromEntries(
      (columns ?? []).map(({ name, from, to }) => [name, { from, to: to === null ? null : String(to) }]),
    ),
  }));
  context.print({ table: tableOf(plan), json: { dry_run: isDryRun, changes, unknown: plan.unknown } });
  if (plan.unknown.length > 0 && !context.isJson)
    context.say(`feed_registry also has ${plan.unknown.join(', ')}, which feeds.json has not:  lake feeds import --dry-run\n`);
  return EXIT.done;
}

const tableOf = ({ changes }: SyncPlan): Table => ({
  columns: [{ title: 'feed' }, { title: 'table' }, { title: 'column' }, { title: 'was' }, { title: 'is' }],
  rows: changes.flatMap(({ feed, table, columns }) =>
    columns === null
      ? [[feed, table, '', 'no row', 'added']]
      : columns.map(({ name, from, to }) => [feed, table, name, from ?? 'NULL', to === null ? 'NULL' : String(to)]),
  ),
});
