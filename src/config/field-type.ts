// SQL type names of feeds.json to FieldType (DESIGN §2): VARCHAR(n), DECIMAL(p,s), STRUCT(a BIGINT, …), T[] and the plain ones.
// Invariant: what model/columns' typeName writes is parsed to the same type.
import type { FieldType } from '../model/feed.ts';
import { nearest } from './suggest.ts';

type PlainKind = 'bigint' | 'integer' | 'double' | 'boolean' | 'date' | 'timestamp' | 'json' | 'blob';
const PLAIN = new Map<string, PlainKind>(
  (['bigint', 'integer', 'double', 'boolean', 'date', 'timestamp', 'json', 'blob'] as const).map((kind) => [
    kind.toUpperCase(),
    kind,
  ]),
);
export const TYPE_NAMES = ['VARCHAR', 'DECIMAL', 'STRUCT', ...PLAIN.keys()];

/** Names of other systems, and what is meant by them here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  TEXT: 'VARCHAR',
  STRING: 'VARCHAR',
  CHAR: 'VARCHAR',
  LONGTEXT: 'VARCHAR',
  UUID: 'VARCHAR',
  INT: 'INTEGER',
  SMALLINT: 'INTEGER',
  TINYINT: 'INTEGER',
  LONG: 'BIGINT',
  HUGEINT: 'DECIMAL(38,0)',
  FLOAT: 'DOUBLE',
  REAL: 'DOUBLE',
  NUMERIC: 'DECIMAL',
  NUMBER: 'DECIMAL',
  BOOL: 'BOOLEAN',
  DATETIME: 'TIMESTAMP',
  TIMESTAMPTZ: 'TIMESTAMP',
  BINARY: 'BLOB',
  VARBINARY: 'BLOB',
  OBJECT: 'STRUCT(…) or JSON',
  MAP: 'JSON',
  ROW: 'STRUCT(…)',
  ARRAY: 'VARCHAR[]',
  LIST: 'VARCHAR[]',
};

export const DECIMAL_DIGITS_MAX = 38;
const VARCHAR_CHARS_MAX = 1_000_000_000;
/** Bounds the recursion; nobody reads a deeper struct. */
const DEPTH_MAX = 16;

export type ParsedType =
  | { readonly kind: 'type'; readonly type: FieldType }
  | { readonly kind: 'problem'; readonly message: string };

/** Thrown and caught in this file only: a parser's way out. */
class TypeProblem extends Error {}

type Cursor = { readonly tokens: readonly string[]; index: number };

/** What is wrong is said in the words of the text; positions are not needed in texts this short. */
export function parseFieldType(text: string): ParsedType {
  try {
    const cursor: Cursor = { tokens: tokenize(text), index: 0 };
    const type = readType(cursor, 1);
    const rest = cursor.tokens[cursor.index];
    if (rest !== undefined) throw new TypeProblem(`"${rest}" is not expected after the type`);
    return { kind: 'type', type };
  } catch (error) {
    if (error instanceof TypeProblem) return { kind: 'problem', message: error.message };
    throw error;
  }
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  const pattern = /\s*("(?:[^"]|"")*"|[\p{L}\p{N}_$]+|[(),[\]]|\S)/uy;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) tokens.push(match[1] ?? '');
  return tokens;
}

function readType(cursor: Cursor, depth: number): FieldType {
  if (depth > DEPTH_MAX) throw new TypeProblem(`a type is nested at most ${DEPTH_MAX} deep`);
  const word = next(cursor, 'a type');
  const name = word.toUpperCase();
  let type: FieldType;
  if (name === 'VARCHAR') type = readVarchar(cursor);
  else if (name === 'DECIMAL') type = readDecimal(cursor);
  else if (name === 'STRUCT') type = readStruct(cursor, depth);
  else type = readPlain(cursor, word);
  while (accept(cursor, '[')) {
    expect(cursor, ']', `a list is written ${word}[]`);
    type = { kind: 'list', item: type };
  }
  return type;
}

function readPlain(cursor: Cursor, word: string): FieldType {
  const name = word.toUpperCase();
  const kind = PLAIN.get(name);
  if (kind === undefined) {
    const meant = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : nearest(name, TYPE_NAMES);
    throw new TypeProblem(
      `"${word}" is not a type${meant ? `; did you mean ${meant}?` : `; the types are ${TYPE_NAMES.join(', ')} and T[]`}`,
    );
  }
  if (cursor.tokens[cursor.index] === '(') throw new TypeProblem(`${name} takes no length`);
  return { kind };
}

function readVarchar(cursor: Cursor): FieldType {
  if (!accept(cursor, '(')) return { kind: 'varchar', charsMax: null };
  const charsMax = readNumber(cursor, 'VARCHAR(n)');
  expect(cursor, ')', 'VARCHAR(n) takes one number');
  if (charsMax < 1 || charsMax > VARCHAR_CHARS_MAX) throw new TypeProblem('VARCHAR(n) needs an n of at least 1');
  return { kind: 'varchar', charsMax };
}

function readDecimal(cursor: Cursor): FieldType {
  if (!accept(cursor, '(')) throw new TypeProblem('DECIMAL needs its digits: DECIMAL(p,s)');
  const precision = readNumber(cursor, 'DECIMAL(p,s)');
  const scale = accept(cursor, ',') ? readNumber(cursor, 'DECIMAL(p,s)') : 0;
  expect(cursor, ')', 'DECIMAL(p,s) takes two numbers');
  const shown = `DECIMAL(${precision},${scale})`;
  if (precision < 1 || precision > DECIMAL_DIGITS_MAX)
    throw new TypeProblem(`${shown}: the digits are 1 to ${DECIMAL_DIGITS_MAX}`);
  if (scale > precision) throw new TypeProblem(`${shown}: more fraction digits (${scale}) than digits (${precision})`);
  return { kind: 'decimal', precision, scale };
}

function readStruct(cursor: Cursor, depth: number): FieldType {
  expect(cursor, '(', 'STRUCT needs its fields: STRUCT(name TYPE, …)');
  const fields: { name: string; type: FieldType }[] = [];
  do {
    const word = next(cursor, 'a field name in STRUCT');
    const name = word.startsWith('"') ? word.slice(1, -1).replaceAll('""', '"') : word;
    if (name === '' || (!word.startsWith('"') && !/^[\p{L}\p{N}_$]+$/u.test(word))) {
      throw new TypeProblem(`"${word}" is not a field name in STRUCT`);
    }
    const twin = fields.find((field) => field.name.toLowerCase() === name.toLowerCase());
    if (twin) throw new TypeProblem(`STRUCT has "${twin.name}" and "${name}", which are one name in SQL`);
    fields.push({ name, type: readType(cursor, depth + 1) });
  } while (accept(cursor, ','));
  expect(cursor, ')', 'STRUCT(…) is not closed');
  return { kind: 'struct', fields };
}

function next(cursor: Cursor, wanted: string): string {
  const token = cursor.tokens[cursor.index++];
  if (token === undefined) throw new TypeProblem(`${wanted} is missing`);
  return token;
}

function accept(cursor: Cursor, token: string): boolean {
  if (cursor.tokens[cursor.index] !== token) return false;
  cursor.index++;
  return true;
}

function expect(cursor: Cursor, token: string, otherwise: string): void {
  if (!accept(cursor, token)) throw new TypeProblem(otherwise);
}

function readNumber(cursor: Cursor, form: string): number {
  const token = next(cursor, `a number in ${form}`);
  if (!/^\d{1,10}$/.test(token)) throw new TypeProblem(`"${token}" is no number in ${form}`);
  return Number(token);
}
