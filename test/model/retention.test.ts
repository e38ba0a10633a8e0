// What retention plans: whole days in the lake's zone, snapshots by name, and never by a clock that cannot be right.

import { describe, expect, test } from 'bun:test';
import type { Feed } from '../../src/model/feed.ts';
import type { LiveFile } from '../../src/model/feed-state.ts';
import { expiryOf, planRetention, type RetentionFacts, type WarehouseHoldings } from '../../src/model/retention.ts';
import { byPath, dayFile, open, sealed, sealedFile } from '../helpers/retention-facts.ts';

const ms = (text: string): number => Date.parse(text);
const feedOf = (type: Feed['type'], retention: Partial<Feed['retention']> = {}): RetentionFacts['feed'] => ({
  name: type === 'stream' ? 'events' : 'totals',
  type,
  retention: { days: type === 'stream' ? 30 : null, versions: type === 'table' ? 2 : null, autoDelete: true, ...retention },
});

const stream = (files: readonly LiveFile[], more: Partial<RetentionFacts> = {}): RetentionFacts => ({
  feed: feedOf('stream'),
  nowMs: ms('2025-03-31T12:00:00Z'),
  timezone: 'UTC',
  lake: { files: byPath(files), sealed: [], snapshot: null },
  newestEntryAtMs: ms('2025-03-31T11:59:00Z'),
  warehouse: null,
  ...more,
});

const table = (names: readonly string[], more: Partial<RetentionFacts> = {}): RetentionFacts => {
  const closed = names.slice(0, -1);
  return {
    ...stream([]),
    feed: feedOf('table'),
    lake: {
      files: byPath(closed.map(sealedFile)),
      sealed: closed.map((name) => sealed(name)),
      snapshot: open(names.at(-1) ?? ''),
    },
    ...more,
  };
};

const shown = (facts: RetentionFacts) => {
  const plan = planRetention(facts);
  if (plan.kind === 'refused') return { refused: plan.message };
  const text = (list: typeof plan.actions): string[] =>
    list.map(({ target, kind, what, rows, files }) => `${target} ${kind} ${what} ${rows}/${files}`);
  return { actions: text(plan.actions), kept: text(plan.kept), reasons: [...new Set(plan.kept.map(({ reason }) => reason))] };
};
const actionsOf = (facts: RetentionFacts): unknown => shown(facts).actions;

