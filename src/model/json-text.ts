// A JSON scanner that loses nothing: it finds where values begin and end, and leaves their text as it was sent.
// Strict RFC 8259, no recursion (a million brackets are only slow), half surrogate pairs refused. Of equal keys the first wins.

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'true' | 'false' | 'null';

/** A value's place in the text: [start, end). */
export type Span = { readonly kind: JsonKind; readonly start: number; readonly end: number };

export type Member = { readonly name: string; readonly nameText: string; readonly value: Span };

/** The text is no JSON; `at` is the index of the first character that cannot stand there. */
export class JsonTextError extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** The one value of a text, checked to its last character. Throws JsonTextError. */
export function scanJson(text: string): Span {
  const span = scanValue(text, skipSpace(text, 0));
  expectEnd(text, span.end);
  return span;
}

/** The members of a text that is an object, checked to its last character in one pass. Throws JsonTextError. */
export function scanMembers(text: string): Member[] {
  const start = skipSpace(text, 0);
  if (text[start] !== '{') throw unexpected(text, start);
  const found: Member[] = [];
  expectEnd(text, readMembers(text, start, found));
  return found;
}

/** The members of an object that scanJson has accepted, in order; of equal names only the first. */
export function members(text: string, object: Span): Member[] {
  const found: Member[] = [];
  readMembers(text, object.start, found);
  return found;
}

/** Fills `found`, and gives the index behind the closing bracket. */
function readMembers(text: string, start: number, found: Member[]): number {
  let at = skipSpace(text, start + 1);
  if (text[at] === '}') return at + 1;
  const names = new Set<string>();
  while (true) {
    if (text[at] !== '"') throw unexpected(text, at);
    const nameEnd = endOfString(text, at);
    const nameText = text.slice(at, nameEnd);
    const name = unquote(nameText);
    const colon = skipSpace(text, nameEnd);
    if (text[colon] !== ':') throw unexpected(text, colon);
    const value = scanValue(text, skipSpace(text, colon + 1));
    if (!names.has(name)) found.push({ name, nameText, value });
    names.add(name);
    at = skipSpace(text, value.end);
    if (text[at] === '}') return at + 1;
    if (text[at] !== ',') throw unexpected(text, at);
    at = skipSpace(text, at + 1);
  }
}

function expectEnd(text: string, end: number): void {
  const rest = skipSpace(text, end);
  if (rest < text.length) throw unexpected(text, rest);
}

/** The items of an array that scanJson has accepted. */
export function items(text: string, array: Span): Span[] {
  const found: Span[] = [];
  let at = skipSpace(text, array.start + 1);
  while (at < array.end - 1) {
    const value = scanValue(text, at);
    found.push(value);
    at = skipSpace(text, value.end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return found;
}

/** The characters that a JSON string (with its quotes) stands for. */
export function unquote(quoted: string): string {
  const inner = quoted.slice(1, -1);
  if (!inner.includes('\\')) return inner;
  return inner.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/g, (_all, hex: string | undefined, simple: string | undefined) =>
    hex === undefined ? (SIMPLE_ESCAPES[simple ?? ''] ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function scanValue(text: string, start: number): Span {
  const first = text[start];
  if (first === '{') return { kind: 'object', start, end: endOfContainer(text, start) };
  if (first === '[') return { kind: 'array', start, end: endOfContainer(text, start) };
  return scanScalar(text, start);
}

function scanScalar(text: string, start: number): Span {
  const first = text[start];
  if (first === '"') return { kind: 'string', start, end: endOfString(text, start) };
  const word = first === 't' ? 'true' : first === 'f' ? 'false' : first === 'n' ? 'null' : null;
  if (word !== null && text.startsWith(word, start)) return { kind: word, start, end: start + word.length };
  NUMBER.lastIndex = start;
  if (!NUMBER.test(text)) throw unexpected(text, start);
  return { kind: 'number', start, end: NUMBER.lastIndex };
}

/** Walks nested containers with an own stack of the closing brackets that are still due. */
function endOfContainer(text: string, start: number): number {
  const due: string[] = [];
  let at = start;
  while (true) {
    const first = text[at];
    if (first === '{' || first === '[') {
      const closer = first === '{' ? '}' : ']';
      at = skipSpace(text, at + 1);
      if (text[at] !== closer) {
        due.push(closer);
        if (closer === '}') at = afterName(text, at);
        continue;
      }
      at += 1;
    } else {
      at = scanScalar(text, at).end;
    }
    let closer = due.at(-1);
    while (closer !== undefined) {
      at = skipSpace(text, at);
      if (text[at] !== closer) break;
      due.pop();
      at += 1;
      closer = due.at(-1);
    }
    if (closer === undefined) return at;
    if (text[at] !== ',') throw unexpected(text, at);
    at = skipSpace(text, at + 1);
    if (closer === '}') at = afterName(text, at);
  }
}

/** From a member's name to the first character of its value. */
function afterName(text: string, at: number): number {
  if (text[at] !== '"') throw unexpected(text, at);
  const colon = skipSpace(text, endOfString(text, at));
  if (text[colon] !== ':') throw unexpected(text, colon);
  return skipSpace(text, colon + 1);
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code < 0x20) throw new JsonTextError(`a raw control character (${hexOf(code)}) in a string`, at);
    at = code === BACKSLASH ? afterEscape(text, at) : at + 1;
  }
  throw new JsonTextError('the text ends inside a string', text.length);
}

function afterEscape(text: string, at: number): number {
  const letter = text[at + 1] ?? '';
  if (letter !== 'u') {
    if (!Object.hasOwn(SIMPLE_ESCAPES, letter)) throw new JsonTextError(`an unknown escape \\${letter} in a string`, at);
    return at + 2;
  }
  const code = escapedCode(text, at);
  if (code >= 0xdc00 && code <= 0xdfff) throw halfPair(code, at);
  if (code < 0xd800 || code > 0xdbff) return at + 6;
  const isPair = text.startsWith('\\u', at + 6);
  const low = isPair ? escapedCode(text, at + 6) : 0;
  if (low < 0xdc00 || low > 0xdfff) throw halfPair(code, at);
  return at + 12;
}

function escapedCode(text: string, at: number): number {
  const hex = text.slice(at + 2, at + 6);
  if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw new JsonTextError('an unfinished \\u escape in a string', at);
  return Number.parseInt(hex, 16);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (true) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at += 1;
  }
}

const hexOf = (code: number): string => `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;

const halfPair = (code: number, at: number): JsonTextError =>
  new JsonTextError(`half a surrogate pair (${hexOf(code)}) in a string`, at);

function unexpected(text: string, at: number): JsonTextError {
  if (at >= text.length) return new JsonTextError('the text ends too early', at);
  const word = /^[\w.+-]{1,20}/.exec(text.slice(at, at + 20))?.[0] ?? String.fromCodePoint(text.codePointAt(at) ?? 0);
  return new JsonTextError(`unexpected ${JSON.stringify(word)}`, at);
}
