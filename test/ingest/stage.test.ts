// From fetched record sets to closed batches, on a real DuckDB; the record sets are encoded by kafkajs, as a producer sends them.
import { describe, expect, test } from 'bun:test';
import { LakeError } from '../../src/errors.ts';
import { CHUNK_BYTES_MAX } from '../../src/ingest/chunk-builder.ts';
import { decodePlan } from '../../src/ingest/decode.ts';
import type { InForce } from '../../src/ingest/open-batch.ts';
import { SchemaGrown, type StageOptions, type WorkQueue } from '../../src/ingest/stage.ts';
import type { CommittedRange, LastMessage } from '../../src/model/log-entry.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { until } from '../helpers/until.ts';
import { MESSAGE_MS } from './decode-helpers.ts';
import {
  commitMarker,
  feed,
  inForce,
  large,
  type Message,
  openStage,
  order,
  recordSet,
  TRANSACTIONAL,
  withAttributes,
  wrong,
} from './stage-helpers.ts';

const noSchema: InForce = {
  plan: decodePlan({ ...feed, fields: [], eventTime: null }, { timezone: 'UTC', schemaVersion: 0 }),
  epoch: 0,
};

/** What the ranges count, in Kafka's terms: `partition: [start, end) messages = rows + dead letters + tombstones`. */
const shown = (ranges: readonly CommittedRange[]): string[] =>
  ranges.map(
    ({ partition, start, end, messages, rows, deadLetters, tombstones }) =>
      `${partition}: [${start}, ${end}) ${messages} = ${rows} + ${deadLetters} + ${tombstones}`,
  );

