// What the key of a table is made of, as its log pins it: rows of the lake and hashes in the warehouse mean nothing under another
// key (DESIGN §5). Pure.

import type { Feed, Field } from './feed.ts';
import { canonicalJson } from './json-fields.ts';

export const keyToText = ({ keyFields, keyFrom }: Pick<Feed, 'keyFields' | 'keyFrom'>): string =>
  canonicalJson({ key_field: keyFields, key_from: keyFrom });

/** What makes keys of the pinned fields and of the wanted ones differ, or null. A type may be widened: its keys keep their texts. */
export function keyFieldProblem(keyFields: readonly string[], pinned: readonly Field[], wanted: readonly Field[]): string | null {
  for (const name of keyFields) {
    const [before, now] = [pinned, wanted].map((fields) => fields.find((field) => field.name === name));
    if (!before || !now) continue;
    if (before.from.join('.') !== now.from.join('.'))
      return `the key field ${name} was read from ${before.from.join('.')} and now from ${now.from.join('.')}`;
    if (familyOf(before) !== familyOf(now))
      return `the key field ${name} was a ${familyOf(before)} and is now a ${familyOf(now)}`;
    if (before.timezone !== now.timezone || canonicalJson({ ...before.format }) !== canonicalJson({ ...now.format }))
      return `the times of the key field ${name} are read another way`;
  }
  return null;
}

/** Types within one have the same text for the same value (model/key-text). */
function familyOf({ type }: Field): string {
  if (type === null) return 'value of an unknown type';
  switch (type.kind) {
    case 'integer':
    case 'bigint':
    case 'decimal':
      return 'number';
    case 'varchar':
      return 'text';
    default:
      return type.kind;
  }
}
