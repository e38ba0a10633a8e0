// Cuts: their JSON, what is put into one, and where a target stands to one.
import { describe, expect, test } from 'bun:test';
import { sealJson, unsealJson } from '../../src/lake/entry-codec.ts';
import {
  boundaryOfCutPath,
  type Cut,
  type CutFacts,
  cutFileName,
  cutPath,
  cutToJson,
  nextBoundary,
  type PartitionFacts,
  parseCut,
  planCut,
  standing,
} from '../../src/model/cut.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { firstRule, periodIn, type SnapshotRules } from '../../src/model/snapshot-rules.ts';
import { random } from '../helpers/random.ts';

const ms = (text: string): number => Date.parse(text);
const at = (offset: number | bigint): Offset => toOffset(BigInt(offset));
const rules = (snapshotEvery: string, timezone = 'UTC'): SnapshotRules => firstRule({ snapshotEvery, timezone });

const CUT: Cut = {
  feed: 'orders',
  boundaryMs: ms('2025-01-29T00:00:00Z'),
  positions: new Map([
    [0, at(120)],
    [10, at(9_007_199_254_740_993n)],
    [2, at(0)],
  ]),
  opens: { date: '2025-02-01', version: 1, endsAtMs: ms('2025-02-02T00:00:00Z') },
  missed: [
    { date: '2025-01-29', versionFirst: 1, versionLast: 1 },
    { date: '2025-01-30', versionFirst: 1, versionLast: 24 },
  ],
  by: 'lake',
  at: '2025-02-01T10:00:00.123Z',
};
const PLACE = { feed: CUT.feed, boundaryMs: CUT.boundaryMs };
const json = () => JSON.parse(JSON.stringify(cutToJson(CUT)));

describe('the JSON of a cut', () => {
  test('parses to the same cut, offsets above 2^53 to the digit, through the codec of the lake', () => {
    expect(parseCut(json(), PLACE)).toEqual(CUT);
    expect(parseCut(unsealJson(sealJson(cutToJson(CUT))), PLACE)).toEqual(CUT);
    const bare: Cut = { ...CUT, positions: new Map(), missed: [], by: 'warehouse' };
    expect(parseCut(cutToJson(bare), PLACE)).toEqual(bare);
  });

  test('has offsets as texts and names in snake_case', () => {
    expect(json()).toEqual({
      format: 1,
      feed: 'orders',
      boundary_ms: 1738108800000,
      positions: { '0': '120', '2': '0', '10': '9007199254740993' },
      opens: { date: '2025-02-01', version: 1, ends_at_ms: 1738454400000 },
      missed: [
        { date: '2025-01-29', version_first: 1, version_last: 1 },
        { date: '2025-01-30', version_first: 1, version_last: 24 },
      ],
      by: 'lake',
      at: '2025-02-01T10:00:00.123Z',
    });
  });

  test.each<[string, (cut: ReturnType<typeof json>) => void, string]>([
    ['a number for an offset', (c) => (c.positions['0'] = 120), 'positions.0'],
    ['a negative offset', (c) => (c.positions['0'] = '-1'), 'positions.0'],
    ['an offset with a zero before it', (c) => (c.positions['0'] = '0120'), 'cut'],
    ['a partition that is no number', (c) => (c.positions['x'] = '1'), 'positions'],
    ['a partition with a zero before it', (c) => (c.positions['01'] = '1'), 'positions'],
    ['positions as a list', (c) => (c.positions = []), 'positions'],
    ['no positions', (c) => delete c.positions, 'positions'],
    ['another feed', (c) => (c.feed = 'order'), 'feed'],
    ['another boundary', (c) => (c.boundary_ms += 1000), 'boundary_ms'],
    ['a fraction as boundary', (c) => (c.boundary_ms = 1.5), 'boundary_ms'],
    ['a date that is none', (c) => (c.opens.date = '2025-02-30'), 'opens.date'],
    ['a date with a time', (c) => (c.opens.date = '2025-02-01T00:00'), 'opens.date'],
    ['version 0', (c) => (c.opens.version = 0), 'opens.version'],
    ['an end before the boundary', (c) => (c.opens.ends_at_ms = c.boundary_ms), 'opens.ends_at_ms'],
    ['no end', (c) => delete c.opens.ends_at_ms, 'opens.ends_at_ms'],
    ['missed as null', (c) => (c.missed = null), 'missed'],
    ['a missed run backwards', (c) => (c.missed[1].version_last = 0), 'missed[1].version_last'],
    ['missed runs out of order', (c) => c.missed.reverse(), 'missed[0]'],
    ['a missed run beyond what opens', (c) => (c.missed[1].date = '2025-02-01'), 'missed[1]'],
    ['another maker', (c) => (c.by = 'stream'), 'by'],
    ['a day for an instant', (c) => (c.at = '2025-02-01'), 'at'],
    ['a field more', (c) => (c.more = 1), 'cut'],
    ['a field more in opens', (c) => (c.opens.starts_at_ms = 1), 'cut'],
    ['no format', (c) => delete c.format, 'format'],
  ])('%s is damage, named by field', (_, change, field) => {
    const cut = json();
    change(cut);
    const damage = { code: 'lake_damaged', message: expect.stringMatching(new RegExp(`^${RegExp.escape(field)} is not`)) };
    expect(() => parseCut(cut, PLACE)).toThrow(expect.objectContaining(damage));
  });

  test('a newer format is foreign, not damaged', () =>
    expect(() => parseCut({ ...json(), format: 2 }, PLACE)).toThrow(expect.objectContaining({ code: 'lake_foreign_format' })));
});

