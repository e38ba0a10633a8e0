// Two books of what was done, as one.
import { describe, expect, test } from 'bun:test';
import { type Audited, auditTrail } from '../../src/model/audit-trail.ts';
import type { JournalLine } from '../../src/model/journal.ts';

const AT_MS = Date.UTC(2026, 10, 21, 12);
const told = (afterMs: number, resource: string, target: 'lake' | 'warehouse' = 'warehouse') => ({
  ...{ at: new Date(AT_MS + afterMs).toISOString(), actor: 'me', feed: 'orders', target, action: 'gap_recorded', resource },
  ...{ rows: null, details: {} },
});
const line = (...of: Parameters<typeof told>): JournalLine => ({ id: `${of[1]}/${of[0]}`, ...told(...of) });
const row = (...of: Parameters<typeof told>): Audited => ({ ...told(...of), files: 1, bytes: 2 });
const shown = (trail: readonly Audited[]) =>
  trail.map(({ at, target, resource, files }) => [Date.parse(at) - AT_MS, target, resource, files]);

describe('the journal and audit_log', () => {
  test('are one trail in the order of time', () => {
    const trail = auditTrail([line(20, 'b', 'lake'), line(0, 'a', 'lake')], [row(10, 'c')]);
    expect(shown(trail)).toEqual([
      [0, 'lake', 'a', null],
      [10, 'warehouse', 'c', 1],
      [20, 'lake', 'b', null],
    ]);
  });

  test('tell what both know once, as the row has it, also where the clocks differ', () => {
    expect(shown(auditTrail([line(4_000, 'a'), line(0, 'a', 'lake')], [row(0, 'a')]))).toEqual([
      [0, 'lake', 'a', null],
      [0, 'warehouse', 'a', 1],
    ]);
  });

  test('keep what happened twice, and what only the journal of a database that is gone knows', () => {
    const trail = auditTrail(
      [line(0, 'a'), line(1_000, 'a'), line(2_000, 'a'), line(86_400_000, 'a')],
      [row(0, 'a'), row(1_000, 'a')],
    );
    expect(shown(trail)).toEqual([
      [0, 'warehouse', 'a', 1],
      [1_000, 'warehouse', 'a', 1],
      [2_000, 'warehouse', 'a', null],
      [86_400_000, 'warehouse', 'a', null],
    ]);
  });
});
