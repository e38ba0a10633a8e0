// lake feeds show: one feed whole: what feeds.json says, the schema that its log has pinned and where the two differ, and how far each
// target is.

import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import { readJournal } from '../lake/audit.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import { type FieldDrift, fieldDrift } from '../model/field-drift.ts';
import { UNKNOWN_FIELD } from '../model/journal.ts';
import { type Installation, openInstallation } from '../operations/installation.ts';
import { lookAtStatus, type StatusLine } from '../operations/status.ts';
import { type CommandContext, configOf, type Table } from './context.ts';

export async function showFeed(context: CommandContext, names: readonly string[]): Promise<ExitCode> {
  const [name] = names;
  if (name === undefined || names.length > 1) throw new LakeError('usage', 'lake feeds show takes the name of a feed');
  const config = configOf(context);
  const feed = config.feeds.find((one) => one.name === name);
  if (!feed) throw new LakeError('feed_unknown', `there is no feed ${name} in ${config.path}`);
  const { log, nowMs, newId } = context;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const { schema } = await readFeedState(await installation.lake(), name);
  const pinned = schema && { version: schema.version, drift: fieldDrift(feed.fields, pinnedFields(schema)) };
  const unknown = await unknownFields(installation, feed, pinned);
  const { lines, errors } = await lookAtStatus(installation, [feed]);
  const shown = tableOf(feed, pinned, lines);
  const rows = unknown.map(({ field, first_seen_at: at }) => ['unknown field', field, `in messages since ${at}`]);
  context.print({
    table: { ...shown, rows: [...shown.rows, ...rows] },
    json: { ...jsonOf(feed, pinned, lines), fields_unknown: unknown },
  });
  for (const error of errors) context.tell(error);
  return errors[0]?.exit ?? EXIT.done;
}

type Pinned = { readonly version: number; readonly drift: readonly FieldDrift[] } | null;

/** Names that messages brought and no field reads, as far as the journal tells. */
async function unknownFields(installation: Installation, feed: Feed, pinned: Pinned) {
  const names = new Set((pinned?.drift ?? []).map(({ name }) => name));
  const read = new Set((feed.fields ?? []).map(({ from }) => from[0]));
  const lines = await readJournal(await installation.lake());
  return lines
    .filter((line) => line.feed === feed.name && line.action === UNKNOWN_FIELD)
    .filter(({ resource }) => !names.has(resource) && !read.has(resource))
    .map(({ resource, at }) => ({ field: resource, first_seen_at: at }));
}

const jsonOf = (feed: Feed, pinned: Pinned, lines: readonly StatusLine[]) => ({
  feed: feed.name,
  ...{ topic: feed.topic, type: feed.type, destination: feed.destination, enabled: feed.enabled },
  ...{ event_time: feed.eventTime, key_field: feed.keyFields, key_from: feed.keyFrom, unknown_fields: feed.unknownFields },
  snapshot_every: feed.type === 'table' ? feed.snapshotEvery : null,
  table: feed.mysqlTable,
  retention: { days: feed.retention.days, versions: feed.retention.versions, auto_delete: feed.retention.autoDelete },
  schema_version: pinned?.version ?? null,
  fields: (pinned?.drift ?? fieldDrift(feed.fields, null)).map((field) => ({ ...field })),
  targets: lines.map(({ target, state, reason, lag, files, deadLetters }) => ({
    ...{ target, state, reason, lag: lag === null ? null : Number(lag), files, open_dead_letters: deadLetters },
  })),
});

function tableOf(feed: Feed, pinned: Pinned, lines: readonly StatusLine[]): Table {
  const { retention } = feed;
  const kept =
    retention.days !== null ? `${retention.days} days` : retention.versions !== null ? `${retention.versions} snapshots` : 'all';
  const rows: [string, string, string][] = [
    ['feed', feed.name, `${feed.type} of topic ${feed.topic} → ${feed.destination}${feed.enabled ? '' : ' (not enabled)'}`],
    ...(feed.keyFields.length > 0
      ? [
          ['key', feed.keyFields.join(', '), feed.keyFrom === 'message_key' ? 'of the Kafka key' : 'of the message'] as [
            string,
            string,
            string,
          ],
        ]
      : []),
    ...(feed.eventTime === null ? [] : [['event time', feed.eventTime, ''] as [string, string, string]]),
    ...(feed.mysqlTable === null ? [] : [['table', feed.mysqlTable, ''] as [string, string, string]]),
    ['retention', kept, retention.autoDelete ? 'auto_delete' : 'nothing is deleted'],
    ['schema', pinned === null ? 'not pinned yet' : `version ${pinned.version}`, feed.fields === null ? 'inferred' : 'declared'],
    ...(pinned?.drift ?? fieldDrift(feed.fields, null)).map(({ name, declared, pinned: is, drift }): [string, string, string] => [
      'field',
      `${name} ${is ?? declared ?? ''}`.trim(),
      drift ?? '',
    ]),
    ...lines.map(({ target, state, reason, lag, deadLetters }): [string, string, string] => [
      target,
      state.replaceAll('_', ' '),
      [`lag ${lag ?? '-'}`, `dead letters ${deadLetters ?? '-'}`, ...(reason === null ? [] : [reason])].join(' · '),
    ]),
  ];
  return { columns: [{ title: '' }, { title: 'what' }, { title: 'more' }], rows };
}
