// The lake goes first: tables of what the warehouse may do beside a lake that is behind.
import { describe, expect, test } from 'bun:test';
import { lakeFirst } from '../../src/model/pace.ts';

/** The milliseconds, asked every 10, at which the warehouse may take. */
function taken(backlog: bigint, untilMs: number, from = 1_000): number[] {
  const { lake, warehouse } = lakeFirst();
  lake.tellBacklog(backlog);
  const asked = Array.from({ length: untilMs / 10 }, (_, index) => index * 10);
  return asked.filter((ms) => warehouse.mayTake(from + ms));
}

describe('beside a lake with a backlog', () => {
  test('the warehouse takes for a while, then rests, and again', () => {
    const expected = [0, 650, 1_300].flatMap((begin) => [0, 10, 20, 30, 40].map((ms) => begin + ms));
    expect(taken(20_000n, 1_900)).toEqual(expected);
  });

  test('a lake that is hardly behind holds nobody up', () => {
    expect(taken(19_999n, 900)).toHaveLength(90);
  });

  test('the rest ends as soon as the backlog does', () => {
    const { lake, warehouse } = lakeFirst();
    lake.tellBacklog(1_000_000n);
    expect([0, 60].map((ms) => warehouse.mayTake(ms))).toEqual([true, false]);
    lake.tellBacklog(0n);
    expect(warehouse.mayTake(61)).toBe(true);
  });

  test('a clock that is set back ends the rest', () => {
    const { lake, warehouse } = lakeFirst();
    lake.tellBacklog(1_000_000n);
    expect([5_000, 5_060, 1_000].map((ms) => warehouse.mayTake(ms))).toEqual([true, false, true]);
  });

  test('the lake rests for nobody', () => {
    const { lake, warehouse } = lakeFirst();
    warehouse.tellBacklog(1_000_000n);
    expect([0, 60, 100].map((ms) => lake.mayTake(ms))).toEqual([true, true, true]);
  });
});
