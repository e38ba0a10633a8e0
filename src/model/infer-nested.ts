// A STRUCT or a list for nested values that are all of one make; JSON for those that are not. Only proposed to a person (feeds add):
// a feed without a schema keeps nested values as JSON. Pure. Invariant: the type holds every value it was inferred from, with all its names.

import type { FieldType } from './feed.ts';
import { evidenceOf, merged, typeOf } from './infer.ts';
import { items, members, type Span } from './json-text.ts';

/** A value within its text. */
export type Placed = { readonly text: string; readonly value: Span };

/** Fewer values than this show no habit. */
const VALUES_MIN = 3;
/** Beyond this an object is a map with data for keys. */
const NAMES_MAX = 40;
const DEPTH_MAX = 4;
/** A name that is missing in more objects than this is no column of theirs. */
const MISSING_RATIO_MAX = 0.5;

/** null: no value has shown a type. */
export function nestedType(values: readonly Placed[], depth = 1): FieldType | null {
  const known = values.filter(({ value }) => value.kind !== 'null');
  if (known.length === 0) return null;
  const objects = known.filter(({ value }) => value.kind === 'object');
  const arrays = known.filter(({ value }) => value.kind === 'array');
  if (objects.length + arrays.length === 0) return typeOf(known.map(({ text, value }) => evidenceOf(text, value)).reduce(merged));
  const isSteady =
    depth <= DEPTH_MAX && known.length >= VALUES_MIN && (objects.length === known.length || arrays.length === known.length);
  if (!isSteady) return { kind: 'json' };
  return arrays.length > 0 ? listType(arrays, depth) : structType(objects, depth);
}

/** What the first lists hold tells less than all of them together. */
function listType(arrays: readonly Placed[], depth: number): FieldType {
  const held = arrays.flatMap(({ text, value }) => items(text, value).map((item): Placed => ({ text, value: item })));
  const item = nestedType(held, depth + 1);
  // A list of unlike things, or of nothing, is kept as it is.
  return item === null || (item.kind === 'json' && held.some(({ value }) => value.kind !== 'null'))
    ? { kind: 'json' }
    : { kind: 'list', item };
}

function structType(objects: readonly Placed[], depth: number): FieldType {
  const by = new Map<string, Placed[]>();
  for (const { text, value } of objects) {
    for (const member of members(text, value)) {
      const list = by.get(member.name) ?? [];
      list.push({ text, value: member.value });
      by.set(member.name, list);
    }
    if (by.size > NAMES_MAX) return { kind: 'json' };
  }
  const names = [...by.keys()];
  const isOne = new Set(names.map((name) => name.toLowerCase())).size === names.length && names.every((name) => name !== '');
  const isRare = [...by.values()].some((list) => list.length < objects.length * (1 - MISSING_RATIO_MAX));
  if (names.length === 0 || !isOne || isRare) return { kind: 'json' };
  return {
    kind: 'struct',
    fields: [...by].map(([name, list]) => ({ name, type: nestedType(list, depth + 1) ?? { kind: 'varchar', charsMax: null } })),
  };
}
