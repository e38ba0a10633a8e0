// `from`: where a field's value sits in the message. "USER_ID", "payment.method" and "$.payment.method" name object keys from the
// root; a key that holds a dot, a bracket or a leading "$" is given in a list: ["a.b", "c"].

export type ParsedPath =
  | { readonly kind: 'path'; readonly keys: readonly string[] }
  | { readonly kind: 'problem'; readonly message: string };

const problem = (message: string): ParsedPath => ({ kind: 'problem', message });

export function parseJsonPath(from: string | readonly string[]): ParsedPath {
  if (typeof from !== 'string') {
    return from.length === 0 ? problem('an empty list names no key') : { kind: 'path', keys: [...from] };
  }
  const keys = from.replace(/^\$\.?/, '').split('.');
  if (keys.some((key) => key === '')) return problem(`"${from}" has an empty key; write "a.b", "$.a.b" or ["a", "b"]`);
  if (/[[\]]/.test(from))
    return problem(`"${from}" has brackets: elements of a list cannot be picked; give odd keys as ["a[0]", "b"]`);
  return { kind: 'path', keys };
}

/** The shortest text or list that parseJsonPath reads back to the same keys. */
export function formatJsonPath(keys: readonly string[]): string | readonly string[] {
  const text = keys.join('.');
  const parsed = parseJsonPath(text);
  const same =
    parsed.kind === 'path' && parsed.keys.length === keys.length && parsed.keys.every((key, index) => key === keys[index]);
  return same ? text : keys;
}
