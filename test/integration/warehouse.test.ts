// Tables and streams in MySQL and MariaDB: what is there is the fold of what was produced, exactly once, over any number of runs.

import { describe, expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { testEmbedded } from '../helpers/embedded.ts';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, runLake, streamFeed } from '../helpers/ingest.ts';
import { readRows, stateOf } from '../helpers/lake-rows.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { FIRST_MS, messages, record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import {
  type AnyDatabase,
  expectAppended,
  expectFact,
  factFeed,
  rowsOf,
  toWarehouse,
  warehouseSetup,
} from '../helpers/warehouse.ts';

const RUNS = 4;
const TOTALS = (topic: string) => ({ feed: 'totals', topic });

async function scene(engine: 'mysql' | 'mariadb', partitions: number) {
  return await sceneWith(await testMysql(engine), partitions);
}

const databaseOf = (engine: 'mysql' | 'mariadb' | 'duckdb') => (engine === 'duckdb' ? testEmbedded() : testMysql(engine));

async function sceneWith<Database extends AnyDatabase>(database: Database, partitions: number) {
  const folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  return {
    ...{ folder: folder.path, database, kafka, topic, sent },
    [Symbol.asyncDispose]: async () => {
      await sent[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe.each([...mysqlEngines, 'duckdb'] as const)('%s', (engine) => {
  test('a random changelog, taken in over several runs, is its fold', async () => {
    const chance = random();
    console.log(`seed ${chance.seed}`);
    await using at = await sceneWith(await databaseOf(engine), 3);
    const { topic, sent, database, kafka } = at;
    const setup = warehouseSetup({ ...at, feeds: [factFeed('totals', topic)], batch: { batch_size: 300 } });
    for (let run = 0; run < RUNS; run++) {
      await sent.send(changelog(chance, { count: 1_000, keys: 60, partitions: 3 }));
      await drain(setup, toWarehouse);
      const { live, deleted } = await expectFact(sent.messages, database, TOTALS(topic), { kafka });
      expect(live.size).toBeGreaterThan(0);
      expect(deleted.size).toBeGreaterThan(0);
      expect(await kafka.groupOffsets(`${setup.groupId}_warehouse`, topic)).toEqual(
        (await kafka.watermarks(topic)).map(({ high }) => high),
      );
    }
  });

  test('lake and warehouse take the same rows in one process; a stream is appended, exactly once', async () => {
    await using at = await sceneWith(await databaseOf(engine), 2);
    const { topic, sent, database, kafka, folder } = at;
    const stream = streamFeed('orders', topic, { destination: 'both', mysql_table: 'fact_orders' });
    const tableTopic = await kafka.createTopic({ partitions: 2 });
    await using changes = await record(kafka, tableTopic);
    const feeds = [stream, factFeed('totals', tableTopic, { destination: 'both' })];
    const setup = warehouseSetup({ ...at, folder, feeds });
    for (let run = 0; run < 2; run++) {
      await sent.send(
        messages(run * 700, 700, (id) => ({ partition: id % 2, ...(id % 50 === 3 ? { value: `no json ${id}` } : {}) })),
      );
      await sent.send([{ key: 'k', value: null, timestampMs: FIRST_MS }]);
      await changes.send(changelog(random(), { count: 500, keys: 40, partitions: 2 }));
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, 'orders', { kafka, topic });
      await expectAppended(sent.messages, database, { feed: 'orders', topic }, { kafka });
      await expectSnapshot(changes.messages, setup.lakePath, 'totals', { kafka, topic: tableTopic });
      await expectFact(changes.messages, database, TOTALS(tableTopic), { kafka });
    }
  });

  test('offsets that Kafka no longer has are recorded, and the table is read anew from those it has', async () => {
    await using at = await sceneWith(await databaseOf(engine), 1);
    const { topic, sent, database, kafka } = at;
    const setup = warehouseSetup({ ...at, feeds: [factFeed('totals', topic)] });
    await sent.send(messages(0, 20));
    await drain(setup, toWarehouse);
    await sent.send(messages(20, 20));
    await kafka.deleteRecords(topic, [{ partition: 0, before: 30n }]);
    const refused = await runLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('10 messages are gone')]);
    await drain(setup, { args: [...toWarehouse.args, '--on-gap', 'record'] });
    const left = sent.messages.filter(({ offset }) => offset >= 30n);
    await expectFact(left, database, TOTALS(topic), { kafka });
    expect(await rowsOf(database, 'SELECT start_offset, end_offset, reason FROM lake_gaps')).toMatchObject([
      { start_offset: '20', end_offset: '30', reason: 'expired' },
    ]);
  });
});

describe.each([...mysqlEngines])('%s', (engine) => {
  test('rows that the table refuses become dead letters with the words of the server; an earlier row of the key stays', async () => {
    await using at = await scene(engine, 2);
    const { topic, sent, database, kafka } = at;
    const setup = warehouseSetup({ ...at, feeds: [factFeed('totals', topic)] });
    await sent.send(messages(0, 10));
    await drain(setup, toWarehouse);
    const connection = await database.connect();
    await connection.query(`CREATE TRIGGER refuse_bad BEFORE INSERT ON fact_totals FOR EACH ROW
      IF NEW.text LIKE 'bad%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no bad text here'; END IF`);
    const isBad = (id: number): boolean => id % 3 === 0;
    // Of each key a good row first, then one that is refused: 130 of 650.
    await sent.send(
      messages(0, 650, (id) => ({
        partition: id % 2,
        value: JSON.stringify({ id: id % 260, text: isBad(id % 5) && id >= 260 ? `bad ${id}` : `good ${id}` }),
      })),
    );
    const { stderr } = await drain(setup, toWarehouse);
    expect(stderr).toContain('"rows_refused"');
    const letters = await rowsOf(
      database,
      'SELECT kafka_partition AS p, kafka_offset AS o, value, reason FROM lake_dead_letters',
    );
    expect(letters.length).toBeGreaterThan(100);
    for (const { value, reason } of letters)
      expect([String(value), reason]).toEqual([
        expect.stringContaining('"bad '),
        expect.stringContaining('the warehouse refuses it'),
      ]);
    expect(await rowsOf(database, "SELECT id FROM fact_totals WHERE text LIKE 'bad%'")).toEqual([]);
    const refused = new Set(letters.map(({ p, o }) => `${p}:${o}`));
    await expectFact(sent.messages, database, TOTALS(topic), {
      kafka,
      refused: (message) => refused.has(`${message.partition}:${message.offset}`),
    });
  });

  test('a table that refuses most rows stops its feed, not the other, and nothing of it is committed', async () => {
    await using at = await scene(engine, 1);
    const { topic, sent, database, kafka } = at;
    const other = await kafka.createTopic();
    await kafka.produce(other, messages(0, 10));
    const feeds = [factFeed('totals', topic), factFeed('others', other)];
    const setup = warehouseSetup({ ...at, feeds });
    await drain(setup, toWarehouse);
    const connection = await database.connect();
    await connection.query(`CREATE TRIGGER refuse_all BEFORE INSERT ON fact_totals FOR EACH ROW SIGNAL SQLSTATE '45000'`);
    await sent.send(messages(0, 300));
    await kafka.produce(other, messages(10, 10));
    const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('100 of the last 100 messages of feed totals do not fit')]);
    expect(await rowsOf(database, "SELECT * FROM lake_positions WHERE feed = 'totals'")).toEqual([]);
    expect(await rowsOf(database, "SELECT position FROM lake_positions WHERE feed = 'others'")).toMatchObject([
      { position: '20' },
    ]);
    await connection.query('DROP TRIGGER refuse_all');
    await drain(setup, toWarehouse);
    await expectFact(sent.messages, database, TOTALS(topic), { kafka });
  });
});

