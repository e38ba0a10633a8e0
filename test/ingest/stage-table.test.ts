// A table's way through the stage: rows and tombstones carry the effective timestamp, the running maximum of their partition, and
// every tombstone is a staged key or a dead letter (DESIGN §5).

import { describe, expect, test } from 'bun:test';
import { decodePlan } from '../../src/ingest/decode.ts';
import type { InForce } from '../../src/ingest/open-batch.ts';
import type { Feed } from '../../src/model/feed.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { feedOf, field, MESSAGE_MS, varchar } from './decode-helpers.ts';
import { openStage, recordSet } from './stage-helpers.ts';

const fields = [
  field('user_id', varchar()),
  field('region', { kind: 'integer' }),
  field('total', { kind: 'decimal', precision: 15, scale: 2 }),
];
const tableOf = (more: Partial<Feed> = {}): Feed =>
  feedOf(fields, { name: 'totals', type: 'table', keyFields: ['user_id', 'region'], ...more });
const forceOf = (feed: Feed): InForce => ({ plan: decodePlan(feed, { timezone: 'UTC', schemaVersion: 1 }), epoch: 0 });

async function openTable({ feed = tableOf(), highestMs = null }: { feed?: Feed; highestMs?: number | null } = {}) {
  const force = forceOf(feed);
  const bench = await openStage(() => ({ feed: 'totals', highestMs: () => highestMs, inForce: () => force }));
  const staged = async () => {
    const batch = await bench.closed();
    const { rows, tombstones, deadLetters } = batch.tables;
    const age = `(${MESSAGE_MS} - epoch_ms(kafka_timestamp))::INTEGER AS age`;
    const keys = 'user_id, region, kafka_partition AS p, kafka_offset::INTEGER AS o';
    return {
      batch,
      rows: await bench.select(`SELECT ${keys}, total::VARCHAR AS total, ${age} FROM ${rows} ORDER BY p, o`),
      tombstones: await bench.select(`SELECT ${keys}, ${age}, decode(kafka_key) AS key FROM ${tombstones} ORDER BY p, o`),
      letters: await bench.select(
        `SELECT kafka_partition AS p, kafka_offset::INTEGER AS o, field, reason, value IS NULL AS is_null, ${age} FROM ${deadLetters} ORDER BY p, o`,
      ),
    };
  };
  return { ...bench, staged };
}

const row = (offset: number, ageMs: number, user = 'u1') => ({
  offset,
  ageMs,
  value: `{"user_id":"${user}","region":7,"total":1.50}`,
});
const gone = (offset: number, ageMs: number, key: string | null = '{"user_id":"u1","region":7}') => ({
  offset,
  ageMs,
  key,
  value: null,
});

describe('the effective timestamp', () => {
  test('is the running maximum of the partition, of rows and tombstones alike', async () => {
    await using bench = await openTable();
    await bench.take([row(0, 50), row(1, 90), gone(2, 70), row(3, 10), gone(4, 40)]);
    await bench.take([row(0, 80)], { partition: 1 });
    const { rows, tombstones } = await bench.staged();
    expect(rows.map(({ p, o, age }) => [p, o, age])).toEqual([
      [0, 0, 50],
      [0, 1, 50],
      [0, 3, 10],
      [1, 0, 80],
    ]);
    expect(tombstones.map(({ o, age }) => [o, age])).toEqual([
      [2, 50],
      [4, 10],
    ]);
  });

  test('begins with what the position keeps, goes on over batches, and begins again after a drop', async () => {
    await using bench = await openTable({ highestMs: Number(MESSAGE_MS) - 30 });
    await bench.take([row(0, 50), row(1, 20)]);
    expect((await bench.staged()).rows.map(({ age }) => age)).toEqual([30, 20]);
    await bench.take([row(2, 60)]);
    expect((await bench.staged()).rows.map(({ age }) => age)).toEqual([20]);
    await bench.stage.drop();
    await bench.take([row(2, 60)]);
    expect((await bench.staged()).rows.map(({ age }) => age)).toEqual([30]);
  });

  test('is carried by rows that are decoded exactly, too, while a dead letter keeps its own', async () => {
    await using bench = await openTable();
    const long = { offset: 1, ageMs: 90, value: '{"user_id":"u2","region":7,"total":"0001.5"}' };
    const wrong = { offset: 2, ageMs: 80, value: '{"user_id":"u3","region":7,"total":"x"}' };
    await bench.take([row(0, 10), long, wrong]);
    const { rows, letters } = await bench.staged();
    expect(rows.map(({ o, age, total }) => [o, age, total])).toEqual([
      [0, 10, '1.50'],
      [1, 10, '1.50'],
    ]);
    expect(letters.map(({ o, age }) => [o, age])).toEqual([[2, 80]]);
  });

  test('is not raised by a timestamp that no column holds', async () => {
    await using bench = await openTable();
    await bench.take([row(0, 50), row(1, -(2 ** 48)), row(2, 70)]);
    const { rows, letters, batch } = await bench.staged();
    expect(rows.map(({ o, age }) => [o, age])).toEqual([
      [0, 50],
      [2, 50],
    ]);
    expect(letters.map(({ o }) => o)).toEqual([1]);
    expect(batch.ranges[0]?.timestampMsMax).toBe(Number(MESSAGE_MS) - 50);
  });
});

