// A feed as it was registered by hand in MySQL (columns of sql/02_governance.sql, or of the tables before it), as feeds.json says
// it. Pure. Invariant: nothing is guessed that the row does not say, but for what every feed needs.

import type { JsonObject, JsonValue } from './json-fields.ts';

/** By column; absent where the table has no such column. */
export type RegisteredRow = Readonly<Record<string, string | null>>;

export type RegisteredFeed =
  | { readonly kind: 'feed'; readonly name: string; readonly feed: JsonObject }
  | { readonly kind: 'refused'; readonly name: string; readonly reason: string };

export function registeredFeed(row: RegisteredRow, policy: RegisteredRow | null): RegisteredFeed {
  const name = row['feed_name'] ?? '';
  const isTable = typeOf(row) === 'table';
  const schema = schemaOf(row['schema_definition'] ?? null);
  if (typeof schema === 'string') return { kind: 'refused', name, reason: schema };
  if (isTable && schema.key_field === undefined)
    return { kind: 'refused', name, reason: 'its schema_definition names no key_field, and a table needs one' };
  const topic = row['kafka_topic'] ?? name;
  const feed: JsonObject = {
    feed_name: name,
    ...(topic === name ? {} : { topic }),
    feed_type: isTable ? 'table' : 'stream',
    destination: destinationOf(row),
    ...(row['is_active'] === '0' ? { enabled: false } : {}),
    ...(row['mysql_table'] ? { mysql_table: row['mysql_table'] } : {}),
    ...(Object.keys(schema).length > 0 ? { schema } : {}),
    ...retentionOf(policy, isTable),
  };
  return { kind: 'feed', name, feed };
}

const typeOf = (row: RegisteredRow): 'stream' | 'table' => {
  const said = row['feed_type']?.toLowerCase();
  if (said === 'stream' || said === 'table') return said;
  return row['partitioning_strategy'] === 'version' ? 'table' : 'stream';
};

function destinationOf(row: RegisteredRow): string {
  const said = row['destination'];
  if (said === 'data_lake' || said === 'data_warehouse' || said === 'both') return said;
  return row['mysql_table'] ? 'both' : 'data_lake';
}

function retentionOf(policy: RegisteredRow | null, isTable: boolean): JsonObject {
  const name = isTable ? 'retention_versions' : 'retention_days';
  const count = Number(policy?.[name] ?? 0);
  if (!Number.isInteger(count) || count < 1) return {};
  return { retention: { [name]: count, auto_delete: policy?.['auto_delete'] === '1' } };
}

type Schema = { key_field?: JsonValue; fields?: JsonValue };

/** Ours (`{key_field, fields: [{name, type}]}`), names to types, a list of names, or any of them under "fields". A text is what is wrong. */
function schemaOf(text: string | null): Schema | string {
  if (text === null || text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'its schema_definition is no JSON';
  }
  const outer = isObject(value) && ('fields' in value || 'key_field' in value) ? value : { fields: value };
  const key = keyOf(outer['key_field']);
  const fields = outer['fields'] === undefined ? undefined : fieldsOf(outer['fields']);
  if (fields === null) return 'its schema_definition names no fields that can be read: {"fields": {"id": "BIGINT"}} is one';
  return { ...(key === undefined ? {} : { key_field: key }), ...(fields === undefined ? {} : { fields }) };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

function keyOf(value: unknown): JsonValue | undefined {
  if (typeof value === 'string' && value !== '') return value;
  if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === 'string')) return undefined;
  return value.length === 1 ? value[0] : value;
}

/** null: it cannot be read. */
function fieldsOf(value: unknown): JsonValue | null {
  if (Array.isArray(value) && value.length > 0) {
    if (value.every((item) => typeof item === 'string')) return value;
    const named = value.map((item): readonly [string, JsonValue] | null => namedField(item));
    return named.every((item) => item !== null) ? Object.fromEntries(named) : null;
  }
  if (!isObject(value) || Object.keys(value).length === 0) return null;
  const entries = Object.entries(value).map(([name, item]): readonly [string, JsonValue] | null =>
    typeof item === 'string' ? [name, item] : namedField({ ...(isObject(item) ? item : {}), name }),
  );
  return entries.every((item) => item !== null) ? Object.fromEntries(entries) : null;
}

function namedField(value: unknown): readonly [string, JsonValue] | null {
  if (!isObject(value) || typeof value['name'] !== 'string' || typeof value['type'] !== 'string') return null;
  const { name, type } = value;
  const [from, format] = [value['from'], value['format']];
  const isElsewhere =
    Array.isArray(from) && !(from.length === 1 && from[0] === name) && from.every((key) => typeof key === 'string');
  const more: JsonObject = {
    ...(isElsewhere ? { from } : typeof from === 'string' && from !== name ? { from } : {}),
    ...(value['required'] === true ? { required: true } : {}),
    ...(typeof format === 'string' && format !== 'iso8601' ? { format } : {}),
    ...(value['on_excess'] === 'round' ? { on_excess: 'round' } : {}),
    ...(typeof value['timezone'] === 'string' ? { timezone: value['timezone'] } : {}),
  };
  return [name, Object.keys(more).length === 0 ? type : { type, ...more }];
}
