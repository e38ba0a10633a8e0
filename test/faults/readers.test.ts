// Readers beside a busy ingest, one that globs and one that follows the log (PROTOCOL 9): no row twice, no row that goes away
// again, no file that is not there.

import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

type Look = { readonly rows: number; readonly distinct: number; readonly promised: number | null; readonly error?: string };

const started = new Set<Bun.Subprocess>();
afterAll(() => {
  for (const child of started) child.kill('SIGKILL');
});

function startReader(how: string, lakePath: string) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, '../helpers/reader-child.ts'), how, lakePath, 'orders'], {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  started.add(child);
  let text = '';
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  })();
  return {
    lines: (): string[] => text.split('\n').slice(0, -1),
    end: async (): Promise<void> => {
      child.kill('SIGTERM');
      await read;
    },
  };
}

test('readers see every commit whole and once', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 2 });
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)], batch: { batch_size: 100 } });
  const lake = startLake(setup, ['ingest']);
  await sent.send(messages(0, 100));
  await lake.event('batch_committed');
  const readers = ['glob', 'log'].map((how) => startReader(how, setup.lakePath));
  for (let id = 100; id < 8_000; id += 100) {
    await sent.send(messages(id, 100, (one) => ({ partition: one % 2, ...(one % 40 ? {} : { value: '[]' }) })));
    // However fast they are taken in, both readers look now and then.
    const wanted = Math.floor(id / 800);
    if (id % 800 === 0) await until(() => readers.every(({ lines }) => lines().length >= wanted), { timeoutMs: 180_000 });
  }
  await until(async () => {
    const { positions } = await stateOf(setup.lakePath, 'orders');
    return [...positions.values()].reduce((sum, { totals }) => sum + totals.messages, 0) === 8_000;
  });
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  for (const reader of readers) {
    await reader.end();
    const looks = reader.lines().map((line) => JSON.parse(line) as Look);
    expect(looks.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(looks.length).toBeGreaterThan(5);
    expect(looks.filter(({ rows, distinct }) => rows !== distinct)).toEqual([]);
    expect(looks.filter(({ rows, promised }) => promised !== null && promised !== rows)).toEqual([]);
    expect(looks.filter(({ rows }, index) => rows < (looks[index - 1]?.rows ?? 0))).toEqual([]);
    expect(new Set(looks.map(({ rows }) => rows)).size).toBeGreaterThan(3);
  }
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
});
