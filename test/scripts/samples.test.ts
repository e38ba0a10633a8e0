// The samples: the same on every machine, complete in Kafka exactly once, and with totals one can check.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { makeSamples } from '../../scripts/sample-messages.ts';
import { produceSamples } from '../../scripts/samples.ts';
import { startPrivateKafka } from '../helpers/services.ts';

// Bun keeps the default of the helpers for the first file that imports them only.
setDefaultTimeout(300_000);

test('every run makes the same messages', () => {
  const hash = (): string =>
    new Bun.CryptoHasher('sha256')
      .update(JSON.stringify([...makeSamples().topics]))
      .digest('hex')
      .slice(0, 16);
  expect(hash()).toBe(hash());
});

test('the last message of every key of a table is its expected total', () => {
  const { topics, expectedTotals } = makeSamples();
  for (const [name, expected] of Object.entries(expectedTotals)) {
    const latest = new Map<string, string | null>();
    for (const { key, value } of topics.get(name)?.messages ?? []) latest.set(key, value);
    const alive = [...latest].filter(([, value]) => value !== null).map(([key]) => key);
    expect(alive.sort()).toEqual(Object.keys(expected).sort());
    for (const key of alive) {
      const row = JSON.parse(String(latest.get(key)).toLowerCase());
      const total = Object.entries(expected[key] ?? {}).find(([column]) => column.startsWith('total'));
      expect(Number(row[total?.[0] ?? ''])).toBe(Number(total?.[1]));
    }
  }
});

test('some keys end with a tombstone, and some come back after theirs', () => {
  const { topics, expectedTotals, erasedUsers } = makeSamples();
  const messages = topics.get('user_transaction_summary')?.messages ?? [];
  expect(messages.filter(({ value }) => value === null).map(({ key }) => key)).toEqual([...erasedUsers]);
  const back = erasedUsers.filter((user) => expectedTotals['user_transaction_summary']?.[user] !== undefined);
  expect(back.length).toBeGreaterThan(0);
  expect(back.length).toBeLessThan(erasedUsers.length);
});

test('a second run adds nothing, a half-filled topic is completed, a topic of someone else is left alone', async () => {
  await using kafka = await startPrivateKafka();
  await kafka.createTopic({ name: 'customer_events' });
  await kafka.produce('customer_events', [{ key: 'k', value: '{"not":"ours"}' }]);
  const first = await produceSamples(kafka.bootstrap);
  expect(first.leftAlone).toEqual(['customer_events']);
  expect(await produceSamples(kafka.bootstrap)).toEqual({ ...first, added: 0 });

  await kafka.deleteTopic('payment_method_totals');
  await kafka.createTopic({ name: 'payment_method_totals' });
  const { messages = [] } = makeSamples().topics.get('payment_method_totals') ?? {};
  await kafka.produce('payment_method_totals', messages.slice(0, 777));
  const third = await produceSamples(kafka.bootstrap);
  expect(third.added).toBe(messages.length - 777);
  expect(await kafka.watermarks('payment_method_totals')).toEqual([{ partition: 0, low: 0n, high: BigInt(messages.length) }]);
});