describe('a batch', () => {
  test('holds every message as a row, under the id and the schema it was opened with', async () => {
    await using bench = await openStage();
    await bench.take([order(4, { key: 'k', value: '{"id":4,"name":"é"}' }), order(6, { ageMs: 5 })], { partition: 9 });
    const { ranges, tables, ...batch } = await bench.closed();
    const names = { id: 'b1', feed: 'shop_orders', topic: 'orders', eventTime: null, epoch: 2, schemaVersion: 3, memory: null };
    expect(batch).toEqual({ ...names, rows: 2, deadLetters: 0, bytes: bench.told.sealed });
    expect(shown(ranges)).toEqual(['9: [4, 7) 2 = 2 + 0 + 0']);
    expect(ranges[0]?.last).toMatchObject({ offset: 6n, timestampMs: Number(MESSAGE_MS) - 5 });
    expect(ranges[0]?.timestampMsMax).toBe(Number(MESSAGE_MS));
    expect(await bench.select(`SELECT id, name, kafka_partition, kafka_offset FROM ${tables.rows} ORDER BY id`)).toEqual([
      { id: 4n, name: 'é', kafka_partition: 9, kafka_offset: 4n },
      { id: 6n, name: null, kafka_partition: 9, kafka_offset: 6n },
    ]);
  });

  test('is its own: the bytes of a record set may be overwritten once it is taken', async () => {
    await using bench = await openStage();
    const fetched = await recordSet([order(0), wrong(1), order(2, { value: Buffer.from([0xff]) })]);
    bench.stage.take(fetched, 0n, null);
    fetched.records.fill(0x1e);
    const batch = await bench.closed();
    expect(await bench.ids(batch.tables.rows)).toEqual([0]);
    const letters = await bench.select(`SELECT hex(value) AS value FROM ${batch.tables.deadLetters} ORDER BY kafka_offset`);
    expect(letters).toEqual([{ value: Buffer.from('{"id":"x"}').toString('hex').toUpperCase() }, { value: 'FF' }]);
  });

  test('counts tombstones, which make no row, and remembers one that comes last', async () => {
    await using bench = await openStage();
    await bench.take([order(0), { offset: 1, key: 'k', value: null }, { offset: 2, value: null }]);
    const { ranges, rows } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [0, 3) 3 = 1 + 0 + 2']);
    expect([rows, ranges[0]?.last?.offset]).toEqual([1, toOffset(2n)]);
  });

  test('of tombstones alone has ranges and makes no table', async () => {
    await using bench = await openStage();
    await bench.take([{ offset: 0, value: null }]);
    const { ranges, tables } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [0, 1) 1 = 0 + 0 + 1']);
    expect([tables, await bench.tables()]).toEqual([{ rows: '', deadLetters: '', tombstones: null }, []]);
  });

  test('counts what cannot be a row as dead letters of its partition, with its bytes and the reason', async () => {
    await using bench = await openStage();
    const raw = (offset: number, ...bytes: number[]): Message => ({ offset, value: Buffer.from(bytes) });
    await bench.take([order(0), raw(1), raw(2, 0x7b, 0x1e, 0x7d), wrong(3)]);
    await bench.take([raw(0, 0xff, 0xfe), order(1), { offset: 2, value: null }, wrong(3)], { partition: 5 });
    const { ranges, rows, deadLetters, tables } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [0, 4) 4 = 1 + 3 + 0', '5: [0, 4) 4 = 1 + 2 + 1']);
    expect([rows, deadLetters]).toEqual([2, 5]);
    const columns = `kafka_partition AS at, kafka_offset AS "offset", hex(value) AS value, field, reason`;
    const letters = await bench.select(`SELECT ${columns} FROM ${tables.deadLetters} ORDER BY ALL`);
    const found = letters.map(({ at, offset, value, field, reason }) => `${at}:${offset} ${value} ${field} ${reason}`);
    expect(found.slice(0, 2)).toEqual([
      '0:1  null the value is empty',
      '0:2 7B1E7D null the value holds the raw control character 0x1E',
    ]);
    expect(found[2]).toStartWith('0:3 7B226964223A2278227D id ');
    expect(found[3]).toBe('5:0 FFFE null the value is not valid UTF-8');
    expect(found[4]).toStartWith('5:3 7B226964223A2278227D id ');
    expect(found.length).toBe(5);
  });

  test('takes a record set from a position inside it', async () => {
    await using bench = await openStage();
    await bench.take([order(10), order(11), { offset: 12, value: null }, order(13), order(14)], { position: 12 });
    const { ranges, tables } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [12, 15) 3 = 2 + 0 + 1']);
    expect(await bench.ids(tables.rows)).toEqual([13, 14]);
  });

  test('does not open for a record set that ends at the position', async () => {
    await using bench = await openStage();
    await bench.take([order(10), order(11)], { position: 12 });
    expect(bench.stage.batch).toBe(null);
    expect(await bench.stage.close()).toBe(null);
  });

  test('of a control batch alone has an empty range', async () => {
    await using bench = await openStage();
    bench.stage.take(await commitMarker(7), 7n, null);
    const { ranges, rows, deadLetters } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [7, 8) 0 = 0 + 0 + 0']);
    expect([ranges[0]?.last, ranges[0]?.timestampMsMax, rows, deadLetters]).toEqual([null, null, 0, 0]);
  });

  test('that ends in a control batch remembers the message before it', async () => {
    await using bench = await openStage();
    await bench.take([order(6)]);
    bench.stage.take(await commitMarker(7), 7n, null);
    const { ranges } = await bench.closed();
    expect([shown(ranges), ranges[0]?.last?.offset]).toEqual([['0: [6, 8) 1 = 1 + 0 + 0'], toOffset(6n)]);
  });

  test('covers the offsets of an aborted transaction, and holds none of its messages', async () => {
    await using bench = await openStage();
    const fetched = withAttributes(await recordSet([order(0), order(1)]), TRANSACTIONAL);
    bench.stage.take({ ...fetched, abortedTransactions: [{ producerId: -1n, firstOffset: 0n }] }, 0n, null);
    await bench.take([order(2)]);
    const { ranges, tables } = await bench.closed();
    expect([shown(ranges), await bench.ids(tables.rows)]).toEqual([['0: [0, 3) 1 = 1 + 0 + 0'], [2]]);
  });

  test('goes on where the one before ended: ranges tile, over the offsets that Kafka no longer has too', async () => {
    await using bench = await openStage();
    await bench.take([order(2), order(5)], { position: 0, base: 1, last: 8 });
    await bench.take([order(12)], { position: 9 });
    await bench.take([order(3)], { partition: 1 });
    const first = await bench.closed();
    await bench.take([order(13), order(20)], { position: 13, last: 30 });
    const second = await bench.closed();
    expect(shown(first.ranges)).toEqual(['0: [0, 13) 3 = 3 + 0 + 0', '1: [3, 4) 1 = 1 + 0 + 0']);
    expect(shown(second.ranges)).toEqual(['0: [13, 31) 2 = 2 + 0 + 0']);
  });

  test('refuses a record set that does not go on where the last one ended', async () => {
    await using bench = await openStage();
    await bench.take([order(0), order(1)]);
    await expect(bench.take([order(3)])).rejects.toThrow('partition 0 was taken at 3 after 2');
  });

  test('tells its messages, its decoded bytes and its age', async () => {
    let nowMs = 1_000;
    await using bench = await openStage(() => ({ nowMs: () => nowMs }));
    expect(bench.stage.facts()).toEqual({ messages: 0, bytes: 0, ageMs: 0 });
    await bench.take([large(0), order(1), { offset: 2, value: null }]);
    nowMs = 5_500;
    expect(bench.stage.facts()).toEqual({ messages: 3, bytes: bench.told.sealed, ageMs: 4_500 });
    expect(bench.stage.pendingBytes).toBe(bench.told.sealed);
    expect((await bench.closed()).bytes).toBe(bench.told.sealed);
    expect(bench.stage.pendingBytes).toBe(0);
    expect(bench.told).toMatchObject({ changed: 2, slowed: [] });
  });

  test('is decoded exactly, and says so, when DuckDB cannot take a chunk', async () => {
    const fast = { levels: [], values: ["error('too deep')", 'NULL'], conditions: [] };
    await using bench = await openStage(() => ({ inForce: () => ({ ...inForce, plan: { ...inForce.plan, scan: null, fast } }) }));
    await bench.take([order(0), order(1)]);
    expect(await bench.ids((await bench.closed()).tables.rows)).toEqual([0, 1]);
    expect(bench.told.slowed).toEqual([expect.stringContaining('too deep')]);
  });
});

