// Who reads what: every partition has one reader, and only readers of its topic.

import { expect, test } from 'bun:test';
import { assignPartitions, decodeTables, encodeTables } from '../../src/broker/assigner.ts';

const assigned = (members: Record<string, string[]>, partitions: Record<string, number[]>, tables: string[] = []) =>
  Object.fromEntries(
    assignPartitions(
      Object.entries(members).map(([memberId, topics]) => ({
        memberId,
        topics,
        tables: topics.filter((topic) => tables.includes(topic)),
      })),
      new Map(Object.entries(partitions)),
    ),
  );

test('partitions spread over the members', () => {
  expect(assigned({ b: ['x', 'y'], a: ['x', 'y'] }, { x: [2, 0, 1], y: [0] })).toEqual({
    a: { x: [0, 2] },
    b: { x: [1], y: [0] },
  });
});

test('a member gets no topic that it does not read, and a topic waits for no member that does not read it', () => {
  expect(assigned({ a: ['x'], b: ['y'] }, { x: [0, 1], y: [0, 1] })).toEqual({ a: { x: [0, 1] }, b: { y: [0, 1] } });
});

test('a topic that nobody reads or that has no partitions is nobody’s', () => {
  expect(assigned({ a: ['x'] }, { x: [], z: [0] })).toEqual({ a: {} });
});

test('a table goes whole to one member, tables go round the members, and streams spread as if there were none', () => {
  const all = ['s', 't', 'u', 'v'];
  expect(assigned({ b: all, a: all }, { s: [0, 1], t: [0, 1, 2], u: [1, 0], v: [0, 1] }, ['t', 'u', 'v'])).toEqual({
    a: { s: [0], t: [0, 1, 2], v: [0, 1] },
    b: { s: [1], u: [0, 1] },
  });
});

test('a table that one member alone reads is that member’s, and the next one goes to who has fewer', () => {
  expect(assigned({ a: ['t', 'u'], b: ['u'] }, { t: [0, 1], u: [0, 1] }, ['t', 'u'])).toEqual({
    a: { t: [0, 1] },
    b: { u: [0, 1] },
  });
});

test('what a member says of its tables is read back; members that say nothing have none', () => {
  expect(decodeTables(encodeTables(['shop.totals', 'b']))).toEqual(['shop.totals', 'b']);
  expect(decodeTables(Buffer.alloc(0))).toEqual([]);
});
