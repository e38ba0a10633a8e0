// Reads fields of JSON that we wrote ourselves. Anything unexpected is damage, named by its field.

import { LakeError } from '../errors.ts';
import { type Offset, toOffset } from './offsets.ts';

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [name: string]: JsonValue };

export const parseFailure = (at: string, wanted: string, value: unknown): LakeError =>
  new LakeError('lake_damaged', `${at} is not ${wanted}: ${String(JSON.stringify(value)).slice(0, 80)}`);

/** `value` must come from JSON.parse: what is in it is then JSON. */
export const objectAt = (value: unknown, at: string): JsonObject => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw parseFailure(at, 'an object', value);
  return value as JsonObject;
};

export const stringAt = (value: unknown, at: string): string => {
  if (typeof value !== 'string') throw parseFailure(at, 'a text', value);
  return value;
};

export const intAt = (value: unknown, at: string, min: number = Number.MIN_SAFE_INTEGER): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) throw parseFailure(at, 'a whole number', value);
  return value;
};

export const offsetAt = (value: unknown, at: string): Offset => {
  if (typeof value !== 'string' || !/^\d{1,19}$/.test(value)) throw parseFailure(at, 'an offset', value);
  return toOffset(value);
};

export const arrayAt = <T>(value: unknown, at: string, item: (value: JsonValue, at: string) => T): readonly T[] => {
  if (!Array.isArray(value)) throw parseFailure(at, 'a list', value);
  return value.map((one: JsonValue, index) => item(one, `${at}[${index}]`));
};

export const stringsAt = (value: unknown, at: string): readonly string[] => arrayAt(value, at, stringAt);

export const textMapAt = (value: unknown, at: string): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(objectAt(value, at)).map(([name, text]) => [name, stringAt(text, `${at}.${name}`)]));

export const nullOr = <T>(value: unknown, at: string, parse: (value: unknown, at: string) => T): T | null =>
  value === null ? null : parse(value, at);

/** One line, names sorted: the same content is always the same bytes. */
export const canonicalJson = (value: JsonValue): string => {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name] ?? null)}`).join(',')}}`;
};

const isList = (value: readonly JsonValue[] | JsonObject): value is readonly JsonValue[] => Array.isArray(value);