describe('days of a stream', () => {
  test('those before today less the limit go whole, with their files, oldest first', () => {
    const days = ['2025-03-31', '2025-03-01', '2025-02-28', '2025-02-27', '2025-02-28'];
    expect(shown(stream(days.map((day) => dayFile(day))))).toEqual({
      actions: ['lake day 2025-02-27 10/1', 'lake day 2025-02-28 20/2'],
      kept: [],
      reasons: [],
    });
  });

  test.each([
    ['the last second of a day', '2025-03-31T23:59:59Z', 'UTC', '2025-03-01'],
    ['the first second of the next', '2025-04-01T00:00:00Z', 'UTC', '2025-03-02'],
    ['a day that has begun in the east', '2025-03-31T22:00:00Z', 'Asia/Tokyo', '2025-03-02'],
    ['a day that has not begun in the west', '2025-04-01T03:00:00Z', 'America/New_York', '2025-03-01'],
    ['a limit over a night of 23 hours', '2025-04-20T00:30:00+02:00', 'Europe/Berlin', '2025-03-21'],
    ['a limit over a night of 25 hours', '2025-11-10T00:30:00+01:00', 'Europe/Berlin', '2025-10-11'],
    ['a leap day', '2024-03-30T12:00:00Z', 'UTC', '2024-02-29'],
  ])('%s', (_, now, timezone, date) => {
    const expiry = expiryOf({ ...stream([]), nowMs: ms(now), timezone, snapshots: [] });
    expect(expiry?.date).toBe(date);
    const files = ['2024-02-28', '2024-02-29', '2025-03-01', '2025-03-02', '2025-03-21', '2025-10-11', '2025-12-01'];
    const facts = stream(
      files.map((day) => dayFile(day)),
      { nowMs: ms(now), timezone, newestEntryAtMs: null },
    );
    const kept = planRetention(facts);
    const gone = kept.kind === 'plan' ? kept.actions.map(({ what }) => what) : [];
    expect(gone).toEqual(files.filter((day) => day < date));
  });

  test('a day begins where clocks first show it: the instant that rows in the warehouse are compared with', () => {
    const at = (timezone: string, now: string): string =>
      new Date(
        expiryOf({ ...stream([]), feed: feedOf('stream', { days: 1 }), nowMs: ms(now), timezone, snapshots: [] })?.ms ?? 0,
      ).toISOString();
    expect(at('Europe/Berlin', '2025-03-31T12:00:00Z')).toBe('2025-03-29T23:00:00.000Z');
    expect(at('Europe/Berlin', '2025-04-01T12:00:00Z')).toBe('2025-03-30T22:00:00.000Z');
    // Clocks go from 23:59 to 01:00 there.
    expect(at('America/Sao_Paulo', '2018-11-05T12:00:00Z')).toBe('2018-11-04T03:00:00.000Z');
  });

  test('without a limit nothing goes; with one before the year 1 nothing either', () => {
    const files = [dayFile('2020-01-01'), dayFile('2025-03-31')];
    expect(actionsOf(stream(files, { feed: feedOf('stream', { days: null }) }))).toEqual([]);
    expect(actionsOf(stream(files, { feed: feedOf('stream', { days: 1_000_000 }) }))).toEqual([]);
  });

  test('without auto_delete they are named as kept', () => {
    const facts = stream([dayFile('2025-01-01'), dayFile('2025-03-31')], { feed: feedOf('stream', { autoDelete: false }) });
    expect(shown(facts)).toEqual({ actions: [], kept: ['lake day 2025-01-01 10/1'], reasons: ['auto_delete is off'] });
  });

  test('open dead letters stay, in the lake and in the warehouse; closed ones go with the rows', () => {
    const letters = dayFile('2025-01-01', { kind: 'dead_letters', rows: 3 });
    const expired = { rows: 700, keepsSome: true, lettersClosed: 4, lettersOpen: 2 };
    const facts = stream([dayFile('2025-01-01'), letters, dayFile('2025-03-31')], { warehouse: { snapshots: [], expired } });
    expect(shown(facts)).toEqual({
      actions: [
        'lake day 2025-01-01 10/1',
        'warehouse rows before 2025-03-01 700/0',
        'warehouse dead_letters before 2025-03-01 4/0',
      ],
      kept: ['lake dead_letters 2025-01-01 3/1', 'warehouse dead_letters before 2025-03-01 2/0'],
      reasons: ['dead letters that are not closed are never deleted'],
    });
  });
});

describe('a clock that cannot be right', () => {
  const files = [dayFile('2025-01-01'), dayFile('2025-03-31')];

  test('before the newest entry: refused; within minutes of it: clocks of two hosts', () => {
    const at = (newest: string) => shown(stream(files, { newestEntryAtMs: ms(newest) }));
    expect(at('2025-03-31T12:30:00Z').refused).toContain('before the newest entry of the log (2025-03-31T12:30:00.000Z)');
    expect(at('2025-03-31T12:02:00Z').actions).toEqual(['lake day 2025-01-01 10/1']);
  });

  test('by which the newest data would go: refused', () => {
    const facts = stream(files, { nowMs: ms('2035-03-31T00:00:00Z') });
    expect(shown(facts).refused).toContain(
      'the newest data in the lake is of 2025-03-31, beyond the limit of 30 days (2035-03-01)',
    );
  });

  test('a row that claims to be of the future hides it not', () => {
    const facts = stream([...files, dayFile('2099-01-01')], { nowMs: ms('2035-03-31T00:00:00Z') });
    expect(shown(facts).refused).toContain('is of 2025-03-31');
    expect(actionsOf(stream([...files, dayFile('2099-01-01')]))).toEqual(['lake day 2025-01-01 10/1']);
  });

  test('by which every row of the warehouse would go: refused', () => {
    const expired = { rows: 7, keepsSome: false, lettersClosed: 0, lettersOpen: 0 };
    expect(shown(stream([], { warehouse: { snapshots: [], expired } })).refused).toContain('no row in the warehouse is within');
  });

  test('where nothing would go there is nothing to refuse', () => {
    const facts = stream([dayFile('2025-01-01')], { feed: feedOf('stream', { autoDelete: false }) });
    expect(shown(facts).kept).toEqual(['lake day 2025-01-01 10/1']);
    expect(actionsOf(table(['2025-03-31/1'], { newestEntryAtMs: ms('2030-01-01T00:00:00Z') }))).toEqual([]);
  });
});

