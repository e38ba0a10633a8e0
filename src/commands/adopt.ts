// lake adopt: the Parquet and the fact rows that were there before lake, known to query, retention, compact and verify from then on.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { nameText, snapshotOf } from '../model/adopted.ts';
import type { Adoption } from '../model/adoption.ts';
import { dateOf } from '../model/retention.ts';
import { adoptFeed, planFeedAdoption } from '../operations/adopt.ts';
import { openInstallation } from '../operations/installation.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, type Table } from './context.ts';

export const adopt: CommandSpec = {
  usage: 'adopt <feed>',
  summary: 'Take Parquet files and fact rows that were there before lake into the log of a feed, where they lie',
  options: [
    { flag: '--dry-run', text: 'Show what would be taken in, and change nothing' },
    { flag: '--yes', text: 'Do not ask' },
  ],
  examples: [
    'lake adopt customer_events --dry-run',
    'lake adopt customer_events',
    'lake adopt user_transaction_summary --yes --json',
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const config = configOf(context);
  const [feed] = chosenFeeds(config, context.args);
  if (!feed) throw new LakeError('usage', 'lake adopt takes the name of a feed');
  const { log, nowMs, newId, ask } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const dryRun = context.flags.has('dryRun');
  const plan = await planFeedAdoption(installation, feed);
  const isNothing = plan.files.length + plan.snapshots.length === 0 && plan.after === null;
  if (!dryRun && !isNothing && !context.flags.has('yes')) {
    if (ask === null) throw new LakeError('usage', 'lake adopt needs --yes where nobody can be asked', { todo: SEE_FIRST });
    context.print({ ...adoptionReport(feed.name, plan, { dryRun: true }), isAligned: true });
    if (!/^y(es)?$/i.test((await ask('take these in? [y/N] ')) ?? '')) return EXIT.done;
  }
  const done = dryRun || isNothing ? plan : await adoptFeed(installation, feed);
  context.print(adoptionReport(feed.name, done, { dryRun }));
  return plan.refused.length > 0 && !dryRun ? EXIT.failed : EXIT.done;
}

const SEE_FIRST = 'see what it would do with --dry-run, then say --yes';

export const adoptionReport = (feed: string, plan: Adoption, { dryRun }: { readonly dryRun: boolean }) => {
  const adopted = [...groupsOf(plan), ...plan.snapshots.map(snapshotOfRows)].map((one) => ({ feed, ...one }));
  return {
    table: tableOf(feed, adopted, plan),
    json: { dry_run: dryRun, adopted, refused: plan.refused.map((one) => ({ feed, ...one })) },
  };
};

type Adopted = {
  readonly target: 'lake' | 'warehouse';
  readonly kind: 'day' | 'snapshot';
  readonly what: string;
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
};

const snapshotOfRows = ({ rows, ...name }: Adoption['snapshots'][number]): Adopted => ({
  ...{ target: 'warehouse', kind: 'snapshot', what: nameText(name), rows, files: 0, bytes: 0 },
});

/** By day, or by snapshot. */
function groupsOf({ files }: Adoption): readonly Adopted[] {
  const placeOf = (file: Adoption['files'][number]): string => {
    const name = snapshotOf(file);
    return name ? nameText(name) : (dateOf(file) ?? '');
  };
  return [...Map.groupBy(files, placeOf)].map(([what, some]) => ({
    ...{ target: 'lake', kind: some[0] && snapshotOf(some[0]) ? 'snapshot' : 'day', what },
    rows: some.reduce((sum, { rows }) => sum + rows, 0),
    files: some.length,
    bytes: some.reduce((sum, { bytes }) => sum + bytes, 0),
  }));
}

function tableOf(feed: string, adopted: readonly Adopted[], { refused }: Adoption): Table {
  const sum = (name: 'rows' | 'files' | 'bytes'): string => String(adopted.reduce((all, one) => all + one[name], 0));
  return {
    columns: [
      ...['', 'feed', 'target', 'kind', 'what'].map((title) => ({ title })),
      ...['rows', 'files', 'bytes'].map((title) => ({ title, align: 'right' }) as const),
      { title: 'reason' },
    ],
    rows: [
      ...adopted.map(({ target, kind, what, rows, files, bytes }) => [
        ...['adopt', feed, target, kind, what, String(rows), String(files), String(bytes), ''],
      ]),
      ...refused.map(({ target, what, reason }) => ['refuse', feed, target, '', what, '', '', '', reason]),
      ['total', '', '', '', '', sum('rows'), sum('files'), sum('bytes'), ''],
    ],
  };
}
