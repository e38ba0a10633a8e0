// lake feeds enable, disable: sets `enabled` in feeds.json, and sets a feed free that was stopped for too many refused messages
// (DESIGN §6). Nothing that was taken in is touched.

import { currentActor } from '../config/actor.ts';
import { setInFeed } from '../config/edit.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { openLakeFeed } from '../lake/lake.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import { unifiedDiff } from '../model/unified-diff.ts';
import { publishChange } from '../operations/feeds-change.ts';
import { configOfText, type FeedsFile, readFeedsFile } from '../operations/feeds-file.ts';
import { type Installation, openInstallation } from '../operations/installation.ts';
import type { CommandContext } from './context.ts';

export const enableFeed = (context: CommandContext, names: readonly string[]): Promise<ExitCode> =>
  switchFeed(context, names, true);
export const disableFeed = (context: CommandContext, names: readonly string[]): Promise<ExitCode> =>
  switchFeed(context, names, false);

async function switchFeed(context: CommandContext, names: readonly string[], enabled: boolean): Promise<ExitCode> {
  const verb = enabled ? 'enable' : 'disable';
  const { file, feed } = fileAndFeed(context, names, verb);
  const after = feed.enabled === enabled ? file.text : setInFeed(file.text, feed.name, 'enabled', enabled);
  configOfText(file, after);
  if (context.flags.has('dryRun')) return dryRun(context, { file, feed, after, enabled });
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config: file.config, log, nowMs, newId, signal });
  const published = await publishChange(installation, file, { feed, action: enabled ? 'feed_enabled' : 'feed_disabled', after });
  const reason = enabled ? await clearStop(installation, feed, context.abort) : null;
  const column = enabled ? 'was stopped for' : 'was';
  const was = feed.enabled ? 'enabled' : 'disabled';
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: column }, { title: file.options.path }],
      rows: [
        [
          feed.name,
          enabled ? (reason ?? 'it was not stopped') : was,
          `"enabled": ${enabled}${published.isFileChanged ? '' : ', as before'}`,
        ],
      ],
    },
    json: { feed: feed.name, dry_run: false, enabled, was_enabled: feed.enabled, was_stopped: reason !== null, reason },
  });
  if (published.failure !== null) context.tell(registryNotTold(published.failure, `lake feeds ${verb} ${feed.name}`));
  return published.failure?.exit ?? EXIT.done;
}

type Change = { readonly file: FeedsFile; readonly feed: Feed; readonly after: string; readonly enabled: boolean };

/** A stop that would be cleared is not looked for: it has no part in the file. */
function dryRun(context: CommandContext, { file, feed, after, enabled }: Change): ExitCode {
  const json = { feed: feed.name, dry_run: true, enabled, was_enabled: feed.enabled, was_stopped: null, reason: null };
  if (context.isJson) context.print({ table: { columns: [], rows: [] }, json });
  else context.write(unifiedDiff(file.options.path, file.before, after));
  return EXIT.done;
}

/** The feed that is meant, enabled or not. Throws usage, feed_unknown. */
export function fileAndFeed(context: CommandContext, names: readonly string[], verb: string): { file: FeedsFile; feed: Feed } {
  const [name] = names;
  if (name === undefined || names.length > 1) throw new LakeError('usage', `lake feeds ${verb} takes the name of a feed`);
  const file = readFeedsFile({ path: context.configPath, env: context.env, overrides: context.overrides }, { orNew: false });
  const feed = file.config.feeds.find((one) => one.name === name);
  if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name} in ${file.config.path}`);
  return { file, feed };
}

export const registryNotTold = (failure: LakeError, again: string): LakeError =>
  new LakeError(failure.code, `feeds.json is changed, but feed_registry was not told: ${failure.message}`, {
    where: failure.where,
    todo: `${failure.todo}; then run it again:  ${again}`,
    cause: failure,
  });

/** The reason it was stopped for; null: it was not. */
async function clearStop(installation: Installation, feed: Feed, abort: AbortSignal): Promise<string | null> {
  const { config, nowMs, newId, log } = installation;
  const { stopped } = await readFeedState(await installation.lake(), feed.name);
  if (!stopped) return null;
  const store = await installation.lakeToChange();
  const audit = openAudit({ store, actor: currentActor(), nowMs, log });
  const of = { store, feed: feed.name, topic: null, clusterId: null, compression: config.lake.compression, nowMs, newId };
  const lake = await openLakeFeed({ ...of, onEntry: audit.entry });
  const answer = await lake.enable(abort).finally(audit.end);
  if (answer.kind !== 'committed') throw new LakeError('fenced', `feed ${feed.name} changed at the same moment; run it again`);
  return stopped.reason;
}
