// When a batch is full or due, to the exact message, byte and millisecond, and what its progress becomes.
import { describe, expect, test } from 'bun:test';
import { type BatchFacts, isDue, isFull, newProgress, type PartitionProgress, toRange } from '../../src/model/batch.ts';
import { toOffset } from '../../src/model/offsets.ts';

const limits = { messagesMax: 100, bytesMax: 1_000, ageMsMax: 30_000 };
const facts = (more: Partial<BatchFacts>): BatchFacts => ({ messages: 1, bytes: 1, ageMs: 0, ...more });

describe('a batch', () => {
  test.each([
    ['below every limit is neither full nor due', { messages: 99, bytes: 999, ageMs: 29_999 }, { full: false, due: false }],
    ['is full at exactly its messages', { messages: 100 }, { full: true, due: true }],
    ['is full beyond its messages', { messages: 5_000 }, { full: true, due: true }],
    ['is full at exactly its bytes', { bytes: 1_000 }, { full: true, due: true }],
    ['is full beyond its bytes', { bytes: 1_001 }, { full: true, due: true }],
    ['is due at exactly its age, and not full', { ageMs: 30_000 }, { full: false, due: true }],
    ['is due however old, and not full', { ageMs: 1e12 }, { full: false, due: true }],
    ['is due by its age without any message', { messages: 0, bytes: 0, ageMs: 30_000 }, { full: false, due: true }],
    ['is not due when the clock stepped back', { ageMs: -3_600_000 }, { full: false, due: false }],
  ])('%s', (_name, more, expected) => {
    expect({ full: isFull(facts(more), limits), due: isDue(facts(more), limits) }).toEqual(expected);
  });
});

describe('a range', () => {
  const filled: PartitionProgress = {
    partition: 7,
    start: toOffset(2n ** 41n),
    end: toOffset(2n ** 41n + 50n),
    messages: 40,
    tombstones: 6,
    deadLetters: 3,
    last: { offset: toOffset(2n ** 41n + 48n), timestampMs: 1_738_000_000_000, hash: 'ab' },
    timestampMsMax: 1_738_000_000_123,
  };

  test('has as rows what is neither a tombstone nor a dead letter', () => {
    expect(toRange(filled)).toEqual({ ...filled, rows: 31 });
  });

  test('of nothing but holes has offsets and no messages', () => {
    expect(toRange({ ...newProgress(2, toOffset(5n)), end: toOffset(9n) })).toEqual({
      partition: 2,
      start: toOffset(5n),
      end: toOffset(9n),
      messages: 0,
      rows: 0,
      deadLetters: 0,
      tombstones: 0,
      last: null,
      timestampMsMax: null,
    });
  });

  test('does not follow the progress it was made of', () => {
    const progress = { ...filled };
    const range = toRange(progress);
    progress.end = toOffset(2n ** 42n);
    progress.messages++;
    expect(range).toEqual({ ...filled, rows: 31 });
  });

  test('is empty before anything is taken', () => {
    const range = toRange(newProgress(0, toOffset(12n)));
    expect([range.start, range.end]).toEqual([toOffset(12n), toOffset(12n)]);
  });
});
