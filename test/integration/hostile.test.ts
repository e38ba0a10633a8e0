// Messages that no pipeline expects, mixed with good ones in one batch: each is its row or its dead letter, with its bytes.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { message, messages, type Produced, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

type Row = { readonly id: string | null; readonly text: string | null };
const bytes = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));
const json = (text: string): Buffer => Buffer.from(text);

/** Value and the row it is; null: a dead letter. */
const HOSTILE: readonly (readonly [name: string, value: Buffer, row: Row | null])[] = [
  ['a raw 0x1E in a string', bytes('{"id":1,"text":"a', [0x1e], 'b"}'), null],
  ['0x1E alone', bytes([0x1e]), null],
  ['two records joined by 0x1E', bytes('{"id":1}', [0x1e], '{"id":2}'), null],
  ['an escaped 0x1E', json('{"id":2,"text":"a\\u001eb"}'), { id: '2', text: 'a\u001eb' }],
  ['a raw NUL', bytes('{"id":3,"text":"a', [0], 'b"}'), null],
  ['NUL alone', bytes([0]), null],
  ['an escaped NUL', json('{"id":4,"text":"a\\u0000b"}'), { id: '4', text: 'a\u0000b' }],
  ['newlines between tokens', json('\r\n{\n"id":\t5,\n"text":"x"}\n\n'), { id: '5', text: 'x' }],
  ['a raw newline in a string', json('{"id":6,"text":"a\nb"}'), null],
  ['escaped newlines', json('{"id":7,"text":"a\\nb\\r\\tc"}'), { id: '7', text: 'a\nb\r\tc' }],
  ['invalid UTF-8 in a string', bytes('{"id":8,"text":"', [0xc3, 0x28], '"}'), null],
  ['an overlong encoding', bytes('{"id":8,"text":"', [0xc0, 0xaf], '"}'), null],
  ['a surrogate as UTF-8', bytes('{"id":8,"text":"', [0xed, 0xa0, 0x80], '"}'), null],
  ['UTF-16', Buffer.from('{"id":9}', 'utf16le'), null],
  ['a byte order mark', bytes([0xef, 0xbb, 0xbf], '{"id":10,"text":"bom"}'), null],
  ['nothing', Buffer.alloc(0), null],
  ['a space', json(' '), null],
  ['null', json('null'), null],
  ['a number', json('5'), null],
  ['a string', json('"text"'), null],
  ['a list', json('[{"id":1}]'), null],
  ['an empty object', json('{}'), { id: null, text: null }],
  ['unknown fields only', json('{"other":1}'), { id: null, text: null }],
  ['JSON nulls', json('{"id":null,"text":null}'), { id: null, text: null }],
  ['a duplicate key: the first wins', json('{"id":11,"id":12,"text":"first","text":"second"}'), { id: '11', text: 'first' }],
  ['a duplicate key by escapes', json('{"id":13,"\\u0069d":14,"text":"x"}'), { id: '13', text: 'x' }],
  ['a lone surrogate', json('{"id":14,"text":"\\ud800"}'), null],
  ['a surrogate pair', json('{"id":15,"text":"\\ud83d\\ude00"}'), { id: '15', text: '😀' }],
  ['surrogates the wrong way round', json('{"id":15,"text":"\\ude00\\ud83d"}'), null],
  ['a lone surrogate in an unknown field', json('{"id":16,"text":"x","other":"\\ud800"}'), null],
  ['a trailing comma', json('{"id":17,"text":"x",}'), null],
  ['two objects', json('{"id":18}{"id":19}'), null],
  ['half an object', json('{"id":20,"text":"x"'), null],
  ['NaN', json('{"id":NaN,"text":"x"}'), null],
  ['single quotes', json("{'id':21}"), null],
  ['a comment', json('{"id":22/* */}'), null],
  ['a fraction', json('{"id":1.5,"text":"x"}'), null],
  ['a whole number with a fraction part', json('{"id":23.0,"text":"x"}'), { id: '23', text: 'x' }],
  ['an exponent', json('{"id":2.4e1,"text":"x"}'), { id: '24', text: 'x' }],
  ['true for a number', json('{"id":true,"text":"x"}'), null],
  ['a number as text', json('{"id":"25","text":"x"}'), { id: '25', text: 'x' }],
  ['the largest number', json('{"id":9223372036854775807,"text":"x"}'), { id: '9223372036854775807', text: 'x' }],
  ['one beyond it', json('{"id":9223372036854775808,"text":"x"}'), null],
  ['a number of 2,000 digits', json(`{"id":${'9'.repeat(2_000)},"text":"x"}`), null],
  ['SQL', json('{"id":26,"text":"\'; DROP TABLE x; --"}'), { id: '26', text: "'; DROP TABLE x; --" }],
  ['a long text', json(`{"id":27,"text":"${'z'.repeat(3_000_000)}"}`), { id: '27', text: 'z'.repeat(3_000_000) }],
];

