// Record batches and fetch responses, from bytes made here by hand after the protocol guide; real brokers' bytes are read by the
// integration tests.
import { describe, expect, test } from 'bun:test';
import { type Fetched, rewriteFetchResponse } from '../../src/broker/fetch-response.ts';
import { frameAssembler } from '../../src/broker/fetch-tap.ts';
import {
  type AbortedTransaction,
  completeBatchBytes,
  nextOffsetOf,
  readHeaders,
  readRecords,
} from '../../src/broker/record-batch.ts';

type TestRecord = {
  offset: number;
  key?: string | null;
  value?: string | null;
  timestampMs?: number;
  headers?: [string, string | null][];
};

function varint(value: number | bigint): number[] {
  const wide = BigInt(value);
  let rest = (wide << 1n) ^ (wide < 0n ? -1n : 0n);
  rest = BigInt.asUintN(64, rest);
  const bytes: number[] = [];
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return [...bytes, Number(rest)];
}
const sized = (text: string | null | undefined): number[] => {
  if (text === null || text === undefined) return varint(-1);
  const bytes = Buffer.from(text, 'latin1');
  return [...varint(bytes.length), ...bytes];
};

type BatchOptions = {
  base?: bigint;
  last?: number;
  attributes?: number;
  producerId?: bigint;
  baseMs?: bigint;
  maxMs?: bigint;
  magic?: number;
};

function batchOf(records: readonly TestRecord[], options: BatchOptions = {}): Buffer {
  const { base = 0n, attributes = 0, producerId = -1n, baseMs = 1_000n, maxMs = 5_000n, magic = 2 } = options;
  const body = records.flatMap((record) => {
    const fields = [
      0,
      ...varint(BigInt(record.timestampMs ?? 1_000) - baseMs),
      ...varint(BigInt(record.offset) - base),
      ...sized(record.key),
      ...sized(record.value),
      ...varint(record.headers?.length ?? 0),
      ...(record.headers ?? []).flatMap(([name, value]) => [...sized(name), ...sized(value)]),
    ];
    return [...varint(fields.length), ...fields];
  });
  const bytes = Buffer.alloc(61 + body.length);
  bytes.writeBigInt64BE(base, 0);
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeInt8(magic, 16);
  bytes.writeInt16BE(attributes, 21);
  bytes.writeInt32BE(options.last ?? Number(BigInt(records.at(-1)?.offset ?? 0) - base), 23);
  bytes.writeBigInt64BE(baseMs, 27);
  bytes.writeBigInt64BE(maxMs, 35);
  bytes.writeBigInt64BE(producerId, 43);
  bytes.writeInt32BE(records.length, 57);
  bytes.set(body, 61);
  return bytes;
}

const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const marker = (offset: number, producerId: bigint, kind: 'abort' | 'commit'): Buffer =>
  batchOf([{ offset, key: kind === 'abort' ? '\0\0\0\0' : '\0\0\0\x01', value: '\0\0\0\0\0\0' }], {
    base: BigInt(offset),
    attributes: TRANSACTIONAL | CONTROL,
    producerId,
  });

function read(records: Buffer, from = 0n, aborted: readonly AbortedTransaction[] = []): TestRecord[] {
  const found: TestRecord[] = [];
  readRecords(records, from, aborted, {
    record: (bytes, part) =>
      found.push({
        offset: part.offset,
        timestampMs: part.timestampMs,
        key: part.keyLength < 0 ? null : bytes.toString('latin1', part.keyStart, part.keyStart + part.keyLength),
        value: part.valueLength < 0 ? null : bytes.toString('latin1', part.valueStart, part.valueStart + part.valueLength),
        headers: readHeaders(bytes, part).map(([name, value]) => [name, value === null ? null : value.toString('latin1')]),
      }),
  });
  return found;
}
const offsets = (records: Buffer, from = 0n, aborted: readonly AbortedTransaction[] = []): number[] =>
  read(records, from, aborted).map(({ offset }) => offset);

