// Feeds that declare no schema, or names alone: inferred from the first messages that say something, pinned in the log, grown by
// columns and wider types, and never at the price of a value.

import { describe, expect, test } from 'bun:test';
import type { FeedState } from '../../src/model/feed-state.ts';
import { type Expectation, expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, type FeedSpec, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { message, messages, type Produced, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const inferred = (topic: string, more: Record<string, unknown> = {}): FeedSpec => ({
  feed_name: 'orders',
  topic,
  feed_type: 'stream',
  ...more,
});

/** Name and type of each pinned field. */
const pinned = ({ schema }: FeedState): string[] =>
  (schema?.fields ?? []).map((field) => {
    const { name, type } = field as { name: string; type: string };
    return `${name} ${type}`;
  });

const scene = async (more: Record<string, unknown> = {}, partitions = 1) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [inferred(topic, more)] });
  const end = async () => {
    await sent[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  const check = (expectation: Expectation = {}) =>
    expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic, ...expectation });
  return { kafka, topic, sent, setup, check, [Symbol.asyncDispose]: end };
};

const json = (id: number, value: Record<string, unknown>, more: Partial<TestMessage> = {}): TestMessage =>
  message(id, { value: JSON.stringify({ id, ...value }), ...more });

/** The texts a message must have in the named columns, those it has not as null. */
const texts =
  (names: readonly string[], textOf: (name: string, value: unknown) => string = (_, value) => String(value)) =>
  ({ value }: Produced): Record<string, string | null> => {
    const given = JSON.parse(String(value)) as Record<string, unknown>;
    return Object.fromEntries(names.map((name) => [name, given[name] == null ? null : textOf(name, given[name])]));
  };

describe('a feed without schema', () => {
  test('takes its columns and types from its first chunk, and pins them', async () => {
    await using one = await scene();
    const at = '2025-01-28T10:00:00Z';
    await one.sent.send(
      messages(0, 2_000, (id) => ({ value: JSON.stringify({ id, text: `t${id}`, ok: true, cost: 1.25, at }) })),
    );
    await drain(one.setup);
    const { state } = await one.check({ values: texts(['id', 'text', 'ok', 'cost']) });
    expect(pinned(state)).toEqual(['id BIGINT', 'text VARCHAR', 'ok BOOLEAN', 'cost DECIMAL(21,2)', 'at TIMESTAMP']);
    expect(state.schema?.version).toBe(1);
  });

  test('a name that comes late becomes a column, also far behind the start of a chunk', async () => {
    await using one = await scene();
    await one.sent.send(messages(0, 10));
    await drain(one.setup);
    await one.sent.send(messages(10, 6_000, (id) => (id === 5_500 ? json(id, { text: 'x', late: 'here' }) : {})));
    await drain(one.setup);
    const { state, rows } = await one.check({ values: texts(['id', 'text', 'late']) });
    expect(pinned(state)).toEqual(['id BIGINT', 'text VARCHAR', 'late VARCHAR']);
    expect(rows.filter(({ values }) => values['late'] === 'here').length).toBe(1);
  });

  test('numbers get wider; what no type holds as well is a dead letter', async () => {
    await using one = await scene();
    await one.sent.send([json(0, { n: 1, ok: true }), json(1, { n: 2, ok: false })]);
    await drain(one.setup);
    await one.sent.send([json(2, { n: 3, ok: true }), message(3, { value: '{"id":3,"n":9223372036854775808,"ok":true}' })]);
    await drain(one.setup);
    expect(pinned(await stateOf(one.setup.lakePath, 'orders'))).toEqual(['id BIGINT', 'n DECIMAL(19,0)', 'ok BOOLEAN']);
    await one.sent.send([json(4, { n: 1.25 }), json(5, { n: 'many' }), json(6, { ok: 'maybe' }), json(7, { n: 4 })]);
    await drain(one.setup);
    const exact = ({ value }: Produced) => ({
      id: /"id":(\d+)/.exec(String(value))?.[1] ?? null,
      n: /"n":([\d.]+)/.exec(String(value))?.[1]?.replace(/^\d+$/, '$&.00') ?? null,
    });
    const { state } = await one.check({ values: exact, refused: ({ value }) => /many|maybe/.test(String(value)) });
    expect(pinned(state)).toEqual(['id BIGINT', 'n DECIMAL(21,2)', 'ok BOOLEAN']);
  });

  test('an event_time that is inferred as a number stops it, and says what to write; others go on', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const [topic, other] = [await kafka.createTopic(), await kafka.createTopic()];
    await using sent = await record(kafka, topic);
    await using sentOther = await record(kafka, other);
    const withFields = (more: Record<string, unknown>) =>
      writeSetup({
        folder: folder.path,
        kafka,
        feeds: [inferred(topic, { event_time: 'at', ...more }), streamFeed('other', other)],
        groupId: `group_${topic}`,
      });
    const setup = withFields({});
    await sent.send(messages(0, 100, (id) => json(id, { at: 1_738_108_800_000 + id })));
    await sentOther.send(messages(0, 100));
    const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('code   schema_refuses (exit 1)')]);
    expect(stderr).toContain('event_time at of feed orders was inferred as BIGINT');
    const advised = /"schema": (\{.*\})/.exec(stderr.replaceAll('\\"', '"'))?.[1];
    expect(stderr).toContain('"at":{"type":"TIMESTAMP","format":"epoch_ms"}');
    expect((await stateOf(setup.lakePath, 'orders')).schema).toBeNull();
    await expectExactlyOnce(sentOther.messages, setup.lakePath, 'other', { kafka, topic: other });
    // The advice, taken by the letter, is right.
    withFields({ schema: JSON.parse(advised ?? '{}') });
    await drain(setup);
    const { rows } = await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic, values: texts(['id']) });
    expect(rows[0]?.values).toEqual({ id: expect.any(String), at: expect.stringMatching(/^2025-01-29 00:00:00/) });
  });
});

