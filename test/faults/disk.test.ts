// The disk of the lake is full, or cannot be written: a clear error, exit 1, nothing lost.

import { expect, test } from 'bun:test';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { isRoot, smallDisk } from '../helpers/small-disk.ts';

async function fullDisk(): Promise<void> {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const disk = join(folder.path, 'disk');
  using space = smallDisk(disk, 1_500_000);
  const setup = writeSetup({
    folder: folder.path,
    kafka,
    feeds: [streamFeed('orders', topic)],
    batch: { batch_size: 500 },
    lakePath: join(disk, 'lake'),
  });
  await sent.send(messages(0, 100));
  await drain(setup);
  for (const spare of [0, 4_096, 20_000, 60_000]) {
    space.fill(spare);
    // Random text, so that it does not compress away.
    await sent.send(messages(1_000 + spare, 1_500, (id) => ({ value: JSON.stringify({ id, text: crypto.randomUUID() }) })));
    const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up']);
    expect(stderr).toContain('code   disk_full (exit 1)');
    expect(code).toBe(1);
  }
  space.empty();
  await drain(setup);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
}

async function limitedFiles(): Promise<void> {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  await sent.send(messages(0, 20_000, (id) => ({ value: JSON.stringify({ id, text: crypto.randomUUID() }) })));
  const limited = await runLake(setup, ['ingest', '--until-caught-up'], { wrap: ['sh', '-c', 'ulimit -f 64; exec "$0" "$@"'] });
  expect(limited.code).not.toBe(0);
  await drain(setup);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
}

// Who may not mount a small disk meets another end of space: a limit on the size of files.
if (isRoot) test('a full disk stops with disk_full; with space again everything is in, once', fullDisk);
else test('a file that may not grow stops with a clear error; nothing is lost', limitedFiles);

test('a lake that this user cannot write is refused', async () => {
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  await sent.send(messages(0, 10));
  // Not in the tests' folder, which other users may not enter.
  const path = mkdtempSync(join(tmpdir(), 'lake-read-only-'));
  const setup = writeSetup({ folder: path, kafka, feeds: [streamFeed('orders', topic)] });
  chmodSync(path, 0o555);
  const wrap = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up'], { wrap });
  chmodSync(path, 0o755);
  expect(stderr).toContain('code   lake_not_writable (exit 1)');
  expect(code).toBe(1);
  await drain(setup);
  await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
  rmSync(path, { recursive: true });
});