test('a key longer than a warehouse can index is a dead letter in both targets', async () => {
  await using at = await scene('mysql', 1);
  const { topic, database, kafka } = at;
  const schema = { key_field: 'name', fields: { name: 'VARCHAR', n: 'BIGINT' } };
  const setup = warehouseSetup({ ...at, feeds: [factFeed('names', topic, { destination: 'both', schema })] });
  const [most, more] = ['é'.repeat(255), 'é'.repeat(256)];
  const of = (name: string, value: string | null = JSON.stringify({ name, n: 1 })) => ({
    key: name,
    value,
    timestampMs: FIRST_MS,
  });
  await kafka.produce(topic, [of(most), of(more), of('a '), of('a'), of('A'), of('ä'), of(more, null)]);
  await drain(setup);
  const state = await stateOf(setup.lakePath, 'names');
  const files = [...state.files.values()];
  const paths = (kind: string): string[] => files.filter((file) => file.kind === kind).map(({ path }) => path);
  const rows = await readRows(setup.lakePath, { data: paths('data'), deadLetters: paths('dead_letters') });
  const inLake = (kind: string): string[] =>
    rows
      .filter((row) => row.kind === kind)
      .map(({ offset }) => String(offset))
      .sort();
  const inMysql = async (table: string) =>
    (await rowsOf(database, `SELECT kafka_offset AS o FROM ${table} ORDER BY 1`)).map((row) => String(row['o']));
  expect([inLake('row'), inLake('dead_letter')]).toEqual([
    ['0', '2', '3', '4', '5'],
    ['1', '6'],
  ]);
  expect([await inMysql('fact_names'), await inMysql('lake_dead_letters')]).toEqual([
    ['0', '2', '3', '4', '5'],
    ['1', '6'],
  ]);
  expect((await rowsOf(database, 'SELECT reason FROM lake_dead_letters')).map((row) => row['reason'])).toEqual([
    expect.stringContaining('has 256 characters, VARCHAR(255) holds 255'),
    expect.stringContaining('has 256 characters, VARCHAR(255) holds 255'),
  ]);
});

