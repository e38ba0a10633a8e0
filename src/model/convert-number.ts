// Numbers from their text, exactly: no digit passes through a double unless the field is a DOUBLE.
// Grammar for all: -?digits, optional .digits, optional exponent. Invariant: a result has the value of the text, or there is none.

/** value = (-1)^negative · digits · 10^exponent; digits without outer zeros, '' for zero. */
export type Decimal = { readonly negative: boolean; readonly digits: string; readonly exponent: number };

const GRAMMAR = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?$/;
/** Beyond this no type of ours holds the value: keeps `1e999999999` from becoming a gigabyte of zeros. */
const EXPONENT_MAX = 100_000_000;

/** null: the text is no number. */
export function parseDecimal(text: string): Decimal | null {
  const match = GRAMMAR.exec(text);
  if (!match) return null;
  const [, sign, whole = '', fraction = '', power = '0'] = match;
  const all = whole + fraction;
  let first = 0;
  while (all[first] === '0') first += 1;
  let last = all.length;
  while (last > first && all[last - 1] === '0') last -= 1;
  const digits = all.slice(first, last);
  if (digits === '') return { negative: sign === '-', digits, exponent: 0 };
  const shift = Math.max(-EXPONENT_MAX, Math.min(EXPONENT_MAX, Number(power)));
  return { negative: sign === '-', digits, exponent: shift - fraction.length + (all.length - last) };
}

/** How many digits stand behind the point when trailing zeros are gone. */
export const fractionDigits = (value: Decimal): number => Math.max(0, -value.exponent);

/** How many digits stand before the point. */
export const wholeDigits = (value: Decimal): number => Math.max(0, value.digits.length + value.exponent);

/** The value times 10^scale as an integer. The caller has seen that it is not absurdly large; excess digits must be cut first. */
export function scaled(value: Decimal, scale: number): bigint {
  if (value.digits === '') return 0n;
  const magnitude = BigInt(value.digits + '0'.repeat(value.exponent + scale));
  return value.negative ? -magnitude : magnitude;
}

/** Rounded half away from zero to `scale` fraction digits, as SQL rounds. */
export function roundedTo(value: Decimal, scale: number): Decimal {
  const excess = -value.exponent - scale;
  if (excess <= 0) return value;
  const kept = value.digits.length - excess;
  if (kept < 0) return { negative: value.negative, digits: '', exponent: 0 };
  const up = (value.digits[kept] ?? '0') >= '5' ? 1n : 0n;
  return normal(value.negative, (BigInt(value.digits.slice(0, kept) || '0') + up).toString(), -scale);
}

/** Cut to `scale` fraction digits, towards earlier: an instant never moves into the next day. */
export function flooredTo(value: Decimal, scale: number): Decimal {
  const excess = -value.exponent - scale;
  if (excess <= 0) return value;
  const kept = BigInt(value.digits.slice(0, Math.max(0, value.digits.length - excess)) || '0');
  return normal(value.negative, (value.negative ? kept + 1n : kept).toString(), -scale);
}

function normal(negative: boolean, digits: string, exponent: number): Decimal {
  const trimmed = digits.replace(/^0+/, '');
  const short = trimmed.replace(/0+$/, '');
  if (short === '') return { negative, digits: '', exponent: 0 };
  return { negative, digits: short, exponent: exponent + (trimmed.length - short.length) };
}

/** Decimal text with exactly `scale` fraction digits, as DuckDB and MySQL print a DECIMAL. */
export function decimalText(value: Decimal, scale: number): string {
  const whole = scaled(value, scale);
  const text = (whole < 0n ? -whole : whole).toString().padStart(scale + 1, '0');
  const sign = whole < 0n ? '-' : '';
  return scale === 0 ? sign + text : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`;
}
