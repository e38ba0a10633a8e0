// Periods and names of snapshots: every zone there is, nights in which clocks are changed, names that never go back.
import { describe, expect, test } from 'bun:test';
import {
  compareNames,
  missedBetween,
  nextName,
  parseSnapshotEvery,
  periodOf,
  type SnapshotName,
  type SnapshotRule,
} from '../../src/model/snapshot.ts';
import { random } from '../helpers/random.ts';

const rule = (every: string, timezone = 'UTC'): SnapshotRule => {
  const parsed = parseSnapshotEvery(every);
  if (!parsed) throw new Error(every);
  return { every: parsed, timezone };
};
const ms = (text: string): number => Date.parse(text);
const name = (text: string): SnapshotName => ({ date: text.slice(0, 10), version: Number(text.slice(11)) });
/** `2025-01-28/3 → 2025-01-28T03:00:00Z` */
const shown = (instant: string, every: string, timezone?: string): string => {
  const period = periodOf(ms(instant), rule(every, timezone));
  return `${period.date}/${period.version} → ${new Date(period.endsAtMs).toISOString().replace('.000', '')}`;
};

describe('snapshot_every', () => {
  test.each([
    ['day', { kind: 'day' }],
    ['hour', { kind: 'minutes', minutes: 60 }],
    ['1m', { kind: 'minutes', minutes: 1 }],
    ['1440m', { kind: 'minutes', minutes: 1440 }],
  ])('%s', (text, every) => expect(parseSnapshotEvery(text)).toEqual(every as never));

  test.each(['', 'days', 'Day', '0m', '01m', '1441m', '99999m', '1.5m', '-1m', '15', '15 m', '1h', 'day\n'])(
    '%p is refused',
    (text) => expect(parseSnapshotEvery(text)).toBeNull(),
  );
});

