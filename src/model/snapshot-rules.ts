// The rules by which a table's snapshots are named, each from its day on, as the feed's log pins them (DESIGN §5). Pure.
// Invariant: a rule that was in force for an instant stays so; a change begins where a day ends by the rule before it.

import { canonicalJson, intAt, objectAt, parseFailure, stringAt } from './json-fields.ts';
import {
  type MissedSnapshots,
  missedBetween,
  nextName,
  type OpenSnapshot,
  type Period,
  parseSnapshotEvery,
  periodOf,
  type SnapshotName,
  type SnapshotRule,
} from './snapshot.ts';

/** A rule as feeds.json writes it. */
export type RuleText = { readonly snapshotEvery: string; readonly timezone: string };
/** `fromMs`: the first instant it holds for; 0 of the first one, which holds for all before the second. */
export type DatedRule = RuleText & {
  readonly fromMs: number;
  readonly rule: SnapshotRule;
  /** Of the first rule: the newest snapshot that was there before lake; it is not part of the rules' text. */
  readonly after?: SnapshotName | null;
};
/** Oldest first, at least one. */
export type SnapshotRules = readonly [DatedRule, ...DatedRule[]];

/** Of a feed that has had no other yet. */
export const firstRule = (text: RuleText): SnapshotRules => [dated(text, 0)];

function dated({ snapshotEvery, timezone }: RuleText, fromMs: number): DatedRule {
  const every = parseSnapshotEvery(snapshotEvery);
  if (every === null) throw parseFailure('snapshot_every', 'a period', snapshotEvery);
  return { snapshotEvery, timezone, fromMs, rule: { every, timezone } };
}

/** The period of an instant. One that a change of the rule falls into ends, or begins, there. */
export function periodIn(instantMs: number, rules: SnapshotRules): Period {
  const index = Math.max(
    0,
    rules.findLastIndex(({ fromMs }) => fromMs <= instantMs),
  );
  const [at, next] = [rules[index] ?? rules[0], rules[index + 1]];
  const period = periodOf(instantMs, at.rule);
  return {
    ...period,
    startsAtMs: index === 0 ? period.startsAtMs : Math.max(period.startsAtMs, at.fromMs),
    endsAtMs: Math.min(period.endsAtMs, next?.fromMs ?? period.endsAtMs),
  };
}

/** What a table opens first: the period of now, by a name that is greater than those that were there before lake. */
export function firstOpen(instantMs: number, rules: SnapshotRules): OpenSnapshot {
  const period = periodIn(instantMs, rules);
  return { ...nextName(rules[0].after ?? null, period), endsAtMs: period.endsAtMs };
}

/** As `missedBetween`, over changes of the rule: a name that the rule before has used is not used again. */
export function missedIn(
  span: { readonly fromMs: number; readonly toMs: number; readonly after: SnapshotName; readonly before: SnapshotName },
  rules: SnapshotRules,
): readonly MissedSnapshots[] {
  const runs: MissedSnapshots[] = [];
  for (const [index, { fromMs: ruleFromMs, rule }] of rules.entries()) {
    const fromMs = index === 0 ? span.fromMs : Math.max(span.fromMs, ruleFromMs);
    const toMs = Math.min(span.toMs, rules[index + 1]?.fromMs ?? span.toMs);
    const last = runs.at(-1);
    const after = last ? { date: last.date, version: last.versionLast } : span.after;
    runs.push(...missedBetween({ ...span, fromMs, toMs, after }, rule));
  }
  return runs;
}

/** The rules once this one is wanted at this instant: it holds from the next day on. A change that has not begun yet is replaced. */
export function rulesAfter(rules: SnapshotRules, wanted: RuleText, nowMs: number): SnapshotRules {
  const [first, ...later] = rules;
  const begun: SnapshotRules = [first, ...later.filter(({ fromMs }) => fromMs <= nowMs)];
  const last = begun.at(-1) ?? first;
  if (last.snapshotEvery === wanted.snapshotEvery && last.timezone === wanted.timezone) return begun;
  const day = periodOf(nowMs, { every: { kind: 'day' }, timezone: last.timezone });
  return [...begun, dated(wanted, day.endsAtMs)];
}

export const rulesToText = (rules: SnapshotRules): string =>
  canonicalJson(
    rules.map(({ fromMs, snapshotEvery, timezone }) => ({ from_ms: fromMs, snapshot_every: snapshotEvery, timezone })),
  );

/** Throws lake_damaged. */
export function parseRules(text: string): SnapshotRules {
  const json: unknown = JSON.parse(text);
  const [first, ...later] = (Array.isArray(json) ? json : []).map((one: unknown, index) => {
    const at = `snapshot_rules[${index}]`;
    const rule = objectAt(one, at);
    const snapshotEvery = stringAt(rule['snapshot_every'], `${at}.snapshot_every`);
    return dated(
      { snapshotEvery, timezone: stringAt(rule['timezone'], `${at}.timezone`) },
      intAt(rule['from_ms'], `${at}.from_ms`),
    );
  });
  if (!first) throw parseFailure('snapshot_rules', 'a list of rules', json);
  return [first, ...later];
}
