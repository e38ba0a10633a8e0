// lake dead-letters retry and drop: letters leave the quarantine, as rows or for good.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { letterKey, type Refusal, refusalsOf } from '../model/dead-letters.ts';
import { type Choice, listLetters } from '../operations/dead-letters.ts';
import { dropLetters } from '../operations/dead-letters-drop.ts';
import { type Retried, retryLetters } from '../operations/dead-letters-retry.ts';
import { openInstallation } from '../operations/installation.ts';
import { type CommandContext, configOf, type Table } from './context.ts';

const installed = (context: CommandContext) => {
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  return openInstallation({ config: configOf(context), log, nowMs, newId, signal });
};

/** Exit 3 when some of them are refused still. */
export async function retryCommand(context: CommandContext, choice: Choice): Promise<ExitCode> {
  const dryRun = context.flags.has('dryRun');
  await using installation = installed(context);
  const retried = await retryLetters(installation, choice, { dryRun });
  context.print(closedReport(retried, { dryRun }));
  const failures = retried.flatMap(({ failure }) => failure ?? []);
  for (const failure of failures) context.tell(failure);
  return failures[0]?.exit ?? (retried.some(({ refused }) => refused.length > 0) ? EXIT.no : EXIT.done);
}

/** The plan first; then a person says so, or --yes did. */
export async function dropCommand(context: CommandContext, choice: Choice): Promise<ExitCode> {
  await using installation = installed(context);
  const { letters, failures } = await listLetters(installation, choice);
  const groups = [...Map.groupBy(letters, ({ feed, target }) => JSON.stringify([feed, target])).values()];
  const planned = groups.map((group): Retried => {
    const [first] = group;
    const closed = { row: 0, superseded: 0, tombstone: 0, dropped: group.length };
    const of = { feed: first?.feed ?? '', target: first?.target ?? 'lake', chosen: group.length };
    return { ...of, closed, refused: [], failure: null };
  });
  for (const failure of failures) context.tell(failure);
  if (context.flags.has('dryRun') || letters.length === 0) {
    context.print(closedReport(planned, { dryRun: true }));
    return failures[0]?.exit ?? EXIT.done;
  }
  await agreed(context, { letters: letters.length, refusals: refusalsOf(letters), planned });
  const dropped = await dropLetters(installation, choice, letters);
  context.print(closedReport(dropped, { dryRun: false }));
  const more = dropped.flatMap(({ failure }) => failure ?? []);
  for (const failure of more) context.tell(failure);
  return (failures[0] ?? more[0])?.exit ?? EXIT.done;
}

type Plan = { readonly letters: number; readonly refusals: readonly Refusal[]; readonly planned: readonly Retried[] };

const REASONS_MAX = 10;

/** Throws usage where nobody can be asked, aborted where the answer is no. */
async function agreed({ flags, ask, say }: CommandContext, { letters, refusals, planned }: Plan): Promise<void> {
  if (flags.has('yes')) return;
  const places = planned.map(({ feed, target, chosen }) => `  ${chosen} of ${feed} in the ${target}\n`);
  const reasons = refusals.slice(0, REASONS_MAX).map(({ letters: count, reason }) => `  ${count} × ${reason}\n`);
  say(`${letters} dead letters would be dropped, for good:\n${places.join('')}they were refused for\n${reasons.join('')}`);
  if (ask === null)
    throw new LakeError('usage', 'dropping dead letters is asked for at a terminal, and there is none', {
      todo: 'add --yes when the plan above is right',
    });
  const answer = await ask('drop them? (yes/no) ');
  if (answer?.trim().toLowerCase() !== 'yes')
    throw new LakeError('aborted', 'nothing was dropped', { todo: 'answer yes, or add --yes' });
}

/** What was done, or of a dry run would be. */
export const closedReport = (retried: readonly Retried[], { dryRun }: { readonly dryRun: boolean }) => ({
  table: tableOf(retried),
  json: {
    dry_run: dryRun,
    results: retried.map(({ feed, target, chosen, closed, refused }) => ({
      ...{ feed, target, chosen, rows: closed.row, superseded: closed.superseded, tombstones: closed.tombstone },
      ...{ dropped: closed.dropped, refused: refused.length },
    })),
    refused: retried.flatMap(({ feed, target, refused }) =>
      refusalsOf(refused).map(({ field, reason, letters, first }) => ({
        ...{ feed, target, field, reason, letters, first: letterKey(first) },
      })),
    ),
    failed: retried.flatMap(({ feed, target, failure }) =>
      failure ? [{ feed, target, code: failure.code, message: failure.message }] : [],
    ),
  },
});

/** The most frequent one, and how many have another; --json has them all. */
function mainReason(refused: Retried['refused']): string {
  const [most] = refusalsOf(refused);
  if (!most) return '';
  const others = refused.length - most.letters;
  return `${most.letters} × ${most.reason}${others === 0 ? '' : `; ${others} × for other reasons`}`;
}

function tableOf(retried: readonly Retried[]): Table {
  const numbers = ['letters', 'rows', 'superseded', 'tombstones', 'dropped', 'refused'];
  return {
    columns: [
      { title: 'feed' },
      { title: 'target' },
      ...numbers.map((title) => ({ title, as: 'number' as const })),
      { title: 'refused for' },
    ],
    rows: retried
      .filter(({ failure }) => failure === null)
      .map(({ feed, target, chosen, closed, refused }) => {
        const counts = [chosen, closed.row, closed.superseded, closed.tombstone, closed.dropped, refused.length];
        return [feed, target, ...counts.map(String), mainReason(refused)];
      }),
  };
}
