// lake lag on real Kafka and MySQL: 0 when caught up whatever a partition ends with, else what Kafka's own tool says.

import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { drain, type LakeSetup, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { describeGroup } from '../helpers/kafka-tool.ts';
import { testMysql } from '../helpers/mysql.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { warehouseSetup } from '../helpers/warehouse.ts';

type Line = {
  readonly feed: string;
  readonly target: string;
  readonly topic: string;
  readonly partition: number;
  readonly position: string | null;
  readonly low_watermark: string;
  readonly high_watermark: string;
  readonly last_stable_offset: string;
  readonly lag: number | null;
  readonly lag_seconds: number | null;
  readonly seconds_to_loss: number | null;
};

async function lagOf(
  setup: LakeSetup,
  args: readonly string[] = [],
): Promise<{ code: number | null; lines: Line[]; stderr: string }> {
  const { code, stdout, stderr } = await runLake(setup, ['lag', '--json', ...args]);
  return { code, stderr, lines: stdout === '' ? [] : JSON.parse(stdout) };
}

const HOUR_MS = 3_600_000;

/** A stream with two partitions for lake and warehouse. */
async function scene(retentionMs = -1) {
  const folder = await tempDir();
  const database = await testMysql();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2, configs: { 'retention.ms': String(retentionMs) } });
  const sent = await record(kafka, topic);
  const feeds = [streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' })];
  const parts = { folder: folder.path, kafka, database, feeds };
  return {
    ...{ ...parts, topic, sent, setup: warehouseSetup(parts) },
    /** Markers are written after the producer has its answer. */
    stableAt: async (...ends: bigint[]) =>
      await until(async () => (await kafka.watermarks(topic)).every(({ partition, high }) => high === ends[partition]), {
        what: `${topic} is stable at ${ends.join(', ')}`,
      }),
    [Symbol.asyncDispose]: async () => {
      await sent[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Both targets beside what Kafka's own tool says of their groups. */
async function expectAsTool(at: Awaited<ReturnType<typeof scene>>): Promise<readonly Line[]> {
  const { lines, code } = await lagOf(at.setup);
  expect(code).toBe(0);
  for (const [target, groupId] of [
    ['lake', at.setup.groupId],
    ['warehouse', `${at.setup.groupId}_warehouse`],
  ] as const) {
    const ours = lines.filter((line) => line.target === target);
    const shown = ours.map(({ topic, partition, position, high_watermark, lag }) => {
      return { topic, partition, current: String(position), end: high_watermark, lag: String(lag) };
    });
    expect(await describeGroup(at.kafka, groupId)).toEqual(shown);
  }
  return lines;
}

describe('a partition that is caught up has lag 0', () => {
  test('behind aborted messages and markers, and agrees with the tool before, between and after', async () => {
    await using at = await scene();
    await at.sent.send(messages(0, 40, (id) => ({ partition: id % 2 })));
    await at.sent.inTransaction(messages(100, 10), 'abort');
    await at.sent.inTransaction(
      messages(200, 10, () => ({ partition: 1 })),
      'commit',
    );
    await at.stableAt(31n, 31n);
    const before = (await lagOf(at.setup)).lines;
    expect(before.map(({ target, partition, position, lag }) => [target, partition, position, lag])).toEqual([
      ['lake', 0, null, 31],
      ['lake', 1, null, 31],
      ['warehouse', 0, null, 31],
      ['warehouse', 1, null, 31],
    ]);
    await drain(at.setup);
    const caughtUp = await expectAsTool(at);
    for (const line of caughtUp) expect(line).toMatchObject({ position: '31', lag: 0, lag_seconds: 0, seconds_to_loss: null });
    await at.sent.send(messages(300, 25));
    await at.sent.inTransaction(
      messages(400, 5, () => ({ partition: 1 })),
      'abort',
    );
    await at.stableAt(56n, 37n);
    expect((await expectAsTool(at)).map(({ lag }) => lag)).toEqual([25, 6, 25, 6]);
    await drain(at.setup, { args: ['--mode', 'lake'] });
    expect((await expectAsTool(at)).map(({ lag }) => lag)).toEqual([0, 0, 25, 6]);
  });

  test('while a transaction is open, which only the high watermark counts', async () => {
    await using at = await scene();
    await at.sent.send(messages(0, 20));
    const open = await at.sent.begin(messages(20, 7));
    await at.sent.send(messages(40, 3));
    await drain(at.setup);
    const bounds = { low_watermark: '0', last_stable_offset: '20', high_watermark: '30' };
    const first = ({ partition }: Line): boolean => partition === 0;
    for (const line of (await lagOf(at.setup)).lines.filter(first))
      expect(line).toMatchObject({ ...bounds, position: '20', lag: 0 });
    await open.commit();
    await at.stableAt(31n, 0n);
    for (const line of (await lagOf(at.setup)).lines.filter(first)) expect(line.lag).toBe(11);
  });
});

describe('time', () => {
  test('is that of the oldest message that is not in, past aborted ones, and what is left of it until topic retention', async () => {
    await using at = await scene(10 * HOUR_MS);
    const sentMs = Date.now() - HOUR_MS;
    const aged = (ageMs: number) => () => ({ timestampMs: sentMs - ageMs });
    await at.sent.send(messages(0, 10, aged(0)));
    await drain(at.setup);
    await at.sent.inTransaction(messages(10, 10, aged(5 * HOUR_MS)), 'abort');
    await at.sent.send([...messages(20, 1, aged(2 * HOUR_MS)), ...messages(21, 9, aged(0))]);
    await at.stableAt(31n, 0n);
    const { lines } = await lagOf(at.setup);
    for (const { partition, lag, lag_seconds, seconds_to_loss } of lines) {
      if (partition === 1)
        expect({ lag, lag_seconds, seconds_to_loss }).toEqual({ lag: 0, lag_seconds: 0, seconds_to_loss: null });
      else {
        expect(lag).toBe(21);
        const seconds = (Date.now() - sentMs) / 1000 + 2 * 3600;
        expect(Math.abs((lag_seconds ?? 0) - seconds)).toBeLessThan(30);
        expect((lag_seconds ?? 0) + (seconds_to_loss ?? 0)).toBeCloseTo(10 * 3600, 0);
      }
    }
  });

  test('is 0 where only an aborted transaction is left, and nothing can be lost', async () => {
    await using at = await scene(10 * HOUR_MS);
    await at.sent.send(messages(0, 10, () => ({ timestampMs: Date.now() - HOUR_MS })));
    await drain(at.setup);
    await at.sent.inTransaction(messages(10, 10), 'abort');
    await at.stableAt(21n, 0n);
    const { lines } = await lagOf(at.setup);
    for (const line of lines.filter(({ partition }) => partition === 0))
      expect(line).toMatchObject({ position: '10', lag: 11, lag_seconds: 0, seconds_to_loss: null });
  });
});

test('a target out of reach has no position and exit 4; the other one is shown', async () => {
  await using at = await scene();
  await at.sent.send(messages(0, 20));
  await drain(at.setup);
  const { code, lines, stderr } = await lagOf(at.setup, ['--mysql-port', '1']);
  expect(code).toBe(4);
  expect(stderr.match(/code {3}warehouse_unreachable \(exit 4\)/g)).toHaveLength(1);
  const shown = lines.map(({ target, partition, position, lag }) => ({ target, partition, position, lag }));
  expect(shown).toEqual([
    { target: 'lake', partition: 0, position: '20', lag: 0 },
    // Nothing was ever in it.
    { target: 'lake', partition: 1, position: null, lag: 0 },
    { target: 'warehouse', partition: 0, position: null, lag: null },
    { target: 'warehouse', partition: 1, position: null, lag: null },
  ]);
});

test('what was deleted unread, and a topic that is not there, are said', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const feeds = [streamFeed('orders', topic), streamFeed('lost', `${topic}_lost`)];
  const setup = writeSetup({ folder: folder.path, kafka, feeds });
  await sent.send(messages(0, 20));
  await drain(setup, { args: ['--feed', 'orders'] });
  await sent.send(messages(20, 20));
  await kafka.deleteRecords(topic, [{ partition: 0, before: 25n }]);
  const { code, lines, stderr } = await lagOf(setup);
  expect(code).toBe(1);
  expect(stderr).toContain(`topic ${topic}_lost does not exist`);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ feed: 'orders', position: '20', low_watermark: '25', lag: 20, seconds_to_loss: 0 });
  const { stdout } = await runLake(setup, ['lag', 'orders']);
  expect(stdout).toContain('Kafka has deleted 5 of it unread');
});

test('topics that are not there make no other one look missing, in lag and in status', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topics = [await kafka.createTopic(), await kafka.createTopic(), await kafka.createTopic()];
  const feeds = topics.flatMap((topic, n) => [streamFeed(`lost_${n}`, `${topic}_lost`), streamFeed(`there_${n}`, topic)]);
  const setup = writeSetup({ folder: folder.path, kafka, feeds });
  const { code, lines, stderr } = await lagOf(setup);
  expect(lines.map(({ topic }) => topic)).toEqual(topics);
  expect([...stderr.matchAll(/topic (\S+) does not exist/g)].map(([, topic]) => topic)).toEqual(
    topics.map((one) => `${one}_lost`),
  );
  expect(code).toBe(1);
  const status = await runLake(setup, ['status', '--json']);
  const shown = JSON.parse(status.stdout) as { lag: number | null }[];
  expect(shown.map((one) => one.lag)).toEqual(topics.flatMap(() => [null, 0]));
});

