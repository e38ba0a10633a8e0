// lake rewind by the binary alone: it asks before it acts, shows its plan, and refuses what could not be read again.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { BINARY, type LakeSetup, runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { reportOf } from '../helpers/rewind-scene.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { terminal } from '../helpers/terminal.ts';

setDefaultTimeout(300_000);

const run = (setup: LakeSetup, args: readonly string[]) => runLake(setup, ['rewind', ...args], { as: 'binary' });
const position = async ({ lakePath }: LakeSetup) => Number((await stateOf(lakePath, 'orders')).positions.get(0)?.position);

test('asks a person, wants --yes elsewhere, and takes nothing out that Kafka no longer has', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  await using sent = await record(kafka, topic);
  await sent.send(messages(0, 60));
  // What the feed left out on purpose comes in when it is asked for.
  const feeds = [streamFeed('orders', topic, { start: new Date(Date.UTC(2025, 0, 28, 23, 30)).toISOString() })];
  const setup = writeSetup({ folder: folder.path, kafka, feeds });
  const drained = async (): Promise<void> =>
    expect((await runLake(setup, ['ingest', '--until-caught-up'], { as: 'binary' })).code).toBe(0);
  await drained();
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  expect((await stateOf(setup.lakePath, 'orders')).gaps).toMatchObject([{ start: 0n, end: 30n }]);

  const alone = await run(setup, ['orders', '--to', '0:40']);
  expect(alone.code).toBe(2);
  expect(alone.stderr).toContain('lake rewind orders --to 0:40 --yes');
  for (const [args, words] of [
    [['orders'], '--to is missing'],
    [['orders', '--to', 'yesterday'], 'it takes earliest'],
    [['orders', '--to', '5:1', '--yes'], 'has no partition 5'],
    [['nope', '--to', 'earliest', '--yes'], 'there is no feed nope'],
  ] as const) {
    const { code, stderr } = await run(setup, args);
    expect([code, stderr.includes(words)]).toEqual([2, true]);
  }
  expect(reportOf(await run(setup, ['orders', '--to', '2025-01-28T23:45:00Z', '--dry-run', '--json']))).toMatchObject({
    dry_run: true,
    targets: [{ target: 'lake', kind: 'rows', rows: 15, partitions: [{ partition: 0, position: '60', to: '45' }] }],
  });
  expect(await position(setup)).toBe(60);

  const ask = (line: string) => {
    const session = terminal([BINARY, 'rewind', 'orders', '--to', '0:40', '--config', setup.configPath], { cwd: folder.path });
    return session.answer('[y/N]', line).then(() => session.ended);
  };
  expect((await ask('no')).code).toBe(3);
  expect(await position(setup)).toBe(60);
  expect((await ask('y')).code).toBe(0);
  expect(await position(setup)).toBe(40);
  // There is nothing left to ask about.
  expect((await run(setup, ['orders', '--to', '0:40'])).code).toBe(0);
  await drained();

  expect((await run(setup, ['orders', '--to', 'earliest', '--yes'])).code).toBe(0);
  expect([await position(setup), (await stateOf(setup.lakePath, 'orders')).gaps]).toEqual([0, []]);
  await drained();
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });

  await kafka.deleteRecords(topic, [{ partition: 0, before: 20n }]);
  const below = await run(setup, ['orders', '--to', '0:10', '--yes']);
  expect(below.code).toBe(1);
  expect(below.stderr).toContain('the topic now starts at 20');
  expect((await run(setup, ['orders', '--to', 'earliest', '--yes'])).code).toBe(0);
  expect(await position(setup)).toBe(20);
  await drained();
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  const trace = await runLake(setup, ['trace', `${topic}:0:45`, '--json'], { as: 'binary' });
  expect(JSON.parse(trace.stdout)).toMatchObject({ ok: true, answers: [{ status: 'row' }] });
});
