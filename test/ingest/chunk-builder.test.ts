// Chunks: every message lands in one, in order, with its coordinates; what cannot be decoded as text is set aside with its bytes.
import { describe, expect, test } from 'bun:test';
import type { RecordParts } from '../../src/broker/record-batch.ts';
import type { Chunk } from '../../src/ingest/chunk.ts';
import { ChunkBuilder } from '../../src/ingest/chunk-builder.ts';

type Message = { key?: Buffer | null; value: Buffer; offset?: number; timestampMs?: number; partition?: number };
const text = (value: string, more: Partial<Message> = {}): Message => ({ value: Buffer.from(value), ...more });

/** All records of a fetch lie in one buffer, with other bytes between them. */
function fill(builder: ChunkBuilder, messages: readonly Message[]): void {
  const parts: Buffer[] = [];
  const at: RecordParts[] = [];
  let size = 0;
  const put = (bytes: Buffer): number => {
    const start = size + 2;
    parts.push(Buffer.from([0x1e, 0xff]), bytes);
    size = start + bytes.length;
    return start;
  };
  messages.forEach(({ key = null, value, offset, timestampMs }, index) => {
    const keyStart = put(key ?? Buffer.alloc(0));
    const valueStart = put(value);
    at.push({
      offset: offset ?? index,
      timestampMs: timestampMs ?? 1_000 + index,
      keyStart,
      keyLength: key ? key.length : -1,
      valueStart,
      valueLength: value.length,
      headersStart: 0,
      headerCount: 0,
    });
  });
  const bytes = Buffer.concat(parts);
  at.forEach((part, index) => {
    builder.partition = messages[index]?.partition ?? 0;
    builder.record(bytes, part);
  });
}

function built(messages: readonly Message[]) {
  const builder = new ChunkBuilder();
  fill(builder, messages);
  return builder.build();
}

const split = (bytes: Uint8Array): string[] => Buffer.from(bytes).toString('latin1').split('\x1e');
const valuesOf = (chunk: Chunk | null): string[] => (chunk ? Buffer.from(chunk.values).toString('utf8').split('\x1e') : []);
function keysOf(chunk: Chunk | null): (string | null)[] | null {
  const keys = chunk?.keys;
  if (!keys) return null;
  return split(keys.bytes).map((key) => {
    if (key === '') return null;
    return keys.encoding === 'hex' ? key.slice(1) : Buffer.from(key.slice(1), 'latin1').toString('hex');
  });
}

describe('a chunk', () => {
  test('holds values and coordinates in order', () => {
    const { chunk, refused } = built([
      text('{"a":1}', { offset: 2 ** 41, timestampMs: 1_737_936_000_123, partition: 3 }),
      text('{"é":"日本"}', { offset: 2 ** 41 + 5, timestampMs: -1, partition: 1 }),
    ]);
    expect(refused).toEqual([]);
    expect(valuesOf(chunk)).toEqual(['{"a":1}', '{"é":"日本"}']);
    expect(chunk?.count).toBe(2);
    expect([...(chunk?.offsets ?? [])].slice(0, 2)).toEqual([2n ** 41n, 2n ** 41n + 5n]);
    expect([...(chunk?.timestampsMs ?? [])].slice(0, 2)).toEqual([1_737_936_000_123n, -1n]);
    expect([...(chunk?.partitions ?? [])].slice(0, 2)).toEqual([3, 1]);
    expect(chunk?.keys).toBe(null);
  });

  test('grows to many messages and to large ones', () => {
    const large = 'x'.repeat(10_000_000);
    const many = Array.from({ length: 20_000 }, (_, index) => text(`{"n":${index}}`));
    const { chunk, bytes } = built([...many, text(large), text('{}')]);
    expect(chunk?.count).toBe(20_002);
    expect(valuesOf(chunk)).toEqual([...many.map(({ value }) => value.toString()), large, '{}']);
    expect(bytes).toBeGreaterThan(10_000_000);
  });

  test('keeps null, empty and textual keys apart', () => {
    const { chunk } = built([
      text('{}', { key: Buffer.from('k') }),
      text('{}'),
      text('{}', { key: Buffer.alloc(0) }),
      text('{}', { key: Buffer.from('é') }),
    ]);
    expect(chunk?.keys?.encoding).toBe('text');
    expect(keysOf(chunk)).toEqual(['6b', null, '', 'c3a9']);
  });

  test.each([
    ['no UTF-8', Buffer.from([0xff, 0x00])],
    ['a separator of ours', Buffer.from([0x61, 0x1e, 0x62])],
    ['half a character each', Buffer.from([0xc3])],
  ])('keeps keys that hold %s, byte by byte', (_name, key: Buffer) => {
    const keys: (Buffer | null)[] = [key, null, Buffer.from([0xa9]), Buffer.alloc(0), Buffer.from('plain')];
    const { chunk } = built(keys.map((one) => text('{}', { key: one })));
    expect(chunk?.keys?.encoding).toBe('hex');
    expect(keysOf(chunk)).toEqual(keys.map((one) => one?.toString('hex') ?? null));
  });
});