describe('chunks', () => {
  /** No piece of work is done before two are under way. */
  const inPairs = (decode: WorkQueue): Partial<StageOptions> => {
    let running = 0;
    return {
      decode: (work) =>
        decode(async (connection) => {
          running++;
          await until(() => running >= 2, { what: 'two chunks are decoded beside each other' });
          return work(connection);
        }),
    };
  };

  test('of a batch are decoded beside each other, into the same two tables', async () => {
    await using bench = await openStage(inPairs);
    await bench.take([large(0), order(1), large(2), wrong(3), large(4)]);
    const { ranges, tables } = await bench.closed();
    expect(shown(ranges)).toEqual(['0: [0, 5) 5 = 4 + 1 + 0']);
    expect(await bench.ids(tables.rows)).toEqual([0, 1, 2, 4]);
    expect((await bench.tables()).length).toBe(2);
  });

  test('of the next batch are decoded beside those of the one that closes, and stay apart', async () => {
    await using bench = await openStage(inPairs);
    await bench.take([order(0)]);
    const first = bench.closed();
    await bench.take([order(1)]);
    const [one, two] = await Promise.all([first, bench.closed()]);
    expect([one.id, two.id]).toEqual(['b1', 'b2']);
    expect([await bench.ids(one.tables.rows), await bench.ids(two.tables.rows)]).toEqual([[0], [1]]);
    await bench.stage.discard(one.tables);
    await bench.stage.discard(one.tables);
    expect(await bench.tables()).toEqual(['batch_b2_dead_letters', 'batch_b2_rows']);
  });
});

describe('a batch that is dropped', () => {
  /** A stage whose first chunk stays under way, before or after the work on it, until `release` is called; a second one fills. */
  const openHeld = async (when: 'before' | 'after') => {
    const gate = Promise.withResolvers<void>();
    let held = false;
    const hold = () => {
      held = true;
      return gate.promise;
    };
    const bench = await openStage((decode) => ({
      decode: (work) =>
        decode(async (connection) => {
          if (when === 'before') await hold();
          const result = await work(connection);
          if (when === 'after') await hold();
          return result;
        }),
    }));
    await bench.take([large(0), order(1)]);
    await until(() => held);
    return { ...bench, release: gate.resolve };
  };

  test.each(['before', 'after'] as const)(
    '%s its chunk is decoded leaves nothing behind, and the next begins anew',
    async (when) => {
      await using bench = await openHeld(when);
      const dropping = bench.stage.drop();
      expect(bench.stage.batch).toBe(null);
      bench.release();
      await dropping;
      await until(() => bench.stage.pendingBytes === 0);
      expect(await bench.tables()).toEqual([]);
      await bench.take([order(1)]);
      const { id, ranges, tables } = await bench.closed();
      expect([id, shown(ranges), await bench.ids(tables.rows)]).toEqual(['b2', ['0: [1, 2) 1 = 1 + 0 + 0'], [1]]);
    },
  );

  test.each([
    ['is not decoded further when it comes', true, 2],
    ['has no failure that counts when it does not', false, 0],
  ])('while its chunks wait for a schema %s', async (_name, comes, works) => {
    const inferred = Promise.withResolvers<InForce>();
    let asked = 0;
    let decoded = 0;
    await using bench = await openStage((decode) => ({
      inForce: () => null,
      infer: () => {
        asked++;
        return inferred.promise;
      },
      decode: (work) => {
        decoded++;
        return decode(work);
      },
    }));
    await bench.take([large(0), large(1)]);
    await until(() => asked === 1);
    const dropping = bench.stage.drop();
    if (comes) inferred.resolve(inForce);
    else inferred.reject(new LakeError('fenced', 'another lake pinned a schema'));
    await dropping;
    await until(() => bench.stage.pendingBytes === 0);
    // The chunk that was asked about, and the dropping of its tables.
    expect([asked, decoded, bench.stage.failed]).toEqual([1, works, false]);
  });

  test('while it closes is not handed over, and leaves no table behind', async () => {
    await using bench = await openHeld('after');
    const closing = bench.stage.close();
    const dropping = bench.stage.drop();
    bench.release();
    await dropping;
    expect([await closing, await bench.tables()]).toEqual([null, []]);
  });

  test('after it was handed over stays its owner’s', async () => {
    await using bench = await openStage();
    await bench.take([order(0)]);
    const { tables } = await bench.closed();
    await bench.stage.drop();
    expect(await bench.ids(tables.rows)).toEqual([0]);
  });
});

