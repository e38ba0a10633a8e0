// The valibot schema of feeds.json as a JSON Schema, so that editors complete keys and underline mistakes. A small walk over the
// kinds of schema that schema.ts uses; another kind is a bug, found by the test that compares the committed file.
import * as v from 'valibot';
import { LakeError } from '../errors.ts';
import { configSchema } from './schema.ts';

type Json = Readonly<Record<string, unknown>>;

/** A text that is filled in later may stand anywhere a text may. */
const FILLED_IN: Json = { type: 'string', pattern: '\\$\\{' };

/** Schemas of schema.ts by their `type`, with the parts the walk reads; `pipe` where there is one. */
type Walked = { readonly type: string; readonly pipe?: readonly unknown[] };

export function feedsJsonSchema(): Json {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'feeds.json of lake',
    allowComments: true,
    allowTrailingCommas: true,
    ...walk(configSchema),
  };
}

function walk(schema: unknown): Json {
  const walked = schemaOf(schema);
  const replaced = v.getMetadata(walked)['jsonSchema'];
  const description = v.getDescription(walked);
  const body = isJson(replaced) ? replaced : shape(walked);
  return description === undefined ? body : { ...body, description };
}

function shape(schema: Walked): Json {
  const part = (name: string): unknown => Reflect.get(schema, name);
  switch (schema.type) {
    case 'optional':
      return walk(part('wrapped'));
    case 'nullish':
      return { anyOf: [walk(part('wrapped')), { type: 'null' }] };
    case 'string':
      return string(schema);
    case 'picklist':
      return { anyOf: [{ enum: part('options') }, FILLED_IN] };
    case 'literal':
      return { const: part('literal') };
    case 'array':
      return { type: 'array', items: walk(part('item')) };
    case 'custom':
      return walk(schema.pipe?.[1]);
    case 'record':
      return { type: 'object', additionalProperties: walk(part('value')) };
    case 'union':
    case 'variant':
      return { anyOf: list(part('options')).map(walk) };
    case 'loose_object':
      return object(part('entries'));
    default:
      throw new LakeError('bug', `no JSON Schema for a valibot schema of kind ${schema.type}`);
  }
}

function string(schema: Walked): Json {
  const items = flatten(schema);
  for (const item of items) {
    const pattern = isJson(item) && item['type'] === 'regex' ? item['requirement'] : null;
    if (pattern instanceof RegExp) return { anyOf: [{ type: 'string', pattern: pattern.source }, FILLED_IN] };
  }
  const needsText = items.some((item) => isJson(item) && item['type'] === 'min_length');
  return needsText ? { type: 'string', minLength: 1 } : { type: 'string' };
}

/** The checks of a pipe and of the pipes it was made from. */
function flatten(schema: Walked): readonly unknown[] {
  return (schema.pipe ?? []).flatMap((item) =>
    item !== schema && isJson(item) && 'pipe' in item ? flatten(schemaOf(item)) : [item],
  );
}

/** Unknown keys are refused by a check of parts.ts; here the same is said in JSON Schema's words. */
function object(entries: unknown): Json {
  const properties: Record<string, Json> = {};
  const required: string[] = [];
  for (const [key, entry] of Object.entries(isJson(entries) ? entries : {})) {
    properties[key] = walk(entry);
    if (!['optional', 'nullish'].includes(schemaOf(entry).type)) required.push(key);
  }
  return { type: 'object', properties, ...(required.length > 0 ? { required } : {}), additionalProperties: false };
}

const isJson = (value: unknown): value is Json => value !== null && typeof value === 'object';
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Entries and options are schemas: valibot's types say so, Reflect loses it. */
const schemaOf = (schema: unknown): v.GenericSchema<unknown, unknown> & Walked =>
  schema as v.GenericSchema<unknown, unknown> & Walked;
