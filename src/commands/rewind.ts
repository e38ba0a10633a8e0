// lake rewind: what a feed has from an offset or a time on is taken out of its targets, and ingest reads it again.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { parseRewindTo } from '../model/rewind-point.ts';
import { openInstallation } from '../operations/installation.ts';
import { performRewinds, planRewinds, type Rewinds } from '../operations/rewind.ts';
import type { RewoundTarget } from '../operations/rewind-report.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, type Table } from './context.ts';

export const rewind: CommandSpec = {
  usage: 'rewind <feed>',
  summary: 'Take the data of a feed out from a point on, so that ingest reads it again',
  options: [
    { flag: '--to <point>', text: 'earliest, a time (2025-01-28, 2025-01-28T12:00:00Z), or offsets (0:1200,1:980)' },
    { flag: '--dry-run', text: 'Show what would be taken out, and take nothing out' },
    { flag: '--yes', text: 'Do not ask' },
  ],
  examples: [
    'lake rewind customer_events --to 2025-01-28T12:00:00Z --dry-run',
    'lake rewind customer_events --to 0:1200,1:980',
    'lake rewind user_transaction_summary --to earliest --yes',
  ],
  run,
};

const POINTS = 'it takes earliest, a time like 2025-01-28T12:00:00Z, or offsets like 0:1200,1:980';

async function run(context: CommandContext): Promise<ExitCode> {
  const { log, nowMs, newId, flags } = context;
  const config = configOf(context);
  const [feed] = chosenFeeds(config, context.args);
  const text = flags.text('to');
  if (!feed || text === undefined)
    throw new LakeError('usage', `--to is missing: ${POINTS}`, { todo: 'see  lake rewind --help' });
  const to = parseRewindTo(text);
  if (!to) throw new LakeError('usage', `--to is ${JSON.stringify(text)}; ${POINTS}`);
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const plan = await planRewinds(installation, feed, { to, text });
  const isNothing = plan.targets.every(({ partitions }) => partitions.length === 0);
  const dryRun = flags.has('dryRun');
  if (dryRun || isNothing) {
    context.print(rewindReport(plan, { dryRun }));
    return EXIT.done;
  }
  const isAsked = !flags.has('yes');
  if (isAsked && !(await isWanted(context, plan))) {
    context.say('nothing was changed\n');
    return EXIT.no;
  }
  const done = await performRewinds(installation, plan);
  if (isAsked) context.say('done: ingest reads it again, now if it runs, else when it starts\n');
  else context.print(rewindReport(done, { dryRun }));
  return EXIT.done;
}

/** Throws usage when there is nobody to ask. */
async function isWanted({ ask, flags, print }: CommandContext, plan: Rewinds): Promise<boolean> {
  const { feed, to } = plan.order;
  if (!ask || flags.has('json'))
    throw new LakeError('usage', `a rewind of feed ${feed.name} takes data out, and there is nobody to ask`, {
      where: { feed: feed.name },
      todo: `see the plan with --dry-run, then  lake rewind ${feed.name} --to ${to} --yes`,
    });
  print(rewindReport(plan, { dryRun: true }));
  const answer = await ask(`Take this out of feed ${feed.name} and have it read again? [y/N] `);
  return /^y(es)?$/i.test(answer?.trim() ?? '');
}

/** The plan, and what was done, alike. */
export const rewindReport = ({ order, targets }: Rewinds, { dryRun }: { readonly dryRun: boolean }) => ({
  table: tableOf(targets),
  json: {
    dry_run: dryRun,
    feed: order.feed.name,
    to: order.to,
    targets: targets.map(({ target, kind, partitions, rows, deadLetters, files, filesRewritten }) => ({
      ...{ target, kind, rows, dead_letters: deadLetters, files, files_rewritten: filesRewritten },
      partitions: partitions.map(({ partition, position, to }) => ({ partition, position, to })),
    })),
  },
});

function tableOf(targets: readonly RewoundTarget[]): Table {
  const numbers = ['rows', 'dead letters', 'files', 'rewritten'].map((title) => ({ title, as: 'number' }) as const);
  return {
    columns: [...['target', 'partition', 'position', 'to'].map((title) => ({ title })), ...numbers],
    rows: targets.flatMap(({ target, kind, partitions, rows, deadLetters, files, filesRewritten }) => [
      ...partitions.map(({ partition, position, to }) => [
        ...[target, String(partition), String(position), kind === 'rebuild' ? 'read anew' : String(to)],
        ...numbers.map(() => ''),
      ]),
      [target, 'total', '', '', ...[rows, deadLetters, files, filesRewritten].map(String)],
    ]),
  };
}
