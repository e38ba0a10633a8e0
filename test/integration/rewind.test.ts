// lake rewind beside ingests that run: they notice, drop what they hold and read again, streams from the points on, tables as a whole.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, runLake, startLake, streamFeed } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import { message, record } from '../helpers/produced.ts';
import { FEED, reportOf, rewindScene } from '../helpers/rewind-scene.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { expectFact, factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);
const WAIT = { timeoutMs: 90_000 };

describe('a stream', () => {
  test('an ingest that has nothing to do reads it again', async () => {
    await using scene = await rewindScene();
    const ingest = startLake(scene.setup, ['ingest']);
    const positions = async (): Promise<bigint[]> => {
      const lake = [...(await stateOf(scene.setup.lakePath, FEED)).positions.values()].map(({ position }) => position);
      const rows = await rowsOf(scene.database, 'SELECT position FROM lake_positions').catch(() => []);
      return [...lake, ...rows.map((row) => BigInt(String(row['position'])))];
    };
    const isThere = async (): Promise<boolean> => (await positions()).filter((position) => position === 60n).length === 4;
    await until(isThere, { ...WAIT, what: 'all is in' });
    expect((await scene.rewind(['--to', '0:21,1:33', '--yes'])).code).toBe(0);
    await until(isThere, { ...WAIT, what: 'all is in again' });
    ingest.kill('SIGTERM');
    expect((await ingest.ended).code).toBe(0);
    await scene.holdsAll();
    await scene.verified('--deep');
  });

  test('two processes that take in all the time follow, and everything is there once', async () => {
    await using scene = await rewindScene({ count: 1_500 });
    const ingests = [startLake(scene.setup, ['ingest']), startLake(scene.setup, ['ingest'])];
    const stop = new AbortController();
    const commits = (): number => ingests.reduce((sum, ingest) => sum + ingest.events('batch_committed').length, 0);
    // No faster than it is taken in, on a machine that has other things to do.
    const sending = (async () => {
      while (!stop.signal.aborted) {
        const before = commits();
        await scene.send(100);
        await until(() => stop.signal.aborted || commits() > before, { ...WAIT, what: 'something is committed' });
      }
    })();
    try {
      await Promise.all(ingests.map((ingest) => ingest.event('batch_committed')));
      // The warehouse's tables are there once something was committed to it.
      await until(
        async () => (await rowsOf(scene.database, 'SELECT position FROM lake_positions').catch(() => [])).length === 2,
        {
          ...WAIT,
          what: 'both partitions are in the warehouse',
        },
      );
      for (const to of ['earliest', '0:500,1:700', '1:40', '2025-01-28T23:30:00Z']) {
        const { code, stderr } = await scene.rewind(['--to', to, '--yes']);
        expect({ to, code, stderr: code === 0 ? '' : stderr }).toEqual({ to, code: 0, stderr: '' });
      }
    } finally {
      stop.abort();
      await sending;
    }
    for (const ingest of ingests) ingest.kill('SIGTERM');
    expect((await Promise.all(ingests.map(({ ended }) => ended))).map(({ code }) => code)).toEqual([0, 0]);
    await scene.drain();
    await scene.holdsAll();
    await scene.verified('--deep');
    expect((await stateOf(scene.setup.lakePath, FEED)).epoch).toBeGreaterThanOrEqual(4);
  });
});

test('what a wrong schema refused, or stopped the feed for, is read again by the right one', async () => {
  await using scene = await rewindScene({ count: 50 });
  const { parts, setup, topic } = scene;
  // It is in another place of the message than this says.
  const fields = { id: 'BIGINT', text: { type: 'VARCHAR', from: 'txt', required: true } };
  const of = streamFeed(FEED, topic, { destination: 'both', mysql_table: `fact_${FEED}`, schema: { fields } });
  const wrong = warehouseSetup({ ...parts, feeds: [of], groupId: setup.groupId, name: 'wrong.json' });
  await drain(wrong);
  const letters = async () => (await stateOf(setup.lakePath, FEED)).positions.get(0)?.totals.deadLetters;
  expect(await letters()).toBeGreaterThan(20);
  await scene.send(300);
  expect((await runLake(wrong, ['ingest', '--until-caught-up'])).code).toBe(1);
  expect((await stateOf(setup.lakePath, FEED)).stopped).not.toBeNull();
  expect((await scene.rewind(['--to', 'earliest', '--yes'])).code).toBe(0);
  await scene.holdsBefore([0, 0]);
  expect((await runLake(setup, ['feeds', 'enable', FEED])).code).toBe(0);
  await scene.drain();
  await scene.holdsAll();
  await scene.verified('--deep');
});

test('a table is read anew in both targets, by an ingest that runs and by one that starts', async () => {
  await using folder = await tempDir();
  await using database = await testMysql();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2, configs: { 'retention.ms': '-1' } });
  const setup = warehouseSetup({
    ...{ folder: folder.path, kafka, database },
    feeds: [factFeed('totals', topic, { destination: 'both' })],
  });
  await using sent = await record(kafka, topic);
  const put = (ids: readonly number[], more = {}) =>
    sent.send(ids.map((id) => message(id, { partition: id % 2, key: String(id), ...more })));
  await put([1, 2, 3, 4, 5]);
  await put([2], { value: null });
  await put([6], { value: 'no json' });
  const holds = async (): Promise<void> => {
    await expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
    await expectFact(sent.messages, database, { feed: 'totals', topic }, { kafka });
  };
  await drain(setup);
  await holds();
  const rewind = () => runLake(setup, ['rewind', 'totals', '--to', 'earliest', '--yes', '--json']);
  const report = reportOf(await rewind());
  expect(report.targets.map(({ target, kind, rows, dead_letters }) => [target, kind, rows, dead_letters])).toEqual([
    ['lake', 'rebuild', 0, 1],
    ['warehouse', 'rebuild', 0, 0],
  ]);
  // Readers have the table as it was.
  await expectFact(sent.messages, database, { feed: 'totals', topic }, { kafka });
  const { snapshot, files } = await stateOf(setup.lakePath, 'totals');
  expect([snapshot?.rows, [...files.values()].map(({ kind }) => kind).sort()]).toEqual([4, ['data', 'state']]);
  expect((await runLake(setup, ['verify', '--deep'])).code).toBe(0);
  const rebuilt = async (): Promise<void> => {
    const { rebuiltVersion, rewoundVersion } = await stateOf(setup.lakePath, 'totals');
    expect(rebuiltVersion).toBeGreaterThan(rewoundVersion);
    await holds();
    const { code, stdout } = await runLake(setup, ['verify', '--deep', '--json']);
    expect({ code, found: [...stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what) }).toEqual({ code: 0, found: [] });
  };
  const { stderr } = await drain(setup);
  expect([...stderr.matchAll(/"rebuild_started".*"reason":"rewind"/g)]).toHaveLength(2);
  await rebuilt();
  const ingest = startLake(setup, ['ingest']);
  await ingest.event('partitions_assigned', 2);
  await rewind();
  await ingest.event('rebuild_ended', 2);
  await put([7, 1]);
  await until(async () => (await rowsOf(database, 'SELECT id FROM fact_totals_latest WHERE id = 7')).length === 1, {
    ...WAIT,
    what: 'it goes on',
  });
  ingest.kill('SIGTERM');
  expect((await ingest.ended).code).toBe(0);
  await rebuilt();
});
