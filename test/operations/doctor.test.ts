// lake doctor against real services: all well, each of them away, a topic that is missing, a user without grants, a group that others
// use, a broker that wants a password.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { freePort } from '../../scripts/service/process.ts';
import { runLake, streamFeed } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { startPrivateKafka, tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

async function place() {
  const folder = await tempDir();
  const database = await testMysql();
  const kafka = await testKafka();
  const topics = [await kafka.createTopic(), await kafka.createTopic({ configs: { 'cleanup.policy': 'compact' } })] as const;
  const feeds = [streamFeed('events', topics[0]), factFeed('totals', topics[1])];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds });
  return { folder, database, kafka, setup, feeds };
}

let here: Awaited<ReturnType<typeof place>>;
beforeAll(async () => {
  here = await place();
});
afterAll(async () => {
  await here.database[Symbol.asyncDispose]();
  await here.folder[Symbol.asyncDispose]();
});

type Line = { target: string; check: string; state: string; what: string; todo: string | null };
async function examined(...flags: readonly string[]) {
  const { code, stdout, stderr } = await runLake(here.setup, ['doctor', '--json', ...flags]);
  if (!stdout.startsWith('{')) throw new Error(`no report: ${stderr}`);
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Line[] };
  /** Of the services; what this host is like is its own affair. */
  const told = checks.filter(({ target, check }) => target !== 'host' && !(target === 'lake' && check !== 'path'));
  const bad = told.filter(({ state }) => state === 'bad');
  // A host that is short of something is no affair of these tests.
  const isWell = checks.filter(({ state }) => state === 'bad').length === bad.length;
  const wanted = bad.length === 0 ? 0 : bad.every(({ what }) => /does not answer|out of reach/.test(what)) ? 4 : 1;
  expect({ code, ok }).toEqual({ code: isWell ? wanted : 1, ok: isWell && bad.length === 0 });
  return { isAway: wanted === 4, checks, bad };
}
const named = (found: readonly Line[]): string[] => found.map(({ target, check }) => `${target} ${check}`);

describe('lake doctor', () => {
  test('finds nothing wrong where all is well, says so of each part, and leaves nothing behind', async () => {
    const { checks, bad } = await examined();
    expect(bad).toEqual([]);
    expect([...new Set(named(checks))].sort()).toEqual(
      [
        ...['config file', 'host memory', 'host open_files', 'kafka broker', 'kafka group', 'kafka topic'],
        ...['lake disk_space', 'lake fsync', 'lake inodes', 'lake path'],
        ...['server', 'version', 'writable', 'grants', 'packet_size', 'sql_mode', 'time_zone', 'clock'].map(
          (one) => `warehouse ${one}`,
        ),
      ].sort(),
    );
    expect(readdirSync(here.folder.path)).toEqual(['feeds.json']);
    expect(await rowsOf(here.database, 'SHOW TABLES')).toEqual([]);
  });

  test('tells the rest when Kafka or MySQL is away, and exits 4', async () => {
    const noKafka = await examined('--bootstrap-servers', '127.0.0.1:1');
    expect({ isAway: noKafka.isAway, bad: named(noKafka.bad) }).toEqual({ isAway: true, bad: ['kafka broker'] });
    expect(named(noKafka.checks)).toContain('warehouse version');
    const noServer = await examined('--mysql-port', '1');
    expect({ isAway: noServer.isAway, bad: named(noServer.bad) }).toEqual({ isAway: true, bad: ['warehouse server'] });
    expect(named(noServer.checks)).toContain('kafka topic');
  });

  test('a database that is not there yet is no fault: the first ingest makes it', async () => {
    const { checks, bad } = await examined('--mysql-database', 'not_made_yet');
    expect(bad).toEqual([]);
    expect(checks.find(({ target, state }) => target === 'warehouse' && state === 'warn')).toMatchObject({
      what: expect.stringContaining('has no database not_made_yet yet'),
      todo: expect.stringContaining('lake ingest'),
    });
  });

  test('a lake path that leads into a file is bad, and told as such', async () => {
    const { isAway, bad } = await examined('--lake-path', `${here.setup.configPath}/lake`);
    expect({ isAway, isNamed: named(bad).includes('lake path') }).toEqual({ isAway: false, isNamed: true });
  });

  test('asks each broker by itself: one of two that does not answer is named', async () => {
    const { bad } = await examined('--bootstrap-servers', `127.0.0.1:1,${here.kafka.bootstrap}`);
    expect(bad.map(({ what }) => what)).toEqual([expect.stringContaining('127.0.0.1:1 does not answer')]);
  });

  test('names a wrong password, a missing grant with its GRANT, with exit 1', async () => {
    const user = `u${Math.random().toString(36).slice(2, 10)}`;
    await rowsOf(here.database, `CREATE USER '${user}'@'%' IDENTIFIED BY 'secret'`);
    try {
      await rowsOf(here.database, `GRANT SELECT, INSERT ON ${here.database.database}.* TO '${user}'@'%'`);
      const few = await examined('--mysql-user', user, '--mysql-password', 'secret');
      expect({ isAway: few.isAway, bad: named(few.bad) }).toEqual({ isAway: false, bad: ['warehouse grants'] });
      expect(few.bad[0]?.todo).toContain('GRANT UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW, SHOW VIEW ON');
      const wrong = await examined('--mysql-user', user, '--mysql-password', 'other');
      expect({ isAway: wrong.isAway, bad: named(wrong.bad) }).toEqual({ isAway: false, bad: ['warehouse server'] });
    } finally {
      await rowsOf(here.database, `DROP USER '${user}'@'%'`);
    }
  });

  test('names a topic that is missing, and who else reads in the group', async () => {
    const consumer = here.kafka.consumer(here.setup.groupId);
    const text = readFileSync(here.setup.configPath, 'utf8');
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [here.feeds[0]?.topic ?? ''] });
      await consumer.run({ eachMessage: async () => undefined });
      writeFileSync(here.setup.configPath, text.replace(here.feeds[1]?.topic ?? '', 'nowhere_to_be_found'));
      const { isAway, bad } = await until(async () => {
        const found = await examined();
        return found.bad.length === 2 ? found : null;
      });
      expect({ isAway, bad: named(bad) }).toEqual({ isAway: false, bad: ['kafka group', 'kafka topic'] });
      expect(bad[0]?.what).toMatch(/is used by other programs \(lake-test at .*\), which assign by RoundRobinAssigner/);
      expect(bad[1]?.what).toBe('nowhere_to_be_found of feed totals does not exist');
    } finally {
      writeFileSync(here.setup.configPath, text);
      await consumer.disconnect();
    }
  });

  test('shows the problems of a configuration that is wrong', async () => {
    const { isAway, bad } = await examined('--batch-bytes', 'many');
    expect({ isAway, bad: named(bad) }).toEqual({ isAway: false, bad: ['config file'] });
  });
});

