// The declared fields of one feed: names, types, paths and formats read and checked. Problems are relative to the feed.
import { type Field, type FieldType, RESERVED_COLUMNS, type TimeFormat } from '../model/feed.ts';
import { parseFieldType } from './field-type.ts';
import type { JsonPath, Problem } from './issues.ts';
import { parseJsonPath } from './json-path.ts';
import type { RawFeed, RawField } from './schema.ts';
import { didYouMean } from './suggest.ts';

/** MySQL's limit on identifiers. */
const NAME_CHARS_MAX = 64;
/** Columns the program adds to a fact table; one that is declared moves to `lake_<name>`. */
const HOUSEKEEPING = ['id', 'key_hash', 'created_at', 'updated_at'];
/** What DuckDB's strptime knows. */
const STRPTIME = new Set('aAwdbBmyYHIpMSgfnzZjUWuVGcxX%');

export type ReadFields = { readonly fields: readonly Field[] | null; readonly problems: readonly Problem[] };

export function readFields(raw: RawFeed): ReadFields {
  const declared = raw.schema?.fields ?? null;
  if (declared === null) return { fields: null, problems: [] };
  const base: JsonPath = ['schema', 'fields'];
  const entries: { name: string; spec: RawField; path: JsonPath }[] = Array.isArray(declared)
    ? declared.map((name, index) => ({ name, spec: {}, path: [...base, index] }))
    : Object.entries(declared).map(([name, spec]) => ({
        name,
        spec: typeof spec === 'string' ? { type: spec } : spec,
        path: [...base, name],
      }));
  const problems: Problem[] = [];
  if (entries.length === 0) problems.push({ path: base, message: 'fields are empty; leave the key out to have them inferred' });
  problems.push(...checkNames(entries, raw));
  const fields = entries.map((entry) => {
    const read = readField(entry.name, entry.spec, entry.path);
    problems.push(...read.problems);
    return read.field;
  });
  return { fields, problems };
}

function checkNames(entries: readonly { name: string; path: JsonPath }[], raw: RawFeed): Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, string>();
  const say = (path: JsonPath, message: string) => problems.push({ path, message });
  for (const { name, path } of entries) {
    const lower = name.toLowerCase();
    const twin = seen.get(lower);
    if (twin === name) say(path, `field "${name}" is given twice`);
    else if (twin !== undefined) say(path, `fields "${twin}" and "${name}" are one name in SQL`);
    else seen.set(lower, name);
    if (RESERVED_COLUMNS.some((reserved) => reserved === lower))
      say(path, `field name "${name}" is reserved; rename it and say "from": "${name}"`);
    if (lower === 'extra' && raw.unknown_fields === 'keep') say(path, `field name "${name}" is taken by unknown_fields "keep"`);
    if (
      lower.startsWith('lake_') &&
      HOUSEKEEPING.includes(lower.slice(5)) &&
      entries.some((other) => other.name.toLowerCase() === lower.slice(5))
    ) {
      say(path, `field name "${name}" is needed for our own column, because "${lower.slice(5)}" is declared too`);
    }
    if (name.trim() !== name || name === '') say(path, `field name "${name}" is empty or begins or ends with a space`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are refused
    if (/[\u0000-\u001f\u007f]/.test(name)) say(path, 'a field name holds a control character');
    if ([...name].length > NAME_CHARS_MAX) say(path, `field name "${name}" has more than ${NAME_CHARS_MAX} characters`);
  }
  return problems;
}

function readField(name: string, spec: RawField, path: JsonPath): { field: Field; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const say = (key: string, message: string) => problems.push({ path: [...path, key], message: `field "${name}": ${message}` });
  let type: FieldType | null = null;
  if (spec.type !== undefined) {
    const parsed = parseFieldType(spec.type);
    if (parsed.kind === 'type') type = parsed.type;
    else say('type', parsed.message);
  }
  let from: readonly string[] = [name];
  if (spec.from !== undefined) {
    const parsed = parseJsonPath(spec.from);
    if (parsed.kind === 'path') from = parsed.keys;
    else say('from', parsed.message);
  }
  const format = readFormat(spec.format ?? 'iso8601');
  if (typeof format === 'string') say('format', format);
  for (const key of ['format', 'timezone'] as const) {
    if (spec[key] !== undefined && type !== null && !isTime(type))
      say(key, `${key} has no meaning for a ${type.kind.toUpperCase()}`);
  }
  const field: Field = {
    name,
    from,
    type,
    required: spec.required ?? false,
    format: typeof format === 'string' ? { kind: 'iso8601' } : format,
    onExcess: spec.on_excess ?? 'dead_letter',
    timezone: spec.timezone ?? null,
  };
  return { field, problems };
}

export const isTime = (type: FieldType): boolean => type.kind === 'timestamp' || type.kind === 'date';

/** A text is what is wrong. */
function readFormat(text: string): TimeFormat | string {
  if (text === 'iso8601' || text === 'epoch_ms' || text === 'epoch_s') return { kind: text };
  if (!text.includes('%')) {
    return `format "${text}" is neither iso8601, epoch_ms, epoch_s nor a pattern like "%d.%m.%Y"${didYouMean(text, ['iso8601', 'epoch_ms', 'epoch_s'])}`;
  }
  for (const match of text.matchAll(/%(-?)(.?)/gs)) {
    if (!STRPTIME.has(match[2] ?? '') || match[2] === '') return `format "${text}": %${match[1]}${match[2]} is not known`;
  }
  return { kind: 'pattern', pattern: text };
}
