// lake ingest: runs the pipelines until told to stop, or until everything that was there is in.

import type { Config } from '../config/config.ts';
import { findConfigIssues } from '../config/load.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { watchConfig } from '../ingest/config-watch.ts';
import type { PipelineResult } from '../ingest/pipeline.ts';
import { createReadiness, type Readiness } from '../ingest/readiness.ts';
import { runPipelines } from '../ingest/run-pipelines.ts';
import type { TargetName } from '../ingest/target.ts';
import { type FeedsByTarget, WantedFeeds } from '../ingest/wanted-feeds.ts';
import { accessOfFeeds, applyAccess, withAccess } from '../lake/access.ts';
import { openLocalStore } from '../lake/local-store.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Feed } from '../model/feed.ts';
import { startHttp } from '../service/http.ts';
import { parseListen } from '../service/listen.ts';
import { createMetrics } from '../service/metrics.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, oneOf } from './context.ts';

export const ingest: CommandSpec = {
  usage: 'ingest',
  summary: 'Move messages from Kafka into the lake and the warehouse, exactly once',
  options: [
    { flag: '--mode <mode>', text: 'all, lake or warehouse', default: 'all' },
    { flag: '--feed <names>', text: 'Only these feeds, separated by commas' },
    { flag: '--until-caught-up', text: 'End when everything that is in Kafka now is in' },
    { flag: '--http <host:port>', text: 'Serve /healthz, /readyz and /metrics there; 127.0.0.1 unless a host is named' },
    { flag: '--on-gap <action>', text: 'stop or record, when Kafka has already deleted messages', default: 'stop' },
  ],
  examples: [
    'lake ingest',
    'lake ingest --feed customer_events --until-caught-up',
    'lake ingest --feed customer_events --on-gap record',
    'lake ingest --http 127.0.0.1:9464',
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const { flags } = context;
  const metrics = createMetrics(context.nowMs);
  const log = metrics.counted(context.log);
  const mode = oneOf(flags.text('mode') ?? 'all', ['all', 'lake', 'warehouse'], '--mode');
  const onGap = oneOf(flags.text('onGap') ?? 'stop', ['stop', 'record'], '--on-gap');
  if (flags.text('feed')?.trim() === '') throw new LakeError('usage', '--feed is empty; leave it out for all feeds');
  const http = flags.text('http');
  const listen = http === undefined ? null : parseListen(http);
  const config = configOf(context);
  const chosen = flags.list('feed');
  const feeds = byTarget(chosenFeeds(config, chosen), mode);
  const names = (some: readonly Feed[]): string => some.map((feed) => feed.name).join(',');
  log.info('ingest_started', { lake: names(feeds.lake), warehouse: names(feeds.warehouse), path: config.lake.path });
  const targets = (['lake', 'warehouse'] as const).filter((target) => feeds[target].length > 0);
  const readiness = createReadiness(targets, { nowMs: context.nowMs, isServed: listen !== null });
  await using _server = listen && (await startHttp({ listen, readiness, metrics, log }));
  const startedMs = context.nowMs();
  const readers = createLakeReaders(config.feeds);
  const store = withAccess(await openLocalStore({ root: config.lake.path, access: 'write' }), readers.of);
  await readers.apply(store, feeds.lake);
  const wanted = new WantedFeeds(config.feeds, feeds, { mayChange: !flags.has('untilCaughtUp') });
  using _watch = wanted.mayChange ? await watched(context, { config, wanted, readiness, mode, chosen, store, readers }) : null;
  const { results, failures } = await runPipelines({
    readiness,
    config,
    wanted,
    store,
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
  const messages = results.reduce((sum, { result }) => sum + total(result.messages), 0);
  const elapsedMs = Math.max(1, context.nowMs() - startedMs);
  log.info('ingest_ended', {
    messages,
    duration_ms: elapsedMs,
    per_second: Math.round((messages / elapsedMs) * 1000),
  });
  const lines = results.flatMap(({ target, result }) => wanted.of(target).map((feed) => lineOf(feed, target, result)));
  const lost = failures.flatMap(({ target, error }) => wanted.of(target).map((feed) => lostLineOf(feed, target, error)));
  report(context, [...lines, ...lost]);
  const errors = [...failures.map(({ error }) => error), ...results.flatMap(({ result }) => [...result.failures.values()])];
  for (const error of errors) {
    if (!(error instanceof LakeError)) throw error;
    context.tell(error);
  }
  const [first] = errors;
  return first instanceof LakeError ? first.exit : EXIT.done;
}

type Watched = {
  readonly config: Config;
  readonly wanted: WantedFeeds;
  readonly readiness: Readiness;
  readonly mode: Mode;
  readonly store: ObjectStore;
  readonly readers: LakeReaders;
  /** Of --feed; those that the file no longer has are left out. */
  readonly chosen: readonly string[];
};

/** feeds.json may change while this runs; SIGHUP has it read again, and stopped feeds tried again. */
async function watched(context: CommandContext, watched: Watched): Promise<Disposable> {
  const { config, wanted, readiness, mode, chosen, store, readers } = watched;
  const watch = await watchConfig({
    config,
    readiness,
    log: context.log,
    load: () => {
      const checked = findConfigIssues({ path: context.configPath, env: context.env, overrides: context.overrides });
      accessOfFeeds(checked.config?.feeds ?? []);
      return checked;
    },
    take: ({ feeds }, retry) => {
      readers.change(feeds);
      readers.apply(store, feeds).catch((error: unknown) => {
        context.log.error('permissions_refused', { reason: error instanceof Error ? error.message : String(error) });
      });
      const read = feeds.filter(({ name, enabled }) => enabled && (chosen.length === 0 || chosen.includes(name)));
      wanted.change(feeds, byTarget(read, mode), retry);
    },
  });
  const hangup = context.onHangup(() => watch.readAgain());
  return {
    [Symbol.dispose]: () => {
      hangup[Symbol.dispose]();
      watch[Symbol.dispose]();
    },
  };
}

/** Group and mode of the feeds' files, which change with feeds.json. */
function createLakeReaders(feeds: readonly Feed[]) {
  let access = accessOfFeeds(feeds);
  return {
    of: (feed: string) => access.get(feed) ?? null,
    change: (now: readonly Feed[]): void => {
      access = accessOfFeeds(now);
    },
    /** To what is there already. */
    apply: async (store: ObjectStore, some: readonly Feed[]): Promise<void> => {
      for (const { name } of some) {
        const wanted = access.get(name);
        if (wanted) await applyAccess(store, name, wanted);
      }
    },
  };
}

type LakeReaders = ReturnType<typeof createLakeReaders>;

const total = (messages: ReadonlyMap<string, number>): number => [...messages.values()].reduce((sum, count) => sum + count, 0);

type Mode = 'all' | 'lake' | 'warehouse';

function byTarget(feeds: readonly Feed[], mode: Mode): FeedsByTarget {
  return {
    lake: mode === 'warehouse' ? [] : feeds.filter((feed) => feed.destination !== 'data_warehouse'),
    warehouse: mode === 'lake' ? [] : feeds.filter((feed) => feed.destination !== 'data_lake'),
  };
}

type Line = ReturnType<typeof lineOf>;

function lineOf(feed: Feed, target: TargetName, { messages, failures }: PipelineResult) {
  const failure = failures.get(feed.name);
  const stopped = failure ? { code: failure.code, message: failure.message } : null;
  return { feed: feed.name, target, messages: messages.get(feed.name) ?? 0, stopped };
}

/** Of a pipeline that ended by an error: what its feeds have committed, the log says. */
const lostLineOf = (feed: Feed, target: TargetName, error: unknown): Line => {
  const stopped =
    error instanceof LakeError ? { code: error.code, message: error.message } : { code: 'bug' as const, message: String(error) };
  return { feed: feed.name, target, messages: 0, stopped };
};

function report(context: CommandContext, lines: readonly Line[]): void {
  context.print({
    table: {
      columns: [{ title: 'feed' }, { title: 'target' }, { title: 'messages', as: 'number' }, { title: 'stopped' }],
      rows: lines.map(({ feed, target, messages, stopped }) => [feed, target, String(messages), stopped?.code ?? '']),
    },
    json: { ok: lines.every(({ stopped }) => stopped === null), feeds: lines },
  });
}
