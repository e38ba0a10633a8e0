// lake dead-letters show: one message as it was sent, with the place of the fault pointed at. Exit 3 when it is no dead letter.

import { isUtf8 } from 'node:buffer';
import { EXIT, type ExitCode } from '../errors.ts';
import { type LetterMessage, messageName } from '../model/dead-letters.ts';
import { type Fault, faultIn, pointedAt } from '../model/letter-fault.ts';
import { type Choice, fieldSource, type Listed, showLetters } from '../operations/dead-letters.ts';
import { type Installation, openInstallation } from '../operations/installation.ts';
import { type CommandContext, configOf } from './context.ts';
import { letterJson, timeOf } from './dead-letters-list.ts';

export async function showCommand(context: CommandContext, choice: Choice): Promise<ExitCode> {
  const { log, nowMs, newId, stop: signal } = context;
  await using installation = openInstallation({ config: configOf(context), log, nowMs, newId, signal });
  const { letters, failures } = await showLetters(installation, choice);
  // The lake's has all bytes, however many they are.
  const best = letters.find(({ isWhole }) => isWhole) ?? letters[0] ?? null;
  const place = best && (await faultPlace(installation, choice, best));
  if (best !== null || context.isJson)
    context.print({
      table: { columns: [{ title: '' }, { title: '' }], rows: best ? rowsOf(letters, best, place) : [] },
      json: documentOf(letters, best, place),
      isAligned: true,
    });
  for (const failure of failures) context.tell(failure);
  if (best === null && failures.length === 0) {
    const name = context.args[1] ?? '';
    context.say(`${name} is no dead letter; where it is:  lake trace ${name}\n`);
  }
  return failures[0]?.exit ?? (best ? EXIT.done : EXIT.no);
}

type Place = { readonly part: 'value' | 'key'; readonly fault: Fault | null };

/** null: its bytes are not text, or not there. */
async function faultPlace(installation: Installation, { feeds }: Choice, letter: LetterMessage): Promise<Place | null> {
  const feed = feeds.find(({ name }) => name === letter.feed);
  const source = feed && letter.field !== null ? await fieldSource(installation, feed, letter.field) : null;
  const part = source?.isFromKey || letter.value === null ? 'key' : 'value';
  const text = textOf(letter[part]);
  if (text === null) return null;
  // A key of one part is often no JSON.
  if (part === 'key' && !text.startsWith('{')) return { part, fault: { start: 0, end: text.length } };
  return { part, fault: faultIn({ text, from: source?.from ?? null, reason: letter.reason }) };
}

const textOf = (bytes: Uint8Array | null): string | null =>
  bytes !== null && isUtf8(bytes) ? Buffer.from(bytes).toString('utf8') : null;

function rowsOf(letters: Listed<LetterMessage>['letters'], letter: LetterMessage, place: Place | null): string[][] {
  const where = letters.map(({ feed, target, state }) => `${feed} in the ${target} (${state})`);
  return [
    ['message', messageName(letter)],
    ['time', timeOf(letter.timestampMs) ?? 'outside the years 1 to 9999'],
    ['letter of', where.join(', ')],
    ['field', letter.field ?? ''],
    ['reason', letter.reason],
    ['headers', letter.headers ?? ''],
    ...linesOf('key', letter.key, place?.part === 'key' ? place.fault : null),
    ...linesOf('value', letter.value, place?.part === 'value' ? place.fault : null),
  ];
}

function linesOf(part: string, bytes: Uint8Array | null, fault: Fault | null): string[][] {
  if (bytes === null) return [[part, 'none']];
  const text = textOf(bytes);
  const lines = text === null ? hexLines(bytes) : pointedAt(text, fault);
  return lines.map((line, index) => [index === 0 ? part : '', line]);
}

const HEX_BYTES = 16;
const HEX_LINES_MAX = 32;

/** The first byte that cannot stand where it is is pointed at. */
function hexLines(bytes: Uint8Array): string[] {
  const fault = firstWrongByte(bytes);
  const first = Math.max(0, Math.floor(fault / HEX_BYTES) - HEX_LINES_MAX / 2);
  const lines: string[] = [];
  for (let line = first; line * HEX_BYTES < bytes.length && line < first + HEX_LINES_MAX; line += 1) {
    const from = line * HEX_BYTES;
    const hex = [...bytes.subarray(from, from + HEX_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    lines.push(`${String(from).padStart(6)}  ${hex}`);
    if (Math.floor(fault / HEX_BYTES) === line) lines.push(`${' '.repeat(8 + 3 * (fault % HEX_BYTES))}^^`);
  }
  return lines;
}

/** The longest beginning that is UTF-8 ends before it; a character has four bytes at most. */
function firstWrongByte(bytes: Uint8Array): number {
  let [good, wrong] = [0, bytes.length];
  const isGood = (end: number): boolean => [0, 1, 2, 3].some((back) => end - back >= 0 && isUtf8(bytes.subarray(0, end - back)));
  while (good + 1 < wrong) {
    const middle = Math.floor((good + wrong) / 2);
    if (isGood(middle)) good = middle;
    else wrong = middle;
  }
  for (let end = good; end > Math.max(0, good - 4); end -= 1) if (isUtf8(bytes.subarray(0, end))) return end;
  return Math.max(0, good - 4);
}

const bytesJson = (bytes: Uint8Array | null) => {
  const text = textOf(bytes);
  return bytes === null ? null : text === null ? { base64: Buffer.from(bytes).toString('base64') } : { text };
};

const documentOf = (letters: Listed<LetterMessage>['letters'], best: LetterMessage | null, place: Place | null) => ({
  letters: letters.map(letterJson),
  key: bytesJson(best?.key ?? null),
  value: bytesJson(best?.value ?? null),
  headers: best?.headers ? (JSON.parse(best.headers) as unknown) : null,
  fault: place?.fault ? { part: place.part, ...place.fault } : null,
});
