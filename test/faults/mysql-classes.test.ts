// Each class of failure of design 4, §5, provoked while feeds commit, on both servers: a table and a stream, which waits or goes on by
// itself or stops with the words that say why, and after each of them every message is there exactly once.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Connection } from 'mysql2/promise';
import { type RunningLake, startLake, streamFeed } from '../helpers/ingest.ts';
import type { TestMessage } from '../helpers/kafka.ts';
import { mysqlEngines, startPrivateMysql } from '../helpers/mysql.ts';
import { mysqlProxy, type Strike } from '../helpers/mysql-proxy.ts';
import { FIRST_MS, messages, type Produced, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { expectAppended, expectFact, factFeed, rowsOf, toWarehouse, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const FIELDS = { id: 'BIGINT', text: 'VARCHAR', moment: 'TIMESTAMP' };
const WAIT = { timeoutMs: 120_000 };

async function scene(engine: (typeof mysqlEngines)[number]) {
  const server = await startPrivateMysql(engine);
  const database = await server.createDatabase();
  const root = await database.connect();
  await root.query("CREATE USER lake_user IDENTIFIED BY ''");
  await root.query(`GRANT ALL PRIVILEGES ON ${database.database}.* TO lake_user`);
  const proxy = await mysqlProxy(server.login.port);
  const folder = await tempDir();
  const kafka = await testKafka();
  const topics = { totals: await kafka.createTopic(), orders: await kafka.createTopic() };
  const sent = { totals: await record(kafka, topics.totals), orders: await record(kafka, topics.orders) };
  const feeds = [
    factFeed('totals', topics.totals, { schema: { key_field: 'id', fields: FIELDS } }),
    streamFeed('orders', topics.orders, { destination: 'data_warehouse', mysql_table: 'fact_orders' }),
  ];
  const asUser = { ...database, login: { ...database.login, user: 'lake_user' } };
  const setup = warehouseSetup({ folder: folder.path, kafka, database: asUser, feeds, port: proxy.port });
  let count = 0;
  const send = async (list?: readonly TestMessage[]): Promise<void> => {
    const next = messages(count, 20);
    count += 20;
    await Promise.all([sent.totals.send(list ?? next), sent.orders.send(next)]);
  };
  const refused = new Set<bigint>();
  /** All of it is in, each once. */
  const allIn = async (): Promise<void> => {
    const wanted = sent.totals.messages.length + sent.orders.messages.length;
    const taken = async () => Number((await rowsOf(database, 'SELECT SUM(messages) AS n FROM lake_positions'))[0]?.['n']);
    await until(async () => (await taken()) === wanted, { ...WAIT, what: `${wanted} messages are in` });
    const isRefused = ({ offset }: Produced): boolean => refused.has(offset);
    await expectFact(sent.totals.messages, database, { feed: 'totals', topic: topics.totals }, { kafka, refused: isRefused });
    await expectAppended(sent.orders.messages, database, { feed: 'orders', topic: topics.orders }, { kafka });
  };
  return {
    ...{ database, root, proxy, setup, sent, send, refused, allIn, login: asUser.login },
    ingest: () => startLake(setup, ['ingest', ...toWarehouse.args]),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      proxy[Symbol.dispose]();
      for (const one of Object.values(sent)) await one[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
type Scene = Awaited<ReturnType<typeof scene>>;

/** A row that another program has changed and not committed; the feed's statement on it has come to wait. */
async function feedWaitsFor({ root, send, database }: Scene): Promise<Connection> {
  const other = await database.connect();
  await other.query('START TRANSACTION');
  // A larger transaction than the feed's: of two that wait for each other the server ends the smaller one.
  await other.query('INSERT INTO ballast (n) SELECT a.id FROM fact_orders a, (SELECT id FROM fact_orders LIMIT 20) b');
  await other.query('UPDATE fact_totals SET created_at = created_at WHERE id = 1');
  await send([{ key: '1', value: '{"id":1,"text":"text 1"}', timestampMs: FIRST_MS }]);
  const waiting =
    "SELECT 1 FROM information_schema.processlist WHERE user = 'lake_user' AND info LIKE 'INSERT INTO `fact_totals`%'";
  await until(async () => ((await root.query(waiting))[0] as unknown[]).length > 0, WAIT);
  return other;
}

const WAITED = 'warehouse_waited_for';

/** While this lasts the feeds wait, and say so. */
async function waitedOut(at: Scene, lake: RunningLake, reason: RegExp, during: () => Promise<void>, end: () => Promise<void>) {
  const told = () => lake.events(WAITED).filter((line) => reason.test(`${line['number'] ?? ''} ${line['reason']}`)).length;
  const before = told();
  try {
    await during();
    await at.send();
    await until(() => told() > before, { ...WAIT, what: `the log says ${reason}` });
  } finally {
    await end();
  }
  await at.allIn();
}

describe.each([...mysqlEngines])('%s', (engine) => {
  test('what passes is waited out or done again, what is a row’s fault becomes its dead letter, what does not pass stops', async () => {
    await using at = await scene(engine);
    const { root, proxy } = at;
    await at.send();
    let lake = at.ingest();
    await until(async () => lake.events('batch_committed').length >= 2, WAIT);
    await at.allIn();
    await root.query('CREATE TABLE ballast (n BIGINT)');

    // Deadlock (1213): the other transaction gets on, so the feed's was ended; it is done again.
    let other = await feedWaitsFor(at);
    await other.query("UPDATE lake_positions SET topic = topic WHERE feed = 'totals'");
    await other.query('ROLLBACK');
    await at.allIn();

    // Lock wait timeout (1205): the transaction was begun again while the lock was still held.
    const begun = (): number => proxy.seen.filter((text) => text.startsWith('INSERT INTO `fact_totals`')).length;
    other = await feedWaitsFor(at);
    const before = begun();
    await until(() => begun() > before, { ...WAIT, what: 'the transaction is tried again' });
    await other.query('ROLLBACK');
    await at.allIn();

    // The connection breaks in the transaction, before COMMIT arrives, after it was done and before that is heard.
    const strikes: readonly Strike[] = [
      { at: 'INSERT INTO `fact_totals`', when: 'after' },
      { at: 'COMMIT', when: 'before' },
      { at: 'COMMIT', when: 'after' },
    ];
    for (const strike of strikes) {
      const struck = proxy.strike(strike);
      await at.send();
      await struck;
      await at.allIn();
    }

    // Read-only (1290).
    const readOnly = (value: number) => async () => void (await root.query(`SET GLOBAL read_only = ${value}`));
    await waitedOut(at, lake, /^1290 /, readOnly(1), readOnly(0));

    // Too many connections (1040): others have them all.
    await root.query('SET GLOBAL max_connections = 10');
    const crowd: Connection[] = [];
    const fill = async (): Promise<void> => {
      proxy.close();
      const taken = async (): Promise<boolean> => {
        const one = await at.database.connect({ ...at.login, database: at.database.database }).catch(() => null);
        if (one) crowd.push(one);
        return one === null;
      };
      await until(taken, WAIT);
      proxy.open();
    };
    await waitedOut(at, lake, /^1040 /, fill, async () => {
      for (const one of crowd) one.destroy();
    });
    await root.query('SET GLOBAL max_connections = 151');

    // Data too long (1406), out of range (1264), a bad date (1292): columns that somebody made narrower.
    const narrow = ['text VARCHAR(20) NULL', 'id INT NOT NULL', 'moment TIMESTAMP(6) NULL'];
    const wide = ['text LONGTEXT NULL', 'id BIGINT NOT NULL', 'moment DATETIME(6) NULL'];
    for (const column of narrow) await root.query(`ALTER TABLE fact_totals MODIFY ${column}`);
    const bad = [
      { id: 1_001, text: 'a text of more than twenty characters' },
      { id: 3_000_000_000, text: 'out of range' },
      { id: 1_002, text: 'bad date', moment: '1899-12-31T23:59:59Z' },
    ];
    for (const value of bad) {
      const first = BigInt(at.sent.totals.messages.length);
      at.refused.add(first + 1n);
      const good = (id: number) => ({ id, text: `good ${id}`, moment: '2025-01-28T10:00:00Z' });
      await at.send([good(5), value, good(6)].map((one) => ({ key: 'k', value: JSON.stringify(one), timestampMs: FIRST_MS })));
      await at.allIn();
    }
    const letters = await rowsOf(at.database, 'SELECT reason FROM lake_dead_letters ORDER BY kafka_offset');
    expect(letters.map(({ reason }) => String(reason).match(/\(\d{4}\)$/)?.[0])).toEqual(['(1406)', '(1264)', '(1292)']);
    for (const column of wide) await root.query(`ALTER TABLE fact_totals MODIFY ${column}`);

    // A table that is gone (1146), a grant that is taken away (1142): the feeds concerned stop, the words say why.
    const stops = [
      {
        break: ['RENAME TABLE fact_totals TO aside'],
        mend: ['RENAME TABLE aside TO fact_totals'],
        words: /fact_totals.*1146|1146.*fact_totals/s,
      },
      {
        break: [`REVOKE INSERT ON ${at.database.database}.* FROM lake_user`],
        mend: [`GRANT INSERT ON ${at.database.database}.* TO lake_user`],
        words: /GRANT /,
      },
    ];
    for (const stop of stops) {
      for (const statement of stop.break) await root.query(statement);
      // Grants of a database are looked at anew by new connections.
      proxy.cut();
      await at.send();
      const { feed, reason } = await lake.event('feed_stopped');
      expect([feed, reason]).toEqual([expect.stringMatching(/totals|orders/), expect.any(String)]);
      lake.kill('SIGTERM');
      const { code, stderr } = await lake.ended;
      expect([code, stderr]).toEqual([1, expect.stringMatching(stop.words)]);
      for (const statement of stop.mend) await root.query(statement);
      lake = at.ingest();
      await at.allIn();
    }
    lake.kill('SIGTERM');
    const { code, stderr } = await lake.ended;
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
    await at.allIn();
  });
});
