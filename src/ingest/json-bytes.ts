// A reader of JSON over the bytes of a chunk, which finds where values end. Strict, and modest: what needs more than a look, such as
// an escape, is not for it. Invariant: what it passes over is JSON (RFC 8259) to its last byte, without escapes, never more; so it
// never passes over the separator of two messages, a control character.

import { Buffer } from 'node:buffer';

export const [QUOTE, BACKSLASH, OPEN, CLOSE, LIST, LIST_END] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d];
export const [COLON, COMMA, MINUS, PLUS, POINT, ZERO, NINE] = [0x3a, 0x2c, 0x2d, 0x2b, 0x2e, 0x30, 0x39];
const [SPACE, TAB, NEWLINE, RETURN, CAPITAL_E, SMALL_E] = [0x20, 0x09, 0x0a, 0x0d, 0x45, 0x65];
export const [SMALL_F, SMALL_N, SMALL_T] = [0x66, 0x6e, 0x74];
const WORDS = { null: [0x75, 0x6c, 0x6c], true: [0x72, 0x75, 0x65], false: [0x61, 0x6c, 0x73, 0x65] };

/** Short strings are passed over byte by byte, the rest of long ones by a native search and in words. */
const SHORT_STRING_BYTES = 32;
const DEPTH_MAX = 32;

/** What is not found. */
export const NOT_SURE = -1;

export class JsonBytes {
  readonly bytes: Buffer;
  private readonly words: Int32Array;
  /** The first backslash behind where was looked last; values are read in order. */
  private backslash = -1;

  /** The chunk's values: valid UTF-8, which is not looked at here. */
  constructor(values: Uint8Array) {
    const isAligned = values.byteOffset % 4 === 0;
    const source = isAligned ? values : Uint8Array.from(values);
    this.bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
    this.words = new Int32Array(source.buffer, source.byteOffset, source.byteLength >>> 2);
  }

  skipSpace(from: number): number {
    const { bytes } = this;
    for (let at = from; ; at++) {
      const byte = bytes[at];
      if (byte !== SPACE && byte !== NEWLINE && byte !== RETURN && byte !== TAB) return at;
    }
  }

  /** The closing quote of the string whose first byte is at `from`. */
  stringEnd(from: number): number {
    const { bytes } = this;
    let at = from;
    for (const near = Math.min(bytes.length, from + SHORT_STRING_BYTES); at < near; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === QUOTE) return at;
      if (byte < SPACE || byte === BACKSLASH) return NOT_SURE;
    }
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return NOT_SURE;
    if (this.backslash < at) {
      this.backslash = bytes.indexOf(BACKSLASH, at);
      if (this.backslash < 0) this.backslash = bytes.length;
    }
    return this.backslash < quote || this.holdsControl(at, quote) ? NOT_SURE : quote;
  }

  /** Four bytes at a time: the top bit of a byte is set in the difference, and not in the byte, only when one is below 0x20. */
  private holdsControl(from: number, to: number): boolean {
    const { bytes, words } = this;
    let at = from;
    for (; at < to && (at & 3) !== 0; at++) if ((bytes[at] ?? 0) < SPACE) return true;
    const last = to >>> 2;
    let index = at >>> 2;
    for (; index + 4 <= last; index += 4) {
      const a = words[index] ?? 0;
      const b = words[index + 1] ?? 0;
      const c = words[index + 2] ?? 0;
      const d = words[index + 3] ?? 0;
      const below = ((a - 0x20202020) & ~a) | ((b - 0x20202020) & ~b) | ((c - 0x20202020) & ~c) | ((d - 0x20202020) & ~d);
      if ((below & 0x80808080) !== 0) return true;
    }
    for (at = Math.max(at, index << 2); at < to; at++) if ((bytes[at] ?? 0) < SPACE) return true;
    return false;
  }

  /** Behind the number that begins at `from`. */
  numberEnd(from: number): number {
    const { bytes } = this;
    let at = bytes[from] === MINUS ? from + 1 : from;
    const whole = at;
    at = this.digitsEnd(at);
    if (at === whole || (bytes[whole] === ZERO && at > whole + 1)) return NOT_SURE;
    if (bytes[at] === POINT) {
      const fraction = at + 1;
      at = this.digitsEnd(fraction);
      if (at === fraction) return NOT_SURE;
    }
    if (bytes[at] !== SMALL_E && bytes[at] !== CAPITAL_E) return at;
    const sign = bytes[at + 1];
    const exponent = sign === MINUS || sign === PLUS ? at + 2 : at + 1;
    at = this.digitsEnd(exponent);
    return at === exponent ? NOT_SURE : at;
  }

  private digitsEnd(from: number): number {
    let at = from;
    for (let byte = this.bytes[at] ?? 0; byte >= ZERO && byte <= NINE; byte = this.bytes[at] ?? 0) at++;
    return at;
  }

  /** Behind `null`, `true` or `false`. */
  wordEnd(from: number): number {
    const first = this.bytes[from];
    const rest = first === SMALL_N ? WORDS.null : first === SMALL_T ? WORDS.true : first === SMALL_F ? WORDS.false : null;
    if (rest === null) return NOT_SURE;
    for (let index = 0; index < rest.length; index++) if (this.bytes[from + 1 + index] !== rest[index]) return NOT_SURE;
    return from + 1 + rest.length;
  }

  /** Behind any value. */
  valueEnd(from: number, depth = 0): number {
    const first = this.bytes[from] ?? 0;
    if (first === QUOTE) {
      const quote = this.stringEnd(from + 1);
      return quote < 0 ? NOT_SURE : quote + 1;
    }
    if (first === MINUS || (first >= ZERO && first <= NINE)) return this.numberEnd(from);
    if (first !== OPEN && first !== LIST) return this.wordEnd(from);
    return depth < DEPTH_MAX ? this.containerEnd(from, depth + 1) : NOT_SURE;
  }

  private containerEnd(from: number, depth: number): number {
    const { bytes } = this;
    const isObject = bytes[from] === OPEN;
    const closer = isObject ? CLOSE : LIST_END;
    let at = this.skipSpace(from + 1);
    if (bytes[at] === closer) return at + 1;
    for (;;) {
      if (isObject) {
        if (bytes[at] !== QUOTE) return NOT_SURE;
        at = this.afterName(at);
        if (at < 0) return NOT_SURE;
      }
      at = this.valueEnd(at, depth);
      if (at < 0) return NOT_SURE;
      at = this.skipSpace(at);
      if (bytes[at] === closer) return at + 1;
      if (bytes[at] !== COMMA) return NOT_SURE;
      at = this.skipSpace(at + 1);
    }
  }

  /** From the quote before a name to the value behind its colon. */
  private afterName(from: number): number {
    const quote = this.stringEnd(from + 1);
    if (quote < 0) return NOT_SURE;
    const colon = this.skipSpace(quote + 1);
    return this.bytes[colon] === COLON ? this.skipSpace(colon + 1) : NOT_SURE;
  }
}
