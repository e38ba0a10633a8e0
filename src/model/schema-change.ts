// What feeds.json may make of a schema under which rows are kept (DESIGN §6): columns more and wider types. Anything else would
// give old and new files one name and two meanings. Pure. Invariant: what is allowed holds every old value as it is.

import { typeName } from './columns.ts';
import type { Field, FieldType, TypedField } from './feed.ts';

export type SchemaProblem = { readonly field: string; readonly what: string; readonly todo: string | null };

/** Digits of an INTEGER and of a BIGINT. */
const INTEGER_DIGITS = 10;
const BIGINT_DIGITS = 19;

/** Empty: the wanted fields may take the place of the pinned ones. */
export function schemaProblems(pinned: readonly Field[], wanted: readonly TypedField[]): readonly SchemaProblem[] {
  const added = wanted.filter(({ name }) => !pinned.some((field) => field.name === name));
  return pinned.flatMap((before): SchemaProblem[] => {
    const now = wanted.find(({ name }) => name === before.name);
    if (now === undefined) return [gone(before, added)];
    if (before.type === null || isWiderOrSame(before.type, now.type)) return [];
    const [from, to] = [typeName(before.type), typeName(now.type)];
    const isNarrower = isWiderOrSame(now.type, before.type);
    const what = `field ${before.name} was ${from} and is now ${to}, which is ${isNarrower ? 'narrower' : 'another type'}`;
    return [{ field: before.name, what, todo: `"${before.name}": "${from}"` }];
  });
}

/** A column cannot be renamed in files that are written; where its values sit in the messages can change. */
function gone(before: Field, added: readonly TypedField[]): SchemaProblem {
  const type = before.type === null ? null : typeName(before.type);
  const what = `field ${before.name} is no longer there`;
  const heir = added.find((field) => type !== null && typeName(field.type) === type);
  if (heir === undefined) return { field: before.name, what, todo: type === null ? null : `"${before.name}": "${type}"` };
  const from = heir.from.join('.');
  return {
    field: before.name,
    what,
    todo: `"${before.name}": { "type": "${type}", "from": "${from}" } in the place of ${heir.name}`,
  };
}

/** Holds every value of the other one, as it is. */
export function isWiderOrSame(than: FieldType, type: FieldType): boolean {
  if (typeName(than) === typeName(type)) return true;
  if (type.kind === 'varchar') return than.kind === 'varchar' && (type.charsMax ?? Infinity) >= (than.charsMax ?? Infinity);
  const [narrow, wide] = [digitsOf(than), digitsOf(type)];
  return narrow !== null && wide !== null && wide.whole >= narrow.whole && wide.scale >= narrow.scale;
}

function digitsOf(type: FieldType): { readonly whole: number; readonly scale: number } | null {
  if (type.kind === 'integer') return { whole: INTEGER_DIGITS, scale: 0 };
  if (type.kind === 'bigint') return { whole: BIGINT_DIGITS, scale: 0 };
  return type.kind === 'decimal' ? { whole: type.precision - type.scale, scale: type.scale } : null;
}
