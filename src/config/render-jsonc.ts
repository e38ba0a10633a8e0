// A JSON value as feeds.json is written by hand: what fits on a line is on one line, with spaces inside the braces. Pure.

import type { JsonValue } from '../model/json-fields.ts';

/** `unit`: one step of indentation. */
export type Style = { readonly unit: string; readonly eol: string };

const LINE_CHARS_MAX = 120;
/** A feed has its keys below each other, however short it is. */
const isOpened = (value: JsonValue): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  return Array.isArray(value) ? value.some(isOpened) : 'feed_name' in value;
};

/** `indent`: of the line it begins on; the first line is not indented. */
export function renderJsonc(value: JsonValue, indent: string, style: Style, keyChars = 0): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const line = inline(value);
  if (!isOpened(value) && indent.length + keyChars + line.length < LINE_CHARS_MAX) return line;
  const inner = indent + style.unit;
  const parts = Array.isArray(value)
    ? value.map((item) => renderJsonc(item, inner, style))
    : Object.entries(value).map(([key, item]) => {
        const name = `${JSON.stringify(key)}: `;
        return `${name}${renderJsonc(item, inner, style, name.length)}`;
      });
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return `${open}${style.eol}${parts.map((part) => inner + part).join(`,${style.eol}`)}${style.eol}${indent}${close}`;
}

function inline(value: JsonValue): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  const members = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${inline(item)}`);
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
}
