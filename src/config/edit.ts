// Changes to the text of feeds.json that leave everything else as it is: comments, order, spaces, line ends. Pure: text in, text out.
// Invariant: the text that comes out parses to what went in with exactly the change that was asked for.

import { type Node, parseTree } from 'jsonc-parser';
import { assert, LakeError } from '../errors.ts';
import { canonicalJson, type JsonObject, type JsonValue } from '../model/json-fields.ts';
import { parseDocument } from './document.ts';
import { renderJsonc, type Style } from './render-jsonc.ts';

/** The feed stands at the end of `feeds`. */
export function addFeed(text: string, feed: JsonObject): string {
  const { root, feeds } = treeOf(text);
  const list = feeds === null ? [] : valuesIn(feeds);
  const after = feeds === null ? withMember(text, root, 'feeds', [feed]) : withItem(text, feeds, feed);
  return checked(text, after, { list: [...list, feed] });
}

/** Takes the feed out, with the comment lines right above it. Throws feed_unknown. */
export function removeFeed(text: string, name: string): string {
  const { feeds } = treeOf(text);
  const { index, items } = placeOf(feeds, name);
  const list = valuesIn(feeds).filter((_feed, at) => at !== index);
  return checked(text, withoutItem(text, items, index), { list });
}

/** Sets one key of a feed. Throws feed_unknown. */
export function setInFeed(text: string, name: string, key: string, value: JsonValue): string {
  const { feeds } = treeOf(text);
  const { index, items } = placeOf(feeds, name);
  const feed = items[index];
  assert(feed, `feed ${name} is at ${index} of ${items.length}`);
  const known = memberOf(feed, key);
  const after = known ? splice(text, known.offset, known.length, JSON.stringify(value)) : withMember(text, feed, key, value);
  const list = valuesIn(feeds).map((one, at) => (at === index ? { ...Object(one), [key]: value } : one));
  return checked(text, after, { list });
}

function treeOf(text: string): { readonly root: Node; readonly feeds: Node | null } {
  const root = parseTree(text.replace(/^\uFEFF/, ' '), [], { allowTrailingComma: true });
  if (root?.type !== 'object') throw new LakeError('config_invalid', 'the configuration is no JSON object');
  const feeds = memberOf(root, 'feeds') ?? null;
  if (feeds !== null && feeds.type !== 'array') throw new LakeError('config_invalid', '"feeds" is no list');
  return { root, feeds };
}

function memberOf(object: Node, key: string): Node | undefined {
  const property = (object.children ?? []).find(({ children }) => children?.[0]?.value === key);
  return property?.children?.[1];
}

function placeOf(feeds: Node | null, name: string): { readonly index: number; readonly items: readonly Node[] } {
  const items = feeds?.children ?? [];
  const index = items.findIndex((item) => item.type === 'object' && memberOf(item, 'feed_name')?.value === name);
  if (index < 0) throw new LakeError('feed_unknown', `there is no feed ${name}`);
  return { index, items };
}

const valuesIn = (feeds: Node | null): readonly unknown[] => (feeds?.children ?? []).map(plainValue);

const plainValue = (node: Node): unknown => {
  if (node.type === 'array') return (node.children ?? []).map(plainValue);
  if (node.type !== 'object') return node.value;
  return Object.fromEntries(
    (node.children ?? []).map(({ children }) => [children?.[0]?.value, children?.[1] && plainValue(children[1])]),
  );
};

const splice = (text: string, offset: number, length: number, content: string): string =>
  text.slice(0, offset) + content + text.slice(offset + length);

const lineStart = (text: string, offset: number): number => text.lastIndexOf('\n', offset - 1) + 1;
const indentAt = (text: string, offset: number): string => /^[ \t]*/.exec(text.slice(lineStart(text, offset)))?.[0] ?? '';

/** How this file is written: one step of indentation, and its line end. */
function styleOf(text: string): Style {
  const unit = /\n(\t| +)(?=\S)/.exec(text)?.[1] ?? '  ';
  return { unit: unit.length > 8 ? '  ' : unit, eol: text.includes('\r\n') ? '\r\n' : '\n' };
}

function withItem(text: string, list: Node, value: JsonValue): string {
  const items = list.children ?? [];
  const last = items.at(-1);
  const style = styleOf(text);
  const closing = list.offset + list.length - 1;
  const base = indentAt(text, list.offset);
  if (!last) {
    const inner = text.slice(list.offset + 1, closing).trimEnd();
    const item = `${style.eol}${base}${style.unit}${renderJsonc(value, base + style.unit, style)}${style.eol}${base}`;
    return splice(text, list.offset + 1, closing - list.offset - 1, inner + item);
  }
  const isInline = lineStart(text, last.offset) === lineStart(text, list.offset);
  const { comma, end, isCommented } = tailOf(text, last.offset + last.length);
  const indent = indentAt(text, last.offset);
  const lead = isInline && !isCommented ? ' ' : style.eol + indent;
  const item = `${lead}${isInline ? JSON.stringify(value) : renderJsonc(value, indent, style)}${comma === null ? '' : ','}`;
  const separated = comma === null ? splice(text, last.offset + last.length, 0, ',') : text;
  return splice(separated, end + (comma === null ? 1 : 0), 0, item);
}

