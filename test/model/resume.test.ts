// Where to read from: every combination of what the target holds and what Kafka still has.
import { describe, expect, test } from 'bun:test';
import type { PositionState } from '../../src/model/feed-state.ts';
import type { LastMessage } from '../../src/model/log-entry.ts';
import { type Offset, toOffset } from '../../src/model/offsets.ts';
import { formatStarts, parseStarts, planResume } from '../../src/model/resume.ts';

const at = (offset: number): Offset => toOffset(BigInt(offset));
const bounds = (low: number, end: number) => ({ low: at(low), end: at(end) });
const last = (offset: number): LastMessage => ({ offset: at(offset), timestampMs: 1, hash: 'h' });
const held = (position: number, lastMessage: LastMessage | null = null): PositionState => ({
  start: at(0),
  position: at(position),
  last: lastMessage,
  timestampMsMax: null,
  totals: { messages: 0, rows: 0, deadLetters: 0, tombstones: 0 },
});

describe('a partition the target has never seen', () => {
  test('is read from the low watermark', () => {
    expect(planResume({ position: null, start: null, bounds: bounds(5, 9) })).toEqual({
      kind: 'read',
      seek: at(5),
      position: at(5),
      check: null,
    });
  });

  test.each([
    ['inside', 7, { kind: 'left_out', low: at(5), start: at(7) }],
    ['beyond the end', 99, { kind: 'left_out', low: at(5), start: at(9) }],
    ['at the low watermark', 5, { kind: 'read', seek: at(5), position: at(5), check: null }],
    ['below the low watermark', 2, { kind: 'read', seek: at(5), position: at(5), check: null }],
  ] as const)('with a start %s', (_name, start, plan) => {
    expect(planResume({ position: null, start: at(start), bounds: bounds(5, 9) })).toEqual(plan);
  });
});

describe('a partition with a position', () => {
  test.each([
    [
      'reads the last message again to compare it',
      held(8, last(7)),
      { kind: 'read', seek: at(7), position: at(8), check: last(7) },
    ],
    [
      'reads over a hole after the last message',
      held(8, last(6)),
      { kind: 'read', seek: at(6), position: at(8), check: last(6) },
    ],
    [
      'cannot compare a message that Kafka has deleted',
      held(8, last(4)),
      { kind: 'read', seek: at(8), position: at(8), check: null },
    ],
    ['has nothing to compare before the first message', held(8), { kind: 'read', seek: at(8), position: at(8), check: null }],
    ['is caught up at the end', held(9, last(8)), { kind: 'read', seek: at(8), position: at(9), check: last(8) }],
    ['has lost what Kafka deleted before it was read', held(4, last(3)), { kind: 'expired', position: at(4), low: at(5) }],
    [
      'is not at a loss exactly at the low watermark',
      held(5, last(4)),
      { kind: 'read', seek: at(5), position: at(5), check: null },
    ],
    ['lies beyond a topic that became shorter', held(10, last(9)), { kind: 'beyond_end', position: at(10), end: at(9) }],
  ] as const)('%s', (_name, position, plan) => {
    expect(planResume({ position, start: null, bounds: bounds(5, 9) })).toEqual(plan);
  });

  test('does not look at the start of the feed again', () => {
    expect(planResume({ position: held(6), start: at(9), bounds: bounds(5, 9) })).toMatchObject({
      kind: 'read',
      position: at(6),
    });
  });
});

test('pinned starts survive their text', () => {
  const starts = new Map([
    [0, at(12)],
    [11, at(0)],
  ]);
  expect(parseStarts(formatStarts(starts))).toEqual(starts);
  expect(parseStarts(formatStarts(new Map()))).toEqual(new Map());
});
