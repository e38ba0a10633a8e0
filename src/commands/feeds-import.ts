// lake feeds import: proposes the feeds that were registered by hand in the database, and with --yes, or when the terminal says so,
// writes them into feeds.json.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { unifiedDiff } from '../model/unified-diff.ts';
import { readFeedsFile } from '../operations/feeds-file.ts';
import { type ImportPlan, performImport, planImport } from '../operations/feeds-import.ts';
import { openInstallation } from '../operations/installation.ts';
import type { CommandContext, Table } from './context.ts';
import { confirmed } from './feeds-add-ask.ts';

export async function importFeeds(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  const { configPath: path, env, overrides, log, nowMs, newId } = context;
  const file = readFeedsFile({ path, env, overrides }, { orNew: false });
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config: file.config, log, nowMs, newId, signal });
  const plan = await planImport(installation, file, names);
  const diff = unifiedDiff(path, file.before, plan.after);
  const isDryRun = context.flags.has('dryRun');
  if (isDryRun || plan.imported.length === 0) return report(context, plan, { diff, isDryRun });
  if (!(await agreed(context, diff))) return EXIT.done;
  await performImport(installation, file, plan);
  return report(context, plan, { diff, isDryRun });
}

async function agreed(context: CommandContext, diff: string): Promise<boolean> {
  if (context.flags.has('yes')) return true;
  if (context.ask === null || context.isJson) {
    throw new LakeError('usage', 'lake feeds import changes nothing without --yes where nobody can be asked', {
      todo: 'see the changes with --dry-run, then say --yes',
    });
  }
  context.say(`${diff}\n`);
  return await confirmed({ ask: context.ask, say: context.say }, '\nWrite these feeds into feeds.json?');
}

function report(
  context: CommandContext,
  { imported, refused }: ImportPlan,
  { diff, isDryRun }: { readonly diff: string; readonly isDryRun: boolean },
): ExitCode {
  const table: Table = {
    columns: [{ title: 'feed' }, { title: 'state' }, { title: 'reason' }],
    rows: [
      ...imported.map(({ name }) => [name, isDryRun ? 'proposed' : 'imported', '']),
      ...refused.map(({ name, reason }) => [name, 'refused', reason.replaceAll(/\s*\n\s*/g, '; ')]),
    ],
  };
  const json = { dry_run: isDryRun, imported: imported.map(({ name, feed }) => ({ feed: name, entry: feed })), refused, diff };
  context.print({ table, json });
  if (isDryRun && !context.isJson) context.write(diff);
  return EXIT.done;
}
