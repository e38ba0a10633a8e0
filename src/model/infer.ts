// Schemas for feeds that declare none: what the values of a batch have in common. Pure and deterministic: the same texts in the same
// order give the same fields. Invariant: an inferred type holds every value it was inferred from, exactly.
import { typeName } from './columns.ts';
import { fractionDigits, parseDecimal, wholeDigits } from './convert-number.ts';
import { clockProblem, parseIso } from './convert-time.ts';
import { type Field, type FieldType, RESERVED_COLUMNS } from './feed.ts';
import { JsonTextError, members, type Span, scanJson, unquote } from './json-text.ts';

/** Beyond this an object is a map with data for keys; the other names stay unknown fields. */
const FIELDS_MAX = 500;
/** MySQL's limit for a column's name, less room for a number. */
const NAME_CHARS_MAX = 60;
const PRECISION_MAX = 38;
const BIGINT_DIGITS = 19;
/** So many digits every double gives back. */
const DOUBLE_DIGITS = 15;
/** A first batch of 12.5 and 3.0 is likely to be money. */
const SCALE_MIN = 2;
/** Taken by our own columns besides the reserved ones. */
export const OWN_COLUMNS = ['extra', '_day'];

/** What is known of a name's values so far. Each kind holds the ones that may be merged into it. */
export type Evidence =
  | { readonly kind: 'nothing' | 'boolean' | 'date' | 'timestamp' | 'text' | 'nested' | 'double' }
  | { readonly kind: 'number'; readonly whole: number; readonly scale: number; readonly isBigint: boolean };

export type SchemaChange = { readonly field: string; readonly from: string | null; readonly to: string };

/** Fields of a feed without a schema, in order of appearance. Names seen only with null come later, when a value shows their type. */
export function inferFields(texts: readonly string[]): Field[] {
  return addedFields([], gather(texts));
}

/** Types for fields that are declared by name alone; without any value, VARCHAR, which takes every text as it is. */
export function inferTypes(fields: readonly Field[], texts: readonly string[]): Field[] {
  const seen = gather(texts);
  return fields.map((field) => {
    if (field.type !== null) return field;
    const evidence = field.from.length === 1 ? seen.get(field.from[0] ?? '') : undefined;
    return { ...field, type: typeOf(evidence ?? { kind: 'nothing' }) ?? { kind: 'varchar', charsMax: null } };
  });
}

/** The schema grown so that it also holds these texts, as far as DESIGN §6 allows: columns are added, integers, decimals and
 *  VARCHAR(n) get wider; nothing else changes, and never to DOUBLE. No changes: the same fields. */
export function widen(
  fields: readonly Field[],
  texts: readonly string[],
  options: { readonly addColumns: boolean },
): { readonly fields: readonly Field[]; readonly changes: readonly SchemaChange[] } {
  const changes: SchemaChange[] = [];
  const wider = fields.map((field) => {
    if (field.type === null || field.from.length !== 1) return field;
    const type = widerType(field.type, valuesOf(field.from[0] ?? '', texts));
    if (typeName(type) === typeName(field.type)) return field;
    changes.push({ field: field.name, from: typeName(field.type), to: typeName(type) });
    return { ...field, type };
  });
  const added = options.addColumns ? addedFields(fields, gather(texts)) : [];
  for (const { name, type } of added) if (type) changes.push({ field: name, from: null, to: typeName(type) });
  return { fields: [...wider, ...added], changes };
}

function addedFields(known: readonly Field[], seen: ReadonlyMap<string, Evidence>): Field[] {
  const read = new Set(known.map((field) => field.from[0]));
  const taken = new Set([...RESERVED_COLUMNS, ...OWN_COLUMNS, ...known.map((field) => field.name.toLowerCase())]);
  const added: Field[] = [];
  for (const [from, evidence] of seen) {
    const type = typeOf(evidence);
    if (type === null || read.has(from) || known.length + added.length >= FIELDS_MAX) continue;
    const name = columnName(from, taken);
    taken.add(name.toLowerCase());
    const rest = { required: false, format: { kind: 'iso8601' }, onExcess: 'dead_letter', timezone: null } as const;
    added.push({ name, from: [from], type, ...rest });
  }
  return added;
}

/** The JSON name, where it can be a column's: reserved names and those that differ only in case get another. */
export function columnName(from: string, taken: ReadonlySet<string>): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must go
  const plain = [...from.replace(/[\u0000-\u001f\u007f]/g, '_').trim()].slice(0, NAME_CHARS_MAX).join('') || 'unnamed';
  if (!taken.has(plain.toLowerCase())) return plain;
  const ours = [...`lake_${plain}`].slice(0, NAME_CHARS_MAX).join('');
  let name = ours;
  for (let number = 2; taken.has(name.toLowerCase()); number += 1) name = `${ours}_${number}`;
  return name;
}

function gather(texts: readonly string[]): Map<string, Evidence> {
  const seen = new Map<string, Evidence>();
  for (const text of texts) {
    for (const { name, value } of topMembers(text)) {
      if (!seen.has(name) && seen.size >= FIELDS_MAX * 2) continue;
      seen.set(name, merged(seen.get(name) ?? { kind: 'nothing' }, evidenceOf(text, value)));
    }
  }
  return seen;
}

/** Empty for a text that is no object: it becomes a dead letter whatever the schema is. */
export function topMembers(text: string): { readonly name: string; readonly value: Span }[] {
  try {
    const root = scanJson(text);
    return root.kind === 'object' ? members(text, root) : [];
  } catch (error) {
    if (error instanceof JsonTextError) return [];
    throw error;
  }
}

