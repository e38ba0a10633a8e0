// lake feeds enable: a feed that was stopped goes on.

import { currentActor } from '../config/actor.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { openAudit } from '../lake/audit.ts';
import { openLakeFeed } from '../lake/lake.ts';
import { openLocalStore } from '../lake/local-store.ts';
import { readFeedState } from '../lake/read-log.ts';
import { type CommandContext, chosenFeeds, configOf } from './context.ts';

/** Clears the stop that too many refused messages set (DESIGN §6). */
export async function enableFeed(context: CommandContext, [name]: readonly string[]): Promise<ExitCode> {
  if (name === undefined) throw new LakeError('usage', 'lake feeds enable takes the name of a feed');
  const config = configOf(context);
  const [feed] = chosenFeeds(config, [name]);
  if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name}`);
  const store = await openLocalStore({ root: config.lake.path, access: 'write' });
  const { stopped } = await readFeedState(store, feed.name);
  if (stopped) {
    const { nowMs, newId } = context;
    const audit = openAudit({ store, actor: currentActor(), nowMs, log: context.log });
    const lake = await openLakeFeed({
      store,
      feed: feed.name,
      topic: null,
      clusterId: null,
      compression: config.lake.compression,
      nowMs,
      newId,
      onEntry: audit.entry,
    });
    const answer = await lake.enable(context.abort).finally(audit.end);
    if (answer.kind !== 'committed') throw new LakeError('fenced', `feed ${name} changed at the same moment; run it again`);
  }
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'was stopped for' }],
      rows: [[feed.name, stopped?.reason ?? 'it was not stopped']],
    },
    json: { feed: feed.name, was_stopped: stopped !== null, reason: stopped?.reason ?? null },
  });
  return EXIT.done;
}
