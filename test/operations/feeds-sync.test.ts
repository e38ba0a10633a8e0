// lake feeds sync and import: feeds.json into the registry, and feeds that were registered by hand into feeds.json.

import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testEmbedded } from '../helpers/embedded.ts';
import { drain, FIELDS, runLake, streamFeed, tableFeed } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { mysqlEngines, testMysql } from '../helpers/mysql.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { type AnyDatabase, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

const scene = async (engine: (typeof mysqlEngines)[number] | 'duckdb') => {
  const folder = await tempDir();
  const server = engine === 'duckdb' ? null : await testMysql(engine);
  const database: AnyDatabase = server ?? testEmbedded();
  const kafka = await testKafka();
  const [topic, keyed] = [await kafka.createTopic(), await kafka.createTopic()];
  await kafka.produce(topic, [{ value: '{"id":1,"text":"a"}' }]);
  const groupId = uniqueName('group');
  const write = (versions: number, more: Record<string, unknown> = {}) =>
    warehouseSetup({
      ...{ folder: folder.path, kafka, database, groupId },
      feeds: [
        streamFeed('orders', topic),
        tableFeed('totals', keyed, {
          ...{ destination: 'both', mysql_table: 'fact_totals', retention: { retention_versions: versions, auto_delete: true } },
          ...more,
        }),
      ],
    });
  const end = async () => {
    await database[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return { folder, kafka, database, server, topic, keyed, write, [Symbol.asyncDispose]: end };
};

const json = async (setup: { configPath: string }, ...args: string[]) => {
  const { code, stdout, stderr } = await runLake(setup, [...args, '--json']);
  if (code !== 0) throw new Error(`lake ${args.join(' ')} ended with ${code}:\n${stderr}${stdout}`);
  return JSON.parse(stdout);
};

test.each([...mysqlEngines, 'duckdb'] as const)(
  'the registry in %s becomes what feeds.json says, audited, and verify is green',
  async (engine) => {
    await using one = await scene(engine);
    const before = one.write(7);
    await drain(before);
    expect(await json(before, 'feeds', 'sync', '--dry-run')).toEqual({ dry_run: true, changes: [], unknown: [] });

    const setup = one.write(30, { schema: { key_field: 'id', fields: { ...FIELDS, more: 'DATE' } } });
    expect((await runLake(setup, ['verify', 'totals'])).code).toBe(3);
    const planned = await json(setup, 'feeds', 'sync', '--dry-run');
    expect(planned.changes).toMatchObject([
      {
        table: 'feed_registry',
        feed: 'totals',
        kind: 'change',
        columns: { schema_definition: { to: expect.stringContaining('more') } },
      },
      {
        table: 'data_retention_policies',
        feed: 'totals',
        kind: 'change',
        columns: { retention_versions: { from: '7', to: '30' } },
      },
    ]);
    const unsaid = await runLake(setup, ['feeds', 'sync']);
    expect([unsaid.code, unsaid.stderr]).toEqual([2, expect.stringContaining('--yes')]);
    expect((await json(setup, 'feeds', 'sync', '--yes')).changes).toEqual(planned.changes);
    expect(await json(setup, 'feeds', 'sync', '--yes')).toMatchObject({ changes: [] });
    const audited = await rowsOf(one.database, "select resource from audit_log where action = 'feed_synced' order by resource");
    expect(audited.map(({ resource }) => resource)).toEqual(['data_retention_policies', 'feed_registry']);
    const journal = readFileSync(join(one.folder.path, 'lake/_lake/audit.ndjson'), 'utf8');
    expect(journal.match(/"feed_synced"/g)).toHaveLength(2);
    await drain(setup);
    expect((await runLake(setup, ['verify', '--json'])).code).toBe(0);
  },
);

test.each(mysqlEngines)(
  'feeds registered by hand in %s are proposed, and written into feeds.json with its comments',
  async (engine) => {
    await using one = await scene(engine);
    const setup = one.write(7);
    await json(setup, 'feeds', 'sync', '--yes');
    const insert = async (name: string, type: string, columns: Record<string, string | null>) => {
      const row = {
        ...{ feed_name: name, feed_type: type, kafka_topic: `t_${name}`, destination: 'data_lake', storage_mode: 'append' },
        ...{ partitioning_strategy: type === 'table' ? 'version' : 'date', ...columns },
      };
      const connection = await one.server?.connect();
      const names = Object.keys(row);
      await connection?.query(
        `insert into feed_registry (${names.join(', ')}) values (${names.map(() => '?').join(', ')})`,
        Object.values(row),
      );
    };
    await insert('legacy_events', 'stream', { schema_definition: '{"customer_id": "VARCHAR", "at": "TIMESTAMP"}' });
    await insert('legacy_totals', 'table', {
      ...{
        destination: 'both',
        mysql_table: 'fact_legacy',
        schema_definition: '{"key_field": "k", "fields": {"k": "BIGINT", "n": "BIGINT"}}',
      },
    });
    await insert('legacy_list', 'stream', { schema_definition: '{"fields": ["a", "b"]}' });
    await insert('No Name', 'stream', {});
    await insert('legacy_keyless', 'table', { schema_definition: '{"n": "BIGINT"}' });
    const connection = await one.server?.connect();
    await connection?.query(
      "insert into data_retention_policies (feed_name, retention_days, auto_delete) values ('legacy_events', 90, 1)",
    );

    const text = readFileSync(setup.configPath, 'utf8').replace('{', '{ // of the person\n');
    writeFileSync(setup.configPath, text);
    expect((await json(setup, 'feeds', 'sync', '--dry-run')).unknown.toSorted()).toEqual([
      'No Name',
      'legacy_events',
      'legacy_keyless',
      'legacy_list',
      'legacy_totals',
    ]);
    const proposed = await json(setup, 'feeds', 'import', '--dry-run');
    expect(proposed.imported.map(({ feed }: { feed: string }) => feed).sort()).toEqual([
      'legacy_events',
      'legacy_list',
      'legacy_totals',
    ]);
    expect(proposed.refused).toContainEqual({ name: 'legacy_keyless', reason: expect.stringContaining('key_field') });
    expect(proposed.refused).toContainEqual({ name: 'No Name', reason: expect.stringContaining('feed_name') });
    expect(readFileSync(setup.configPath, 'utf8')).toBe(text);
    // A registry from before lake has no journal beside it.
    await connection?.query('drop table audit_log');
    await json(setup, 'feeds', 'import', '--yes');
    const after = readFileSync(setup.configPath, 'utf8');
    expect(after).toContain('// of the person');
    const listed = await json(setup, 'feeds', 'list');
    const seen = { feed: 'legacy_totals', type: 'table', topic: 't_legacy_totals', destination: 'both', fields: ['k', 'n'] };
    expect(listed).toContainEqual({ ...seen, enabled: true });
    expect(after.replaceAll(/\s+/g, '')).toContain('"retention":{"retention_days":90,"auto_delete":true}');
    // What was imported is what the registry says, but for what it never said.
    expect((await json(setup, 'feeds', 'import', '--yes')).imported).toEqual([]);
    expect(await rowsOf(one.database, "select feed_name from audit_log where action = 'feed_imported'")).toHaveLength(3);
  },
);

test.each(mysqlEngines)('a grant that is missing in %s is told with what to run, and is no bug', async (engine) => {
  await using one = await scene(engine);
  await json(one.write(7), 'feeds', 'sync', '--yes');
  const setup = one.write(30);
  const user = uniqueName('reader').slice(-30);
  const connection = await one.server?.connect();
  const database = one.server?.database;
  await connection?.query(`create user '${user}'@'%' identified by 'secret'`);
  try {
    // All that a set-up needs, and no right to change the policies.
    await connection?.query(
      `grant select, insert, delete, create, alter, index, drop, create view, show view on \`${database}\`.* to '${user}'@'%'`,
    );
    await connection?.query(`grant update on \`${database}\`.lake_identity to '${user}'@'%'`);
    const args = ['--mysql-user', user, '--mysql-password', 'secret'];
    const refused = await runLake(setup, ['feeds', 'sync', '--yes', ...args]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('GRANT SELECT')]);
    expect(refused.stderr).not.toContain('report this');
  } finally {
    await connection?.query(`drop user '${user}'@'%'`);
  }
});
