// One value becomes its column's canonical text, or is refused with a reason. Invariant (DESIGN §6): never rounded, wrapped, cut or
// nulled, unless the field says `on_excess: round`. All limits are judged here, on the value's text, for both targets alike.
import { assert, unreachable } from '../errors.ts';
import { typeName } from './columns.ts';
import {
  type Decimal,
  decimalText,
  flooredTo,
  fractionDigits,
  parseDecimal,
  roundedTo,
  scaled,
  wholeDigits,
} from './convert-number.ts';
import type { PatternReader } from './convert-pattern.ts';
import {
  type ClockReading,
  clockProblem,
  dayNumber,
  localMoment,
  MICROS_MAX,
  MICROS_MIN,
  microsAsUtc,
  parseIso,
} from './convert-time.ts';
import type { FieldType } from './feed.ts';
import { items, type JsonKind, members, type Span, unquote } from './json-text.ts';

/** Canonical text: integers and decimals as digits, TIMESTAMP as microseconds since 1970, DATE as days since 1970, BLOB as base64,
 *  JSON as sent; a STRUCT as its fields in order, a LIST as its items. */
export type Value = null | string | readonly Value[];

/** Why a value does not fit; starts with the value itself. */
export class Refused extends Error {
  readonly path: string;
  constructor(reason: string, path = '') {
    super(reason);
    this.path = path;
  }
  /** The same, seen from one level further out. */
  within(step: string): Refused {
    const dot = this.path === '' || this.path.startsWith('[') ? '' : '.';
    return new Refused(this.message, step + dot + this.path);
  }
}

export type ValueRules = {
  readonly round: boolean;
  readonly timezone: string | null;
  readonly format: 'iso8601' | 'epoch_ms' | 'epoch_s' | PatternReader;
};

/** A scalar as the message gave it: `text` is what it says, `shown` how to quote it in a reason. */
type Scalar = { readonly kind: JsonKind; readonly text: string; readonly shown: string };

