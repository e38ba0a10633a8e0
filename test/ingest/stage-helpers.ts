// Record sets as kafkajs encodes them for a producer, and a stage on a real DuckDB that takes them.
import { createRequire } from 'node:module';
import type { Fetched } from '../../src/broker/fetch-response.ts';
import { nextOffsetOf } from '../../src/broker/record-batch.ts';
import { type Connection, openDatabase, query } from '../../src/duckdb/connection.ts';
import { serial } from '../../src/ingest/changes.ts';
import { CHUNK_BYTES_MAX } from '../../src/ingest/chunk-builder.ts';
import { decodePlan } from '../../src/ingest/decode.ts';
import type { InForce } from '../../src/ingest/open-batch.ts';
import { Stage, type StageOptions, type WorkQueue } from '../../src/ingest/stage.ts';
import { feedOf, field, MESSAGE_MS, varchar } from './decode-helpers.ts';

export type Message = { offset: number; value: string | Buffer | null; key?: string | null; ageMs?: number };
export type SetOptions = { partition?: number; base?: number; last?: number; position?: number };

const load = createRequire(import.meta.url);
const encodeBatch: (batch: object) => Promise<{ buffer: Buffer }> = load('kafkajs/src/protocol/recordBatch/v0').RecordBatch;
const encodeRecord: (record: object) => object = load('kafkajs/src/protocol/recordBatch/record/v0');

/** Offsets [base, last] of a partition; those without a message were taken by log compaction. */
export async function recordSet(messages: readonly Message[], options: SetOptions = {}): Promise<Fetched> {
  const { partition = 0, base = messages[0]?.offset ?? 0, last = messages.at(-1)?.offset ?? base } = options;
  const { buffer } = await encodeBatch({
    firstOffset: String(base),
    firstTimestamp: String(MESSAGE_MS),
    maxTimestamp: String(MESSAGE_MS),
    lastOffsetDelta: last - base,
    records: messages.map(({ offset, value, key = null, ageMs = 0 }) =>
      encodeRecord({ offsetDelta: offset - base, timestampDelta: -ageMs, key, value }),
    ),
  });
  const records = Buffer.from(buffer);
  const nextOffset = nextOffsetOf(records);
  if (nextOffset === null) throw new Error('no complete record batch was encoded');
  return {
    topic: 'orders',
    partition,
    records,
    nextOffset,
    endOffset: nextOffset,
    abortedTransactions: [],
    isCurrent: () => true,
    isLast: () => true,
  };
}

export const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
export const withAttributes = (fetched: Fetched, attributes: number): Fetched => {
  fetched.records.writeInt16BE(attributes, 21);
  return fetched;
};

/** What Kafka writes at the end of a transaction. */
export const commitMarker = async (offset: number): Promise<Fetched> =>
  withAttributes(await recordSet([{ offset, key: '\0\0\0\x01', value: Buffer.alloc(6) }]), TRANSACTIONAL | CONTROL);

export const order = (offset: number, more: Partial<Message> = {}): Message => ({ offset, value: `{"id":${offset}}`, ...more });
/** Fills a chunk of its own. */
export const large = (offset: number): Message => order(offset, { value: `{"id":${offset}}`.padEnd(CHUNK_BYTES_MAX, ' ') });
export const wrong = (offset: number): Message => order(offset, { value: '{"id":"x"}' });

export const feed = feedOf([field('id', { kind: 'bigint' }), field('name', varchar())], { name: 'shop_orders' });
export const inForce: InForce = { plan: decodePlan(feed, { timezone: 'UTC', schemaVersion: 3 }), epoch: 2 };

function queueOn(connection: Connection): WorkQueue {
  const inOrder = serial();
  return (work) => inOrder(() => work(connection));
}

/** A stage with two connections to decode on, and what it told. `more` may wrap the queue of the two. */
export async function openStage(more: (decode: WorkQueue) => Partial<StageOptions> = () => ({})) {
  const database = await openDatabase();
  const queues = [queueOn(await database.connect()), queueOn(await database.connect())];
  const reader = await database.connect();
  const told = { sealed: 0, slowed: [] as string[], changed: 0, widened: [] as string[] };
  let turn = 0;
  let ids = 0;
  const decode: WorkQueue = (work) => {
    const queue = queues[turn++ % queues.length];
    if (!queue) throw new Error('there are two queues');
    return queue(work);
  };
  const stage = new Stage({
    feed: 'shop_orders',
    topic: 'orders',
    eventTime: null,
    highestMs: null,
    takesMemory: () => false,
    newId: () => `b${++ids}`,
    nowMs: () => 1_000,
    decode,
    inForce: () => inForce,
    infer: async () => inForce,
    widen: async (values) => {
      told.widened.push(Buffer.from(values).toString());
      return false;
    },
    sealed: (bytes) => {
      told.sealed += bytes;
    },
    slowed: (reason) => told.slowed.push(reason),
    changed: () => {
      told.changed++;
    },
    ...more(decode),
  });
  return {
    stage,
    told,
    take: async (messages: readonly Message[], options: SetOptions = {}) =>
      stage.take(await recordSet(messages, options), BigInt(options.position ?? messages[0]?.offset ?? 0), null),
    closed: async () => {
      const closed = await stage.close();
      if (!closed) throw new Error('there was nothing to close');
      return closed.batch;
    },
    /** On a connection of its own. */
    queue: async (): Promise<WorkQueue> => queueOn(await database.connect()),
    select: (sql: string) => query(reader, sql),
    ids: async (table: string) => (await query(reader, `SELECT id FROM ${table} ORDER BY id`)).map(({ id }) => Number(id)),
    tables: async () => {
      const found = await query(reader, 'SELECT table_name AS name FROM duckdb_tables() WHERE NOT temporary ORDER BY name');
      return found.map(({ name }) => String(name));
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