describe('a tombstone', () => {
  test('is staged with its key, its coordinates and the bytes of its Kafka key', async () => {
    await using bench = await openTable();
    await bench.take([gone(0, 0, '{"region":"8","user_id":"é"}')]);
    const { tombstones, rows, letters, batch } = await bench.staged();
    expect(tombstones).toEqual([{ user_id: 'é', region: 8, p: 0, o: 0, age: 0, key: '{"region":"8","user_id":"é"}' }]);
    expect([rows, letters]).toEqual([[], []]);
    expect(batch.ranges.map(({ messages, rows: count, tombstones: deleted }) => [messages, count, deleted])).toEqual([[1, 0, 1]]);
  });

  test('with a bare key of one part', async () => {
    await using bench = await openTable({ feed: tableOf({ keyFields: ['user_id'], keyFrom: 'message_key' }) });
    await bench.take([gone(0, 0, 'u 1'), gone(1, 0, '"u2"')]);
    // The other key column of this bench is none of the table's.
    const batch = await bench.closed();
    expect(await bench.select(`SELECT user_id FROM ${batch.tables.tombstones} ORDER BY kafka_offset`)).toEqual([
      { user_id: 'u 1' },
      { user_id: 'u2' },
    ]);
  });

  const cases: [string, string | null, string][] = [
    ['without a key', null, 'the Kafka key is missing or not UTF-8'],
    ['with a part that is missing', '{"user_id":"u1"}', 'required, and missing or null'],
    ['with a part that is null', '{"user_id":null,"region":7}', 'required, and missing or null'],
    ['with a part of another type', '{"user_id":"u1","region":"x"}', 'x'],
    ['with a bare key for two parts', 'u1', 'must hold 2 key fields'],
  ];
  for (const [name, key, reason] of cases) {
    test(`${name} is a dead letter, and counts as one`, async () => {
      await using bench = await openTable();
      await bench.take([gone(0, 0), gone(1, 0, key), row(2, 0)]);
      const { letters, tombstones, batch } = await bench.staged();
      expect(letters.map(({ o, is_null }) => [o, is_null])).toEqual([[1, true]]);
      expect(String(letters[0]?.['reason'])).toContain(reason);
      expect(tombstones.map(({ o }) => o)).toEqual([0]);
      expect(
        batch.ranges.map(({ messages, rows, tombstones: deleted, deadLetters }) => [messages, rows, deleted, deadLetters]),
      ).toEqual([[3, 1, 1, 1]]);
    });
  }

  test('before any schema is known is a dead letter', async () => {
    const feed = tableOf();
    await using bench = await openStage(() => ({
      feed: 'totals',
      highestMs: () => null,
      inForce: () => null,
      infer: async () => forceOf({ ...feed, fields: [] }),
    }));
    await bench.take([gone(0, 0)]);
    const batch = await bench.closed();
    expect([batch.deadLetters, batch.tables.tombstones]).toEqual([1, null]);
  });

  test('leaves no table behind when its batch is dropped', async () => {
    await using bench = await openTable();
    await bench.take([gone(0, 0)]);
    await bench.stage.drop();
    expect(await bench.tables()).toEqual([]);
  });
});

describe('a take up to a limit', () => {
  const limited = async (
    bench: Awaited<ReturnType<typeof openTable>>,
    limit: { offset?: bigint; beforeMs?: number },
    last?: number,
  ) => {
    const fetched = await recordSet([row(0, 50), row(1, 40), row(4, 10), row(5, 30)], last === undefined ? {} : { last });
    return bench.stage.take(fetched, 0n, null, { offset: limit.offset ?? null, beforeMs: limit.beforeMs ?? null });
  };

  test('ends before the first record of that time, though later ones are older', async () => {
    await using bench = await openTable();
    expect(await limited(bench, { beforeMs: Number(MESSAGE_MS) - 10 })).toBe(4n);
    const { rows, batch } = await bench.staged();
    expect([rows.map(({ o }) => o), batch.ranges[0]?.end]).toEqual([[0, 1], toOffset(4n)]);
  });

  test('ends at an offset, in a hole or behind the last record, too', async () => {
    for (const [offset, last, end, taken] of [
      [3n, 5, 3n, [0, 1]],
      [5n, 5, 5n, [0, 1, 4]],
      [8n, 9, 8n, [0, 1, 4, 5]],
      [20n, 9, 10n, [0, 1, 4, 5]],
      [0n, 5, 0n, []],
    ] as const) {
      await using bench = await openTable();
      expect(await limited(bench, { offset }, last)).toBe(end);
      const closed = await bench.stage.close();
      const ids =
        closed && closed.open.rows > 0
          ? await bench.select(`SELECT kafka_offset::INTEGER AS o FROM ${closed.batch.tables.rows} ORDER BY o`)
          : [];
      expect([offset, ids.map(({ o }) => o)]).toEqual([offset, [...taken]]);
    }
  });

  test('is gone on from where it ended, with the same effective timestamps', async () => {
    await using bench = await openTable();
    await limited(bench, { offset: 1n });
    bench.stage.take(await recordSet([row(0, 50), row(1, 60), row(2, 20)]), 1n, null);
    const { rows, batch } = await bench.staged();
    expect(rows.map(({ o, age }) => [o, age])).toEqual([
      [0, 50],
      [1, 50],
      [2, 20],
    ]);
    expect(batch.ranges.map(({ start, end }) => [start, end])).toEqual([[toOffset(0n), toOffset(3n)]]);
  });
});
