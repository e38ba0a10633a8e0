// How far behind a position is, and how long there is left, from what Kafka and the target say.
import { describe, expect, test } from 'bun:test';
import { feedStanding, type LagFacts, type LagPosition, lagOf, unreadOf } from '../../src/model/lag.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';

const NOW_MS = 1_000_000_000;
const DAY_MS = 86_400_000;
const bounds = (low: bigint, end: bigint, high = end) => ({ low: toOffset(low), end: toOffset(end), high: toOffset(high) });
const at = (position: bigint): LagPosition => toOffset(position);
const facts = (more: Partial<LagFacts>): LagFacts => ({
  position: at(10n),
  bounds: bounds(0n, 30n),
  oldestMs: NOW_MS - 5_000,
  retentionMs: DAY_MS,
  nowMs: NOW_MS,
  ...more,
});

describe('the lag of a partition', () => {
  test('counts offsets up to the last stable one, and the time of the oldest unread message', () => {
    expect(lagOf(facts({ bounds: bounds(0n, 30n, 45n) }))).toEqual({
      standing: 'behind',
      position: toOffset(10n),
      lag: 20n,
      lagSeconds: 5,
      secondsToLoss: DAY_MS / 1000 - 5,
    });
  });

  test.each([
    ['at the end', { position: at(30n) }, { standing: 'caught_up', lag: 0n, lagSeconds: 0, secondsToLoss: null }],
    [
      'at the end, an open transaction behind it',
      { position: at(30n), bounds: bounds(0n, 30n, 40n) },
      { standing: 'caught_up', lag: 0n },
    ],
    ['nothing but markers is left', { oldestMs: 'none' }, { standing: 'behind', lag: 20n, lagSeconds: 0, secondsToLoss: null }],
    ['the time of the message is not known', { oldestMs: null }, { lag: 20n, lagSeconds: null, secondsToLoss: null }],
    ['the message has no time', { oldestMs: -1 }, { lag: 20n, lagSeconds: null, secondsToLoss: null }],
    ['a message from the future', { oldestMs: NOW_MS + 60_000 }, { lagSeconds: 0, secondsToLoss: DAY_MS / 1000 + 60 }],
    ['kept without limit', { retentionMs: null }, { lagSeconds: 5, secondsToLoss: null }],
    ['due to be deleted', { oldestMs: NOW_MS - DAY_MS - 1 }, { secondsToLoss: 0 }],
    ['deleted before it was read', { bounds: bounds(12n, 30n) }, { standing: 'expired', lag: 20n, secondsToLoss: 0 }],
    ['never committed', { position: 'none', bounds: bounds(4n, 30n) }, { standing: 'not_started', position: null, lag: 26n }],
    [
      'never committed, and empty',
      { position: 'none', bounds: bounds(4n, 4n) },
      { standing: 'not_started', lag: 0n, lagSeconds: 0 },
    ],
    ['beyond the end', { position: at(31n) }, { standing: 'beyond_end', lag: 0n, lagSeconds: 0 }],
    [
      'the target is away',
      { position: 'away' },
      { standing: 'away', position: null, lag: null, lagSeconds: null, secondsToLoss: null },
    ],
  ] as const)('%s', (_name, more, expected) => {
    expect(lagOf(facts(more as Partial<LagFacts>))).toMatchObject(expected as object);
  });

  test.each([
    ['from the position', at(10n), bounds(0n, 30n), { from: 10n, end: 30n }],
    ['from the low watermark, which has passed the position', at(10n), bounds(20n, 30n), { from: 20n, end: 30n }],
    ['from the low watermark, where nothing was committed', 'none', bounds(5n, 30n), { from: 5n, end: 30n }],
    ['nowhere, when all that is stable is in', at(30n), bounds(0n, 30n, 40n), null],
    ['nowhere beyond the end', at(31n), bounds(0n, 30n), null],
    ['nowhere, when the target is away', 'away', bounds(0n, 30n), null],
  ] as const)('the oldest unread message is looked for %s', (_name, position, of, expected) => {
    expect(unreadOf(position, of)).toEqual(expected as never);
  });
});

describe('a feed and target as a whole', () => {
  const ends = new Map([
    [0, bounds(0n, 30n)],
    [1, bounds(5n, 8n)],
  ]);
  const positions = (...list: bigint[]): ReadonlyMap<number, Offset> =>
    new Map(list.map((one, partition) => [partition, toOffset(one)]));

  test.each([
    ['ready', { positions: positions(30n, 8n) }, { lag: 0n, reason: null }],
    ['behind', { positions: positions(28n, 7n) }, { lag: 3n, reason: null }],
    ['behind', { positions: positions(30n) }, { lag: 3n, reason: null }],
    ['behind', { positions: positions(30n, 4n) }, { lag: 4n, reason: 'Kafka has deleted messages that were not read yet' }],
    ['behind', { positions: positions(31n, 8n) }, { lag: 0n, reason: 'Kafka ends before what was committed' }],
    ['never_started', { positions: positions() }, { lag: 33n, reason: null }],
    [
      'stopped',
      { positions: positions(28n, 8n), stopped: 'half of it is refused' },
      { lag: 2n, reason: 'half of it is refused' },
    ],
    ['unknown', { positions: positions(30n, 8n), bounds: null }, { lag: null, reason: null }],
    ['away', { positions: 'away' }, { lag: null, reason: null }],
  ] as const)('%s', (state, more, expected) => {
    expect(feedStanding({ bounds: ends, stopped: null, ...more })).toEqual({ state, ...expected });
  });
});