test('a topic that was made anew is not taken for the old one', async () => {
  await using at = await scene('mysql', 1);
  const { topic, database, kafka } = at;
  const setup = warehouseSetup({ ...at, feeds: [factFeed('totals', topic)] });
  await kafka.produce(topic, messages(0, 10));
  await drain(setup, toWarehouse);
  await kafka.deleteTopic(topic);
  await kafka.createTopic({ name: topic });
  for (const count of [5, 20]) {
    await kafka.produce(topic, messages(1_000, count));
    const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/topic_(truncated|recreated)/)]);
  }
  expect(await rowsOf(database, 'SELECT COUNT(*) AS n FROM fact_totals WHERE id >= 1000')).toMatchObject([{ n: '0' }]);
});

test('columns that both targets find at once are in both', async () => {
  await using at = await scene('mysql', 2);
  const { topic, sent, database, kafka } = at;
  const feed = { ...factFeed('totals', topic, { destination: 'both' }), schema: { key_field: 'id' } };
  const setup = warehouseSetup({ ...at, feeds: [feed], batch: { batch_size: 50 } });
  for (let round = 0; round < 3; round++) {
    const value = (id: number): string =>
      JSON.stringify({
        id,
        text: `text ${id}`,
        ...Object.fromEntries(Array.from({ length: round + 1 }, (_, n) => [`c${n}`, id])),
      });
    for (let part = 0; part < 3; part++)
      await sent.send(messages(round * 300 + part * 100, 100, (id) => ({ partition: id % 2, value: value(id) })));
    await drain(setup);
  }
  await expectFact(sent.messages, database, TOTALS(topic), { kafka });
  await expectSnapshot(sent.messages, setup.lakePath, 'totals', { kafka, topic });
  const found = await rowsOf(database, 'SELECT COUNT(c0) AS a, COUNT(c1) AS b, COUNT(c2) AS c FROM fact_totals');
  expect(found).toMatchObject([{ a: '900', b: '600', c: '300' }]);
});

test('a table that grows by a column while the pipeline runs grows in MySQL too, and every row is whole', async () => {
  await using at = await scene('mysql', 2);
  const { topic, sent, database, kafka } = at;
  const feed = { ...factFeed('totals', topic), schema: { key_field: 'id' } };
  const setup = warehouseSetup({ ...at, feeds: [feed] });
  await sent.send(messages(0, 50, (id) => ({ partition: id % 2 })));
  await sent.send(
    messages(50, 50, (id) => ({
      partition: id % 2,
      value: JSON.stringify({ id, text: `text ${id}`, more: id % 7, big: `${id}` }),
    })),
  );
  await sent.send(
    messages(100, 50, (id) => ({
      partition: id % 2,
      value: JSON.stringify({ id, text: `text ${id}`, more: 3_000_000_000 + id }),
    })),
  );
  await drain(setup, toWarehouse);
  await expectFact(sent.messages, database, TOTALS(topic), { kafka });
  const sums = await rowsOf(
    database,
    'SELECT COUNT(more) AS n, SUM(more > 2147483648) AS large, COUNT(big) AS b FROM fact_totals_latest',
  );
  expect(sums).toMatchObject([{ n: '100', large: '50', b: '50' }]);
});
