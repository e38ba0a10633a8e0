// strptime patterns (`%d/%m/%Y %H:%M`) as a reader of clock readings. Invariant: what a pattern cannot say for sure is refused when
// the configuration is read, not when the first message comes.
import { LakeError } from '../errors.ts';
import { type ClockReading, parseOffset } from './convert-time.ts';

export type PatternReader = (text: string) => ClockReading | null;

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const MONTH_NAMES = 'january|february|march|april|may|june|july|august|september|october|november|december';
const DAY_NAMES = 'monday|tuesday|wednesday|thursday|friday|saturday|sunday';

/** Each directive as the regular expression of its text; names of groups are the letters themselves. */
const DIRECTIVES: Readonly<Record<string, string>> = {
  Y: '(?<Y>[0-9]{4})',
  y: '(?<y>[0-9]{2})',
  m: '(?<m>[0-9]{1,2})',
  b: `(?<b>${MONTHS.join('|')})`,
  B: `(?<B>${MONTH_NAMES})`,
  d: '(?<d>[0-9]{1,2})',
  e: ' ?(?<d>[0-9]{1,2})',
  H: '(?<H>[0-9]{1,2})',
  I: '(?<I>[0-9]{1,2})',
  p: '(?<p>am|pm)',
  M: '(?<M>[0-9]{1,2})',
  S: '(?<S>[0-9]{1,2})',
  f: '(?<f>[0-9]{1,9})',
  z: '(?<z>z|[-+][0-9]{2}(?::?[0-9]{2})?)',
  a: '(?:mon|tue|wed|thu|fri|sat|sun)',
  A: `(?:${DAY_NAMES})`,
  '%': '%',
};
const SHORTHANDS: Readonly<Record<string, string>> = { T: '%H:%M:%S', F: '%Y-%m-%d', D: '%m/%d/%y', R: '%H:%M', h: '%b' };

/** Throws config_invalid for a directive that is unknown, or a pattern without a whole date. */
export function patternReader(pattern: string): PatternReader {
  const expanded = pattern.replace(/%([TFDRh%])/g, (all, letter: string) => SHORTHANDS[letter] ?? all);
  const letters: string[] = [];
  const source = expanded.replace(/%(.?)|[\\^$.*+?()[\]{}|/-]/gs, (all, letter: string | undefined) => {
    if (letter === undefined) return `\\${all}`;
    const directive = Object.hasOwn(DIRECTIVES, letter) ? DIRECTIVES[letter] : undefined;
    if (directive === undefined) throw refused(pattern, `%${letter} is not known (known: ${Object.keys(DIRECTIVES).join(' ')})`);
    if (letter !== '%' && letters.includes(letter)) throw refused(pattern, `%${letter} stands there twice`);
    letters.push(letter);
    return directive;
  });
  const has = (...any: string[]): boolean => any.some((letter) => letters.includes(letter));
  if (!has('Y', 'y') || !has('m', 'b', 'B') || !has('d', 'e')) throw refused(pattern, 'it needs a year, a month and a day');
  if (has('I') !== has('p')) throw refused(pattern, '%I and %p need each other');
  const regex = new RegExp(`^${source}$`, 'i');
  return (text) => readingOf(regex.exec(text)?.groups);
}

function readingOf(groups: Record<string, string | undefined> | undefined): ClockReading | null {
  if (!groups) return null;
  const number = (letter: string): number => Number(groups[letter] ?? 0);
  const monthName = (groups['b'] ?? groups['B'])?.slice(0, 3).toLowerCase();
  const offsetMinutes = groups['z'] === undefined ? null : parseOffset(groups['z']);
  const hour = groups['I'] === undefined ? number('H') : hourOf12(number('I'), groups['p']);
  if (offsetMinutes === undefined || hour === null) return null;
  return {
    // POSIX: 69–99 are 1969–1999, 00–68 are 2000–2068.
    year: groups['y'] === undefined ? number('Y') : number('y') + (number('y') >= 69 ? 1900 : 2000),
    month: monthName === undefined ? number('m') : MONTHS.indexOf(monthName) + 1,
    day: number('d'),
    hour,
    minute: number('M'),
    second: number('S'),
    fraction: groups['f'] ?? '',
    offsetMinutes,
  };
}

function hourOf12(hour: number, half: string | undefined): number | null {
  if (hour < 1 || hour > 12) return null;
  return (hour % 12) + (half?.toLowerCase() === 'pm' ? 12 : 0);
}

const refused = (pattern: string, why: string): LakeError =>
  new LakeError('config_invalid', `the format ${JSON.stringify(pattern)} cannot be used: ${why}`);
