// Where the fields that feeds.json declares and those that a feed's log has pinned are not the same. Pure.

import { typeName } from './columns.ts';
import type { Field } from './feed.ts';

export type FieldDrift = {
  readonly name: string;
  /** Types as text; null: not there, or left to be inferred. */
  readonly declared: string | null;
  readonly pinned: string | null;
  /** null: none. */
  readonly drift: string | null;
};

/** In the order of what is declared, else pinned; what only the log has comes last. null: nothing is declared, or pinned. */
export function fieldDrift(declared: readonly Field[] | null, pinned: readonly Field[] | null): FieldDrift[] {
  const typeOf = (field: Field | undefined): string | null => (field?.type ? typeName(field.type) : null);
  const names = [...new Set([...(declared ?? pinned ?? []), ...(pinned ?? [])].map(({ name }) => name))];
  return names.map((name) => {
    const [wanted, is] = [declared?.find((field) => field.name === name), pinned?.find((field) => field.name === name)];
    const [declaredType, pinnedType] = [typeOf(wanted), typeOf(is)];
    return {
      name,
      declared: declaredType,
      pinned: pinnedType,
      drift: driftOf({ declared, pinned, wanted, is, declaredType, pinnedType }),
    };
  });
}

type Both = {
  readonly declared: readonly Field[] | null;
  readonly pinned: readonly Field[] | null;
  readonly wanted: Field | undefined;
  readonly is: Field | undefined;
  readonly declaredType: string | null;
  readonly pinnedType: string | null;
};

function driftOf({ declared, pinned, wanted, is, declaredType, pinnedType }: Both): string | null {
  if (declared === null || pinned === null) return null;
  if (!is) return 'new in feeds.json: not taken up yet';
  if (!wanted) return 'no longer in feeds.json';
  if (declaredType !== null && declaredType !== pinnedType) return `feeds.json says ${declaredType}: not taken up yet`;
  return wanted.from.join('.') === is.from.join('.')
    ? null
    : `feeds.json takes it from ${wanted.from.join('.')}: not taken up yet`;
}