describe('set aside with its bytes is', () => {
  test('an empty value, a raw separator, and what is not UTF-8; the others stay in order', () => {
    const bad = [Buffer.alloc(0), Buffer.from('{"a":"\x1e"}'), Buffer.from([0x7b, 0xff, 0x7d]), Buffer.from([0xc3])];
    const { chunk, refused } = built([
      text('{"n":0}', { key: Buffer.from('a') }),
      ...bad.map((value, index) => ({
        value,
        key: index === 2 ? Buffer.from([0xfe]) : null,
        offset: 10 + index,
        partition: index,
      })),
      text('{"n":1}', { key: Buffer.from('b'), offset: 99 }),
      { value: Buffer.from([0xa9]), offset: 100 },
    ]);
    expect(valuesOf(chunk)).toEqual(['{"n":0}', '{"n":1}']);
    expect([...(chunk?.offsets ?? [])].slice(0, 2)).toEqual([0n, 99n]);
    expect(keysOf(chunk)).toEqual(['61', '62']);
    const found = refused.map(({ offset, partition, value, key, reason }) => ({
      offset,
      partition,
      value: Buffer.from(value ?? []).toString('hex'),
      key: key && Buffer.from(key).toString('hex'),
      reason,
    }));
    expect(found.toSorted((a, b) => Number(a.offset - b.offset))).toEqual([
      { offset: 10n, partition: 0, value: '', key: null, reason: 'the value is empty' },
      {
        offset: 11n,
        partition: 1,
        value: '7b2261223a221e227d',
        key: null,
        reason: 'the value holds the raw control character 0x1E',
      },
      { offset: 12n, partition: 2, value: '7bff7d', key: 'fe', reason: 'the value is not valid UTF-8' },
      { offset: 13n, partition: 3, value: 'c3', key: null, reason: 'the value is not valid UTF-8' },
      { offset: 100n, partition: 0, value: 'a9', key: null, reason: 'the value is not valid UTF-8' },
    ]);
  });

  test('everything, when nothing is text', () => {
    const { chunk, refused } = built([{ value: Buffer.from([0xff]) }, { value: Buffer.from([0xfe]) }]);
    expect(chunk).toBe(null);
    expect(refused.length).toBe(2);
  });
});

describe('buffers', () => {
  test('are not written to before they are released', () => {
    const builder = new ChunkBuilder();
    fill(builder, [text('{"first":1}', { key: Buffer.from('one') })]);
    const first = builder.build();
    fill(builder, [text('{"other":2}', { key: Buffer.from('two') })]);
    const second = builder.build();
    expect(valuesOf(first.chunk)).toEqual(['{"first":1}']);
    expect(keysOf(first.chunk)).toEqual([Buffer.from('one').toString('hex')]);
    first.release();
    fill(builder, [text('{"third":3}')]);
    expect(builder.build().chunk?.keys).toBe(null);
    expect(valuesOf(second.chunk)).toEqual(['{"other":2}']);
  });

  test('of one huge message are not kept', () => {
    const builder = new ChunkBuilder();
    fill(builder, [text('x'.repeat(12_000_000))]);
    builder.build().release();
    fill(builder, [text('{}')]);
    builder.build();
    fill(builder, [text('{}')]);
    const { chunk } = builder.build();
    expect(chunk?.values.buffer.byteLength).toBeLessThan(1_000_000);
  });
});
