// Random messages of all shapes for the fuzz tests of decode, from a seed: numbers, times and texts that two readers may understand
// differently, and mostly such that fit their fields.
import type { Field, FieldType } from '../../src/model/feed.ts';
import { decimal, varchar } from './decode-helpers.ts';

/** mulberry32: small, seeded, good enough to pick shapes. */
function randomOf(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export type Dice = { next: () => number; upTo: (count: number) => number; pick: <T>(from: readonly T[]) => T };

export function diceOf(start: number): Dice {
  const next = randomOf(start);
  const upTo = (count: number): number => Math.floor(next() * count);
  const pick = <T>(from: readonly T[]): T => {
    const one = from[upTo(from.length)];
    if (one === undefined) throw new Error('nothing to pick from');
    return one;
  };
  return { next, upTo, pick };
}

const digits = (dice: Dice, max: number): string => Array.from({ length: 1 + dice.upTo(max) }, () => dice.upTo(10)).join('');

function numberText(dice: Dice): string {
  const whole = dice.next() < 0.3 ? '0' : digits(dice, dice.pick([1, 3, 9, 15, 16, 20, 40])).replace(/^0+(?=.)/, '');
  const fraction = dice.next() < 0.5 ? '' : `.${digits(dice, dice.pick([1, 2, 3, 6, 17, 20]))}`;
  const zeros = fraction !== '' && dice.next() < 0.2 ? '000' : '';
  const exponent =
    dice.next() < 0.85 ? '' : `${dice.pick(['e', 'E'])}${dice.pick(['', '+', '-'])}${dice.upTo(dice.pick([5, 30, 400]))}`;
  return (dice.next() < 0.3 ? '-' : '') + whole + fraction + zeros + exponent;
}

const STRINGS = [
  '',
  'abc',
  'null',
  'true',
  'nan',
  '-inf',
  'é😀',
  'a"b',
  'back\\slash',
  '\0',
  'line\nbreak',
  '{"a":1}',
  '[1,]',
  ', }',
];
const LITERALS = ['true', 'false', 'null', 'NaN', '-Infinity', 'inf', '01', '1.', '-', '"\\ud83d"', '"\\u00e9"', '"\\/"', "'a'"];

function timeText(dice: Dice): string {
  const two = (max: number): string => String(dice.upTo(max + 1)).padStart(2, '0');
  const day = `${dice.pick(['2025', '1999', '0000', '0001', '9999', '1582'])}-${two(13)}-${two(31)}`;
  const fraction = dice.next() < 0.5 ? '' : `.${digits(dice, 9)}`;
  const zone = dice.pick(['', 'Z', '+05:30', '-0800', '+01', '+19:00', ' +01:00', 'z', ' UTC']);
  return dice.next() < 0.2 ? day : `${day}${dice.pick(['T', ' ', 't'])}${two(24)}:${two(60)}:${two(60)}${fraction}${zone}`;
}

function scalarText(dice: Dice): string {
  switch (dice.upTo(8)) {
    case 0:
    case 1:
      return numberText(dice);
    case 2:
      return JSON.stringify(numberText(dice));
    case 3:
      return JSON.stringify(timeText(dice));
    case 4:
      return JSON.stringify(dice.pick(STRINGS));
    case 5:
      return JSON.stringify(dice.pick(['QUJD', 'QQ==', 'QR==', 'QUI=', '=', 'Q', '+/+/']));
    case 6:
      return JSON.stringify(dice.pick([' 12', '0x10', '1_000', '+1', '1e3', '.5', '5.', '-0', '007', '1e400']));
    default:
      return dice.pick(LITERALS);
  }
}

const space = (dice: Dice): string => (dice.next() < 0.8 ? '' : dice.pick([' ', '\t', '\r\n', '  ']));

function valueText(dice: Dice, depth: number): string {
  const kind = dice.next();
  if (depth > 2 || kind < 0.7) return scalarText(dice);
  if (kind < 0.85) {
    const values = Array.from({ length: dice.upTo(4) }, () => space(dice) + valueText(dice, depth + 1));
    return `[${values.join(`${space(dice)},`)}${dice.next() < 0.03 ? ',' : ''}]`;
  }
  return objectText(dice, ['a', 'b', 'A', 'c'], depth + 1);
}

function objectText(dice: Dice, names: readonly string[], depth: number): string {
  const count = dice.upTo(names.length + 1);
  const member = (): string =>
    `${space(dice)}"${dice.pick(names)}"${space(dice)}:${space(dice)}${valueText(dice, depth)}${space(dice)}`;
  return `{${Array.from({ length: count }, member).join(',')}${dice.next() < 0.02 ? ', ' : ''}}`;
}

export const SCALARS: readonly FieldType[] = [
  varchar(),
  varchar(3),
  decimal(15, 2),
  decimal(38, 10),
  decimal(5, 0),
  decimal(3, 3),
  ...(['bigint', 'integer', 'double', 'boolean', 'date', 'timestamp', 'json', 'blob'] as const).map((kind) => ({ kind })),
];

export const NAMES = ['n', 't', 'u', 'N', 'a', 'extra one'];

/** Mostly messages that fit, so that the fast path has something to accept. */
export function fittingText(dice: Dice, type: FieldType): string {
  if (dice.next() < 0.05) return valueText(dice, 0);
  switch (type.kind) {
    case 'struct':
      return `{${type.fields.map(({ name, type: inner }) => `"${name}":${space(dice)}${fittingText(dice, inner)}`).join(',')}}`;
    case 'list':
      return `[${Array.from({ length: dice.upTo(3) }, () => fittingText(dice, type.item)).join(', ')}]`;
    case 'boolean':
      return dice.pick(['true', 'false', '"true"', 'null']);
    case 'varchar':
    case 'json':
      return dice.pick(['"abc"', '"é"', '12', '-7', 'null', '"a\\"b"', '"\\u0041"', '{"a":1}', 'true', '0', '-0', '0.0']);
    case 'blob':
      return dice.pick(['"QUJD"', '""', '"QQ=="']);
    case 'date':
      return JSON.stringify(dice.pick(['2025-01-28', '2024-02-29', '2025-02-29', '1970-01-01']));
    case 'timestamp':
      return dice.pick([
        JSON.stringify(timeText(dice)),
        '"2025-01-28T10:00:00Z"',
        '"2025-01-28 10:00:00.5"',
        '1738058400.5',
        '0',
      ]);
    default:
      return dice.pick([numberText(dice), '0', '12', '"34"', '1.0', '0.0', '-0', '-0.0', '1e-400', '12.50', '1e3']);
  }
}

export function randomMessage(dice: Dice, fields: readonly Field[]): string {
  if (dice.next() < 0.15) return objectText(dice, NAMES, 0);
  const members = fields.map((one) => {
    const [first = '', ...rest] = one.from;
    const inner = fittingText(dice, one.type ?? varchar());
    return `"${first}":${space(dice)}${rest.reduceRight((text, step) => `{"${step}":${text}}`, inner)}`;
  });
  if (dice.next() < 0.2) members.push(`"other":${valueText(dice, 0)}`);
  return `{${members.join(', ')}}`;
}
