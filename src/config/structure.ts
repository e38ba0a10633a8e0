// The shape of feeds.json judged by valibot, its findings told in our words: what is wanted, what is there, what was meant.
import * as v from 'valibot';
import { isPrefix, type JsonPath, type Problem, pathInFeed } from './issues.ts';
import { KINDS, kindOf } from './parts.ts';
import { feedSchema, type RawFeed } from './schema.ts';
import { didYouMean } from './suggest.ts';

type Issue = v.BaseIssue<unknown>;

export type Shape<Output> = { readonly output: Output | null; readonly problems: readonly Problem[] };

/** Every finding of a schema; the output as well where only keys were unknown or values out of their bounds. */
export function checkShape<Output>(schema: v.GenericSchema<unknown, Output>, value: unknown): Shape<Output> {
  const result = v.safeParse(schema, value);
  return { output: result.typed ? result.output : null, problems: (result.issues ?? []).flatMap((issue) => explain(issue, [])) };
}

/**
 * The feed without the parts valibot refused, so that the rules can judge the rest in the same run; null when not even its name
 * and type can be read. `pruned` are the refused places, relative to the feed.
 */
export function readFeedLeniently(value: unknown): { readonly feed: RawFeed | null; readonly pruned: readonly JsonPath[] } {
  const first = v.safeParse(feedSchema, value);
  if (first.typed) return { feed: first.output, pruned: [] };
  const pruned = first.issues.flatMap((issue) => explain(issue, [])).map((problem) => problem.path);
  const second = v.safeParse(feedSchema, prune(value, [], pruned));
  return { feed: second.typed ? second.output : null, pruned };
}

function prune(value: unknown, path: JsonPath, refused: readonly JsonPath[]): unknown {
  if (value === null || typeof value !== 'object' || !refused.some((place) => isPrefix(path, place))) return value;
  if (Array.isArray(value)) {
    return value
      .filter((_, index) => !isRefused([...path, index], refused))
      .map((item, index) => prune(item, [...path, index], refused));
  }
  const kept: [string, unknown][] = [];
  for (const [key, item] of Object.entries(value)) {
    const place = [...path, key];
    if (!isRefused(place, refused)) kept.push([key, prune(item, place, refused)]);
    // A declared field stays declared, or everything that names it would be reported too.
    else if (path.length === 2 && path[1] === 'fields') kept.push([key, {}]);
  }
  return Object.fromEntries(kept);
}

const isRefused = (path: JsonPath, refused: readonly JsonPath[]): boolean =>
  refused.some((place) => place.length === path.length && isPrefix(path, place));

const keysOf = (issue: Issue): JsonPath =>
  (issue.path ?? []).map((item) => (typeof item.key === 'number' ? item.key : String(item.key)));

function explain(issue: Issue, above: JsonPath): Problem[] {
  const path = [...above, ...keysOf(issue)];
  const inner = issue.issues ?? [];
  // One of several shapes was meant when its top fitted: then what is wrong lies deeper.
  const deeper = inner.filter((sub) => (sub.path ?? []).length > 0);
  if (issue.type === 'union' && deeper.length > 0) return deeper.flatMap((sub) => explain(sub, path));
  // Two schemas of one union may refuse the same value in the same kind: say what the fitting kind lacks.
  const fitting = inner.find((sub) => sub.kind === 'validation');
  if (issue.type === 'union' && fitting) return explain(fitting, path);
  const unknownKey = issue.type === 'raw_check' && issue.path?.at(-1)?.origin === 'key';
  const place = pathInFeed(unknownKey ? path.slice(0, -1) : path);
  const message = messageOf(issue);
  if (place === '') return [{ path, message: unknownKey ? message : `the value ${message}` }];
  return [{ path, message: unknownKey ? `${place}: ${message}` : `${place} ${message}` }];
}

function messageOf(issue: Issue): string {
  if (!issue.message.startsWith('Invalid ')) return issue.message;
  if (issue.received === 'undefined') return 'is missing';
  const choices = choicesIn(issue.expected ?? '');
  if (choices.length > 0) {
    const end = typeof issue.input === 'string' ? didYouMean(issue.input, choices) : '';
    const found = typeof issue.input === 'string' ? `, not "${issue.input}"` : `, not ${kindOf(issue.input)}`;
    return `must be ${choices.length > 1 ? 'one of ' : ''}${choices.map((choice) => `"${choice}"`).join(', ')}${found}${end}`;
  }
  return `must be ${wantedBy(issue)}, not ${kindOf(issue.input)}`;
}

/** `("a" | "b")` → ["a", "b"]. */
const choicesIn = (expected: string): string[] => [...expected.matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '');

function wantedBy(issue: Issue): string {
  const names = (issue.expected ?? '').replace(/[()]/g, '').split(/\s*\|\s*/);
  return [...new Set(names.map((name) => KINDS[name] ?? name))].join(' or ');
}