export function evidenceOf(text: string, value: Span): Evidence {
  switch (value.kind) {
    case 'null':
      return { kind: 'nothing' };
    case 'true':
    case 'false':
      return { kind: 'boolean' };
    case 'object':
    case 'array':
      return { kind: 'nested' };
    case 'number':
      return numberEvidence(text.slice(value.start, value.end));
    case 'string':
      return stringEvidence(unquote(text.slice(value.start, value.end)));
  }
}

function numberEvidence(text: string): Evidence {
  const value = parseDecimal(text);
  const whole = value ? wholeDigits(value) : 0;
  const scale = value ? fractionDigits(value) : 0;
  if (!value) return { kind: 'text' };
  if (whole + scale > PRECISION_MAX)
    return { kind: /[eE]/.test(text) && value.digits.length <= DOUBLE_DIGITS ? 'double' : 'text' };
  const isBigint = scale === 0 && whole <= BIGINT_DIGITS && isInBigint(text, whole);
  return { kind: 'number', whole, scale, isBigint };
}

function isInBigint(text: string, whole: number): boolean {
  if (whole < BIGINT_DIGITS) return true;
  const integer = /^-?[0-9]+$/.exec(text)?.[0];
  return integer !== undefined && BigInt.asIntN(64, BigInt(integer)) === BigInt(integer);
}

/** Digits in quotes stay text: whoever wrote "007" meant it. */
function stringEvidence(text: string): Evidence {
  const reading = parseIso(text);
  if (!reading || clockProblem(reading) !== null || reading.fraction.length > 6) return { kind: 'text' };
  return { kind: text.length === 10 ? 'date' : 'timestamp' };
}

export function merged(one: Evidence, other: Evidence): Evidence {
  if (one.kind === 'nothing') return other;
  if (other.kind === 'nothing') return one;
  if (one.kind === 'number' && other.kind === 'number') return mergedNumbers(one, other);
  if (one.kind === other.kind) return one;
  if (one.kind === 'nested' || other.kind === 'nested') return { kind: 'nested' };
  return { kind: fitsDouble(one) && fitsDouble(other) ? 'double' : 'text' };
}

const fitsDouble = (evidence: Evidence): boolean =>
  evidence.kind === 'double' || (evidence.kind === 'number' && evidence.whole + evidence.scale <= DOUBLE_DIGITS);

type NumberEvidence = Evidence & { kind: 'number' };

function mergedNumbers(one: NumberEvidence, other: NumberEvidence): Evidence {
  const whole = Math.max(one.whole, other.whole);
  const scale = Math.max(one.scale, other.scale);
  if (whole + scale > PRECISION_MAX) return { kind: 'text' };
  return { kind: 'number', whole, scale, isBigint: one.isBigint && other.isBigint };
}

/** null: no value has shown a type yet. */
export function typeOf(evidence: Evidence): FieldType | null {
  switch (evidence.kind) {
    case 'nothing':
      return null;
    case 'number':
      return evidence.isBigint ? { kind: 'bigint' } : decimalOf(evidence);
    case 'text':
      return { kind: 'varchar', charsMax: null };
    case 'nested':
      return { kind: 'json' };
    default:
      return { kind: evidence.kind };
  }
}

/** Wide enough for every BIGINT before the point, unless the fraction needs the room. */
function decimalOf({ whole, scale }: { readonly whole: number; readonly scale: number }): FieldType {
  const wanted = scale === 0 ? 0 : Math.max(scale, Math.min(SCALE_MIN, PRECISION_MAX - whole));
  return { kind: 'decimal', precision: Math.min(PRECISION_MAX, Math.max(BIGINT_DIGITS, whole) + wanted), scale: wanted };
}

function valuesOf(name: string, texts: readonly string[]): string[] {
  return texts.flatMap((text) => {
    const value = topMembers(text).find((member) => member.name === name)?.value;
    if (!value || (value.kind !== 'number' && value.kind !== 'string')) return [];
    const raw = text.slice(value.start, value.end);
    return [value.kind === 'string' ? unquote(raw) : raw];
  });
}

function widerType(type: FieldType, values: readonly string[]): FieldType {
  if (type.kind === 'varchar') {
    const { charsMax } = type;
    return charsMax !== null && values.some((text) => [...text].length > charsMax) ? { kind: 'varchar', charsMax: null } : type;
  }
  if (type.kind !== 'integer' && type.kind !== 'bigint' && type.kind !== 'decimal') return type;
  return values.reduce((held, text) => widerNumber(held, text), type as FieldType);
}

/** One number more; a text that is none, or has more than 38 digits, changes nothing and stays a dead letter. */
function widerNumber(type: FieldType, text: string): FieldType {
  const value = parseDecimal(text);
  if (!value) return type;
  const whole = wholeDigits(value);
  const scale = fractionDigits(value);
  if (type.kind === 'decimal') {
    const wholeHeld = Math.max(type.precision - type.scale, whole);
    const scaleHeld = Math.max(type.scale, scale);
    return wholeHeld + scaleHeld > PRECISION_MAX ? type : { kind: 'decimal', precision: wholeHeld + scaleHeld, scale: scaleHeld };
  }
  if (scale === 0 && type.kind === 'integer' && whole <= 10) {
    const isInteger = BigInt.asIntN(32, integerOf(value)) === integerOf(value);
    return isInteger ? type : { kind: 'bigint' };
  }
  if (scale === 0 && whole <= BIGINT_DIGITS && BigInt.asIntN(64, integerOf(value)) === integerOf(value))
    return { kind: 'bigint' };
  const precision = Math.max(BIGINT_DIGITS, whole) + scale;
  return precision > PRECISION_MAX ? type : { kind: 'decimal', precision, scale };
}

const integerOf = (value: { negative: boolean; digits: string; exponent: number }): bigint =>
  BigInt(`${value.negative ? '-' : ''}${value.digits || '0'}${'0'.repeat(value.exponent)}`);
