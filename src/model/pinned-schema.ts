// A field as its feed's log keeps it, and back. The type is written as the configuration writes it.

import { LakeError } from '../errors.ts';
import { typeName } from './columns.ts';
import type { Field, FieldType, TimeFormat } from './feed.ts';
import { type JsonValue, nullOr, objectAt, stringAt, stringsAt } from './json-fields.ts';

export const fieldToJson = (field: Field): JsonValue => ({
  name: field.name,
  from: [...field.from],
  type: field.type && typeName(field.type),
  required: field.required,
  format: field.format.kind === 'pattern' ? field.format.pattern : field.format.kind,
  on_excess: field.onExcess,
  timezone: field.timezone,
});

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
