// lake verify: whether Kafka, the lake, the warehouse and the dead letters agree. Exit 3 when they do not.

import { EXIT, type ExitCode } from '../errors.ts';
import { openInstallation } from '../operations/installation.ts';
import { type FeedVerdict, verifyFeeds } from '../operations/verify.ts';
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
  const { log, nowMs, newId, abort: signal } = context;
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const verdicts = await verifyFeeds(installation, feeds, { deep: context.flags.has('deep'), read: () => undefined });
  context.print({ table: tableOf(verdicts), json: jsonOf(verdicts) });
  return verdicts.every(({ ok }) => ok) ? EXIT.done : EXIT.no;
}

function tableOf(verdicts: readonly FeedVerdict[]) {
  const rows = verdicts.flatMap(({ feed, checks }) =>
    checks.flatMap(({ check, target, findings, notes, detail }) => [
      ...(findings.length === 0 ? [[feed, target, check, 'ok', detail]] : []),
      ...findings.flatMap(({ what, todo }) => [
        [feed, target, check, 'WRONG', what],
        ['', '', '', 'do', todo],
      ]),
      ...notes.map((note) => [feed, target, check, 'note', note]),
    ]),
  );
  const titles = ['feed', 'target', 'check', 'result', 'detail'];
  return { columns: titles.map((title) => ({ title })), rows };
}

const jsonOf = (verdicts: readonly FeedVerdict[]) => ({
  ok: verdicts.every(({ ok }) => ok),
  feeds: verdicts.map(({ feed, ok, checks, totals }) => ({
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
    totals: Object.fromEntries(
      Object.entries(totals).map(([target, { messages, rows, deadLetters, tombstones }]) => [
        target,
        { messages, rows, dead_letters: deadLetters, tombstones },
      ]),
    ),
  })),
});
