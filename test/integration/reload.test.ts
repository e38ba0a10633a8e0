// feeds.json that changes while an ingest runs: feeds come, change and go, each message once; what is wrong is refused, and the
// file of before stays in force.

import { expect, test } from 'bun:test';
import { renameSync, writeFileSync } from 'node:fs';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { type FeedSpec, FIELDS, runLake, startLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, type Recorder, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const WAIT = { timeoutMs: 180_000 };

const scene = async (names: readonly string[]) => {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topics = await Promise.all(names.map(() => kafka.createTopic({ partitions: 2 })));
  const sent = await Promise.all(topics.map((topic) => record(kafka, topic)));
  const feed = (index: number, more: Record<string, unknown> = {}): FeedSpec =>
    streamFeed(names[index] ?? '', topics[index] ?? '', more);
  const groupId = uniqueName('group');
  const write = (feeds: readonly FeedSpec[], more: { name?: string; groupId?: string } = {}) =>
    writeSetup({ folder: folder.path, kafka, feeds, groupId, batch: { batch_size: 400 }, ...more });
  const lakePath = `${folder.path}/lake`;
  const committed = async (index: number): Promise<number> => {
    const { positions } = await stateOf(lakePath, names[index] ?? '');
    return [...positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0);
  };
  return {
    ...{ kafka, write, feed, topics, sent, lakePath, committed },
    /** Until all that was sent to a feed so far is in. */
    arrived: (index: number) =>
      until(async () => (await committed(index)) === (sent[index]?.messages.length ?? -1), {
        ...WAIT,
        what: `feed ${index} is in`,
      }),
    check: (index: number, expectation = {}) =>
      expectExactlyOnce(sent[index]?.messages ?? [], lakePath, names[index] ?? '', {
        kafka,
        topic: topics[index] ?? '',
        ...expectation,
      }),
    [Symbol.asyncDispose]: async () => {
      for (const one of sent) await one[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
};

const send = (sent: Recorder | undefined, from: number, count: number) =>
  sent?.send(messages(from, count, (id) => ({ partition: id % 2 })));

test('a feed is added, changed and removed beside another that goes on; a broken file changes nothing', async () => {
  await using one = await scene(['orders', 'events', 'clicks']);
  const [orders, events, clicks] = one.sent;
  const setup = one.write([one.feed(0)]);
  await send(orders, 0, 1_000);
  const lake = startLake(setup, ['ingest', '--http', '127.0.0.1:0']);
  const config = async () => {
    const { port } = await lake.event('http_listening');
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
    return ((await answer.json()) as { config: { refused: string | null } }).config;
  };
  await lake.event('batch_committed');

  // Added, while messages come in for both.
  await send(events, 0, 1_500);
  one.write([one.feed(0), one.feed(1)]);
  await send(orders, 1_000, 1_500);
  await lake.event('feeds_changed');
  await Promise.all([one.arrived(0), one.arrived(1)]);

  // Half a file, and one that says two things that cannot be.
  const before = lake.events('config_taken').length;
  writeFileSync(setup.configPath, '{ "feeds": [');
  await lake.event('config_refused');
  const wrong = [one.feed(0, { feed_type: 'river' }), one.feed(1, { topic: 7 })];
  one.write(wrong);
  const { problems, reason } = await lake.event('config_refused', 2);
  expect(problems).toBeGreaterThanOrEqual(2);
  expect(reason).toContain('river');
  expect((await config()).refused).toContain('river');
  await Promise.all([send(orders, 2_500, 500), send(events, 1_500, 500)]);
  await Promise.all([one.arrived(0), one.arrived(1)]);
  // Where Kafka is is no feed's.
  one.write([one.feed(0)], { groupId: 'other' });
  expect((await lake.event('config_refused', 3))['reason']).toBe('kafka.group_id: a change here takes a restart of lake ingest');
  expect(lake.events('config_taken')).toHaveLength(before);

  // A column more, in a feed that goes on with its partitions; the others are not touched.
  const wider = one.feed(1, { schema: { fields: { ...FIELDS, more: 'VARCHAR' } } });
  const assigned = lake.events('partitions_assigned').length;
  one.write([one.feed(0), wider]);
  await lake.event('feeds_changed', 2);
  expect((await config()).refused).toBeNull();
  await Promise.all([send(orders, 3_000, 500), send(events, 2_000, 500)]);
  await Promise.all([one.arrived(0), one.arrived(1)]);
  expect(lake.events('partitions_assigned')).toHaveLength(assigned);

  // One comes, one goes; an editor renames its new file over the old one.
  renameSync(one.write([one.feed(0), one.feed(2)], { name: 'new.json' }).configPath, setup.configPath);
  await lake.event('feeds_changed', 3);
  const kept = events?.messages.length ?? 0;
  await Promise.all([send(orders, 3_500, 500), send(clicks, 0, 500)]);
  await Promise.all([one.arrived(0), one.arrived(2)]);

  // A removed feed is not read, and comes back where it ended.
  await send(events, 2_500, 300);
  expect(await one.committed(1)).toBe(kept);
  one.write([one.feed(0), wider, one.feed(2)]);
  await lake.event('feeds_changed', 4);
  await one.arrived(1);
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  for (const index of [0, 1, 2]) await one.check(index);
});

test('SIGHUP tries a stopped feed again, a first feed of a target begins it, and a process without feeds waits for some', async () => {
  await using one = await scene(['orders', 'totals']);
  const [orders, totals] = one.sent;
  const late = uniqueName('late');
  const lateFeed = streamFeed('late', late);
  const lake = startLake(one.write([one.feed(0), lateFeed]), ['ingest', '--http', '127.0.0.1:0']);
  const { port } = await lake.event('http_listening');
  expect(await lake.event('feed_stopped')).toMatchObject({ feed: 'late', code: 'topic_missing' });
  await send(orders, 0, 500);
  await one.arrived(0);
  await one.kafka.createTopic({ name: late });
  await one.kafka.produce(late, [{ value: '{"id":1,"text":"a"}' }]);
  lake.kill('SIGHUP');
  await lake.event('feeds_changed');
  await until(async () => (await stateOf(one.lakePath, 'late')).positions.get(0)?.position === 1n, WAIT);

  // No warehouse was needed so far.
  const both = tableFeed('totals', one.topics[1] ?? '', { destination: 'both', mysql_table: 'fact_totals' });
  await send(totals, 0, 500);
  one.write([one.feed(0), lateFeed, both]);
  await until(() => lake.events('batch_committed').some(({ target }) => target === 'warehouse'), WAIT);
  await one.arrived(1);

  one.write([]);
  await until(() => lake.events('feeds_changed').filter(({ feeds }) => feeds === '').length === 2, WAIT);
  // Nothing that nobody wants is waited for.
  const ready = async (): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/readyz`)).json();
  await until(async () => Bun.deepEquals(Object(await ready()).pipelines, []), { ...WAIT, what: 'no pipeline is asked for' });
  await send(orders, 500, 500);
  const setup = one.write([one.feed(0), both]);
  await one.arrived(0);
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await one.check(0);
  const { code, stdout } = await runLake(setup, ['verify', 'orders', 'totals', '--json']);
  expect([code, stdout]).toEqual([0, expect.any(String)]);
});