test('--max answers by exit 3, and marks what is over it', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send([...messages(0, 10), ...messages(10, 11, () => ({ partition: 1 }))]);
  for (const [max, code] of [
    ['11', 0],
    ['10', 3],
  ] as const) {
    const result = await runLake(setup, ['lag', '--max', max]);
    expect({ max, code: result.code }).toEqual({ max, code });
    const rows = result.stdout.trimEnd().split('\n').slice(1);
    expect(rows.map((row) => row.endsWith(`over ${max}`))).toEqual([false, code === 3]);
  }
  for (const wrong of ['ten', '-1', '1.5']) expect((await runLake(setup, ['lag', `--max=${wrong}`])).code).toBe(2);
});

test('--watch shows a table again and again, follows what happens, and ends with 0 by Ctrl-C', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send(messages(0, 10));
  const lake = startLake(setup, ['lag', '--watch', '--json']);
  const frames = (): Line[] =>
    lake
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line)[0]);
  await until(() => frames().some(({ lag }) => lag === 10));
  await sent.send(messages(10, 5));
  await until(() => frames().some(({ lag }) => lag === 15));
  lake.kill('SIGINT');
  expect((await lake.ended).code).toBe(0);
});

test('the embedded warehouse is looked at through the copy it leaves for readers, if there is one yet', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const feeds = [streamFeed('orders', topic, { destination: 'both' })];
  const setup = writeSetup({ folder: folder.path, kafka, feeds });
  await sent.send(messages(0, 10));
  const shown = async () => {
    const { code, lines } = await lagOf(setup);
    expect(code).toBe(0);
    return lines.map(({ target, position, lag }) => [target, position, lag]);
  };
  expect(await shown()).toEqual([
    ['lake', null, 10],
    ['warehouse', null, 10],
  ]);
  await drain(setup);
  expect(await shown()).toEqual([
    ['lake', '10', 0],
    ['warehouse', '10', 0],
  ]);
});