const SHOWN_MAX = 80;
/** Never between the halves of a surrogate pair: no server takes one alone. */
const shorten = (text: string): string =>
  text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX).replace(/[\ud800-\udbff]$/, '')}…`;

export function convertValue(text: string, span: Span, type: FieldType, rules: ValueRules): Value {
  if (span.kind === 'null') return null;
  const raw = text.slice(span.start, span.end);
  if (type.kind === 'json') return raw;
  if (type.kind === 'struct') return convertStruct(text, span, type.fields, rules);
  if (type.kind === 'list') return convertList(text, span, type.item, rules);
  const scalar = { kind: span.kind, text: span.kind === 'string' ? unquote(raw) : raw, shown: shorten(raw) };
  if (type.kind !== 'varchar' && (span.kind === 'object' || span.kind === 'array')) throw misfit(scalar, type);
  return convertScalar(scalar, type, rules);
}

/** A bare text, as a Kafka key carries it. */
export const convertText = (text: string, type: FieldType, rules: ValueRules): Value =>
  type.kind === 'struct' || type.kind === 'list' || type.kind === 'json'
    ? refuse(`${shorten(JSON.stringify(text))} cannot become ${typeName(type)}`)
    : convertScalar({ kind: 'string', text, shown: shorten(JSON.stringify(text)) }, type, rules);

function convertStruct(text: string, span: Span, fields: readonly { name: string; type: FieldType }[], rules: ValueRules): Value {
  if (span.kind !== 'object') throw new Refused(`${shown(text, span)} is ${kindName(span.kind)}, not an object`);
  const found = new Map(members(text, span).map((member) => [member.name, member.value]));
  return fields.map(({ name, type }) => {
    const value = found.get(name);
    return value === undefined ? null : at(name, () => convertValue(text, value, type, rules));
  });
}

function convertList(text: string, span: Span, item: FieldType, rules: ValueRules): Value {
  if (span.kind !== 'array') throw new Refused(`${shown(text, span)} is ${kindName(span.kind)}, not an array`);
  return items(text, span).map((value, index) => at(`[${index}]`, () => convertValue(text, value, item, rules)));
}

function at(step: string, work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    throw error instanceof Refused ? error.within(step) : error;
  }
}

function convertScalar(scalar: Scalar, type: FieldType, rules: ValueRules): string {
  switch (type.kind) {
    case 'varchar':
      return limited(scalar, type, rules.round);
    case 'bigint':
      return toInteger(scalar, type, rules.round, 64);
    case 'integer':
      return toInteger(scalar, type, rules.round, 32);
    case 'decimal':
      return toDecimal(scalar, type, rules.round);
    case 'double':
      return toDouble(scalar, type);
    case 'boolean':
      if (scalar.text !== 'true' && scalar.text !== 'false') throw misfit(scalar, type);
      return scalar.text;
    case 'date':
      return toDate(scalar, type, rules);
    case 'timestamp':
      return toMicros(scalar, type, rules).toString();
    case 'blob':
      return toBase64(scalar, type);
    case 'json':
    case 'struct':
    case 'list':
      throw misfit(scalar, type);
    default:
      return unreachable(type);
  }
}

function limited(scalar: Scalar, type: FieldType & { kind: 'varchar' }, round: boolean): string {
  const { charsMax } = type;
  if (charsMax === null || scalar.text.length <= charsMax) return scalar.text;
  let index = 0;
  let chars = 0;
  for (const char of scalar.text) {
    if (chars === charsMax) {
      if (round) return scalar.text.slice(0, index);
      throw new Refused(`${scalar.shown} has ${[...scalar.text].length} characters, ${typeName(type)} holds ${charsMax}`);
    }
    chars += 1;
    index += char.length;
  }
  return scalar.text;
}

function numberOf(scalar: Scalar, type: FieldType): Decimal {
  const value = scalar.kind === 'string' || scalar.kind === 'number' ? parseDecimal(scalar.text) : null;
  if (!value) throw misfit(scalar, type);
  return value;
}

function toInteger(scalar: Scalar, type: FieldType, round: boolean, bits: 32 | 64): string {
  const exact = numberOf(scalar, type);
  if (fractionDigits(exact) > 0 && !round) throw new Refused(`${scalar.shown} has a fraction, ${typeName(type)} holds none`);
  const value = roundedTo(exact, 0);
  const whole = wholeDigits(value) > 19 ? null : scaled(value, 0);
  if (whole === null || BigInt.asIntN(bits, whole) !== whole) throw new Refused(`${scalar.shown} is beyond ${typeName(type)}`);
  return whole.toString();
}

function toDecimal(scalar: Scalar, type: FieldType & { kind: 'decimal' }, round: boolean): string {
  const exact = numberOf(scalar, type);
  const digits = fractionDigits(exact);
  if (digits > type.scale && !round) {
    throw new Refused(`${scalar.shown} has ${digits} fraction digits, ${typeName(type)} holds ${type.scale}`);
  }
  const value = roundedTo(exact, type.scale);
  if (wholeDigits(value) > type.precision - type.scale) {
    const holds = type.precision - type.scale;
    throw new Refused(`${scalar.shown} has ${wholeDigits(value)} digits before the point, ${typeName(type)} holds ${holds}`);
  }
  return decimalText(value, type.scale);
}

function toDouble(scalar: Scalar, type: FieldType): string {
  const exact = numberOf(scalar, type);
  const value = Number(scalar.text);
  if (!Number.isFinite(value)) throw new Refused(`${scalar.shown} is beyond DOUBLE`);
  if (value === 0 && exact.digits !== '') throw new Refused(`${scalar.shown} is too small for DOUBLE`);
  return Object.is(value, -0) ? '-0' : String(value);
}

/** Microseconds since 1970 from a number since 1970, with at most six digits behind the second. */
function epochMicros(scalar: Scalar, type: FieldType, rules: ValueRules): bigint {
  const power = rules.format === 'epoch_ms' ? 3 : 6;
  const value = numberOf(scalar, type);
  if (wholeDigits(value) > 18) throw outOfYears(scalar);
  if (fractionDigits(value) > power && !rules.round) {
    throw new Refused(`${scalar.shown} has ${fractionDigits(value)} fraction digits, a TIMESTAMP holds microseconds`);
  }
  return inYears(scaled(flooredTo(value, power), power), scalar);
}

function readingOf(scalar: Scalar, type: FieldType, rules: ValueRules): ClockReading {
  assert(rules.format !== 'epoch_ms' && rules.format !== 'epoch_s', 'epoch formats have no clock reading');
  const read = rules.format === 'iso8601' ? parseIso : rules.format;
  const reading = scalar.kind === 'string' || scalar.kind === 'number' ? read(scalar.text) : null;
  if (!reading) throw misfit(scalar, type);
  const problem = clockProblem(reading);
  if (problem !== null) throw new Refused(`${scalar.shown} ${problem}`);
  return reading;
}

function toMicros(scalar: Scalar, type: FieldType, rules: ValueRules): bigint {
  if (rules.format === 'epoch_ms' || rules.format === 'epoch_s') return epochMicros(scalar, type, rules);
  const reading = readingOf(scalar, type, rules);
  const digits = reading.fraction.replace(/0+$/, '').length;
  if (digits > 6 && !rules.round) throw new Refused(`${scalar.shown} has ${digits} fraction digits, TIMESTAMP holds 6`);
  if (reading.offsetMinutes !== null) return inYears(microsAsUtc(reading) - BigInt(reading.offsetMinutes) * 60_000_000n, scalar);
  if (rules.timezone === null || rules.timezone === 'UTC') return microsAsUtc(reading);
  const moment = localMoment(reading, rules.timezone);
  if (moment.kind === 'one') return inYears(moment.micros, scalar);
  const why = moment.kind === 'gap' ? 'does not exist' : 'exists twice';
  throw new Refused(`${scalar.shown} ${why} in ${rules.timezone}: clocks were changed; send an offset`);
}

function toDate(scalar: Scalar, type: FieldType, rules: ValueRules): string {
  if (rules.format === 'epoch_ms' || rules.format === 'epoch_s') {
    const micros = epochMicros(scalar, type, rules);
    const rest = ((micros % 86_400_000_000n) + 86_400_000_000n) % 86_400_000_000n;
    if (rest !== 0n && !rules.round) throw new Refused(`${scalar.shown} is not the first instant of a day`);
    return ((micros - rest) / 86_400_000_000n).toString();
  }
  const reading = readingOf(scalar, type, rules);
  const isBare = rules.format !== 'iso8601' || scalar.text.length === 10;
  const hasTime = reading.hour + reading.minute + reading.second > 0 || /[1-9]/.test(reading.fraction);
  if ((!isBare || hasTime) && !rules.round) throw new Refused(`${scalar.shown} has a time of day, DATE holds none`);
  return dayNumber(reading.year, reading.month, reading.day).toString();
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Bits behind the last byte must be zero: two texts of one value would otherwise be lost. */
const SPARE_BITS = /[^AQgw]==$|[^=AEIMQUYcgkosw048]=$/;

function toBase64(scalar: Scalar, type: FieldType): string {
  if (scalar.kind !== 'string') throw misfit(scalar, type);
  if (!BASE64.test(scalar.text) || SPARE_BITS.test(scalar.text)) throw new Refused(`${scalar.shown} is not base64`);
  return scalar.text;
}

function inYears(micros: bigint, scalar: Scalar): bigint {
  if (micros < MICROS_MIN || micros > MICROS_MAX) throw outOfYears(scalar);
  return micros;
}

const outOfYears = (scalar: Scalar): Refused => new Refused(`${scalar.shown} lies outside the years 1 to 9999`);

const misfit = (scalar: Scalar, type: FieldType): Refused => {
  const isPlain = scalar.kind === 'string' || scalar.kind === 'number';
  return new Refused(`${scalar.shown} is ${isPlain ? 'no' : `${kindName(scalar.kind)}, no`} ${typeName(type)}`);
};

function refuse(reason: string): never {
  throw new Refused(reason);
}

const shown = (text: string, span: Span): string => shorten(text.slice(span.start, Math.min(span.end, span.start + 200)));

export function kindName(kind: JsonKind): string {
  if (kind === 'true' || kind === 'false') return 'a boolean';
  if (kind === 'null') return 'null';
  return kind === 'object' || kind === 'array' ? `an ${kind}` : `a ${kind}`;
}
