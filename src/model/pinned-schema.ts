// A field as its feed's log keeps it, and back. The type is written as the configuration writes it.

import { LakeError } from '../errors.ts';
import { typeName } from './columns.ts';
import type { Field, FieldType, TimeFormat } from './feed.ts';
import { canonicalJson, type JsonValue, nullOr, objectAt, stringAt, stringsAt } from './json-fields.ts';

export const fieldToJson = (field: Field): JsonValue => ({
  name: field.name,
  from: [...field.from],
  type: field.type && typeName(field.type),
  required: field.required,
  format: field.format.kind === 'pattern' ? field.format.pattern : field.format.kind,
  on_excess: field.onExcess,
  timezone: field.timezone,
});

/** Pinned behind the fields of a feed that keeps what they do not read; it is read from nowhere, as no field is. */
export const EXTRA_JSON: JsonValue = {
  ...{ name: 'extra', from: [], type: 'JSON', required: false, format: 'iso8601', on_excess: 'dead_letter', timezone: null },
};

export const isExtra = (json: JsonValue): boolean => canonicalJson(json) === canonicalJson(EXTRA_JSON);

export const fieldFromJson = (value: unknown, parseType: (text: string) => FieldType): Field => {
  const json = objectAt(value, 'field');
  const excess = stringAt(json['on_excess'], 'field.on_excess');
  if (excess !== 'round' && excess !== 'dead_letter') throw new LakeError('lake_damaged', `field.on_excess is ${excess}`);
  return {
    name: stringAt(json['name'], 'field.name'),
    from: stringsAt(json['from'], 'field.from'),
    type: nullOr(json['type'], 'field.type', (type, at) => parseType(stringAt(type, at))),
    required: json['required'] === true,
    format: formatOf(stringAt(json['format'], 'field.format')),
    onExcess: excess,
    timezone: nullOr(json['timezone'], 'field.timezone', stringAt),
  };
};

const formatOf = (text: string): TimeFormat =>
  text === 'iso8601' || text === 'epoch_ms' || text === 'epoch_s' ? { kind: text } : { kind: 'pattern', pattern: text };