describe('on a terminal', () => {
  test('--watch draws in place, with grouped numbers, until Ctrl-C; a pipe that is closed ends it too', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topic = await kafka.createTopic();
    await using sent = await record(kafka, topic);
    const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
    await sent.send(messages(0, 1_500));
    let out = '';
    const decoder = new TextDecoder();
    await using terminal = new Bun.Terminal({
      cols: 120,
      rows: 20,
      data: (_terminal, data) => {
        out += decoder.decode(data, { stream: true });
      },
    });
    const command = [
      process.execPath,
      join(import.meta.dir, '../../src/main.ts'),
      'lag',
      '--config',
      setup.configPath,
      '--watch',
    ];
    const child = Bun.spawn(command, { terminal });
    await until(() => out.split('\u001b[H').length > 3);
    expect(out).toMatch(/orders +lake +0 +- +1,500 +1,500 +\d+ d /);
    child.kill('SIGINT');
    expect(await child.exited).toBe(0);
    const piped = Bun.spawn(['sh', '-c', `${command.join(' ')} | head -1`], { stdout: 'pipe', stderr: 'pipe' });
    expect(await new Response(piped.stdout).text()).toStartWith('feed\ttarget\t');
    expect(await new Response(piped.stderr).text()).toBe('');
  });
});