describe('a period', () => {
  test.each([
    ['the first instant of a day', '2025-01-28T00:00:00Z', 'day', 'UTC', '2025-01-28/1 → 2025-01-29T00:00:00Z'],
    ['the last millisecond of a day', '2025-01-28T23:59:59.999Z', 'day', 'UTC', '2025-01-28/1 → 2025-01-29T00:00:00Z'],
    ['the last hour', '2025-01-28T23:59:59.999Z', 'hour', 'UTC', '2025-01-28/24 → 2025-01-29T00:00:00Z'],
    ['a quarter', '2025-01-28T00:15:00Z', '15m', 'UTC', '2025-01-28/2 → 2025-01-28T00:30:00Z'],
    ['the day ends before its last period', '2025-01-28T23:59:00Z', '7m', 'UTC', '2025-01-28/206 → 2025-01-29T00:00:00Z'],
    ['before 1970', '1969-12-31T23:30:00Z', 'hour', 'UTC', '1969-12-31/24 → 1970-01-01T00:00:00Z'],
    ['45 minutes from the hour', '2025-01-28T18:14:00Z', 'hour', 'Asia/Kathmandu', '2025-01-28/24 → 2025-01-28T18:15:00Z'],
    ['30 minutes from the hour', '2025-01-28T18:30:00Z', 'hour', 'Asia/Kolkata', '2025-01-29/1 → 2025-01-28T19:30:00Z'],
    ['a short day is one period', '2025-03-30T12:00:00Z', 'day', 'Europe/Berlin', '2025-03-30/1 → 2025-03-30T22:00:00Z'],
    ['23 hours have 23 versions', '2025-03-30T21:59:59Z', 'hour', 'Europe/Berlin', '2025-03-30/23 → 2025-03-30T22:00:00Z'],
    ['the hour after the one left out', '2025-03-30T01:00:00Z', 'hour', 'Europe/Berlin', '2025-03-30/3 → 2025-03-30T02:00:00Z'],
    ['25 hours have 25 versions', '2025-10-26T22:30:00Z', 'hour', 'Europe/Berlin', '2025-10-26/25 → 2025-10-26T23:00:00Z'],
    ['first 2 o’clock of that night', '2025-10-26T00:30:00Z', 'hour', 'Europe/Berlin', '2025-10-26/3 → 2025-10-26T01:00:00Z'],
    ['second 2 o’clock of that night', '2025-10-26T01:30:00Z', 'hour', 'Europe/Berlin', '2025-10-26/4 → 2025-10-26T02:00:00Z'],
    ['1440m is 24 hours, not a day', '2025-10-26T22:30:00Z', '1440m', 'Europe/Berlin', '2025-10-26/2 → 2025-10-26T23:00:00Z'],
    ['a day without midnight', '2018-11-04T03:00:00Z', 'hour', 'America/Sao_Paulo', '2018-11-04/1 → 2018-11-04T04:00:00Z'],
    ['the day before it', '2018-11-04T02:59:59Z', 'day', 'America/Sao_Paulo', '2018-11-03/1 → 2018-11-04T03:00:00Z'],
    ['midnight twice, first', '2025-11-02T04:00:00Z', 'hour', 'America/Havana', '2025-11-02/1 → 2025-11-02T05:00:00Z'],
    ['midnight twice, second', '2025-11-02T05:00:00Z', 'hour', 'America/Havana', '2025-11-02/2 → 2025-11-02T06:00:00Z'],
    ['back to yesterday', '2010-11-07T02:31:00Z', 'hour', 'America/St_Johns', '2010-11-07/1 → 2010-11-07T03:30:00Z'],
    ['half an hour of DST', '2025-04-06T13:15:00Z', 'hour', 'Australia/Lord_Howe', '2025-04-06/25 → 2025-04-06T13:30:00Z'],
    [
      'half an hour before midnight clocks jump over it',
      '1919-03-31T04:29:00Z',
      'day',
      'America/Toronto',
      '1919-03-30/1 → 1919-03-31T04:30:00Z',
    ],
    ['a change to the second', '1893-04-01T00:00:00Z', 'hour', 'Europe/Berlin', '1893-04-01/1 → 1893-04-01T00:06:32Z'],
    ['a date left out', '2011-12-30T09:59:59Z', 'day', 'Pacific/Apia', '2011-12-29/1 → 2011-12-30T10:00:00Z'],
    ['after the date left out', '2011-12-30T10:00:00Z', 'day', 'Pacific/Apia', '2011-12-31/1 → 2011-12-31T10:00:00Z'],
  ])('%s', (_, instant, every, zone, expected) => expect(shown(instant, every, zone)).toBe(expected));

  const dice = random();
  test(`tiles time in every zone, days beginning when their date is first shown (seed ${dice.seed})`, () => {
    const zones = Intl.supportedValuesOf('timeZone');
    for (let round = 0; round < 400; round += 1) {
      const zone = zones[Math.floor(dice.between(0, zones.length))] ?? 'UTC';
      const every = ['day', 'hour', '37m', '1440m'][round % 4] ?? 'day';
      const instantMs = Math.floor(dice.between(ms('1900-01-01'), ms('2100-01-01')));
      checkPeriod(instantMs, { zone, every });
    }
  });

  test('tiles time around every change of clocks of some zones', () => {
    for (const zone of [
      'Europe/Berlin',
      'America/St_Johns',
      'Africa/Cairo',
      'America/Santiago',
      'Australia/Lord_Howe',
      'Africa/Casablanca',
    ]) {
      for (const changeMs of changes(zone, 1985, 2026)) {
        for (const hours of [-25, -1, -0.01, 0, 0.01, 1, 2]) checkPeriod(changeMs + hours * 3_600_000, { zone, every: 'hour' });
      }
    }
  });
});

const formats = new Map<string, Intl.DateTimeFormat>();
/** The date that clocks show, without any code of ours. */
function dateShown(instantMs: number, zone: string): string {
  const format = formats.get(zone) ?? new Intl.DateTimeFormat('sv-SE', { timeZone: zone });
  formats.set(zone, format);
  return format.format(instantMs);
}

function checkPeriod(instantMs: number, { zone, every }: { zone: string; every: string }): void {
  const where = `${zone} ${every} ${new Date(instantMs).toISOString()}`;
  const period = periodOf(instantMs, rule(every, zone));
  const next = periodOf(period.endsAtMs, rule(every, zone));
  const day = periodOf(instantMs, rule('day', zone));
  const facts = {
    where,
    holds: period.startsAtMs <= instantMs && instantMs < period.endsAtMs,
    same: periodOf(period.startsAtMs, rule(every, zone)),
    tiles: next.startsAtMs,
    follows: next.version === 1 ? next.date > period.date : next.version === period.version + 1 && next.date === period.date,
    shownFirst: dateShown(day.startsAtMs, zone),
    shownBefore: [1, 60_000, 1_800_000, 3_600_000, 10_000_000].filter(
      (gone) => dateShown(day.startsAtMs - gone, zone) >= day.date,
    ),
    shownAfter: [1, 60_000, 1_800_000, 3_600_000, 10_000_000].filter((gone) => dateShown(day.endsAtMs - gone, zone) > day.date),
    nextShown: dateShown(day.endsAtMs, zone) > day.date,
  };
  expect(facts).toEqual({
    where,
    holds: true,
    same: period,
    tiles: period.endsAtMs,
    follows: true,
    shownFirst: day.date,
    shownBefore: [],
    shownAfter: [],
    nextShown: true,
  });
}