describe('snapshots of a table', () => {
  const holds = (...list: readonly string[]): WarehouseHoldings => ({
    snapshots: list.map((text) => {
      const [name = '', state = 'sealed'] = text.split(' ');
      const [date = '', version = ''] = name.split('/');
      return { date, version: Number(version), state, rows: 9 };
    }),
    expired: null,
  });

  test('the open one counts as the newest, over midnight and by number', () => {
    const names = ['2025-01-27/9', '2025-01-27/10', '2025-01-28/1', '2025-01-28/2'];
    expect(actionsOf(table(names))).toEqual(['lake snapshot 2025-01-27/9 5/1', 'lake snapshot 2025-01-27/10 5/1']);
    const three = feedOf('table', { versions: 3 });
    expect(actionsOf(table(names, { feed: three }))).toEqual(['lake snapshot 2025-01-27/9 5/1']);
    expect(actionsOf(table(names, { feed: feedOf('table', { versions: 4 }) }))).toEqual([]);
  });

  test('the open one never goes, also where it is far behind', () => {
    const one = feedOf('table', { versions: 1 });
    const ahead = holds('2025-01-28/1 sealed', '2025-01-29/1 sealed', '2025-01-30/1 open');
    expect(actionsOf(table(['2025-01-27/1', '2025-01-28/1'], { feed: one, warehouse: ahead }))).toEqual([
      'lake snapshot 2025-01-27/1 5/1',
      'warehouse snapshot 2025-01-28/1 9/0',
      'warehouse snapshot 2025-01-29/1 9/0',
    ]);
  });

  test('closed dead letters go with the snapshots: those from before the day of the oldest that is kept', () => {
    const expired = { rows: 0, keepsSome: true, lettersClosed: 4, lettersOpen: 2 };
    const letters = { ...holds('2025-01-28/1 open'), expired };
    const names = ['2025-01-26/1', '2025-01-27/1', '2025-01-28/1'];
    const { actions, kept } = shown(table(names, { warehouse: letters }));
    expect({ actions, kept }).toEqual({
      actions: ['lake snapshot 2025-01-26/1 5/1', 'warehouse dead_letters before 2025-01-27 4/0'],
      kept: ['warehouse dead_letters before 2025-01-27 2/0'],
    });
    expect(expiryOf({ ...table(names), snapshots: letters.snapshots })?.date).toBe('2025-01-27');
    expect(expiryOf({ ...table(['2025-01-28/1']), snapshots: [] })).toBeNull();
  });

  test('lake and warehouse lose the same names', () => {
    const both = holds('2025-01-26/1', '2025-01-27/1', '2025-01-28/1 open', '2025-01-29/1 opening');
    expect(actionsOf(table(['2025-01-26/1', '2025-01-27/1', '2025-01-28/1'], { warehouse: both }))).toEqual([
      'lake snapshot 2025-01-26/1 5/1',
      'warehouse snapshot 2025-01-26/1 9/0',
    ]);
  });

  test('what an earlier run has begun is gone on with, whatever the policy says now', () => {
    const facts = table(['2025-01-28/1'], {
      feed: feedOf('table', { versions: null, autoDelete: false }),
      warehouse: holds('2025-01-20/1 expiring', '2025-01-28/1 open'),
    });
    expect(actionsOf(facts)).toEqual(['warehouse snapshot 2025-01-20/1 9/0']);
  });

  test('one without a file has nothing to delete, and counts', () => {
    const facts = table(['2025-01-26/1', '2025-01-27/1', '2025-01-28/1', '2025-01-29/1']);
    const lake = { ...facts.lake, sealed: facts.lake.sealed.map((one, index) => (index === 1 ? { ...one, path: null } : one)) };
    expect(actionsOf({ ...facts, lake })).toEqual(['lake snapshot 2025-01-26/1 5/1']);
  });
});
