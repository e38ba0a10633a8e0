// What is printed: for a person on a terminal, for a program in a pipe, again and again with --watch.
import { describe, expect, test } from 'bun:test';
import { duration, renderTable, size } from '../../src/cli/output.ts';
import { createScreen } from '../../src/cli/screen.ts';
import type { Table } from '../../src/commands/context.ts';

const TABLE: Table = {
  columns: [
    { title: 'feed' },
    { title: 'lag', as: 'number' },
    { title: 'behind', as: 'seconds' },
    { title: 'size', as: 'bytes' },
    { title: 'note' },
  ],
  rows: [
    ['orders', '1234567', '3725.5', '4633', 'a\tb'],
    ['totals', '-', '-', '-', ''],
  ],
};

describe('a table', () => {
  test('on a terminal is aligned, numbers are grouped, times and sizes have units', () => {
    const lines = [
      'feed          lag     behind    size  note',
      '──────  ─────────  ─────────  ──────  ────',
      'orders  1,234,567  1 h 2 min  4.6 KB  a\tb',
      'totals          -          -       -',
    ];
    expect(renderTable(TABLE, true)).toBe(lines.map((line) => `${line}\n`).join(''));
  });

  test('in a pipe is a line a row, with plain numbers and no tab inside a value', () => {
    expect(renderTable(TABLE, false)).toBe(
      'feed\tlag\tbehind\tsize\tnote\norders\t1234567\t3725.5\t4633\ta b\ntotals\t-\t-\t-\t\n',
    );
  });

  test.each([
    [0, '0 s'],
    [0.04, '0 s'],
    [0.42, '0.4 s'],
    [59.4, '59 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [3599.9, '59 min 59 s'],
    [3725, '1 h 2 min'],
    [86_400, '1 d'],
    [400_000_000, '4,629 d 15 h'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 KB'],
    [123_456_789, '123 MB'],
    [9_876_543_210_000_000, '9877 TB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(size(bytes)).toBe(text);
  });
});

describe('frames that follow each other', () => {
  const drawn = (isTerminal: boolean, isJson: boolean, rows = 24): string => {
    const out: string[] = [];
    const stdout = { write: (text: string) => void out.push(text), isTerminal, rows: () => rows };
    const screen = createScreen(stdout, isJson);
    const table = { columns: [{ title: 'feed' }], rows: [['a'], ['b'], ['c']] };
    for (const lag of [1n, 2n]) screen.draw({ table, json: [{ lag }], notes: ['Kafka is away'] });
    return out.join('');
  };

  test('begin at the same place of a terminal, and leave nothing of the one before', () => {
    const [first = '', second = ''] = drawn(true, false).split('\u001b[H').slice(1);
    expect(drawn(true, false)).toStartWith('\u001b[2J\u001b[H');
    expect(second).toBe(first);
    expect(first.replaceAll('\u001b[K', '')).toBe('feed\n────\na\nb\nc\n\nKafka is away\n\u001b[J');
  });

  test('are never taller than the window', () => {
    const [first = ''] = drawn(true, false, 4).split('\u001b[H').slice(1);
    expect(first.replaceAll('\u001b[K', '')).toBe('feed\n────\n… 5 lines more\n\u001b[J');
  });

  test('are tables one after the other in a pipe, and one document a line with --json', () => {
    expect(drawn(false, false)).toBe('feed\na\nb\nc\n\nfeed\na\nb\nc\n');
    expect(drawn(false, true)).toBe('[{"lag":"1"}]\n[{"lag":"2"}]\n');
  });
});
