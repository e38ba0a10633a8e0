// lake retention with the embedded warehouse: the same rows go, its copy for readers is made anew, and while an ingest holds it the lake's
// part is done alone.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { ago, dayAgo, NOON_MS, reportOf, shown } from '../helpers/aged-scene.ts';
import { drain, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { message, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

test('deletes in the embedded warehouse as in a server', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const configs = { 'retention.ms': '-1' };
  const [streamTopic, tableTopic] = [await kafka.createTopic({ configs }), await kafka.createTopic({ configs })];
  const retention = { retention_days: 30, auto_delete: true };
  const setup = writeSetup({
    ...{ folder: folder.path, kafka },
    feeds: [
      streamFeed('both', streamTopic, { destination: 'both', mysql_table: 'fact_both', retention }),
      factFeed('totals', tableTopic, { destination: 'both', retention: { retention_versions: 1, auto_delete: true } }),
    ],
  });
  await using stream = await record(kafka, streamTopic);
  await using table = await record(kafka, tableTopic);
  await stream.send([45, 31, 30, 0].flatMap((days) => [1, 2, 3].map((id) => message(id, { timestampMs: ago(days) + id }))));
  for (const days of [2, 1, 0]) {
    await table.send([1, 2 + days].map((id) => message(id, { timestampMs: ago(days) })));
    await drain(setup, { clockMs: ago(days) + 60_000 });
  }
  const run = () => runLake(setup, ['retention', '--json'], { clockMs: NOON_MS + 120_000 });
  const inWarehouse = [
    `both warehouse rows before ${dayAgo(30)} 6`,
    ...[2, 1].map((days, index) => `totals warehouse snapshot ${dayAgo(days)}/1 ${2 + index}`),
  ];
  const inLake = [
    ...[45, 31].map((days) => `both lake day ${dayAgo(days)} 3`),
    ...[2, 1].map((days, index) => `totals lake snapshot ${dayAgo(days)}/1 ${2 + index}`),
  ];
  const dry = await runLake(setup, ['retention', '--json', '--dry-run'], { clockMs: NOON_MS });
  expect(shown(reportOf(dry).actions).sort()).toEqual([...inLake, ...inWarehouse].sort());
  // An ingest that runs has the file for itself.
  const ingest = startLake(setup, ['ingest'], { clockMs: NOON_MS + 90_000 });
  await ingest.event('warehouse_opened');
  const beside = await run();
  expect({ code: beside.code, failed: reportOf(beside).failed.map(({ code }) => code) }).toEqual({
    code: 5,
    failed: ['warehouse_busy', 'warehouse_busy'],
  });
  expect(shown(reportOf(beside).actions)).toEqual(inLake);
  ingest.kill('SIGTERM');
  expect((await ingest.ended).code).toBe(0);
  const done = await run();
  expect({ code: done.code, actions: shown(reportOf(done).actions) }).toEqual({ code: 0, actions: inWarehouse });
  const verified = await runLake(setup, ['verify', '--json', '--deep']);
  expect([...verified.stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what)).toEqual([]);
  expect(verified.code).toBe(0);
  expect(shown(reportOf(await run()).actions)).toEqual([]);
});