/** `isCommented`: what stood on the same line behind `end` would be comment. */
type Tail = { readonly comma: number | null; readonly end: number; readonly isCommented: boolean };

/** The comma behind a value, if there is one, and where its line's own comment ends. */
function tailOf(text: string, offset: number): Tail {
  let comma: number | null = null;
  let end = offset;
  let isCommented = false;
  TRIVIA.lastIndex = offset;
  for (let found = TRIVIA.exec(text); found; found = TRIVIA.exec(text)) {
    const [token] = found;
    const at = found.index;
    if (token === ',') {
      if (comma !== null) break;
      comma = at;
      end = at + 1;
      isCommented = false;
      // A comment on a line of its own belongs to what comes next.
    } else if (token.startsWith('/') && !text.slice(end, at).includes('\n')) {
      end = at + token.length;
      isCommented = token.startsWith('//');
    }
  }
  return { comma, end, isCommented };
}

const TRIVIA = /,|\/\/[^\r\n]*|\/\*[\s\S]*?\*\/|\s+/y;

function withMember(text: string, object: Node, key: string, value: JsonValue): string {
  const style = styleOf(text);
  const last = object.children?.at(-1);
  const base = indentAt(text, object.offset);
  const closing = object.offset + object.length - 1;
  const member = (indent: string): string => `${JSON.stringify(key)}: ${renderJsonc(value, indent, style)}`;
  if (!last) {
    const inner = text.slice(object.offset + 1, closing).trimEnd();
    const indent = base + style.unit;
    return splice(
      text,
      object.offset + 1,
      closing - object.offset - 1,
      `${inner}${style.eol}${indent}${member(indent)}${style.eol}${base}`,
    );
  }
  const isInline = lineStart(text, last.offset) === lineStart(text, object.offset);
  const { comma, end, isCommented } = tailOf(text, last.offset + last.length);
  const indent = indentAt(text, last.offset);
  const lead = isInline && !isCommented ? ' ' : style.eol + indent;
  const separated = comma === null ? splice(text, last.offset + last.length, 0, ',') : text;
  return splice(separated, end + (comma === null ? 1 : 0), 0, `${lead}${member(indent)}${comma === null ? '' : ','}`);
}

function withoutItem(text: string, items: readonly Node[], index: number): string {
  const item = items[index];
  assert(item, `item ${index} of ${items.length}`);
  const { comma, end } = tailOf(text, item.offset + item.length);
  const before = items[index - 1];
  let [from, to] = [item.offset, end];
  const start = lineStart(text, from);
  const lineEnd = /^[ \t]*\r?\n/.exec(text.slice(to));
  if (text.slice(start, from).trim() === '' && lineEnd) {
    from = commentsAbove(text, start);
    to += lineEnd[0].length;
    // Of the empty lines around it one is enough.
    const above = /\n[ \t]*\r?\n$/.test(text.slice(0, from)) || text.slice(0, from).trimEnd().endsWith('[');
    const empty = /^[ \t]*\r?\n/.exec(text.slice(to));
    if (above && empty) to += empty[0].length;
  } else if (comma !== null) to += /^[ \t]*/.exec(text.slice(to))?.[0].length ?? 0;
  const rest = splice(text, from, to - from, '');
  // The last of a list leaves no comma behind.
  if (comma !== null || index < items.length - 1 || !before) return rest;
  const last = tailOf(text, before.offset + before.length).comma;
  return last === null || last >= from ? rest : splice(rest, last, 1, '');
}

/** Where the comment lines begin that stand right above a line. */
function commentsAbove(text: string, start: number): number {
  let at = start;
  while (at > 0) {
    const above = lineStart(text, at - 1);
    const line = text.slice(above, at).trim();
    if (!line.startsWith('//') && !/^\/\*(?:(?!\*\/).)*\*\/$/.test(line)) break;
    at = above;
  }
  return at;
}

/** Reads back what was written: all of it is as it was, but for the feeds. */
function checked(before: string, after: string, { list }: { readonly list: readonly unknown[] }): string {
  const [old, now] = [parseDocument(before), parseDocument(after)];
  const wanted = { ...Object(old.value), feeds: list };
  const isRight = now.readable && same(now.value, wanted);
  assert(isRight, 'an edit of the configuration would have changed something else; nothing was written');
  return after;
}

const same = (one: unknown, other: unknown): boolean => canonicalJson(one as JsonValue) === canonicalJson(other as JsonValue);