describe('in one batch with good ones', () => {
  test('each is its row or its dead letter, with its bytes', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topic = await kafka.createTopic({ partitions: 2, configs: { 'max.message.bytes': '20000000' } });
    await using sent = await record(kafka, topic);
    const feeds = [streamFeed('orders', topic, { dead_letters_max_ratio: 1 })];
    const setup = writeSetup({ folder: folder.path, kafka, feeds });
    for (const partition of [0, 1]) {
      await sent.send(messages(0, 100, () => ({ partition })));
      await sent.send(HOSTILE.map(([, value], id) => message(id, { partition, value })));
      await sent.send([message(1, { partition, value: null }), ...messages(100, 100, () => ({ partition }))]);
    }
    const rowOf = (of: Produced): Row | null | undefined => HOSTILE.find(([, value]) => of.value?.equals(value))?.[2];
    const expectation = {
      kafka,
      topic,
      refused: (of: Produced) => rowOf(of) === null,
      values: (of: Produced) => rowOf(of) ?? (JSON.parse(String(of.value)) as Row),
    };
    await drain(setup);
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', {
      ...expectation,
      values: (of) =>
        Object.fromEntries(Object.entries(expectation.values(of)).map(([k, v]) => [k, v === null ? null : String(v)])),
    });
  });

  test('nesting of a hundred thousand levels in a field nobody reads, 10 MB of nothing, and a chunk of refused ones only', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topic = await kafka.createTopic({ configs: { 'max.message.bytes': '20000000' } });
    await using sent = await record(kafka, topic);
    const feeds = [streamFeed('orders', topic, { dead_letters_max_ratio: 1 })];
    const setup = writeSetup({ folder: folder.path, kafka, feeds });
    const deep = (levels: number): string => `{"id":1,"text":"x","deep":${'['.repeat(levels)}${']'.repeat(levels)}}`;
    for (const value of [
      deep(100_000),
      Buffer.alloc(10_000_000),
      Buffer.alloc(10_000_000, 0x1e),
      `{"id":1,"text":"x"}${' '.repeat(10_000_000)}`,
    ]) {
      await sent.send([message(1, { value }), message(2)]);
      await drain(setup);
    }
    await sent.send(messages(0, 500, () => ({ value: bytes([0xff]) })));
    await drain(setup);
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', {
      kafka,
      topic,
      values: ({ value }): Row => (value?.includes('text 2') ? { id: '2', text: 'text 2' } : { id: '1', text: 'x' }),
      refused: ({ value }) => value?.[0] === 0xff || value?.[0] === 0 || value?.[0] === 0x1e,
    });
  });
});

describe('a feed whose messages mostly do not fit', () => {
  test('stops before it commits them, says so at the next start, and goes on when enabled', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const [topic, other] = [await kafka.createTopic(), await kafka.createTopic()];
    await using sent = await record(kafka, topic);
    await using sentOther = await record(kafka, other);
    const feeds = (type: string) => [
      streamFeed('orders', topic, { schema: { fields: { id: type, text: 'VARCHAR' } } }),
      streamFeed('other', other),
    ];
    const setup = writeSetup({ folder: folder.path, kafka, feeds: feeds('BOOLEAN') });
    await sent.send(messages(0, 1_500));
    await sentOther.send(messages(0, 100));
    const lake = await runLake(setup, ['ingest', '--until-caught-up']);
    expect(lake.stderr).toContain('code   schema_refuses (exit 1)');
    expect(lake.code).toBe(1);
    const state = await stateOf(setup.lakePath, 'orders');
    expect([state.files.size, state.positions.size, state.stopped?.reason]).toEqual([
      0,
      0,
      '1500 of the last 1500 messages do not fit its schema',
    ]);
    await expectExactlyOnce(sentOther.messages, setup.lakePath, 'other', { kafka, topic: other });
    const again = await runLake(setup, ['ingest', '--until-caught-up']);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('code   feed_stopped (exit 1)')]);
    writeSetup({ folder: folder.path, kafka, feeds: feeds('BIGINT'), groupId: setup.groupId });
    expect((await runLake(setup, ['feeds', 'enable', 'orders'])).code).toBe(0);
    await drain(setup);
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  });

  test('while it runs stops alone', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topic = await kafka.createTopic();
    await using sent = await record(kafka, topic);
    const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch: { batch_size: 500 } });
    await sent.send(messages(0, 1_000));
    const lake = startLake(setup, ['ingest']);
    await lake.event('batch_committed', 1);
    await sent.send(messages(0, 2_000, () => ({ value: 'no json' })));
    await lake.event('feed_stopped');
    expect((await lake.ended).code).toBe(1);
    expect((await runLake(setup, ['feeds', 'enable', 'orders'])).code).toBe(0);
    writeSetup({
      folder: folder.path,
      kafka,
      feeds: [streamFeed('orders', topic, { dead_letters_max_ratio: 1 })],
      groupId: setup.groupId,
    });
    await drain(setup);
    await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  });
});
