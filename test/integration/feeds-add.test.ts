// A new feed in one command: the example of the documentation as it is written, a table found out from its messages, what is refused
// before anything is touched, and a run that is killed anywhere and ended by the next.

import { expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../scripts/service/process.ts';
import { BINARY, drain, startLake } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { type NewFeedScene, newFeedScene, totals } from '../helpers/new-feed-scene.ts';
import { until } from '../helpers/until.ts';
import { rowsOf } from '../helpers/warehouse.ts';

const STEPS = ['topic', 'configuration', 'sql', 'registry', 'table', 'audit'];
const statesOf = (report: { steps: { step: string; state: string }[] }) =>
  report.steps.map(({ step, state }) => `${step} ${state}`);
const topicsOf = async ({ kafka }: NewFeedScene) => await (await kafka.admin()).listTopics();

test('the documented example works as it is written, and changes nothing when it is run again', async () => {
  await using at = await newFeedScene();
  const name = uniqueName('customer_events');
  const add = ['feeds', 'add', name, '--type', 'stream', '--destination', 'data_lake'];
  add.push('--fields', 'customer_id:VARCHAR,event:VARCHAR,timestamp:TIMESTAMP', '--event-time', 'timestamp');
  add.push('--retention-days', '180', '--create-topic', '--partitions', '3', '--yes');
  const planned = await at.lake(...add, '--dry-run');
  expect(planned.code).toBe(0);
  expect(planned.stdout).toContain(`+++ kafka topic ${name}`);
  expect(planned.stdout).toContain(
    '+      "schema": { "fields": { "customer_id": "VARCHAR", "event": "VARCHAR", "timestamp": "TIMESTAMP" } },',
  );
  expect(planned.stdout).toContain('+++ feed_registry (database ');
  expect(at.text()).toBe(at.commented);
  expect(await topicsOf(at)).not.toContain(name);

  const report = await at.json(...add);
  expect(statesOf(report)).toEqual(['topic done', 'configuration done', 'registry done', 'audit done']);
  expect(report.next.at(-1)).toContain(`lake verify ${name}`);
  expect(at.text()).toContain('// the first of all');
  expect(await at.kafka.watermarks(name)).toHaveLength(3);
  await at.kafka.produce(name, [{ value: '{"customer_id":"C123","event":"login","timestamp":"2025-01-28T20:00:00Z"}' }]);
  await drain(at.setup, { args: ['--feed', name] });
  const verified = await at.json('verify', name);
  expect(verified).toMatchObject({ ok: true, feeds: [{ feed: name, ok: true }] });
  const { stdout } = await at.lake('query', `SELECT customer_id, event, "timestamp" FROM ${name}`);
  expect(stdout.split('\n')[1]).toBe('C123\tlogin\t2025-01-28T20:00:00.000000Z');
  expect(existsSync(join(at.setup.lakePath, 'streams', name, 'year=2025/month=01/day=28'))).toBe(true);
  const registry = await rowsOf(at.database, 'SELECT feed_type, is_active FROM feed_registry WHERE feed_name = ?', [name]);
  expect(registry).toEqual([{ feed_type: 'stream', is_active: 1 }]);
  const policy = await rowsOf(at.database, 'SELECT retention_days FROM data_retention_policies WHERE feed_name = ?', [name]);
  expect(policy).toEqual([{ retention_days: 180 }]);

  const again = await at.json(...add);
  expect({ changed: again.changed, states: statesOf(again) }).toEqual({
    changed: false,
    states: ['topic there', 'configuration there', 'registry there', 'audit there'],
  });
  // Killed between the row of audit_log and the journal's line: the line comes, the row is there.
  const journal = join(at.setup.lakePath, '_lake/audit.ndjson');
  const lines = readFileSync(journal, 'utf8').split('\n');
  writeFileSync(journal, lines.filter((line) => !line.includes('"feed_added"')).join('\n'));
  expect(statesOf(await at.json(...add)).at(-1)).toBe('audit done');
  const count = "SELECT COUNT(*) AS told FROM audit_log WHERE feed_name = ? AND action = 'feed_added'";
  expect({ rows: await rowsOf(at.database, count, [name]), lines: await at.told(name) }).toEqual({
    rows: [{ told: '1' }],
    lines: ['feed_added'],
  });

  const other = await at.lake('feeds', 'add', name, '--type', 'table', '--retention-days', '3', '--yes');
  expect(other.code).toBe(2);
  expect(other.stderr).toContain('feed_type is stream there, not table; retention_days is 180 there, not 3');
  const fresh = uniqueName('orders');
  const elsewhere = ['--fields', 'id:BIGINT', '--create-topic', '--yes', '--lake-path', join(at.folder, 'elsewhere')];
  const foreign = await at.lake('feeds', 'add', fresh, ...elsewhere);
  expect({ code: foreign.code, isSaid: foreign.stderr.includes('the database belongs to the lake') }).toEqual({
    code: 1,
    isSaid: true,
  });
  expect(await topicsOf(at)).not.toContain(fresh);
});

test('a table is found out from its messages; its file makes the table that was made; lake and warehouse are one', async () => {
  await using at = await newFeedScene();
  const name = uniqueName('user_totals');
  await at.kafka.createTopic({ name, partitions: 2, configs: { 'cleanup.policy': 'compact' } });
  await at.kafka.produce(name, totals(200));
  const connection = await (at.database.engine === 'duckdb' ? null : at.database.connect({ multipleStatements: true }));
  const reader = uniqueName('reader');
  await connection?.query(`CREATE USER '${reader}'@'%' IDENTIFIED BY 'x'`);
  await using _reader = { [Symbol.asyncDispose]: async () => void (await connection?.query(`DROP USER '${reader}'@'%'`)) };
  const add = ['feeds', 'add', name, '--retention-versions', '30', '--mysql-readers', reader, '--yes'];
  const report = await at.json(...add);
  const steps = [...STEPS.slice(0, -1), 'permissions', 'audit'];
  expect(statesOf(report)).toEqual(steps.map((step) => `${step} ${step === 'topic' ? 'there' : 'done'}`));
  expect(statesOf(await at.json(...add))).toEqual(steps.map((step) => `${step} there`));
  const [grants] = (await connection?.query(`SHOW GRANTS FOR '${reader}'@'%'`)) ?? [];
  expect(JSON.stringify(grants)).toContain(`\`fact_${name}_latest\``);
  const permitted = await rowsOf(at.database, 'SELECT grantee FROM feed_permissions WHERE feed_name = ?', [name]);
  expect(permitted).toEqual([{ grantee: `${reader}@%` }]);
  expect(report.evidence).toMatchObject({ type: 'table', messages: 201, tombstones: 1, keyed: 201 });
  const [file = ''] = readdirSync(join(at.folder, 'sql'));
  expect(file).toBe(`06_create_${name}_table.sql`);
  await drain(at.setup, { args: ['--feed', name] });
  expect(await at.json('verify', '--deep', name)).toMatchObject({ ok: true });
  const rows = await rowsOf(
    at.database,
    `SELECT user_id, total, orders, updated_at FROM fact_${name}_latest ORDER BY orders DESC LIMIT 1`,
  );
  expect(rows).toEqual([{ user_id: 'user19', total: '199.50', orders: '199', updated_at: '2025-01-28 00:03:19.000000' }]);
  // A person may run it too, before or after.
  await connection?.query(readFileSync(join(at.folder, 'sql', file), 'utf8'));
  expect(await at.json('verify', name)).toMatchObject({ ok: true });
  expect(await at.told(name)).toEqual(['feed_added']);
});

test('the embedded warehouse that an ingest has is left to it, and it takes the feed up', async () => {
  await using at = await newFeedScene({ embedded: true });
  const [first, second] = [uniqueName('first'), uniqueName('second')];
  for (const name of [first, second]) {
    await at.kafka.createTopic({ name, partitions: 2, configs: { 'cleanup.policy': 'compact' } });
    await at.kafka.produce(name, totals(60));
  }
  const report = await at.json('feeds', 'add', first, '--yes');
  expect(statesOf(report)).toEqual(STEPS.map((step) => `${step} ${step === 'topic' ? 'there' : 'done'}`));
  const other = (await at.json('feeds', 'list'))[0].feed;
  await at.lake('feeds', 'disable', other);
  const lake = startLake(at.setup, ['ingest']);
  await until(() => lake.events('batch_committed').some(({ feed, target }) => feed === first && target === 'warehouse'), {
    timeoutMs: 60_000,
    what: 'the first feed is in',
  });
  const beside = await at.json('feeds', 'add', second, '--yes');
  expect(statesOf(beside)).toEqual([
    'topic there',
    'configuration done',
    'sql done',
    'registry left',
    'table left',
    'audit done',
  ]);
  await until(() => lake.events('batch_committed').some(({ feed, target }) => feed === second && target === 'warehouse'), {
    timeoutMs: 60_000,
    what: 'the second feed is in',
  });
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await drain(at.setup);
  expect(await at.json('verify')).toMatchObject({ ok: true });
});

test('what cannot be done is told before anything is touched', async () => {
  await using at = await newFeedScene();
  const name = uniqueName('orders');
  await at.kafka.createTopic({ name, configs: { 'cleanup.policy': 'compact' } });
  await at.kafka.produce(
    name,
    totals(30).map((message) => ({ ...message, partition: 0 })),
  );
  const port = String(await freePort());
  const made = uniqueName('made');
  const cases: [string[], number, string][] = [
    [['feeds', 'add', name, '--yes', '--mysql-port', port], 4, 'is out of reach'],
    [['feeds', 'add', name, '--yes', '--bootstrap-servers', `127.0.0.1:${port}`], 4, 'does not answer'],
    [['feeds', 'add', name], 2, 'changes nothing without --yes'],
    [['feeds', 'add', made, '--yes', '--fields', 'id:BIGINT'], 1, 'add --create-topic'],
    [
      ['feeds', 'add', made, '--yes', '--fields', 'id:BIGINT', '--create-topic', '--replication-factor', '9'],
      1,
      'replication-factor',
    ],
    [['feeds', 'add', made, '--yes', '--create-topic', '--topic-config', 'no.such=1'], 1, 'INVALID_CONFIG'],
    [['feeds', 'add', made, '--yes', '--create-topic', '--type', 'table'], 2, 'a table needs a key'],
    [['feeds', 'add', 'Orders', '--yes', '--create-topic'], 2, 'must match'],
    [
      ['feeds', 'add', name, '--yes', '--event-time', 'nope', '--type', 'stream'],
      2,
      'field "nope" in event_time is not declared',
    ],
    [['feeds', 'add', made, '--yes', '--partitions', '3'], 2, 'add --create-topic'],
    [['feeds', 'add', made, '--yes', '--sample', join(at.folder, 'nope.ndjson')], 2, 'nope.ndjson cannot be read'],
  ];
  for (const [args, code, words] of cases) {
    const said = await at.lake(...args);
    expect({ args, code: said.code, stdout: said.stdout }).toEqual({ args, code, stdout: said.stdout });
    expect({ args, is: said.stderr.includes(words), stderr: said.stderr }).toMatchObject({ is: true });
  }
  expect(at.text()).toBe(at.commented);
  expect(existsSync(join(at.folder, 'sql'))).toBe(false);
  expect(await topicsOf(at)).not.toContain(made);
});

test('a step that cannot be done is told with those that were, and those that were not begun; then the rest is done', async () => {
  await using at = await newFeedScene();
  const name = uniqueName('orders');
  // Where the folder should be.
  writeFileSync(join(at.folder, 'sql'), '');
  const add = [
    'feeds',
    'add',
    name,
    '--type',
    'table',
    '--key',
    'id',
    '--fields',
    'id:BIGINT,text:VARCHAR(20)',
    '--create-topic',
    '--yes',
  ];
  const said = await at.lake(...add, '--json');
  expect(said.code).toBe(1);
  expect(said.stderr).toContain('then run the same command again');
  const states = ['topic done', 'configuration done', 'sql failed', 'registry not_begun', 'table not_begun', 'audit not_begun'];
  expect(statesOf(JSON.parse(said.stdout))).toEqual(states);
  rmSync(join(at.folder, 'sql'));
  expect(statesOf(await at.json(...add))).toEqual(
    STEPS.map((step) => `${step} ${step === 'topic' || step === 'configuration' ? 'there' : 'done'}`),
  );
  expect(await at.told(name)).toEqual(['feed_added']);
});

const WISHES = {
  type: 'table',
  key: ['id'],
  fields: [
    { name: 'id', type: { kind: 'bigint' } },
    { name: 'text', type: { kind: 'varchar', charsMax: 20 } },
  ],
};

test('killed behind any step, the next run does what is left: each thing once', async () => {
  await using at = await newFeedScene();
  const names: string[] = [];
  for (const [done, kill] of STEPS.entries()) {
    const name = uniqueName(kill);
    const child = Bun.spawn([process.execPath, join(import.meta.dir, '../helpers/feeds-add-child.ts'), at.setup.configPath], {
      env: { ...process.env, LAKE_TEST_STEP: kill, LAKE_TEST_WISHES: JSON.stringify({ name, ...WISHES }) },
      stdout: 'ignore',
      stderr: 'pipe',
    });
    await child.exited;
    const said = await new Response(child.stderr).text();
    expect({ kill, signal: child.signalCode, said }).toMatchObject({ kill, signal: 'SIGKILL' });
    names.push(name);
    const report = await addAgain(at, name);
    expect(statesOf(report)).toEqual(STEPS.map((step, index) => `${step} ${index <= done ? 'there' : 'done'}`));
  }
  await expectOnce(at, names);
});

test('killed at any moment, the binary ends what it began', async () => {
  await using at = await newFeedScene();
  const names: string[] = [];
  let [delayMs, isEnded] = [100, false];
  // Each later than the last, until one has ended before its kill.
  for (let round = 0; round < 20 && !isEnded; round++) {
    const name = uniqueName('moment');
    names.push(name);
    const args = ['feeds', 'add', name, '--type', 'table', '--key', 'id', '--fields', 'id:BIGINT,text:VARCHAR(20)'];
    args.push(
      '--create-topic',
      '--partitions',
      '2',
      '--topic-config',
      'cleanup.policy=compact',
      '--yes',
      '--config',
      at.setup.configPath,
    );
    const child = Bun.spawn([BINARY, ...args], { stdout: 'ignore', stderr: 'ignore' });
    const timer = setTimeout(() => child.kill('SIGKILL'), delayMs);
    await child.exited;
    clearTimeout(timer);
    isEnded = child.exitCode === 0;
    delayMs *= 1.4;
    await addAgain(at, name);
  }
  await expectOnce(at, names);
});

const addAgain = (at: NewFeedScene, name: string) =>
  at.json(
    'feeds',
    'add',
    name,
    ...['--type', 'table', '--key', 'id', '--fields', 'id:BIGINT,text:VARCHAR(20)'],
    ...['--create-topic', '--partitions', '2', '--topic-config', 'cleanup.policy=compact', '--yes'],
  );

/** Each feed is in the file, the database and both journals once, has its own file, and works. */
async function expectOnce(at: NewFeedScene, names: readonly string[]): Promise<void> {
  const listed = (await at.json('feeds', 'list')).map(({ feed }: { feed: string }) => feed);
  expect(listed.slice(1)).toEqual(names);
  expect(at.text()).toContain('// the first of all');
  const files = readdirSync(join(at.folder, 'sql')).sort();
  expect(files).toEqual(names.map((name, index) => `${String(index + 6).padStart(2, '0')}_create_${name}_table.sql`).sort());
  const count =
    "SELECT feed_name, SUM(action = 'feed_added') AS added, SUM(action = 'feed_registered') AS registered FROM audit_log WHERE feed_name IS NOT NULL GROUP BY feed_name";
  const audited = await rowsOf(at.database, count);
  const counts = new Map(audited.map((row) => [row['feed_name'], `${row['added']} ${row['registered']}`]));
  expect(names.map((name) => [name, counts.get(name)])).toEqual(names.map((name) => [name, '1 1']));
  for (const name of names) expect({ name, told: await at.told(name) }).toEqual({ name, told: ['feed_added'] });
  const [first = ''] = names;
  await at.kafka.produce(first, [{ key: '1', value: '{"id":1,"text":"one"}' }]);
  await drain(at.setup, { args: ['--feed', names.join(',')] });
  expect(await at.json('verify', ...names)).toMatchObject({ ok: true });
}
