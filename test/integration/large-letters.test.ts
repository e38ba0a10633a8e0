// Messages that are larger than the database server takes in a statement, refused by decode or by the server: they do not stop the
// feed, and are kept as dead letters that say where their bytes are.

import { expect, test } from 'bun:test';
import { drain } from '../helpers/ingest.ts';
import { startPrivateMysql } from '../helpers/mysql.ts';
import { record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed, rowsOf, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

test('a dead letter, and a row, larger than max_allowed_packet', async () => {
  await using server = await startPrivateMysql('mariadb', { settings: { 'max-allowed-packet': '256K' } });
  await using database = await server.createDatabase();
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  await using sent = await record(kafka, topic);
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds: [factFeed('totals', topic)] });
  const large = 'x'.repeat(300_000);
  await sent.send([
    { partition: 0, key: '1', value: '{"id":1,"text":"one"}', timestampMs: 1_000 },
    { partition: 0, key: '2', value: `no json ${large}`, timestampMs: 2_000 },
    { partition: 0, key: '3', value: JSON.stringify({ id: 3, text: large }), timestampMs: 3_000 },
    { partition: 0, key: '4', value: 'no json', timestampMs: 4_000 },
    { partition: 0, key: large, value: 'no json', timestampMs: 5_000 },
    { partition: 0, key: '6', value: '{"id":6,"text":"six"}', timestampMs: 6_000 },
  ]);
  await drain(setup, toWarehouse);
  expect((await rowsOf(database, 'SELECT id FROM fact_totals_latest ORDER BY id')).map(({ id }) => Number(id))).toEqual([1, 6]);
  const letters = await rowsOf(
    database,
    'SELECT kafka_offset AS o, CAST(kafka_key AS CHAR) AS k, CAST(value AS CHAR) AS v, reason FROM lake_dead_letters ORDER BY kafka_offset',
  );
  expect(letters.map(({ o, k, v }) => [String(o), k, v])).toEqual([
    ['1', '2', null],
    ['2', '3', null],
    ['3', '4', 'no json'],
    ['4', null, 'no json'],
  ]);
  const where = (offset: number) => expect.stringMatching(new RegExp(`of \\d+ bytes, in Kafka at ${topic}:0:${offset}$`));
  expect([letters[0]?.['reason'], letters[1]?.['reason'], letters[3]?.['reason']]).toEqual([where(1), where(2), where(4)]);
  expect(letters[2]?.['reason']).not.toContain('in Kafka at');
});
