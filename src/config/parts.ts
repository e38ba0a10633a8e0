// The small schemas that schema.ts is made of: each says in its message what is wanted, and carries what editors show.
// Numbers and switches also come as text ("3306", "true"), because ${NAME} can only stand in a text.
import * as v from 'valibot';
import { didYouMean } from './suggest.ts';
import { parseBytes, parseSeconds } from './units.ts';

export const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
  Array: 'a list',
  Object: 'an object',
  // What v.custom expects, which is only used for objects.
  unknown: 'an object',
};

export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'boolean' ? String(value) : (KINDS[typeof value] ?? 'an object');
}

/** To valibot's objects and records a list is an object as well. */
export const plainObject = v.custom<Readonly<Record<string, unknown>>>(
  (input) => input !== null && typeof input === 'object' && !Array.isArray(input),
  (issue) => `must be an object, not ${kindOf(issue.input)}`,
);

/** An object that names every key it does not know (valibot's strictObject stops at the first). */
export function object<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(plainObject, objectOf(entries));
}

/** The same without the guard against lists, as an option of a variant. */
export function objectOf<const Entries extends v.ObjectEntries>(entries: Entries) {
  const known = Object.keys(entries);
  return v.pipe(
    v.looseObject(entries),
    v.rawCheck(({ dataset, addIssue }) => {
      const input: unknown = dataset.value;
      if (input === null || typeof input !== 'object') return;
      for (const [key, value] of Object.entries(input)) {
        if (known.includes(key)) continue;
        addIssue({
          message: `"${key}" is not a known key${didYouMean(key, known)}`,
          path: [{ type: 'object', origin: 'key', input: { ...input }, key, value }],
        });
      }
    }),
  );
}

/** Names chosen by the user to values of one kind. */
export function namesTo<const Value extends v.GenericSchema<unknown, unknown>>(value: Value) {
  return v.pipe(plainObject, v.record(v.string(), value));
}

/** Metadata that replaces what the schema walk would say; see json-schema.ts. */
const asJsonSchema = (jsonSchema: Readonly<Record<string, unknown>>) => ({ jsonSchema });

export const text = v.pipe(v.string(), v.minLength(1, 'must not be empty'));

export function matching(pattern: RegExp, message: string) {
  return v.pipe(v.string(), v.regex(pattern, message));
}

export function wholeNumber(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return v.pipe(
    v.union([v.number(), v.string()], message),
    v.transform((value) => (typeof value === 'string' ? (/^\d+$/.test(value) ? Number(value) : Number.NaN) : value)),
    v.check((value) => Number.isInteger(value) && value >= min && value <= max, message),
    v.metadata(
      asJsonSchema({
        anyOf: [
          { type: 'integer', minimum: min, maximum: max },
          { type: 'string', pattern: '^(\\d+|.*\\$\\{.*)$' },
        ],
      }),
    ),
  );
}

const SWITCH: Readonly<Record<string, boolean>> = { true: true, false: false };

export const yesOrNo = v.pipe(
  v.union([v.boolean(), v.picklist(['true', 'false'])], 'must be true or false'),
  v.transform((value) => (typeof value === 'string' ? SWITCH[value] === true : value)),
  v.metadata(asJsonSchema({ anyOf: [{ type: 'boolean' }, { type: 'string', pattern: '^(true|false|.*\\$\\{.*)$' }] })),
);

export const ratio = v.pipe(
  v.union([v.number(), v.string()], 'must be a number from 0 to 1'),
  v.transform((value) => (typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value))),
  v.check((value) => value >= 0 && value <= 1, 'must be a number from 0 to 1'),
  v.metadata(asJsonSchema({ anyOf: [{ type: 'number', minimum: 0, maximum: 1 }, { type: 'string' }] })),
);

export const bytes = v.pipe(
  v.union([v.number(), v.string()], 'must be a size like "64MB"'),
  v.transform((value) => parseBytes(value) ?? Number.NaN),
  v.check((value) => value >= 1, 'must be a size like "64MB" (units: B, KB, MB, GB, KiB, MiB, GiB)'),
  v.metadata(asJsonSchema({ anyOf: [{ type: 'integer', minimum: 1 }, { type: 'string' }] })),
);

export function seconds(max: number) {
  const message = `must be seconds, as a number or like "30s", above 0 and at most ${max}`;
  return v.pipe(
    v.union([v.number(), v.string()], message),
    v.transform((value) => parseSeconds(value) ?? Number.NaN),
    v.check((value) => value > 0 && value <= max, message),
    v.metadata(asJsonSchema({ anyOf: [{ type: 'number', exclusiveMinimum: 0, maximum: max }, { type: 'string' }] })),
  );
}

/** The zone's name as Intl lists it ("europe/berlin" → "Europe/Berlin"), or null when there is none. */
export function timeZoneName(name: string): string | null {
  // Offsets such as "+05:00" are zones to newer engines only, and DuckDB has no such names.
  if (!/^[A-Za-z]/.test(name)) return null;
  const listed = zoneNames().find((zone) => zone.toLowerCase() === name.toLowerCase());
  if (listed !== undefined) return listed;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name;
  } catch {
    return null;
  }
}

const zoneNames = (): string[] => ['UTC', ...Intl.supportedValuesOf('timeZone')];

export const timezone = v.pipe(
  v.string(),
  v.check(
    (name) => timeZoneName(name) !== null,
    (issue) => `"${issue.input}" is not a time zone${didYouMean(issue.input, zoneNames()) || '; write one like "Europe/Berlin"'}`,
  ),
  v.transform((name) => timeZoneName(name) ?? name),
);