describe('a record', () => {
  test('keeps null, empty and binary parts apart', () => {
    const records = [
      { offset: 0, key: null, value: null, timestampMs: 1_000, headers: [] },
      { offset: 1, key: '', value: '', timestampMs: 1_001, headers: [] },
      {
        offset: 2,
        key: '\0\xff',
        value: '\x1e{}\n',
        timestampMs: 999,
        headers: [
          ['a', null],
          ['a', '\xfe'],
          ['', ''],
        ],
      },
    ] satisfies TestRecord[];
    expect(read(batchOf(records))).toEqual(records);
  });

  test('keeps its timestamp, however far from the first', () => {
    const far = [0, 2 ** 31, -(2 ** 40), 253_402_300_799_999].map((timestampMs, offset) => ({ offset, value: 'x', timestampMs }));
    expect(read(batchOf(far)).map(({ timestampMs }) => timestampMs)).toEqual(far.map(({ timestampMs }) => timestampMs));
  });

  test('has the batch’s largest timestamp under LogAppendTime', () => {
    expect(read(batchOf([{ offset: 0, value: 'x', timestampMs: 1 }], { attributes: 0x08 }))[0]?.timestampMs).toBe(5_000);
  });

  test('keeps offsets beyond 32 bits', () => {
    const base = 2n ** 40n;
    expect(
      offsets(
        batchOf(
          [
            { offset: 2 ** 40, value: 'x' },
            { offset: 2 ** 40 + 7, value: 'y' },
          ],
          { base },
        ),
      ),
    ).toEqual([2 ** 40, 2 ** 40 + 7]);
  });
});

describe('a record set', () => {
  const two = Buffer.concat([
    batchOf([
      { offset: 0, value: 'a' },
      { offset: 2, value: 'b' },
    ]),
    batchOf([{ offset: 5, value: 'c' }], { base: 5n, last: 3 }),
  ]);

  test('is read from an offset on, in the middle of a batch', () => {
    expect(offsets(two)).toEqual([0, 2, 5]);
    expect(offsets(two, 1n)).toEqual([2, 5]);
    expect(offsets(two, 3n)).toEqual([5]);
    expect(offsets(two, 6n)).toEqual([]);
  });

  test('covers the offsets that log compaction took from its end', () => {
    expect(nextOffsetOf(two)).toBe(9n);
    expect(nextOffsetOf(Buffer.alloc(0))).toBe(null);
  });

  test('ends before a batch that is cut short', () => {
    const first = 12 + two.readInt32BE(8);
    for (let cut = 0; cut < two.length - first; cut += 7) expect(completeBatchBytes(two.subarray(0, first + cut))).toBe(first);
    expect(completeBatchBytes(two)).toBe(two.length);
  });

  test('of an older format is refused', () => {
    expect(() => offsets(batchOf([{ offset: 0, value: 'a' }], { magic: 1 }))).toThrow('format 1');
  });

  test('that is damaged is refused, and never read past its end', () => {
    const whole = batchOf([{ offset: 0, value: 'abcdef' }]);
    whole[61] = 0x7e;
    expect(() => offsets(whole)).toThrow('damaged');
  });
});

describe('transactions', () => {
  const transactional = { attributes: TRANSACTIONAL, producerId: 7n };
  const aborted = [{ producerId: 7n, firstOffset: 0n }];

  test('that were aborted are passed over, what follows them is not', () => {
    const records = Buffer.concat([
      batchOf([{ offset: 0, value: 'a' }], transactional),
      batchOf([{ offset: 1, value: 'other' }], { base: 1n }),
      batchOf([{ offset: 2, value: 'b' }], { ...transactional, base: 2n }),
      marker(3, 7n, 'abort'),
      batchOf([{ offset: 4, value: 'c' }], { ...transactional, base: 4n }),
      marker(5, 7n, 'commit'),
    ]);
    expect(offsets(records, 0n, aborted)).toEqual([1, 4]);
    expect(nextOffsetOf(records)).toBe(6n);
  });

  test('are not ended by a message whose key is four zero bytes', () => {
    const records = Buffer.concat([
      batchOf([{ offset: 0, key: '\0\0\0\0', value: 'a' }], transactional),
      batchOf([{ offset: 1, key: 'k', value: 'b' }], { ...transactional, base: 1n }),
      marker(2, 7n, 'abort'),
    ]);
    expect(offsets(records, 0n, aborted)).toEqual([]);
  });

  test('of two producers do not mix', () => {
    const other = { attributes: TRANSACTIONAL, producerId: 8n };
    const records = Buffer.concat([
      batchOf([{ offset: 0, value: 'a' }], transactional),
      batchOf([{ offset: 1, value: 'b' }], { ...other, base: 1n }),
      marker(2, 7n, 'abort'),
      batchOf([{ offset: 3, value: 'c' }], { ...other, base: 3n }),
      marker(4, 8n, 'abort'),
    ]);
    expect(offsets(records, 0n, [{ producerId: 8n, firstOffset: 1n }, ...aborted])).toEqual([]);
    expect(offsets(records, 0n, aborted)).toEqual([1, 3]);
  });
});

