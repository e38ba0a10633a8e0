// lake verify: whether Kafka, the lake, the warehouse and the dead letters agree. Exit 3 when they do not.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { openInstallation } from '../operations/installation.ts';
import { type FeedVerdict, isGood, verifyFeeds } from '../operations/verify.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf } from './context.ts';

export const verify: CommandSpec = {
  usage: 'verify [...feeds]',
  summary: 'Reconcile Kafka, lake, warehouse and dead letters; exit 3 when something is wrong',
  options: [{ flag: '--deep', text: 'Read every byte: checksums, sealed snapshots, and the topics once more' }],
  examples: ['lake verify', 'lake verify customer_events', 'lake verify --deep --json'],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const config = configOf(context);
  const feeds = chosenFeeds(config, context.args);
  const { log, nowMs, newId, stop, abort } = context;
  const signal = AbortSignal.any([stop, abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const { progress } = context;
  const how = { deep: context.flags.has('deep'), show: progress.showBytes };
  const verdicts = await verifyFeeds(installation, feeds, how).finally(progress.end);
  context.print({ table: tableOf(verdicts), json: jsonOf(verdicts) });
  if (stop.aborted) throw new LakeError('aborted', 'the check was ended before it had looked at everything');
  const failures = verdicts.flatMap(({ failure }) => failure ?? []);
  for (const failure of failures) context.tell(failure);
  // What was found is so, whatever could not be asked.
  if (!verdicts.every(({ checks }) => checks.every(isGood))) return EXIT.no;
  return failures[0]?.exit ?? EXIT.done;
}

function tableOf(verdicts: readonly FeedVerdict[]) {
  const rows = verdicts.flatMap(({ feed, checks, failure }) => [
    ...checks.flatMap(({ check, target, findings, notes, detail }) => [
      ...(findings.length === 0 ? [[feed, target, check, 'ok', detail]] : []),
      ...findings.flatMap(({ what, todo }) => [
        [feed, target, check, 'WRONG', what],
        ['', '', '', 'do', todo],
      ]),
      ...notes.map((note) => [feed, target, check, 'note', note]),
    ]),
    ...(failure === null ? [] : [[feed, '', '', 'UNKNOWN', failure.message]]),
  ]);
  const titles = ['feed', 'target', 'check', 'result', 'detail'];
  return { columns: titles.map((title) => ({ title })), rows };
}

const jsonOf = (verdicts: readonly FeedVerdict[]) => ({
  ok: verdicts.every(({ ok }) => ok),
  feeds: verdicts.map(({ feed, ok, checks, totals, failure }) => ({
    feed,
    ok,
    checks: checks.map(({ check, target, findings, notes, detail }) => ({
      check,
      target,
      ok: findings.length === 0,
      detail,
      findings: findings.map(({ place, kind, what, todo }) => ({ place, kind, what, do: todo })),
      notes,
    })),
    error: failure && { code: failure.code, message: failure.message },
    totals: Object.fromEntries(
      Object.entries(totals).map(([target, { messages, rows, deadLetters, tombstones }]) => [
        target,
        { messages, rows, dead_letters: deadLetters, tombstones },
      ]),
    ),
  })),
});
