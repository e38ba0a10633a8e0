// Both pipelines in one process: a MySQL that is away stops the warehouse's alone, is waited for, and is caught up with; a run
// that is told to stop meanwhile ends at once, and loses nothing. Members that sleep, leave or share the work (PROTOCOL 10).

import { expect, test } from 'bun:test';
import { changelog } from '../helpers/changelog.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, type LakeSetup, type RunningLake, runLake, startLake } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { mysqlProxy } from '../helpers/mysql-proxy.ts';
import { messages, record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { expectFact, factFeed, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

const TOTALS = 'totals';

async function scene({ partitions = 2, destination = 'data_warehouse', engine = 'mysql' as 'mysql' | 'mariadb' } = {}) {
  const folder = await tempDir();
  const database = await testMysql(engine);
  const proxy = await mysqlProxy(database.login.port);
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions });
  const sent = await record(kafka, topic);
  const feeds = [factFeed(TOTALS, topic, { destination })];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds, port: proxy.port });
  const send = (count: number) => sent.send(changelog(random(), { count, keys: 50, partitions }));
  const inMysql = () => expectFact(sent.messages, database, { feed: TOTALS, topic }, { kafka });
  const inLake = () => expectSnapshot(sent.messages, setup.lakePath, TOTALS, { kafka, topic });
  return {
    ...{ kafka, topic, sent, send, setup, proxy, database, inMysql, inLake },
    [Symbol.asyncDispose]: async () => {
      proxy[Symbol.dispose]();
      await sent[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const start = (setup: LakeSetup, mode: string): RunningLake => startLake(setup, ['ingest', '--mode', mode]);
const holds = (check: () => Promise<unknown>): Promise<boolean> =>
  until(() =>
    check().then(
      () => true,
      () => false,
    ),
  );
const waitsFor = (lake: RunningLake) => lake.event('warehouse_waited_for');

test('MySQL is away at the start and later on: the lake goes on, the log says so once, the warehouse catches up', async () => {
  await using at = await scene({ destination: 'both' });
  at.proxy.close();
  await at.send(300);
  const lake = start(at.setup, 'all');
  await waitsFor(lake);
  await holds(at.inLake);
  at.proxy.open();
  await holds(at.inMysql);
  at.proxy.close();
  for (let round = 0; round < 3; round++) {
    await at.send(200);
    await holds(at.inLake);
  }
  expect(
    await at.inMysql().then(
      () => 'there',
      () => 'not there',
    ),
  ).toBe('not there');
  at.proxy.open();
  await holds(at.inMysql);
  expect(lake.events('warehouse_waited_for').length).toBeLessThanOrEqual(3);
  lake.kill('SIGTERM');
  const { code, stderr } = await lake.ended;
  expect([code, stderr]).toEqual([0, expect.stringContaining('"warehouse_back"')]);
});

test('over HTTP: not ready while MySQL is away, with and without messages; the port is free again after a stop', async () => {
  await using at = await scene({ destination: 'both' });
  at.proxy.close();
  await at.send(50);
  const lake = startLake(at.setup, ['ingest', '--http', '127.0.0.1:0']);
  const port = Number((await lake.event('http_listening'))['port']);
  const ready = async (): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`);
    const { pipelines } = (await response.json()) as { pipelines: { target: string; ready: boolean; reason: string | null }[] };
    return [
      response.status,
      ...pipelines.map((one) => `${one.target} ${one.ready} ${one.reason?.replace(/.*ECONN.*/, 'away') ?? ''}`),
    ].join();
  };
  const isReady = async (wanted: RegExp): Promise<void> => void (await until(async () => wanted.test(await ready())));
  await holds(at.inLake);
  await isReady(/^503,lake true ,warehouse false .+/);
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  at.proxy.open();
  await isReady(/^200,lake true ,warehouse true $/);
  await holds(at.inMysql);
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  for (const target of ['lake', 'warehouse'])
    await until(async () =>
      (await metrics()).includes(`lake_messages_committed_total{feed="${TOTALS}",target="${target}"} 50\n`),
    );
  at.proxy.close();
  await isReady(/^503,lake true ,warehouse false .+/);
  const other = await runLake(at.setup, ['ingest', '--http', String(port)]);
  expect(other.stderr).not.toContain('partitions_assigned');
  expect(other).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(`port ${port} of 127.0.0.1 is in use`) });
  at.proxy.open();
  await isReady(/^200,/);
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  expect(await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => 'gone')).toBe('gone');
});

test('a pipeline that ends by an error takes nothing from what the other has to say', async () => {
  await using at = await scene({ destination: 'both' });
  await at.send(50);
  const connection = await at.database.connect();
  await connection.query(
    'CREATE TABLE lake_identity (singleton TINYINT NOT NULL DEFAULT 1 PRIMARY KEY, lake_id VARCHAR(64), format INT, created_at DATETIME(6))',
  );
  await connection.query("INSERT INTO lake_identity VALUES (1, 'another', 1, NOW(6))");
  const { code, stdout, stderr } = await runLake(at.setup, ['ingest', '--until-caught-up', '--json']);
  expect([code, stderr]).toEqual([1, expect.stringContaining('error: the database belongs to the lake another')]);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: false,
    feeds: [
      { feed: TOTALS, target: 'lake', messages: 50, stopped: null },
      { feed: TOTALS, target: 'warehouse', messages: 0, stopped: { code: 'warehouse_other_lake' } },
    ],
  });
  await at.inLake();
});

for (const when of ['at the start', 'with a batch in hand'] as const) {
  test(`a run that is told to stop while MySQL is away, ${when}, ends with 0 and loses nothing`, async () => {
    await using at = await scene({ destination: 'both' });
    if (when === 'at the start') at.proxy.close();
    const lake = start(at.setup, 'all');
    if (when !== 'at the start') {
      await at.send(10);
      await holds(at.inMysql);
      at.proxy.close();
    }
    await at.send(300);
    await waitsFor(lake);
    await holds(at.inLake);
    lake.kill('SIGTERM');
    const startedMs = Date.now();
    const { code, stderr } = await lake.ended;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/"(pipeline|batch)_given_up"/)]);
    expect(Date.now() - startedMs).toBeLessThan(30_000);
    at.proxy.open();
    await drain(at.setup);
    await at.inMysql();
    await at.inLake();
  });
}

test('a table that differs stops its feed with the ALTER to run; the other feed goes on', async () => {
  await using at = await scene();
  const other = await at.kafka.createTopic();
  await using others = await record(at.kafka, other);
  const connection = await at.database.connect();
  await connection.query('CREATE TABLE fact_totals (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(3))');
  const feeds = [factFeed(TOTALS, at.topic), factFeed('others', other)];
  const folder = at.setup.configPath.replace(/\/[^/]*$/, '');
  const setup = warehouseSetup({ folder, kafka: at.kafka, database: at.database, feeds, name: 'two.json' });
  await at.send(10);
  await others.send(messages(0, 10));
  const { code, stderr } = await runLake(setup, ['ingest', '--until-caught-up', ...toWarehouse.args]);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/warehouse_table_differs/)]);
  expect(stderr.split('\n').filter((line) => line.startsWith('error: ')).length).toBe(1);
  await expectFact(others.messages, at.database, { feed: 'others', topic: other }, { kafka: at.kafka });
});

// It sleeps there while another member takes over, and wakes afterwards.
const SLEEPS = [
  { where: 'before its transaction', at: 'START TRANSACTION', n: 2, when: 'before' },
  { where: 'with COMMIT under way', at: 'COMMIT', n: 2, when: 'before' },
  { where: 'after COMMIT, before its answer', at: 'COMMIT', n: 2, when: 'after' },
  { where: 'in its transaction, with all locks', at: 'INSERT INTO `fact_totals`', n: 1, when: 'before' },
] as const;

for (const { where, ...strike } of SLEEPS) {
  test(`asleep ${where} while another member goes on`, async () => {
    await using at = await scene({ engine: where.startsWith('in its') ? 'mariadb' : 'mysql' });
    await at.send(100);
    await drain(at.setup, toWarehouse);
    await at.send(300);
    const direct = warehouseSetup({
      ...{ folder: at.setup.configPath.replace(/\/[^/]*$/, ''), kafka: at.kafka, database: at.database, name: 'direct.json' },
      ...{ feeds: [factFeed(TOTALS, at.topic)], groupId: at.setup.groupId },
    });
    let sleeper: RunningLake | null = null;
    const struck = at.proxy.strike({ ...strike, goesOn: true, act: () => sleeper?.kill('SIGSTOP') });
    sleeper = startLake(at.setup, ['ingest', '--until-caught-up', ...toWarehouse.args]);
    await struck;
    await drain(direct, toWarehouse);
    await at.inMysql();
    await at.send(100);
    sleeper.kill('SIGCONT');
    const { code, stderr } = await sleeper.ended;
    expect([code === 0 || code === 5, stderr]).toEqual([true, expect.any(String)]);
    if (where === 'before its transaction') expect(stderr).toContain('"commit_conflicted"');
    await drain(direct, toWarehouse);
    await at.inMysql();
  });
}

test('members that come and go share the tables, and every row is there', async () => {
  await using at = await scene({ partitions: 3 });
  const lakes = [start(at.setup, 'warehouse')];
  for (let round = 0; round < 4; round++) {
    await at.send(300);
    lakes.push(start(at.setup, 'warehouse'));
    await until(() => (lakes.at(-1)?.events('partitions_assigned').length ?? 0) > 0);
    await at.send(300);
    lakes.shift()?.kill(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
  }
  await holds(at.inMysql);
  for (const lake of lakes) lake.kill('SIGTERM');
  for (const lake of lakes) expect((await lake.ended).code).toBe(0);
});