describe('a failure', () => {
  const full = new LakeError('engine_failed', 'the disk is full');

  test('while decoding is thrown when the batch closes, and leaves no table behind', async () => {
    let broken = true;
    await using bench = await openStage(() => ({ widen: async () => (broken ? Promise.reject(full) : false) }));
    await bench.take([large(0), wrong(1), large(2)]);
    await until(() => bench.stage.failed);
    expect(await bench.stage.close().catch((error) => error)).toBe(full);
    expect([bench.told.changed, await bench.tables()]).toEqual([2, []]);
    broken = false;
    await bench.stage.drop();
    expect([bench.stage.failed, bench.stage.pendingBytes]).toEqual([false, 0]);
    await bench.take([large(0), wrong(1), large(2)]);
    expect(shown((await bench.closed()).ranges)).toEqual(['0: [0, 3) 3 = 2 + 1 + 0']);
  });

  test('is thrown only when the other chunks have ended, which may still make the tables', async () => {
    const gate = Promise.withResolvers<void>();
    let turn = 0;
    await using bench = await openStage((decode) => ({
      decode: async (work) => {
        turn++;
        if (turn === 1) throw full;
        if (turn === 2) await gate.promise;
        return decode(work);
      },
    }));
    await bench.take([large(0), large(1)]);
    await until(() => bench.stage.failed);
    const closing = bench.stage.close().catch((error) => error);
    gate.resolve();
    expect(await closing).toBe(full);
    await until(() => bench.stage.pendingBytes === 0);
    expect(await bench.tables()).toEqual([]);
  });

  test('of one batch keeps the next from being handed over, for its offsets follow', async () => {
    await using bench = await openStage(() => ({ widen: () => Promise.reject(full) }));
    await bench.take([wrong(0)]);
    const first = bench.stage.close().catch((error) => error);
    await bench.take([order(1)]);
    const second = bench.stage.close().catch((error) => error);
    expect([await first, await second]).toEqual([full, full]);
    expect(await bench.tables()).toEqual([]);
  });
});

