// Readers beside a busy ingest, one that globs and one that follows the log (PROTOCOL 9): no row twice, no row that goes away
// again, no file that is not there.

import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

type Look = { readonly rows: number; readonly distinct: number; readonly promised: number | null; readonly error?: string };

test('readers see every commit whole and once', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch: { batch_size: 100 } });
  const lake = startLake(setup, ['ingest']);
  await sent.send(messages(0, 100));
  await lake.event('batch_committed');
  const readers = ['glob', 'log'].map((how) =>
    Bun.spawn([process.execPath, join(import.meta.dir, '../helpers/reader-child.ts'), how, setup.lakePath, 'orders'], {
      stdout: 'pipe',
      stderr: 'inherit',
    }),
  );
  for (let id = 100; id < 8_000; id += 100)
    await sent.send(messages(id, 100, (one) => ({ partition: one % 2, ...(one % 40 ? {} : { value: '[]' }) })));
  await until(async () => {
    const { positions } = await stateOf(setup.lakePath, 'orders');
    return [...positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) === 8_000;
  });
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  for (const reader of readers) {
    reader.kill('SIGTERM');
    const looks = (await new Response(reader.stdout).text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Look);
    expect(looks.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(looks.length).toBeGreaterThan(5);
    expect(looks.filter(({ rows, distinct }) => rows !== distinct)).toEqual([]);
    expect(looks.filter(({ rows, promised }) => promised !== null && promised !== rows)).toEqual([]);
    expect(looks.filter(({ rows }, index) => rows < (looks[index - 1]?.rows ?? 0))).toEqual([]);
    expect(new Set(looks.map(({ rows }) => rows)).size).toBeGreaterThan(3);
  }
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});
