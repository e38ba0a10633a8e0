// Which failures end one feed, and which end the run.

import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import type { TargetName } from './target.ts';

/** Errors that concern one feed only; the others go on. */
export const FEED_ERRORS: ReadonlySet<string> = new Set([
  'schema_refuses',
  'feed_stopped',
  'topic_missing',
  'topic_recreated',
  'topic_truncated',
  'offset_out_of_range',
  'message_format',
  'fenced',
  'lake_damaged',
  'cluster_changed',
  'warehouse_failed',
  'warehouse_table_differs',
  'warehouse_refused',
]);

/** How a warehouse or a Kafka that is away or hangs ends when the run is told to stop. */
export const isGivenUp = (error: unknown): error is LakeError =>
  error instanceof LakeError && ['warehouse_unreachable', 'kafka_unreachable', 'aborted'].includes(error.code);

/** A feed whose messages did not fit stays stopped, for every process, until someone has looked. */
export const stoppedError = (
  feed: Feed,
  stopped: { readonly at: string; readonly reason: string },
  target: TargetName,
): LakeError =>
  new LakeError('feed_stopped', `feed ${feed.name} was stopped at ${stopped.at}: ${stopped.reason}`, {
    where: { feed: feed.name, topic: feed.topic, target },
    todo: `correct its schema in feeds.json, then  lake feeds enable ${feed.name}`,
  });