/** To the half hour: instants after which clocks show another minute than half an hour before. */
function changes(zone: string, fromYear: number, toYear: number): number[] {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' });
  const found: number[] = [];
  const offset = (at: number): number => Date.parse(`${format.format(at).replace(' ', 'T')}Z`) - at;
  for (let at = Date.UTC(fromYear, 0); at < Date.UTC(toYear, 0); at += 86_400_000) {
    if (offset(at) === offset(at + 86_400_000)) continue;
    for (let half = at; half < at + 86_400_000; half += 1_800_000) {
      if (offset(half) !== offset(half + 1_800_000)) found.push(half + 1_800_000);
    }
  }
  return found;
}

describe('names', () => {
  test.each([
    ['none yet', null, '2025-01-28/4', '2025-01-28/4'],
    ['a greater one', '2025-01-28/4', '2025-01-28/5', '2025-01-28/5'],
    ['a later day', '2025-01-28/24', '2025-01-29/1', '2025-01-29/1'],
    ['the same again', '2025-01-28/4', '2025-01-28/4', '2025-01-28/5'],
    ['a smaller version', '2025-01-28/90', '2025-01-28/1', '2025-01-28/91'],
    ['an earlier day (a zone further west)', '2025-01-29/1', '2025-01-28/24', '2025-01-29/2'],
  ])('newest and wanted: %s', (_, newest, wanted, expected) =>
    expect(nextName(newest === null ? null : name(newest), name(wanted))).toEqual(name(expected)),
  );

  test('are compared by date, then by version as a number', () => {
    const sorted = ['2024-12-31/9', '2025-01-01/1', '2025-01-01/9', '2025-01-01/10', '2025-01-02/2'].map(name);
    expect([...sorted].reverse().sort(compareNames)).toEqual(sorted);
    expect(compareNames(name('2025-01-01/3'), name('2025-01-01/3'))).toBe(0);
  });
});

describe('missed periods', () => {
  const missed = (span: [string, string], names: [string, string], every: string, timezone?: string) =>
    missedBetween(
      { fromMs: ms(span[0]), toMs: ms(span[1]), after: name(names[0]), before: name(names[1]) },
      rule(every, timezone),
    ).map(({ date, versionFirst, versionLast }) => `${date}/${versionFirst}-${versionLast}`);

  test('none when one period follows the other', () =>
    expect(missed(['2025-01-28T04:00Z', '2025-01-28T04:00Z'], ['2025-01-28/4', '2025-01-28/5'], 'hour')).toEqual([]));

  test('within a day, over midnight, over whole days', () => {
    expect(missed(['2025-01-28T04:00Z', '2025-01-28T07:00Z'], ['2025-01-28/4', '2025-01-28/8'], 'hour')).toEqual([
      '2025-01-28/5-7',
    ]);
    expect(missed(['2025-01-28T22:00Z', '2025-01-30T01:00Z'], ['2025-01-28/22', '2025-01-30/2'], 'hour')).toEqual([
      '2025-01-28/23-24',
      '2025-01-29/1-24',
      '2025-01-30/1-1',
    ]);
    expect(
      missed(['2025-10-26T22:00Z', '2025-10-26T23:00Z'], ['2025-10-26/24', '2025-10-27/1'], 'hour', 'Europe/Berlin'),
    ).toEqual(['2025-10-26/25-25']);
  });

  test('a year of minutes is a run a day', () =>
    expect(missed(['2025-01-01T00:00Z', '2026-01-01T00:00Z'], ['2024-12-31/1440', '2026-01-01/1'], '1m')).toHaveLength(365));

  test('only names between the sealed one and the one that opens', () => {
    expect(missed(['2025-01-28T04:00Z', '2025-01-29T02:00Z'], ['2025-01-28/23', '2025-01-28/99'], 'hour')).toEqual([
      '2025-01-28/24-24',
    ]);
    expect(missed(['2025-01-28T04:00Z', '2025-01-28T20:00Z'], ['2025-01-28/2', '2025-01-28/9'], 'hour')).toEqual([
      '2025-01-28/5-8',
    ]);
  });
});
