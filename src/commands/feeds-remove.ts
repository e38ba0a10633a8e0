// lake feeds remove: takes a feed out of feeds.json, so that it is no longer ingested. Data is never deleted: it is said where it stays.

import { removeFeed } from '../config/edit.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { unifiedDiff } from '../model/unified-diff.ts';
import { publishChange } from '../operations/feeds-change.ts';
import { configOfText, type FeedsFile } from '../operations/feeds-file.ts';
import { openInstallation } from '../operations/installation.ts';
import type { CommandContext } from './context.ts';
import { confirmed } from './feeds-add-ask.ts';
import { fileAndFeed, registryNotTold } from './feeds-enable.ts';

export async function removeFeedCommand(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  const { file, feed } = fileAndFeed(context, names, 'remove');
  const after = removeFeed(file.text, feed.name);
  configOfText(file, after);
  const diff = unifiedDiff(file.options.path, file.before, after);
  const stays = staysOf(file, feed);
  if (context.flags.has('dryRun')) {
    if (context.isJson) print(context, { feed, removed: false, diff, stays });
    else context.write(diff);
    return EXIT.done;
  }
  if (!(await agreed(context, feed, diff, stays))) return EXIT.done;
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config: file.config, log, nowMs, newId, signal });
  // Away, it is told before anything is touched: once the feed is out of the file, nobody would run this again.
  if (file.config.warehouse.engine === 'mysql') await installation.warehouse().catch(unlessMissing);
  const published = await publishChange(installation, file, { feed, action: 'feed_removed', after });
  print(context, { feed, removed: true, diff, stays });
  if (published.failure !== null) context.tell(registryNotTold(published.failure, 'lake verify'));
  return published.failure?.exit ?? EXIT.done;
}

function unlessMissing(error: unknown): void {
  if (!(error instanceof LakeError) || error.code === 'warehouse_unreachable') throw error;
}

async function agreed(context: CommandContext, feed: Feed, diff: string, stays: readonly Stay[]): Promise<boolean> {
  if (context.flags.has('yes')) return true;
  if (context.ask === null) {
    throw new LakeError('usage', 'lake feeds remove changes nothing without --yes where nobody can be asked', {
      todo: 'see the change with --dry-run, then say --yes',
    });
  }
  context.say(`${diff}\n`);
  for (const { what, place } of stays) context.say(`stays: ${what} ${place}\n`);
  return await confirmed({ ask: context.ask, say: context.say }, `\nTake feed ${feed.name} out?`);
}

type Stay = { readonly what: string; readonly place: string };

function staysOf({ config }: FeedsFile, feed: Feed): readonly Stay[] {
  const { path } = config.lake;
  const isInLake = feed.destination !== 'data_warehouse';
  const isInWarehouse = feed.destination !== 'data_lake';
  const { warehouse } = config;
  const database = warehouse.engine === 'mysql' ? warehouse.database : warehouse.path;
  return [
    ...(isInLake ? [{ what: 'data files', place: `${path}/${feed.type === 'stream' ? 'streams' : 'tables'}/${feed.name}` }] : []),
    ...(isInLake ? [{ what: 'dead letters', place: `${path}/dead_letters/${feed.name}` }] : []),
    { what: 'commit log, with the positions', place: `${path}/_lake/feeds/${feed.name}` },
    ...(isInWarehouse ? [{ what: 'table', place: `${feed.mysqlTable ?? `fact_${feed.name}`} in ${database}` }] : []),
    { what: 'topic', place: feed.topic },
  ];
}

type Removal = { readonly feed: Feed; readonly removed: boolean; readonly diff: string; readonly stays: readonly Stay[] };

const print = (context: CommandContext, { feed, removed, diff, stays }: Removal): void =>
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'what stays' }, { title: 'where' }],
      rows: stays.map(({ what, place }) => [feed.name, what, place]),
    },
    json: { feed: feed.name, removed, diff, stays },
  });
