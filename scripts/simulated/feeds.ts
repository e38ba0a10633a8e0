// What the simulated month is made of: two streams by event time and a table with a snapshot a day, and a day's messages of each.
// Invariant: the same day gives the same messages; each day's are of the 24 hours before its clock.

import type { Producer } from 'kafkajs';

export const DAY_MS = 86_400_000;
export const RETENTION_DAYS = { orders: 14, visits: 7 };
export const RETENTION_VERSIONS = 10;
const PARTITIONS = 2;
const KEYS = 500;
const SEND_COUNT_MAX = 5_000;

export type Topics = Readonly<Record<'orders' | 'visits' | 'stock', string>>;

export function feedsOf(topics: Topics) {
  const retained = (days: number) => ({ retention_days: days, auto_delete: true });
  return [
    {
      ...{ feed_name: 'orders', topic: topics.orders, feed_type: 'stream', destination: 'both', event_time: 'at' },
      ...{ mysql_table: 'fact_orders', retention: retained(RETENTION_DAYS.orders) },
      schema: { fields: { id: 'BIGINT', customer: 'VARCHAR(32)', amount: 'DECIMAL(12,2)', at: 'TIMESTAMP' } },
    },
    {
      ...{ feed_name: 'visits', topic: topics.visits, feed_type: 'stream', destination: 'data_lake', event_time: 'at' },
      ...{ retention: retained(RETENTION_DAYS.visits), schema: { fields: { id: 'BIGINT', page: 'VARCHAR', at: 'TIMESTAMP' } } },
    },
    {
      ...{ feed_name: 'stock', topic: topics.stock, feed_type: 'table', destination: 'both', mysql_table: 'fact_stock' },
      ...{ snapshot_every: 'day', retention: { retention_versions: RETENTION_VERSIONS, auto_delete: true } },
      schema: { key_field: 'sku', fields: { sku: { type: 'VARCHAR(32)', required: true }, pieces: 'BIGINT' } },
    },
  ];
}

type Message = { readonly partition: number; readonly key: string; readonly value: string | null; readonly timestamp: string };

/** The day before `clockMs`, which is the `day`-th; every 500th message is no row, every 50th change deletes its key. */
export async function sendDay(
  producer: Producer,
  topics: Topics,
  { day, clockMs, messages }: { readonly day: number; readonly clockMs: number; readonly messages: number },
): Promise<void> {
  const stepMs = DAY_MS / messages;
  const at = (n: number): number => Math.floor(clockMs - DAY_MS + (n + 1) * stepMs);
  const make = (value: (id: number, time: string) => unknown): Message[] =>
    Array.from({ length: messages }, (_, n) => {
      const id = day * messages + n;
      const text = n % 500 === 499 ? 'no json' : JSON.stringify(value(id, new Date(at(n)).toISOString()));
      return { partition: id % PARTITIONS, key: String(id), value: text, timestamp: String(at(n)) };
    });
  const changes = Array.from({ length: Math.ceil(messages / 4) }, (_, n): Message => {
    const sku = `sku_${(day * 37 + n * 7) % KEYS}`;
    const value = n % 50 === 49 ? null : JSON.stringify({ sku, pieces: day * 1_000 + n });
    return { partition: Number(sku.slice(4)) % PARTITIONS, key: sku, value, timestamp: String(at(n * 4)) };
  });
  const orders = make((id, time) => ({ id, customer: `customer_${id % 97}`, amount: `${id % 900}.${10 + (id % 90)}`, at: time }));
  const visits = make((id, time) => ({ id, page: `/page/${id % 211}`, at: time }));
  for (const [topic, list] of Object.entries({ [topics.orders]: orders, [topics.visits]: visits, [topics.stock]: changes }))
    for (let from = 0; from < list.length; from += SEND_COUNT_MAX)
      await producer.send({ topic, messages: list.slice(from, from + SEND_COUNT_MAX), acks: -1 });
}
