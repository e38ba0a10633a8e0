// The embedded warehouse, which is there when none is configured: the same tables as in MySQL, its copy beside a running ingest, one
// process at a time, SIGKILL at any moment.

import { afterAll, expect, setDefaultTimeout, test } from 'bun:test';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openDatabase, run } from '../../src/duckdb/connection.ts';
import { changelog } from '../helpers/changelog.ts';
import { embeddedRows } from '../helpers/embedded.ts';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { expectSnapshot } from '../helpers/expect-snapshot.ts';
import { drain, runLake, startLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { messages, record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { expectAppended, expectFact, factFeed } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const KILLS = 10;
const never = async (): Promise<void> => undefined;

/** Changes the copy, which only who owns the file can. */
async function forge(path: string, sql: string): Promise<void> {
  chmodSync(path, 0o644);
  await using database = await openDatabase({ path });
  const connection = await database.connect();
  await run(connection, sql);
  connection.closeSync();
}

/** A table and a stream into lake and warehouse, with no word of a warehouse in feeds.json. */
async function scene(batch: Record<string, unknown> = {}) {
  const chance = random();
  console.log(`seed ${chance.seed}`);
  const folder = await tempDir();
  const kafka = await testKafka();
  const [tableTopic, streamTopic] = [await kafka.createTopic({ partitions: 2 }), await kafka.createTopic({ partitions: 2 })];
  const [changes, orders] = [await record(kafka, tableTopic), await record(kafka, streamTopic)];
  const people = { table: 'dim_people', key: 'text' };
  const feeds = [
    factFeed('totals', tableTopic, { destination: 'both', dimensions: [people] }),
    streamFeed('orders', streamTopic, { destination: 'both', mysql_table: 'fact_orders' }),
  ];
  const setup = writeSetup({ folder: folder.path, kafka, feeds, batch });
  const path = join(setup.lakePath, 'warehouse.duckdb');
  const copy = { engine: 'duckdb', path, [Symbol.asyncDispose]: never } as const;
  let ordersCount = 0;
  return {
    ...{ setup, path, chance },
    send: async (count: number): Promise<void> => {
      await changes.send(changelog(chance, { count, keys: 40, partitions: 2 }));
      // Some are no JSON, some begin with what decoders like to take for a byte order mark.
      const odd = (id: number) => {
        if (id % 50 === 7) return { value: `no json ${id}` };
        return id % 50 === 9 ? { value: JSON.stringify({ id, text: `\ufeff${id}` }) } : {};
      };
      await orders.send(messages(ordersCount, count, (id) => ({ partition: id % 2, ...odd(id) })));
      ordersCount += count;
    },
    sentCount: () => changes.messages.length + orders.messages.length,
    check: async (): Promise<void> => {
      await expectFact(changes.messages, copy, { feed: 'totals', topic: tableTopic }, { kafka });
      await expectSnapshot(changes.messages, setup.lakePath, 'totals', { kafka, topic: tableTopic });
      await expectAppended(orders.messages, copy, { feed: 'orders', topic: streamTopic }, { kafka });
      await expectExactlyOnce(orders.messages, setup.lakePath, 'orders', { kafka, topic: streamTopic });
      const texts = changes.messages.flatMap(({ value }) => /"text":"([^"]*)"/.exec(String(value ?? ''))?.[1] ?? []);
      const people = await embeddedRows(path, 'SELECT text FROM dim_people ORDER BY text');
      expect(people.map(({ text }) => String(text)).sort()).toEqual([...new Set(texts)].sort());
    },
    [Symbol.asyncDispose]: async () => {
      await changes[Symbol.asyncDispose]();
      await orders[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const readers = new Set<Bun.Subprocess>();
afterAll(() => {
  for (const child of readers) child.kill('SIGKILL');
});

function startReader(path: string) {
  const program = join(import.meta.dir, '../helpers/embedded-reader-child.ts');
  const child = Bun.spawn([process.execPath, program, path], { stdout: 'pipe', stderr: 'inherit' });
  readers.add(child);
  let text = '';
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  })();
  type Look = { readonly first: Record<string, unknown>; readonly last: Record<string, unknown>; readonly error?: string };
  return {
    looks: (): Look[] =>
      text
        .split('\n')
        .slice(0, -1)
        .flatMap((line) => (JSON.parse(line) as Look | null) ?? []),
    end: async (): Promise<void> => {
      child.kill('SIGTERM');
      await read;
    },
  };
}

test('with no warehouse configured, both targets hold the fold of both topics, run after run', async () => {
  await using one = await scene({ batch_size: 300 });
  // The last one in batches that go through DuckDB on their way.
  for (const count of [600, 600, 4_000]) {
    await one.send(count);
    await drain(one.setup);
    await one.check();
  }
  const registry = await embeddedRows(one.path, 'SELECT feed_name, is_active FROM feed_registry ORDER BY 1');
  expect(registry).toEqual([
    { feed_name: 'orders', is_active: 1 },
    { feed_name: 'totals', is_active: 1 },
  ]);
  const audit = await embeddedRows(one.path, "SELECT resource FROM audit_log WHERE action = 'table_created' ORDER BY audit_id");
  expect(audit.map(({ resource }) => resource)).toContain('fact_totals');
  expect(readdirSync(one.setup.lakePath).filter((name) => name.includes('.duckdb'))).toEqual(['warehouse.duckdb']);
});

test('verify finds nothing in it, deep neither, and a row that was changed in the copy by its key', async () => {
  await using one = await scene({ batch_size: 300 });
  await one.send(300);
  await drain(one.setup);
  for (const args of [[], ['--deep']]) {
    const { code, stdout, stderr } = await runLake(one.setup, ['verify', '--json', ...args]);
    expect([code, stderr.includes('error:'), JSON.parse(stdout).ok]).toEqual([0, false, true]);
    expect(stdout).toContain('"target": "warehouse"');
  }
  await forge(
    one.path,
    "UPDATE fact_totals SET text = 'forged' WHERE kafka_offset = (SELECT max(kafka_offset) FROM fact_totals)",
  );
  const { code, stdout } = await runLake(one.setup, ['verify', '--json']);
  expect([code, stdout]).toEqual([3, expect.stringContaining('forged')]);
});

test('a reader in another process always sees one whole state, and a later one never has less', async () => {
  await using one = await scene({ batch_size: 100 });
  const lake = startLake(one.setup, ['ingest', '--log-level', 'debug']);
  const reader = startReader(one.path);
  for (let round = 0; round < 25; round++) {
    await one.send(100);
    await until(() => lake.events('warehouse_published').length > round >> 2, { timeoutMs: 180_000 });
  }
  await until(
    async () => {
      const [row] = await embeddedRows(one.path, 'SELECT sum(messages) AS n FROM lake_positions');
      return Number(row?.['n']) === one.sentCount();
    },
    { timeoutMs: 180_000 },
  );
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await reader.end();
  const looks = reader.looks();
  expect(looks.filter(({ error }) => error !== undefined)).toEqual([]);
  for (const { first, last } of looks) {
    expect(first).toEqual(last);
    expect([first['appended'], first['keys'], first['letters'], first['beyond']]).toEqual([
      first['promised'],
      first['latest'],
      first['promised_letters'],
      '0',
    ]);
    expect(first['different']).toBe(first['appended']);
  }
  const counts = looks.map(({ first }) => Number(first['appended']));
  expect(counts).toEqual(counts.toSorted((a, b) => a - b));
  expect(new Set(counts).size).toBeGreaterThan(3);
  await one.check();
});

test(`SIGKILL at ${KILLS} random moments: nothing is lost and nothing is twice`, async () => {
  await using one = await scene({ batch_size: 120 });
  const { between, next } = one.chance;
  let commits = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    await one.send(250);
    const lake = startLake(one.setup, ['ingest', '--log-level', 'debug']);
    // One in three anywhere, start included; the others while batches commit and copies are made.
    const isAnywhere = kill % 3 === 0;
    if (!isAnywhere && next() < 0.3) await lake.event('warehouse_published');
    else if (!isAnywhere) await lake.event('batch_committed', 1 + Math.floor(between(0, 2)));
    const killAtMs = performance.now() + between(0, isAnywhere ? 2_000 : 60);
    await until(() => performance.now() > killAtMs, { everyMs: 1 });
    lake.kill('SIGKILL');
    const { code, stderr } = await lake.ended;
    expect(code === null ? 'killed' : stderr).toBe('killed');
    commits += lake.events('batch_committed').length;
    // Whatever the copy is by now, it is whole.
    if (existsSync(one.path)) await embeddedRows(one.path, 'SELECT count(*) FROM lake_positions');
  }
  expect(commits).toBeGreaterThan(KILLS / 2);
  await drain(one.setup);
  await one.check();
  expect(readdirSync(one.setup.lakePath).filter((name) => name.includes('.duckdb'))).toEqual(['warehouse.duckdb']);
});

test('a second process is refused, by the name of the first, and does nothing', async () => {
  await using one = await scene();
  await one.send(100);
  const lake = startLake(one.setup, ['ingest']);
  await lake.event('warehouse_opened');
  const second = await runLake(one.setup, ['ingest', '--until-caught-up', '--mode', 'warehouse']);
  expect([second.code, second.stderr]).toEqual([5, expect.stringContaining('warehouse_busy')]);
  expect(second.stderr).toContain(`stop process ${lake.pid}`);
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await drain(one.setup);
  await one.check();
});