describe('a broker that wants a password', () => {
  test('is ok with the right one, bad with another or none, and bad with TLS where it speaks none', async () => {
    const [port, saslPort, controller] = [await freePort(), await freePort(), await freePort()];
    await using kafka = await startPrivateKafka({
      port,
      settings: {
        'controller.quorum.voters': `1@127.0.0.1:${controller}`,
        listeners: `PLAINTEXT://127.0.0.1:${port},SASL://127.0.0.1:${saslPort},CONTROLLER://127.0.0.1:${controller}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},SASL://127.0.0.1:${saslPort}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT',
        'sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.sasl.plain.sasl.jaas.config':
          'org.apache.kafka.common.security.plain.PlainLoginModule required user_lake="right";',
      },
    });
    expect(kafka.port).toBe(port);
    const text = readFileSync(here.setup.configPath, 'utf8');
    const tried = async (more: Record<string, unknown>, address = `127.0.0.1:${saslPort}`) => {
      const config = JSON.parse(text) as { kafka: object; feeds: unknown };
      writeFileSync(
        here.setup.configPath,
        JSON.stringify({ ...config, kafka: { ...config.kafka, bootstrap_servers: address, ...more }, feeds: [] }),
      );
      const { isAway, checks } = await examined();
      const broker = checks.filter(({ check }) => check === 'broker').map(({ state, what }) => `${state} ${what}`);
      return { isAway, broker };
    };
    const sasl = (password: string) => ({ sasl: { mechanism: 'plain', username: 'lake', password } });
    try {
      expect((await tried(sasl('right'))).broker).toEqual([`ok 127.0.0.1:${saslPort} answers without TLS, as lake`]);
      const wrong = await tried(sasl('wrong'));
      expect(wrong).toEqual({
        isAway: false,
        broker: [expect.stringContaining(`bad 127.0.0.1:${saslPort} refuses without TLS, as lake`)],
      });
      expect(JSON.stringify(wrong)).not.toContain('"wrong"');
      expect((await tried({})).broker).toEqual([expect.stringMatching(/^bad /)]);
      expect((await tried({ ssl: true }, kafka.bootstrap)).broker).toEqual([expect.stringMatching(/^bad .* with TLS/)]);
    } finally {
      writeFileSync(here.setup.configPath, text);
    }
  });
});