describe('the schema', () => {
  test('that grew gives the batch up, to be read again', async () => {
    const asked: string[] = [];
    await using bench = await openStage(() => ({ widen: async (values) => asked.push(Buffer.from(values).toString()) > 0 }));
    await bench.take([order(0), wrong(1)]);
    expect(await bench.stage.close().catch((error) => error)).toBeInstanceOf(SchemaGrown);
    expect(asked).toEqual(['{"id":0}\x1e{"id":"x"}']);
    expect(await bench.tables()).toEqual([]);
  });

  test.each([
    ['is asked to grow for a message that it refuses', 'sample', '{"id":"x"}', 1],
    ['is not asked for what it takes', 'all', '{"id":1,"name":"a"}', 0],
    ['is asked for a new name when names become columns', 'all', '{"id":1,"new":2}', 1],
    ['is not asked for a new name when they do not', 'sample', '{"id":1,"new":2}', 0],
    ['is not asked for what is no JSON text at all', 'all', '', 0],
  ] as const)('%s', async (_name, names, value, times) => {
    await using bench = await openStage(() => ({ inForce: () => ({ ...inForce, plan: { ...inForce.plan, names } }) }));
    await bench.take([order(0, { value })]);
    const closed = await bench.stage.close();
    expect(bench.told.widened).toEqual(times === 1 ? [value] : []);
    expect([...(closed?.open.drift ?? [])]).toEqual(value.includes('new') ? ['new'] : []);
  });

  /** Known once a chunk holds `says`. */
  const inferring = (says: string, asked: string[]) => (): Partial<StageOptions> => {
    let known: InForce | null = null;
    return {
      inForce: () => known,
      infer: async (values) => {
        asked.push(Buffer.from(values).toString().trimEnd());
        if (asked.at(-1)?.includes(says)) known = inForce;
        return known ?? noSchema;
      },
    };
  };

  test('is inferred once, from the first chunk, while the others wait', async () => {
    const asked: string[] = [];
    await using bench = await openStage(inferring('"id":0', asked));
    await bench.take([large(0), large(1), order(2)]);
    const { epoch, schemaVersion, tables } = await bench.closed();
    expect([epoch, schemaVersion, asked]).toEqual([2, 3, ['{"id":0}']]);
    expect(await bench.ids(tables.rows)).toEqual([0, 1, 2]);
  });

  test('that nothing tells makes dead letters of all messages, under version 0', async () => {
    const asked: string[] = [];
    await using bench = await openStage(inferring('"id"', asked));
    await bench.take([order(0, { value: '[]' }), order(1, { value: '' })]);
    const { ranges, schemaVersion, epoch } = await bench.closed();
    expect([shown(ranges), schemaVersion, epoch, asked]).toEqual([['0: [0, 2) 2 = 0 + 2 + 0'], 0, 0, ['[]']]);
  });

  test.each([
    ['rows', '{"id":0}', 1],
    ['tombstones', null, 0],
  ])(
    'that another member pinned while a batch of %s filled is the one it carries, and none is inferred',
    async (_of, value, rows) => {
      let known: InForce | null = null;
      const infer = () => Promise.reject(new Error('asked to infer'));
      await using bench = await openStage(() => ({ inForce: () => known, infer }));
      await bench.take([{ offset: 0, value }]);
      known = inForce;
      expect(await bench.closed()).toMatchObject({ epoch: 2, schemaVersion: 3, rows });
    },
  );

  test('that is told after dead letters were staged without it gives the batch up', async () => {
    await using bench = await openStage(inferring('"id"', []));
    await bench.take([order(0, { value: '[]'.padEnd(CHUNK_BYTES_MAX, ' ') }), order(1)]);
    expect(await bench.stage.close().catch((error) => error)).toBeInstanceOf(SchemaGrown);
    expect(await bench.tables()).toEqual([]);
  });
});

describe('the last message committed', () => {
  const messages = [order(0), order(1, { key: 'k', ageMs: 3 }), order(2)];
  const lastOf = async (taken: readonly Message[]): Promise<LastMessage> => {
    await using bench = await openStage();
    await bench.take(taken);
    const last = (await bench.closed()).ranges[0]?.last;
    if (!last) throw new Error('a range without a last message');
    return last;
  };

  test('is read again, recognised, and not taken twice', async () => {
    await using bench = await openStage();
    bench.stage.take(await recordSet(messages), 2n, await lastOf(messages.slice(0, 2)));
    const { ranges, tables } = await bench.closed();
    expect([shown(ranges), await bench.ids(tables.rows)]).toEqual([['0: [2, 3) 1 = 1 + 0 + 0'], [2]]);
  });

  test('alone in a record set leaves nothing to commit', async () => {
    await using bench = await openStage();
    bench.stage.take(await recordSet(messages.slice(0, 2)), 2n, await lastOf(messages.slice(0, 2)));
    expect(await bench.stage.close()).toBe(null);
  });

  test('may be gone from the topic', async () => {
    await using bench = await openStage();
    bench.stage.take(await recordSet([order(0), order(2)]), 2n, await lastOf(messages.slice(0, 2)));
    expect(shown((await bench.closed()).ranges)).toEqual(['0: [2, 3) 1 = 1 + 0 + 0']);
  });

  test.each([
    ['another value', { key: 'k', ageMs: 3, value: '{"id":9}' }],
    ['another key', { key: 'l', ageMs: 3 }],
    ['no key', { ageMs: 3 }],
    ['another timestamp', { key: 'k', ageMs: 4 }],
    ['a tombstone', { key: 'k', ageMs: 3, value: null }],
  ])('with %s in its place means that the topic was created anew', async (_name, more) => {
    await using bench = await openStage();
    const fetched = await recordSet([order(0), order(1, more), order(2)]);
    const check = await lastOf(messages.slice(0, 2));
    expect(() => bench.stage.take(fetched, 2n, check)).toThrow('offset 1 of partition 0 holds another message');
  });

  test('is compared when nothing new comes with it, too', async () => {
    await using bench = await openStage();
    const fetched = await recordSet([order(0), order(1)]);
    const check = await lastOf(messages.slice(0, 2));
    expect(() => bench.stage.take(fetched, 2n, check)).toThrow('topic orders was created anew');
  });
});
