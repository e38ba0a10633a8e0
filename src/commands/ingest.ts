// lake ingest: runs the pipelines until told to stop, or until everything that was there is in.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { lakeTargets } from '../ingest/lake-target.ts';
import { runTarget } from '../ingest/supervisor.ts';
import { openLocalStore } from '../lake/local-store.ts';
import type { Feed } from '../model/feed.ts';
import { type CommandContext, chosenFeeds, configOf, oneOf } from './context.ts';

export async function ingestCommand(context: CommandContext): Promise<ExitCode> {
  const { flags, log } = context;
  const mode = oneOf(flags.text('mode') ?? 'all', ['all', 'lake', 'warehouse'], '--mode');
  const onGap = oneOf(flags.text('onGap') ?? 'stop', ['stop', 'record'], '--on-gap');
  if (flags.text('feed')?.trim() === '') throw new LakeError('usage', '--feed is empty; leave it out for all feeds');
  const config = configOf(context);
  const feeds = lakeStreams(context, chosenFeeds(config, flags.list('feed')), mode);
  log.info('ingest_started', { target: 'lake', feeds: feeds.map((feed) => feed.name).join(','), path: config.lake.path });
  const startedMs = context.nowMs();
  const { messages, failures } = await runTarget({
    config,
    targets: lakeTargets(config),
    store: await openLocalStore({ root: config.lake.path, access: 'write' }),
    feeds,
    untilCaughtUp: flags.has('untilCaughtUp'),
    onGap,
    log,
    nowMs: context.nowMs,
    newId: context.newId,
    stop: context.stop,
    abort: context.abort,
    collectGarbage: context.collectGarbage,
    onProgress: context.progress.show,
  }).finally(() => context.progress.end());
  const elapsedMs = Math.max(1, context.nowMs() - startedMs);
  log.info('ingest_ended', {
    messages: total(messages),
    duration_ms: elapsedMs,
    per_second: Math.round((total(messages) / elapsedMs) * 1000),
  });
  report(context, { feeds, messages, failures });
  for (const failure of failures.values()) context.tell(failure);
  const [first] = failures.values();
  return first?.exit ?? EXIT.done;
}

const total = (messages: ReadonlyMap<string, number>): number => [...messages.values()].reduce((sum, count) => sum + count, 0);

/** Until the keyed state of tables and the warehouse are there, what is left out is said. */
function lakeStreams(context: CommandContext, feeds: readonly Feed[], mode: 'all' | 'lake' | 'warehouse'): readonly Feed[] {
  if (mode === 'warehouse') throw new LakeError('usage', 'the warehouse pipeline is not part of this version; use --mode lake');
  const left = feeds.filter((feed) => feed.type === 'table' || feed.destination === 'data_warehouse');
  if (left.length > 0) {
    context.log.warn('feeds_skipped', {
      feeds: left.map((feed) => feed.name).join(','),
      reason: 'tables and the warehouse are not part of this version',
    });
  }
  return feeds.filter((feed) => !left.includes(feed));
}

function report(
  context: CommandContext,
  run: { feeds: readonly Feed[]; messages: ReadonlyMap<string, number>; failures: ReadonlyMap<string, LakeError> },
): void {
  const lines = run.feeds.map((feed) => {
    const failure = run.failures.get(feed.name);
    return {
      feed: feed.name,
      target: 'lake',
      messages: run.messages.get(feed.name) ?? 0,
      stopped: failure ? { code: failure.code, message: failure.message } : null,
    };
  });
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'target' }, { title: 'messages', align: 'right' }, { title: 'stopped' }],
      rows: lines.map(({ feed, target, messages, stopped }) => [feed, target, String(messages), stopped?.code ?? '']),
    },
    json: { ok: run.failures.size === 0, feeds: lines },
  });
}
