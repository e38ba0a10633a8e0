// Changes of how a table's snapshots are named: they begin with the next day, and the chain of names goes on growing over them.
import { describe, expect, test } from 'bun:test';
import { type CutFacts, cutToJson, parseCut, planCut } from '../../src/model/cut.ts';
import { firstRule, parseRules, periodIn, type RuleText, rulesAfter, rulesToText } from '../../src/model/snapshot-rules.ts';
import { random } from '../helpers/random.ts';

const ms = (text: string): number => Date.parse(text);
const rule = (snapshotEvery: string, timezone = 'UTC'): RuleText => ({ snapshotEvery, timezone });
const iso = (instantMs: number): string => new Date(instantMs).toISOString().replace('.000', '');
const NOON = ms('2025-01-28T12:00:00Z');

const facts = (more: Pick<CutFacts, 'sealed' | 'clockMs' | 'rules'>): CutFacts => ({
  ...{ feed: 'totals', partitions: new Map(), nextBoundaryMs: null, by: 'lake' },
  ...more,
});

describe('a change of the rule', () => {
  test.each<[string, RuleText, RuleText, string]>([
    ['from day to hour', rule('day'), rule('hour'), '2025-01-29T00:00:00Z'],
    ['from hour to day', rule('hour'), rule('day'), '2025-01-29T00:00:00Z'],
    ['of the zone: by the day of the old one', rule('day', 'Asia/Tokyo'), rule('day'), '2025-01-28T15:00:00Z'],
    ['of both, in a night of 25 hours', rule('7m', 'Europe/Berlin'), rule('day', 'UTC'), '2025-01-28T23:00:00Z'],
  ])('%s begins with the next day', (_, before, after, fromIso) => {
    const rules = rulesAfter(firstRule(before), after, NOON);
    expect(rules.map(({ fromMs, snapshotEvery, timezone }) => [iso(fromMs), snapshotEvery, timezone])).toEqual([
      [iso(0), before.snapshotEvery, before.timezone],
      [fromIso, after.snapshotEvery, after.timezone],
    ]);
    expect(periodIn(NOON, rules)).toEqual(periodIn(NOON, firstRule(before)));
    expect(periodIn(ms(fromIso) - 1, rules).endsAtMs).toBe(ms(fromIso));
    expect(periodIn(ms(fromIso), rules).startsAtMs).toBe(ms(fromIso));
  });

  test('none is no change', () => {
    const rules = firstRule(rule('day'));
    expect(rulesAfter(rules, rule('day'), NOON)).toEqual(rules);
  });

  test('one that has not begun is replaced, or taken back', () => {
    const changed = rulesAfter(firstRule(rule('day')), rule('hour'), NOON);
    expect(rulesAfter(changed, rule('15m'), NOON + 1)).toEqual(rulesAfter(firstRule(rule('day')), rule('15m'), NOON));
    expect(rulesAfter(changed, rule('day'), NOON + 1)).toEqual(firstRule(rule('day')));
  });

  test('one that has begun stays for the instants that it held for', () => {
    const changed = rulesAfter(firstRule(rule('day')), rule('hour'), NOON);
    const back = rulesAfter(changed, rule('day'), NOON + 86_400_000);
    expect(back.map(({ fromMs }) => iso(fromMs))).toEqual([iso(0), '2025-01-29T00:00:00Z', '2025-01-30T00:00:00Z']);
    expect(periodIn(NOON, back).version).toBe(1);
    expect(periodIn(NOON + 86_400_000, back).version).toBe(13);
  });

  test('is text and back', () => {
    const rules = rulesAfter(firstRule(rule('day', 'Europe/Berlin')), rule('hour'), NOON);
    expect(parseRules(rulesToText(rules))).toEqual(rules);
    for (const text of ['[]', '{}', '[{"from_ms":0,"snapshot_every":"week","timezone":"UTC"}]', '[{"snapshot_every":"day"}]'])
      expect(() => parseRules(text)).toThrow(expect.objectContaining({ code: 'lake_damaged' }));
  });
});

describe('a cut where the rule changes', () => {
  const day = { date: '2025-01-28', version: 1, endsAtMs: ms('2025-01-29T00:00:00Z') };
  const toHours = rulesAfter(firstRule(rule('day')), rule('hour'), NOON);

  test('opens the first hour of the new day', () =>
    expect(planCut(facts({ sealed: day, clockMs: day.endsAtMs, rules: toHours }))).toMatchObject({
      opens: { date: '2025-01-29', version: 1, endsAtMs: ms('2025-01-29T01:00:00Z') },
      missed: [],
    }));

  test('made late, misses days by the old rule and hours by the new one', () => {
    const sealed = { date: '2025-01-26', version: 1, endsAtMs: ms('2025-01-27T00:00:00Z') };
    expect(planCut(facts({ sealed, clockMs: ms('2025-01-29T05:30:00Z'), rules: toHours }))).toMatchObject({
      opens: { date: '2025-01-29', version: 6, endsAtMs: ms('2025-01-29T06:00:00Z') },
      missed: [
        { date: '2025-01-27', versionFirst: 1, versionLast: 1 },
        { date: '2025-01-28', versionFirst: 1, versionLast: 1 },
        { date: '2025-01-29', versionFirst: 1, versionLast: 5 },
      ],
    });
  });

  const dice = random();
  test(`chains over any changes have growing names, and no gap between boundaries (seed ${dice.seed})`, () => {
    const zones = ['UTC', 'Europe/Berlin', 'Asia/Tokyo', 'America/New_York', 'Pacific/Apia', 'Asia/Kathmandu'];
    const any = <T>(list: readonly T[], fallback: T): T => list[Math.floor(dice.between(0, list.length))] ?? fallback;
    const some = (): RuleText => rule(any(['day', 'hour', '45m', '1440m'], 'day'), any(zones, 'UTC'));
    for (let round = 0; round < 40; round += 1) {
      let clockMs = Math.floor(dice.between(ms('2011-12-20'), ms('2012-01-10')));
      let rules = firstRule(some());
      let sealed = periodIn(clockMs, rules);
      for (let step = 0; step < 12; step += 1) {
        if (dice.next() < 0.5) rules = rulesAfter(rules, some(), clockMs);
        clockMs = Math.max(clockMs, sealed.endsAtMs) + Math.floor(dice.next() ** 4 * 2 * 86_400_000);
        const cut = planCut(facts({ sealed, clockMs, rules }));
        expect(parseCut(cutToJson(cut), { feed: cut.feed, boundaryMs: cut.boundaryMs })).toEqual(cut);
        const names = [sealed, ...cut.missed.flatMap((run) => [first(run), last(run)]), cut.opens].map(sortable);
        expect({ rules, names }).toEqual({ rules, names: names.toSorted() });
        expect(sortable(sealed) < sortable(cut.opens)).toBe(true);
        expect(cut.opens.endsAtMs).toBeGreaterThan(clockMs);
        sealed = { ...cut.opens, startsAtMs: cut.boundaryMs };
      }
    }
  });
});

type Run = { readonly date: string; readonly versionFirst: number; readonly versionLast: number };
const first = ({ date, versionFirst }: Run) => ({ date, version: versionFirst });
const last = ({ date, versionLast }: Run) => ({ date, version: versionLast });
const sortable = ({ date, version }: { date: string; version: number }): string => `${date}/${String(version).padStart(6, '0')}`;