/** A response of version 11 or 4 with one partition. */
function responseOf(version: number, records: Buffer, errorCode = 0): Buffer {
  const int = (bytes: 2 | 4 | 8, value: number | bigint): Buffer => {
    const buffer = Buffer.alloc(bytes);
    if (bytes === 8) buffer.writeBigInt64BE(BigInt(value));
    else buffer.writeIntBE(Number(value), 0, bytes);
    return buffer;
  };
  const body = Buffer.concat([
    int(4, 42),
    int(4, 0),
    ...(version >= 7 ? [int(2, 0), int(4, 0)] : []),
    int(4, 1),
    int(2, 1),
    Buffer.from('t'),
    int(4, 1),
    int(4, 3),
    int(2, errorCode),
    int(8, 100),
    int(8, 90),
    ...(version >= 5 ? [int(8, 5)] : []),
    int(4, 1),
    int(8, 7),
    int(8, 2),
    ...(version >= 11 ? [int(4, -1)] : []),
    int(4, records.length),
    records,
  ]);
  return Buffer.concat([int(4, body.length), body]);
}

describe('a fetch response', () => {
  const records = batchOf(
    [
      { offset: 2, value: 'a' },
      { offset: 8, value: 'b' },
    ],
    { base: 2n },
  );

  test.each([4, 5, 6, 7, 8, 9, 10, 11])('of version %d gives up its records for a ticket at their last offset', (version) => {
    const taken: Omit<Fetched, 'isCurrent' | 'isLast'>[] = [];
    const hooks = {
      onRecords: (fetched: Omit<Fetched, 'isCurrent' | 'isLast'>) => BigInt(taken.push(fetched)) + 76n,
      onOutOfRange: () => {},
      onUnknownTopic: () => {},
      onEnd: () => {},
    };
    const rewritten = rewriteFetchResponse(
      responseOf(version, Buffer.concat([records, records.subarray(0, 20)])),
      version,
      hooks,
    );
    expect(taken).toEqual([
      {
        topic: 't',
        partition: 3,
        records,
        nextOffset: 9n,
        endOffset: 90n,
        abortedTransactions: [{ producerId: 7n, firstOffset: 2n }],
      },
    ]);
    expect(rewritten.readInt32BE(0)).toBe(rewritten.length - 4);
    const ticket = rewritten.subarray(responseOf(version, Buffer.alloc(0)).length);
    expect(read(ticket)).toMatchObject([{ offset: 8, key: null, value: '\0\0\0\0\0\0\0M' }]);
  });

  test('without a complete batch stays as it is', () => {
    const response = responseOf(11, records.subarray(0, 40));
    const hooks = { onRecords: () => 1n, onOutOfRange: () => {}, onUnknownTopic: () => {}, onEnd: () => {} };
    expect(rewriteFetchResponse(response, 11, hooks)).toEqual(response);
  });

  test('tells an offset that Kafka does not have', () => {
    const told: string[] = [];
    const hooks = {
      onRecords: () => 1n,
      onOutOfRange: (topic: string, partition: number) => told.push(`${topic}:${partition}`),
      onUnknownTopic: () => {},
      onEnd: () => {},
    };
    rewriteFetchResponse(responseOf(11, Buffer.alloc(0), 1), 11, hooks);
    expect(told).toEqual(['t:3']);
  });
});

test('frames are put together from chunks of every size', () => {
  const frames = [
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0, 0, 0, 2, 1, 2]),
    Buffer.from([0, 0, 0, 9, 0, 0, 0, 5, 1, 2, 3, 4, 5]),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 6]),
  ];
  const stream = Buffer.concat([...frames, ...frames]);
  for (let size = 1; size <= stream.length; size++) {
    const seen: string[] = [];
    const asked: number[] = [];
    const push = frameAssembler(
      (bytes, correlationId) => {
        asked.push(correlationId);
        return Buffer.alloc(bytes);
      },
      (frame) => seen.push(frame.toString('hex')),
    );
    for (let at = 0; at < stream.length; at += size) push(stream.subarray(at, at + size));
    expect(seen).toEqual([...frames, ...frames].map((frame) => frame.toString('hex')));
    expect(asked).toEqual([5, 6, 5, 6]);
  }
});