describe('the file of a cut', () => {
  test('is named by its boundary', () => {
    expect(cutFileName(CUT.boundaryMs)).toBe('20250129T000000Z.json');
    expect(cutPath('orders', ms('2025-01-28T18:15:00Z'))).toBe('_lake/feeds/orders/cuts/20250128T181500Z.json');
  });

  test('names are read back, foreign ones are not', () => {
    for (const instant of ['2025-01-29T00:00:00Z', '1893-04-01T00:06:32Z', '0001-01-01T00:00:00Z', '9999-12-31T23:59:59Z'])
      expect(boundaryOfCutPath(cutPath('f', ms(instant)))).toBe(ms(instant));
    for (const path of [
      '20250230T000000Z.json',
      '20250129T000000.json',
      '20250129T000000Z.json~',
      'x20250129T000000Z.json',
      '20250129T250000Z.json',
    ])
      expect(boundaryOfCutPath(`cuts/${path}`)).toBeNull();
  });

  test('the next boundary is the smallest one after', () => {
    expect(nextBoundary([50, 10, 30, 20], 20)).toBe(30);
    expect(nextBoundary([50, 10], 50)).toBeNull();
  });
});

const facts = (more: Partial<CutFacts> = {}): CutFacts => ({
  feed: 'orders',
  sealed: { date: '2025-01-28', version: 4, endsAtMs: ms('2025-01-28T04:00:00Z') },
  partitions: new Map(),
  nextBoundaryMs: null,
  clockMs: ms('2025-01-28T04:00:00.250Z'),
  rules: rules('hour'),
  by: 'warehouse',
  ...more,
});