describe('a first message that says nothing', () => {
  const BAD: readonly (readonly [string, Buffer])[] = [
    ['an empty value', Buffer.alloc(0)],
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
    ['a raw 0x1E', Buffer.from([0x7b, 0x1e, 0x7d])],
    ['no JSON', Buffer.from('hello')],
  ];
  const FEEDS: readonly (readonly [string, Record<string, unknown>])[] = [
    ['without schema', {}],
    ['with an event_time', { event_time: 'at' }],
    ['with names alone', { schema: { fields: ['id', 'at'] } }],
  ];
  for (const [kind, more] of FEEDS) {
    test(`is a dead letter, and a feed ${kind} is inferred from later ones`, async () => {
      for (const [, bad] of BAD) {
        await using one = await scene(more);
        const good = (from: number) => messages(from, 50, (id) => json(id, { at: `2025-01-28T10:00:${10 + (id % 50)}Z` }));
        await one.sent.send([message(0, { value: bad }), message(1, { value: null })]);
        await drain(one.setup);
        await one.sent.send([message(0, { value: bad })]);
        await drain(one.setup);
        await one.sent.send([message(0, { value: bad }), ...good(2)]);
        await drain(one.setup);
        const { state } = await one.check({ values: texts(['id']) });
        expect(pinned(state)).toEqual(['id BIGINT', 'at TIMESTAMP']);
      }
    });
  }
});

test('fields given as a list of names get their types from the messages; other names stay out', async () => {
  await using one = await scene({ schema: { fields: ['text', 'id', 'never'] } });
  await one.sent.send(messages(0, 500, (id) => json(id, { text: `t${id}`, other: id })));
  await drain(one.setup);
  await one.sent.send(messages(500, 500, (id) => json(id + 0.5, { text: `t${id}`, more: id })));
  await drain(one.setup);
  const { state, rows } = await one.check({
    values: texts(['id', 'text', 'never'], (name, value) => (name === 'id' ? Number(value).toFixed(1) : String(value))),
  });
  expect(pinned(state)).toEqual(['text VARCHAR', 'id DECIMAL(20,1)', 'never VARCHAR']);
  expect(rows.some(({ values }) => 'other' in values || 'more' in values)).toBe(false);
});

test('two members that meet new names at the same time lose none of them', async () => {
  await using one = await scene({}, 2);
  const both = [startLake(one.setup, ['ingest']), startLake(one.setup, ['ingest'])];
  const shared = (): boolean =>
    both.every((lake) => String(lake.events('partitions_assigned').at(-1)?.['partitions'] ?? '').split(':').length === 2);
  await until(shared, { what: 'each has one partition' });
  const names = ['id', 'text'];
  for (let round = 0; round < 4; round++) {
    names.push(`left_${round}`, `right_${round}`);
    const list = (partition: number) =>
      messages(round * 400 + partition * 200, 200, (id) => ({
        ...json(id, { text: 'x', [`${partition === 0 ? 'left' : 'right'}_${round}`]: id }),
        partition,
      }));
    await one.sent.send([...list(0), ...list(1)]);
    await until(
      async () => {
        const ended = both.find((lake) => lake.events('feed_stopped').length > 0);
        if (ended) throw new Error(`a feed stopped: ${JSON.stringify(ended.events('feed_stopped'))}`);
        const { positions } = await stateOf(one.setup.lakePath, 'orders');
        return [...positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) === one.sent.messages.length;
      },
      { timeoutMs: 180_000, what: `round ${round} is in` },
    );
  }
  for (const lake of both) lake.kill('SIGTERM');
  for (const lake of both) {
    const { code, stderr } = await lake.ended;
    expect([code, stderr]).toEqual([0, expect.any(String)]);
  }
  const { state } = await one.check({ values: texts(names) });
  expect(pinned(state).toSorted()).toEqual(names.map((name) => `${name} ${name === 'text' ? 'VARCHAR' : 'BIGINT'}`).toSorted());
});
