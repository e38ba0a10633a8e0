// When a feed stops because its schema is wrong: more than the ratio of the last 1,000 messages, or of the last hour's 100.
import { describe, expect, test } from 'bun:test';
import { judgeRefusals, keepRecent, type RefusalCount } from '../../src/model/refusals.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = 10 * HOUR_MS;
const count = (messages: number, refused: number, agoMs = 0): RefusalCount => ({ atMs: NOW_MS - agoMs, messages, refused });
const verdict = (...counts: RefusalCount[]) => judgeRefusals(counts, 0.5, NOW_MS).kind;

describe('a feed', () => {
  test.each([
    ['is never judged on fewer than 100 messages', [count(99, 99)], 'fine'],
    ['is judged on 100 of the last hour', [count(100, 51)], 'too_many'],
    ['is fine at exactly the ratio', [count(1_000, 500)], 'fine'],
    ['stops above it', [count(1_000, 501)], 'too_many'],
    ['is not judged by 100 messages older than an hour', [count(100, 100, HOUR_MS + 1)], 'fine'],
    ['is judged by 1,000 however old', [count(1_000, 900, 5 * HOUR_MS)], 'too_many'],
    ['is judged by the newest 1,000, not by a good past', [count(100_000, 0, 2 * HOUR_MS), count(1_000, 900)], 'too_many'],
    ['is not stopped by a bad past', [count(1_000, 1_000, 2 * HOUR_MS), count(1_000, 0)], 'fine'],
    ['adds small batches up', Array.from({ length: 20 }, () => count(10, 6)), 'too_many'],
  ] as const)('%s', (_name, counts, kind) => {
    expect(verdict(...counts)).toBe(kind);
  });

  test('may allow none, or all', () => {
    expect(judgeRefusals([count(1_000, 1)], 0, NOW_MS).kind).toBe('too_many');
    expect(judgeRefusals([count(1_000, 1_000)], 1, NOW_MS).kind).toBe('fine');
  });
});

test('only what may still matter is kept', () => {
  const old = count(5_000, 0, 3 * HOUR_MS);
  const older = count(5_000, 5_000, 4 * HOUR_MS);
  const recent = count(10, 1);
  expect(keepRecent([older, old, recent], NOW_MS)).toEqual([old, recent]);
  const all = [count(500, 400, 2 * HOUR_MS), count(500, 400, 1.5 * HOUR_MS), recent];
  expect(judgeRefusals(keepRecent(all, NOW_MS), 0.5, NOW_MS)).toEqual(judgeRefusals(all, 0.5, NOW_MS));
});
