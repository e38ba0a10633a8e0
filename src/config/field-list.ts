// Fields as a flag has them: `a:VARCHAR,b:DECIMAL(15,2),c`. Commas and colons inside parentheses, brackets and quotes belong to the type.

import { LakeError } from '../errors.ts';
import type { FieldType } from '../model/feed.ts';
import { parseFieldType } from './field-type.ts';

/** `type`: null where the flag leaves it open. */
export type ListedField = { readonly name: string; readonly type: FieldType | null };

/** Throws usage, naming the part that is wrong. */
export function parseFieldList(text: string): readonly ListedField[] {
  const fields = splitTop(text).map((part): ListedField => {
    const colon = part.indexOf(':');
    const name = (colon < 0 ? part : part.slice(0, colon)).trim();
    if (name === '')
      throw new LakeError('usage', `--fields has ${JSON.stringify(part)}; a field is name:TYPE`, { todo: EXAMPLE });
    if (colon < 0) return { name, type: null };
    const parsed = parseFieldType(part.slice(colon + 1));
    if (parsed.kind === 'problem')
      throw new LakeError('usage', `--fields: field "${name}": ${parsed.message}`, { todo: EXAMPLE });
    return { name, type: parsed.type };
  });
  if (fields.length === 0) throw new LakeError('usage', '--fields is empty', { todo: EXAMPLE });
  return fields;
}

const EXAMPLE = "write  --fields 'customer_id:VARCHAR,amount:DECIMAL(15,2),at:TIMESTAMP'";

/** At commas outside of parentheses and quotes; empty parts are left out. */
export function splitTop(text: string): string[] {
  const parts: string[] = [];
  let [depth, start, isQuoted] = [0, 0, false];
  for (let at = 0; at <= text.length; at++) {
    const char = text[at];
    if (char === '"') isQuoted = !isQuoted;
    else if (!isQuoted && char === '(') depth += 1;
    else if (!isQuoted && char === ')') depth -= 1;
    if (at < text.length && (char !== ',' || depth > 0 || isQuoted)) continue;
    parts.push(text.slice(start, at).trim());
    start = at + 1;
  }
  return parts.filter((part) => part !== '');
}

/** `k=v,k=v`. A value may hold commas in parentheses only. Throws usage. */
export function parseSettings(text: string, flag: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  for (const part of splitTop(text)) {
    const [, name = '', value = ''] = /^([^=\s]+)\s*=\s*(.*)$/.exec(part) ?? [];
    if (name === '') {
      // cleanup.policy=compact,delete is one setting.
      const last = [...settings.keys()].at(-1);
      if (last === undefined) throw new LakeError('usage', `${flag} has ${JSON.stringify(part)}; it takes name=value,name=value`);
      settings.set(last, `${settings.get(last)},${part}`);
    } else settings.set(name, value);
  }
  return settings;
}
