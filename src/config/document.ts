// feeds.json as text to a plain value, with the line of every key and value, so that a problem can name its line.
// Comments and trailing commas are allowed; a key given twice is a problem, because one of the two would be lost.
import { type Node, type ParseError, type ParseErrorCode, parseTree, printParseErrorCode } from 'jsonc-parser';
import type { JsonPath, Problem } from './issues.ts';

export type Document = {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** False: the text is no JSON, value says nothing. */
  readonly readable: boolean;
  /** Line (from 1) of the key, or of the nearest enclosing thing there is. */
  lineOf(path: JsonPath): number;
};

/** Names that JavaScript objects treat specially; valibot's records pass over them without a word. */
const UNUSABLE_KEYS = new Set(['__proto__', 'prototype', 'constructor']);

const WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: 'this is no JSON; keys and texts stand in double quotes',
  InvalidNumberFormat: 'a number that is not written as JSON wants it',
  PropertyNameExpected: 'a key in double quotes is expected here',
  ValueExpected: 'a value is expected here',
  ColonExpected: 'a colon is expected here',
  CommaExpected: 'a comma is expected before this',
  CloseBraceExpected: 'a closing } is missing',
  CloseBracketExpected: 'a closing ] is missing',
  EndOfFileExpected: 'nothing may follow the closing }',
  UnexpectedEndOfComment: 'a comment is not closed',
  UnexpectedEndOfString: 'a text is not closed',
  UnexpectedEndOfNumber: 'a number is not complete',
  InvalidUnicode: 'a \\u escape that is no character',
  InvalidEscapeCharacter: 'an escape that JSON does not have; a backslash is written \\\\',
  InvalidCharacter: 'a character that may not stand raw in a text',
  InvalidCommentToken: 'a comment that JSON does not have',
};

export function parseDocument(textWithMark: string): Document {
  const text = textWithMark.replace(/^\uFEFF/, ' ');
  if (text.trim() === '') return unreadable([{ path: [], line: 1, message: 'the file is empty' }]);
  const lineAt = lineIndex(text);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  if (errors.length > 0 || root === undefined) return unreadable(toProblems(errors, lineAt));
  const lines = new Map<string, number>();
  const problems: Problem[] = [];
  const value = toValue(root, [], { lines, problems, lineAt });
  return {
    value,
    problems,
    readable: true,
    lineOf(path) {
      for (let length = path.length; length > 0; length--) {
        const line = lines.get(lineKey(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return lineAt(root.offset);
    },
  };
}

const unreadable = (problems: readonly Problem[]): Document => ({ value: undefined, problems, readable: false, lineOf: () => 1 });

/** A missing comma makes the parser complain several times on one line: the first is the cause. */
function toProblems(errors: readonly ParseError[], lineAt: (offset: number) => number): Problem[] {
  const first = new Map<number, Problem>();
  for (const { error, offset } of errors) {
    const line = lineAt(offset);
    if (!first.has(line)) first.set(line, { path: [], line, message: wordsFor(error) });
  }
  return [...first.values()];
}

const wordsFor = (code: ParseErrorCode): string => WORDS[printParseErrorCode(code)] ?? 'not valid JSON';

type Collector = { lines: Map<string, number>; problems: Problem[]; lineAt: (offset: number) => number };

function toValue(node: Node, path: JsonPath, into: Collector): unknown {
  if (node.type === 'array') {
    return (node.children ?? []).map((child, index) => {
      into.lines.set(lineKey([...path, index]), into.lineAt(child.offset));
      return toValue(child, [...path, index], into);
    });
  }
  if (node.type !== 'object') return node.value;
  const value: Record<string, unknown> = {};
  for (const property of node.children ?? []) {
    const [keyNode, valueNode] = property.children ?? [];
    if (keyNode === undefined || valueNode === undefined) continue;
    const key = String(keyNode.value);
    const line = into.lineAt(keyNode.offset);
    if (UNUSABLE_KEYS.has(key)) {
      into.problems.push({
        path: [...path, key],
        line,
        message: `"${key}" cannot be used as a name; take another one and say "from": "${key}"`,
      });
    } else if (Object.hasOwn(value, key)) {
      into.problems.push({ path: [...path, key], line, message: `"${key}" is given twice` });
    } else {
      into.lines.set(lineKey([...path, key]), line);
      value[key] = toValue(valueNode, [...path, key], into);
    }
  }
  return value;
}

const lineKey = (path: JsonPath): string => JSON.stringify(path);

/** Offset to line number, from 1, by halving. */
function lineIndex(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