describe('a cut is planned', () => {
  const positionOf = (one: PartitionFacts): Offset | undefined =>
    planCut(facts({ partitions: new Map([[3, one]]) })).positions.get(3);
  test.each<[string, number | null, number, number | null, number]>([
    // what, Kafka's answer, last stable offset, own position, cut
    ['at Kafka’s answer', 50, 80, 40, 50],
    ['at Kafka’s answer, where the target is', 50, 80, 50, 50],
    ['at the end, when no message is as late', null, 80, 40, 80],
    ['at the end of an idle partition', null, 80, 80, 80],
    ['at the end of one that was always empty', null, 0, null, 0],
    ['at the end, when the target has passed the answer', 50, 80, 51, 80],
    ['at its own position, when Kafka’s end is behind it', 50, 80, 90, 90],
    ['at its own position, when Kafka’s end is behind it and no message is as late', null, 80, 90, 90],
    ['at the answer, when the target has read nothing', 50, 80, null, 50],
    ['at the end, when the answer lies in an open transaction', 90, 80, 40, 80],
  ])('%s', (_, firstAtOrAfter, lastStable, position, expected) =>
    expect(
      positionOf({
        firstAtOrAfter: firstAtOrAfter === null ? null : at(firstAtOrAfter),
        lastStable: at(lastStable),
        position: position === null ? null : at(position),
      }),
    ).toBe(at(expected)),
  );

  test('at the end of the open snapshot, opening the period after it', () =>
    expect(planCut(facts())).toEqual({
      feed: 'orders',
      boundaryMs: ms('2025-01-28T04:00:00Z'),
      positions: new Map(),
      opens: { date: '2025-01-28', version: 5, endsAtMs: ms('2025-01-28T05:00:00Z') },
      missed: [],
      by: 'warehouse',
      at: '2025-01-28T04:00:00.250Z',
    }));

  test('late: the period of the clock opens, those before it are missed', () =>
    expect(planCut(facts({ clockMs: ms('2025-01-29T01:30:00Z') }))).toMatchObject({
      opens: { date: '2025-01-29', version: 2, endsAtMs: ms('2025-01-29T02:00:00Z') },
      missed: [
        { date: '2025-01-28', versionFirst: 5, versionLast: 24 },
        { date: '2025-01-29', versionFirst: 1, versionLast: 1 },
      ],
    }));

  test('before a cut already there: the period that ends at it opens, whatever the clock says', () =>
    expect(planCut(facts({ clockMs: ms('2025-01-29T01:30:00Z'), nextBoundaryMs: ms('2025-01-28T07:00:00Z') }))).toMatchObject({
      opens: { date: '2025-01-28', version: 7, endsAtMs: ms('2025-01-28T07:00:00Z') },
      missed: [{ date: '2025-01-28', versionFirst: 5, versionLast: 6 }],
    }));

  test('a cut already there that no period of ours ends at is met all the same', () =>
    expect(planCut(facts({ nextBoundaryMs: ms('2025-01-28T06:30:00Z') }))).toMatchObject({
      opens: { date: '2025-01-28', version: 7, endsAtMs: ms('2025-01-28T06:30:00Z') },
      missed: [{ date: '2025-01-28', versionFirst: 5, versionLast: 6 }],
    }));

  test('a zone further west gives no smaller name', () => {
    const sealed = { date: '2025-01-29', version: 1, endsAtMs: ms('2025-01-29T01:00:00Z') };
    const cut = planCut(facts({ sealed, clockMs: sealed.endsAtMs, rules: rules('hour', 'America/New_York') }));
    expect(cut.opens).toEqual({ date: '2025-01-29', version: 2, endsAtMs: ms('2025-01-29T02:00:00Z') });
    expect(cut.missed).toEqual([]);
  });

  test('never before its boundary', () =>
    expect(() => planCut(facts({ clockMs: ms('2025-01-28T03:59:59.999Z') }))).toThrow('clock'));

  const dice = random();
  test(`chains of cuts have growing names and boundaries, and miss what is between (seed ${dice.seed})`, () => {
    const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'Asia/Kathmandu', 'Pacific/Apia', 'Australia/Lord_Howe'];
    for (let round = 0; round < 40; round += 1) {
      const [every, timezone] = [['day', 'hour', '45m', '7m'][round % 4] ?? 'day', zones[round % 6] ?? 'UTC'];
      let clockMs = Math.floor(dice.between(ms('2010-01-01'), ms('2026-01-01')));
      let sealed = periodIn(clockMs, rules(every, timezone));
      for (let step = 0; step < 8; step += 1) {
        clockMs = Math.max(clockMs, sealed.endsAtMs) + Math.floor(dice.next() ** 4 * 2 * 86_400_000);
        const cut = planCut(facts({ sealed, clockMs, rules: rules(every, timezone) }));
        const where = { every, timezone, sealed, clockMs, cut };
        const opens = periodIn(clockMs, rules(every, timezone));
        let [count, cursorMs] = [0, sealed.endsAtMs];
        for (; cursorMs < opens.startsAtMs; count += 1) cursorMs = periodIn(cursorMs, rules(every, timezone)).endsAtMs;
        const missed = cut.missed.reduce((sum, run) => sum + run.versionLast - run.versionFirst + 1, 0);
        expect({ where, missed, opens: cut.opens.endsAtMs }).toEqual({ where, missed: count, opens: opens.endsAtMs });
        expect(parseCut(cutToJson(cut), { feed: cut.feed, boundaryMs: cut.boundaryMs })).toEqual(cut);
        sealed = { ...opens, ...cut.opens };
      }
    }
  });
});

describe('standing', () => {
  const cut: Cut = {
    ...CUT,
    positions: new Map([
      [0, at(10)],
      [1, at(20)],
    ]),
  };
  const held = (...list: [partition: number, start: number, position: number][]) =>
    new Map(list.map(([partition, start, position]) => [partition, { start: at(start), position: at(position) }]));

  test.each<[string, ReturnType<typeof held>, string, string]>([
    ['at all cuts', held([0, 0, 10], [1, 0, 20]), 'at', 'at at'],
    ['one before', held([0, 0, 9], [1, 0, 20]), 'before', 'before at'],
    ['one past', held([0, 0, 11], [1, 0, 20]), 'past', 'past at'],
    ['one past, one before: those behind go on first', held([0, 0, 11], [1, 0, 19]), 'before', 'past before'],
    ['one not read yet', held([0, 0, 10]), 'before', 'at before'],
    ['a partition made later, held at its start', held([0, 0, 10], [1, 0, 20], [2, 5, 5]), 'at', 'at at at'],
    ['a partition made later, read', held([0, 0, 10], [1, 0, 20], [2, 5, 6]), 'past', 'at at past'],
    ['a start beyond the cut (the low watermark passed it)', held([0, 12, 12], [1, 0, 20]), 'past', 'past at'],
  ])('%s', (_, positions, overall, partitions) => {
    const found = standing(positions, cut);
    expect([found.overall, [...found.partitions.values()].join(' ')]).toEqual([overall as typeof found.overall, partitions]);
  });

  test('a partition that was empty at the cut needs no position', () =>
    expect(
      standing(held([0, 0, 10]), {
        ...cut,
        positions: new Map([
          [0, at(10)],
          [4, at(0)],
        ]),
      }).overall,
    ).toBe('at'));
});
