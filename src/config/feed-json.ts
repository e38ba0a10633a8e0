// A chosen feed as feeds.json has it. Pure. Invariant: what is written here is read back to the same feed.

import { typeName } from '../model/columns.ts';
import type { Field } from '../model/feed.ts';
import type { FeedChoice } from '../model/feed-choice.ts';
import type { JsonObject, JsonValue } from '../model/json-fields.ts';
import { formatJsonPath } from './json-path.ts';

/** As feeds.json has it, keys in the order of the file that comes with lake. */
export function feedToJson(choice: FeedChoice): JsonObject {
  const { type, destination, eventTime, fields, keyFields, keyFrom, retention } = choice;
  const { mysqlReaders, lakeGroup } = choice.permissions;
  const permissions: JsonObject = {
    ...(mysqlReaders.length > 0 && { mysql_readers: [...mysqlReaders] }),
    ...(lakeGroup !== null && { lake_group: lakeGroup }),
  };
  const isTable = type === 'table';
  const schema: JsonObject = {
    ...(keyFields.length > 0 && { key_field: keyFields.length === 1 ? (keyFields[0] ?? '') : [...keyFields] }),
    ...(keyFrom === 'message_key' && { key_from: keyFrom }),
    ...(fields !== null && { fields: Object.fromEntries(fields.map((field) => [field.name, fieldText(field)])) }),
  };
  return {
    ...{ feed_name: choice.name, topic: choice.topic, feed_type: type, destination },
    ...(isTable ? { partitioning: 'version', storage_mode: 'overwrite' } : { partitioning: 'date', storage_mode: 'append' }),
    enabled: true,
    ...(destination !== 'data_lake' && choice.mysqlTable !== null && { mysql_table: choice.mysqlTable }),
    ...(isTable && { snapshot_every: 'day' }),
    ...(eventTime !== null && { event_time: eventTime }),
    ...(Object.keys(schema).length > 0 && { schema }),
    ...(retention.days !== null && { retention: { retention_days: retention.days, auto_delete: true } }),
    ...(retention.versions !== null && { retention: { retention_versions: retention.versions, auto_delete: true } }),
    ...(Object.keys(permissions).length > 0 && { permissions }),
  };
}

function fieldText({ name, from, type, format, required }: Field): JsonValue {
  const text = type === null ? null : typeName(type);
  const isPlain = from.length === 1 && from[0] === name && format.kind === 'iso8601' && !required;
  if (isPlain && text !== null) return text;
  return {
    ...(text !== null && { type: text }),
    ...((from.length !== 1 || from[0] !== name) && {
      from: formatJsonPath(from),
    }),
    ...(format.kind !== 'iso8601' && { format: format.kind === 'pattern' ? format.pattern : format.kind }),
    ...(required && { required: true }),
  };
}
