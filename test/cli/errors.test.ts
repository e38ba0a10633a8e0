// The table of errors, and what the screen says of one.
import { describe, expect, test } from 'bun:test';
import { exitCodeOf, renderError } from '../../src/cli/exit.ts';
import { ERROR_TABLE, type ErrorCode, EXIT, LakeError } from '../../src/errors.ts';

const plain = (_level: string, text: string): string => text;
const codes = Object.keys(ERROR_TABLE) as ErrorCode[];

describe('every code', () => {
  test.each(codes)('%s has an exit status of the contract and a hint to act on', (code) => {
    const { exit, hint } = ERROR_TABLE[code];
    expect(Object.values(EXIT)).toContain(exit);
    expect(exit).not.toBe(EXIT.done);
    expect(hint.length).toBeGreaterThan(10);
    expect(new LakeError(code, 'x').exit).toBe(exit);
    expect(exitCodeOf(new LakeError(code, 'x'))).toBe(exit);
  });

  test.each(codes)('%s hints at no command of ours that does not exist', (code) => {
    const commands = [...ERROR_TABLE[code].hint.matchAll(/ {2}lake (feeds \w+|\S+)/g)].map((match) => match[1]);
    for (const command of commands)
      expect(['ingest', 'feeds check', 'feeds list', 'feeds enable', 'init', '--help']).toContain(command ?? '');
  });
});

describe('an error on the screen', () => {
  test('says what happened, where, what to do, and its code', () => {
    const error = new LakeError('offset_out_of_range', 'partition 3 cannot resume at offset 18204', {
      where: { feed: 'orders', topic: 'shop.orders', partition: 3, target: 'lake' },
      todo: 'accept the loss and record it:  lake ingest --feed orders --on-gap record',
    });
    expect(renderError(error, 'info', plain)).toBe(
      [
        'error: partition 3 cannot resume at offset 18204',
        '  where  feed orders · topic shop.orders · partition 3 · target lake',
        '  do     accept the loss and record it:  lake ingest --feed orders --on-gap record',
        '  code   offset_out_of_range (exit 1)',
        '',
      ].join('\n'),
    );
  });

  test('tells the innermost cause, once', () => {
    const cause = new Error('outer', { cause: new Error('connect ECONNREFUSED 127.0.0.1:1') });
    const text = renderError(new LakeError('kafka_unreachable', 'Kafka does not answer', { cause }), 'info', plain);
    expect(text).toContain('  cause  connect ECONNREFUSED 127.0.0.1:1\n');
    expect(text).not.toContain('outer');
  });

  test('shows a stack for a bug, and only then', () => {
    const bug = new TypeError('x is undefined');
    expect(renderError(bug, 'info', plain)).toContain('TypeError: x is undefined');
    expect(renderError(bug, 'info', plain)).toContain('code   bug (exit 70)');
    expect(exitCodeOf(bug)).toBe(EXIT.bug);
    expect(renderError(new LakeError('disk_full', 'the disk is full'), 'info', plain)).not.toContain('    at ');
  });
});
