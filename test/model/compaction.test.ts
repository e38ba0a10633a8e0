// Which files compaction merges: days that are over and quiet, small files alone, groups in the order of time.

import { expect, test } from 'bun:test';
import { COMPACTED_BYTES, type CompactionFacts, planCompaction, youngFiles } from '../../src/model/compaction.ts';
import type { LiveFile } from '../../src/model/feed-state.ts';
import { dayFile } from '../helpers/retention-facts.ts';

const ms = (text: string): number => Date.parse(text);
const DAY_MS = 86_400_000;
const MB = 1024 * 1024;
const NOW = '2025-03-31T12:00:00Z';

const facts = (files: readonly LiveFile[], more: Partial<CompactionFacts> = {}): CompactionFacts => ({
  feed: { name: 'events', type: 'stream' },
  nowMs: ms(NOW),
  timezone: 'UTC',
  olderThanMs: DAY_MS,
  files,
  compacted: new Set(),
  ...more,
});
const shown = (given: CompactionFacts): string[] =>
  planCompaction(given).map(({ day, files, rows, bytes }) => `${day} ${files.length} files ${rows} rows ${bytes} bytes`);
const two = (day: string, more: Parameters<typeof dayFile>[1] = {}): LiveFile[] => [dayFile(day, more), dayFile(day, more)];

test('days that are over and have several small files, oldest first', () => {
  const files = [...two('2025-03-30'), dayFile('2025-03-29'), ...two('2025-03-28'), ...two('2025-03-31'), ...two('2025-04-01')];
  expect(shown(facts(files))).toEqual(['2025-03-28 2 files 20 rows 2000 bytes', '2025-03-30 2 files 20 rows 2000 bytes']);
});

test.each([
  ['UTC', 1],
  ['Asia/Tokyo', 1],
  ['Pacific/Kiritimati', 2],
])('a day is over by the clock of the lake: %s', (timezone, count) => {
  const files = [...two('2025-03-30'), ...two('2025-03-31')];
  expect(planCompaction(facts(files, { timezone })).length).toBe(count);
});

test('a night of 25 hours belongs to one day', () => {
  const berlin = { timezone: 'Europe/Berlin', olderThanMs: 0 };
  const files = two('2025-10-26');
  expect(shown(facts(files, { ...berlin, nowMs: ms('2025-10-26T22:59:59Z') }))).toEqual([]);
  expect(shown(facts(files, { ...berlin, nowMs: ms('2025-10-26T23:00:00Z') })).length).toBe(1);
});

test('a day that got a file lately is left alone', () => {
  const late = dayFile('2025-03-28', { addedAtMs: ms('2025-03-31T00:00:00Z') });
  const files = [...two('2025-03-28'), late, ...two('2025-03-27')];
  expect(shown(facts(files))).toEqual(['2025-03-27 2 files 20 rows 2000 bytes']);
  expect(shown(facts(files, { olderThanMs: DAY_MS / 2 })).length).toBe(2);
  expect(youngFiles(facts(files))).toEqual([late]);
});

test('what a compaction has left of a day is gone on with at once', () => {
  const made = dayFile('2025-03-28', { addedAtMs: ms('2025-03-31T00:00:00Z') });
  expect(shown(facts([...two('2025-03-28'), made], { compacted: new Set([made.path]) })).length).toBe(1);
});

test('a file that is large enough stays, and a day of large files does', () => {
  const large = COMPACTED_BYTES / 2;
  const small = { bytes: 10 * MB };
  const mixed = [dayFile('2025-03-28', { bytes: large }), ...two('2025-03-28', small), dayFile('2025-03-28', small)];
  expect(shown(facts(mixed))).toEqual([`2025-03-28 3 files 30 rows ${30 * MB} bytes`]);
  expect(shown(facts([...two('2025-03-28', { bytes: 3 * large }), ...two('2025-03-28', small)]))).toEqual([]);
  expect(shown(facts([dayFile('2025-03-28', { bytes: large - 1 })]))).toEqual([]);
});

test('groups follow each other in time, each of about the size of a large file', () => {
  const at = (hour: number): LiveFile =>
    dayFile('2025-03-28', { bytes: 40 * MB, eventTimeMin: `2025-03-28T${String(hour).padStart(2, '0')}:00:00.000000Z` });
  const groups = planCompaction(facts([5, 1, 4, 0, 3, 2, 6].map(at)));
  const hours = groups.map(({ files }) => files.map(({ eventTimeMin }) => Number(eventTimeMin?.slice(11, 13))));
  expect(hours).toEqual([
    [0, 1, 2],
    [3, 4, 5],
  ]);
});

test('tables, dead letters and tables of tombstones are not compacted', () => {
  const files = two('2025-03-28');
  expect(shown(facts(files, { feed: { name: 'totals', type: 'table' } }))).toEqual([]);
  expect(shown(facts(two('2025-03-28', { kind: 'dead_letters' })))).toEqual([]);
});
