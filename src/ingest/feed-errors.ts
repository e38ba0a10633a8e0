// Which failures end one feed, and which end the run.

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
]);
