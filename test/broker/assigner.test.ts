// Who reads what: every partition has one reader, and only readers of its topic.

import { expect, test } from 'bun:test';
import { assignPartitions } from '../../src/broker/assigner.ts';

const assigned = (members: Record<string, string[]>, partitions: Record<string, number[]>) =>
  Object.fromEntries(
    assignPartitions(
      Object.entries(members).map(([memberId, topics]) => ({ memberId, topics })),
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
