// ${NAME}, ${NAME:-default} and ${file:/path} inside any string value; $${ stands for a literal ${.
// A variable that is missing or empty takes its default; without one it is a problem. What came from outside is kept in
// `secrets`, so that no error text ever repeats it.
import { type JsonPath, type Problem, pathInFeed } from './issues.ts';

export type Secret = {
  /** What must not be shown. */ readonly value: string /** What the file says there. */;
  readonly shown: string;
};

export type Interpolated = {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  readonly secrets: readonly Secret[];
};

export type Sources = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Text of a file named in ${file:…}; throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Values that are taken as they are. */
  readonly skip?: (path: JsonPath) => boolean;
};

export function interpolate(value: unknown, sources: Sources): Interpolated {
  const problems: Problem[] = [];
  const secrets: Secret[] = [];
  const visit = (node: unknown, path: JsonPath): unknown => {
    if (typeof node === 'string') return node.includes('${') && !sources.skip?.(path) ? fill(node, path) : node;
    if (Array.isArray(node)) return node.map((item, index) => visit(item, [...path, index]));
    if (node === null || typeof node !== 'object') return node;
    return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, visit(item, [...path, key])]));
  };
  const fill = (text: string, path: JsonPath): string => {
    let fromOutside = false;
    const filled = text.replace(/\$\$\{|\$\{([^}]*)\}?/g, (whole, inside: string | undefined) => {
      if (inside === undefined) return '${';
      const found = resolve(whole, inside, sources);
      if (found.kind === 'problem') problems.push({ path, message: `${pathInFeed(path)}: ${found.message}` });
      if (found.kind === 'outside') {
        fromOutside = true;
        secrets.push({ value: found.text, shown: whole });
      }
      return found.kind === 'problem' ? whole : found.text;
    });
    if (fromOutside) secrets.push({ value: filled, shown: text });
    return filled;
  };
  return { value: visit(value, []), problems, secrets };
}

type Found =
  | { readonly kind: 'outside'; readonly text: string }
  | { readonly kind: 'default'; readonly text: string }
  | { readonly kind: 'problem'; readonly message: string };

function resolve(whole: string, inside: string, sources: Sources): Found {
  if (!whole.endsWith('}')) return { kind: 'problem', message: `"${whole}" is not closed with }` };
  if (inside.startsWith('file:')) return readSecretFile(inside.slice('file:'.length), sources);
  const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/.exec(inside);
  if (!match)
    return { kind: 'problem', message: `"${whole}" is not understood; write \${NAME}, \${NAME:-default} or \${file:/path}` };
  const name = match[1] ?? '';
  const text = Object.hasOwn(sources.env, name) ? sources.env[name] : undefined;
  if (text !== undefined && text !== '') return { kind: 'outside', text };
  if (match[2] !== undefined) return { kind: 'default', text: match[2] };
  const state = text === undefined ? 'is not set' : 'is empty';
  return { kind: 'problem', message: `the environment variable ${name} ${state}; set it, or write \${${name}:-default}` };
}

function readSecretFile(path: string, sources: Sources): Found {
  try {
    return { kind: 'outside', text: sources.readFile(path).replace(/\r?\n$/, '') };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    return { kind: 'problem', message: `the file ${path} cannot be read${code}` };
  }
}

/** The message without anything that came from the environment or a file; short fragments are only hidden when quoted whole. */
export function redact(message: string, secrets: readonly Secret[]): string {
  let text = message;
  for (const secret of [...secrets].sort((a, b) => b.value.length - a.value.length)) {
    if (secret.value === '') continue;
    if (secret.value.length >= 4) text = text.replaceAll(secret.value, () => secret.shown);
    else text = text.replaceAll(`"${secret.value}"`, () => `"${secret.shown}"`);
  }
  return text;
}
