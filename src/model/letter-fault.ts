// Where in a message the fault lies that made it a dead letter, as far as its field and reason say it. Pure.

import { items, JsonTextError, members, type Span, scanJson, scanMembers } from './json-text.ts';

/** Characters [start, end) of the text. */
export type Fault = { readonly start: number; readonly end: number };

export type FaultOf = {
  readonly text: string;
  /** Steps that lead to the field; null: no field is to blame. */
  readonly from: readonly string[] | null;
  readonly reason: string;
};

/** null: nothing in the text can be pointed at. */
export function faultIn({ text, from, reason }: FaultOf): Fault | null {
  const broken = brokenAt(text);
  if (broken !== null) return { start: broken, end: Math.min(text.length, broken + 1) };
  if (from === null) return text.length === 0 ? null : wholeOf(scanJson(text));
  const [, inside = ''] = /^[^\s:.[\]]+((?:\.[^\s:.[\]]+|\[\d+\])+): /.exec(reason) ?? [];
  return follow(text, [...from, ...stepsOf(inside)]);
}

function brokenAt(text: string): number | null {
  try {
    scanJson(text);
    return null;
  } catch (error) {
    if (error instanceof JsonTextError) return error.at;
    throw error;
  }
}

const wholeOf = ({ start, end }: Span): Fault => ({ start, end });

const stepsOf = (path: string): string[] =>
  [...path.matchAll(/\.([^.[\]]+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? index ?? '');

/** As far as the steps lead; where one is missing, the end of what should hold it. */
function follow(text: string, steps: readonly string[]): Fault {
  let at = scanJson(text);
  for (const [depth, step] of steps.entries()) {
    const found = at.kind === 'object' ? (depth === 0 ? scanMembers(text) : members(text, at)) : null;
    const next = found
      ? found.find(({ name }) => name === step)?.value
      : at.kind === 'array'
        ? items(text, at)[Number(step)]
        : undefined;
    if (!next) return at.kind === 'object' ? { start: at.end - 1, end: at.end } : wholeOf(at);
    at = next;
  }
  return wholeOf(at);
}

const LINE_CHARS_MAX = 100;
const LINES_MAX = 40;

/** Lines of a text with its fault underlined: of long lines what is near, of many lines those around. */
export function pointedAt(text: string, fault: Fault | null): readonly string[] {
  const shown: string[] = [];
  let from = 0;
  const lines = text.split('\n').map((line) => {
    const start = from;
    from += line.length + 1;
    return { line, start };
  });
  const faulty = fault === null ? -1 : lines.findLastIndex(({ start }) => start <= fault.start);
  const first = Math.max(0, Math.min(faulty - LINES_MAX / 2, lines.length - LINES_MAX));
  if (first > 0) shown.push('…');
  for (const [index, { line, start }] of lines.slice(first, first + LINES_MAX).entries()) {
    const isFaulty = fault !== null && first + index === faulty;
    const at = isFaulty ? fault.start - start : 0;
    const cut = isFaulty && at > LINE_CHARS_MAX / 2 && line.length > LINE_CHARS_MAX ? at - LINE_CHARS_MAX / 2 : 0;
    const [before, after] = [cut > 0 ? '…' : '', line.length > cut + LINE_CHARS_MAX ? '…' : ''];
    shown.push(`${before}${visible(line.slice(cut, cut + LINE_CHARS_MAX))}${after}`);
    if (!isFaulty) continue;
    const width = Math.max(1, Math.min(fault.end - fault.start, LINE_CHARS_MAX - (at - cut), line.length - at));
    shown.push(`${' '.repeat(before.length + at - cut)}${'^'.repeat(width)}`);
  }
  if (first + LINES_MAX < lines.length) shown.push('…');
  return shown;
}

/** A control character moves nothing that stands under it. */
const visible = (text: string): string =>
  [...text]
    .map((char) => ((char.codePointAt(0) ?? 0) < 0x20 ? String.fromCodePoint(0x2400 + (char.codePointAt(0) ?? 0)) : char))
    .join('');
