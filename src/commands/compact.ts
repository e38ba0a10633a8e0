// lake compact: closed days of a stream that lie in many small files become few large ones, sorted by time.

import { parseSeconds } from '../config/units.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import type { CompactionGroup } from '../model/compaction.ts';
import { type Compacted, compactFeeds } from '../operations/compact.ts';
import { openInstallation } from '../operations/installation.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, type Table } from './context.ts';

export const compact: CommandSpec = {
  usage: 'compact [...feeds]',
  summary: 'Merge the small files of closed days into few large ones',
  options: [
    { flag: '--older-than <duration>', text: 'Leave days alone that got a file within this time', default: '1d' },
    { flag: '--dry-run', text: 'Show what would be merged, and merge nothing' },
  ],
  examples: ['lake compact --dry-run', 'lake compact customer_events', 'lake compact --older-than 12h --json'],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const config = configOf(context);
  const feeds = chosenFeeds(config, context.args);
  const { log, nowMs, newId } = context;
  const olderThanMs = durationMs(context.flags.text('olderThan') ?? '1d');
  const dryRun = context.flags.has('dryRun');
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const compacted = await compactFeeds(installation, feeds, { dryRun, olderThanMs });
  context.print(compactReport(compacted, { dryRun }));
  const failures = compacted.flatMap(({ failure }) => failure ?? []);
  for (const failure of failures) context.tell(failure);
  return failures[0]?.exit ?? EXIT.done;
}

function durationMs(text: string): number {
  const seconds = parseSeconds(text);
  if (seconds === null) throw new LakeError('usage', `--older-than is ${JSON.stringify(text)}; it takes a time like 12h or 1d`);
  return seconds * 1000;
}

/** The plan, which a dry run and a real one show alike, and what a real one wrote. */
export const compactReport = (compacted: readonly Compacted[], { dryRun }: { readonly dryRun: boolean }) => ({
  table: tableOf(compacted),
  json: {
    dry_run: dryRun,
    actions: compacted.flatMap(({ groups }) => groups.map(jsonOf)),
    bytes_written: compacted.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
    failed: compacted.flatMap(({ feed, failure }) => (failure ? [{ feed, code: failure.code, message: failure.message }] : [])),
  },
});

const jsonOf = ({ feed, day, rows, files, bytes }: CompactionGroup) => ({
  ...{ feed, target: 'lake', kind: 'day', what: day, rows, files: files.length, bytes, reason: 'small files of a closed day' },
});

function tableOf(compacted: readonly Compacted[]): Table {
  const groups = compacted.flatMap((one) => one.groups);
  const sum = (of: (group: CompactionGroup) => number): string => String(groups.reduce((all, group) => all + of(group), 0));
  return {
    columns: [
      { title: 'feed' },
      { title: 'day' },
      { title: 'files', as: 'number' },
      { title: 'rows', as: 'number' },
      { title: 'bytes', as: 'bytes' },
    ],
    rows: [
      ...groups.map(({ feed, day, files, rows, bytes }) => [feed, day, ...[files.length, rows, bytes].map(String)]),
      ['total', '', sum(({ files }) => files.length), sum(({ rows }) => rows), sum(({ bytes }) => bytes)],
    ],
  };
}
