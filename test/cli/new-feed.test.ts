// From an empty folder to a verified new feed of each kind, at a terminal, with the binary alone; the time it takes is printed.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BINARY } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { testMysql } from '../helpers/mysql.ts';
import { totals } from '../helpers/new-feed-scene.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { CTRL_C, CTRL_D, terminal } from '../helpers/terminal.ts';

setDefaultTimeout(300_000);

test('from an empty folder to a verified stream and a verified table', async () => {
  await using folder = await tempDir();
  await using database = await testMysql();
  const kafka = await testKafka();
  const [events, users] = [uniqueName('shop_events'), uniqueName('user_totals')];
  await kafka.createTopic({ name: events });
  const event = (n: number) => ({
    value: JSON.stringify({
      customer_id: `C${n}`,
      event: 'login',
      timestamp: new Date(Date.UTC(2025, 0, 28, 20, n)).toISOString(),
    }),
  });
  await kafka.produce(
    events,
    Array.from({ length: 50 }, (_, n) => event(n)),
  );
  await kafka.createTopic({ name: users, partitions: 2, configs: { 'cleanup.policy': 'compact' } });
  await kafka.produce(users, totals(100));
  const connection = await database.connect();
  await connection.query(`DROP DATABASE ${database.database}`);
  const at = (...args: string[]) =>
    terminal([BINARY, ...args], { cwd: folder.path, env: { MYSQL_PASSWORD: database.login.password } });
  const { host, port, user } = database.login;
  const places = [
    '--bootstrap-servers',
    kafka.bootstrap,
    '--mysql-host',
    host,
    '--mysql-port',
    String(port),
    '--mysql-user',
    user,
  ];
  places.push(
    '--mysql-database',
    database.database,
    '--group-id',
    `${events}_lake`,
    '--warehouse-group-id',
    `${events}_warehouse`,
  );
  const startMs = performance.now();

  const stream = at('feeds', 'add', events, ...places);
  await stream.answer('Type (stream, table) [stream]: ', '');
  await stream.answer('Destination (data_lake, data_warehouse, both) [data_lake]: ', 'lake');
  await stream.answer('"lake" is none of them', '');
  await stream.answer('Fields as above? (Enter; or those to change: name:TYPE,name:TYPE): ', 'evnt:VARCHAR(20)');
  await stream.answer('did you mean "event"?', 'event:VARCHAR(20)');
  await stream.answer('[timestamp]: ', '');
  await stream.answer('Days to keep [all]: ', '180');
  await stream.answer('Do this? [y/N]: ', 'y');
  const added = await stream.ended;
  expect({ code: added.code, shown: added.shown }).toMatchObject({ code: 0 });
  for (const words of [
    '50 JSON objects',
    '+++ feeds.json',
    '"event": "VARCHAR(20)"',
    'kafka-console-producer.sh',
    `lake verify ${events}`,
  ])
    expect(added.shown).toContain(words);
  for (const args of [
    ['ingest', '--until-caught-up'],
    ['verify', events],
  ]) {
    const done = await at(...args).ended;
    expect({ args, ...done }).toMatchObject({ args, code: 0 });
  }
  const streamMs = performance.now() - startMs;

  const table = at('feeds', 'add', users);
  await table.answer('Type (stream, table) [table]: ', '');
  await table.answer('[both]: ', '');
  await table.answer('Fields as above?', '');
  await table.answer('Key fields [user_id]: ', '');
  await table.answer('Snapshots to keep [all]: ', '30');
  await table.answer('Do this? [y/N]: ', 'y');
  expect(await table.ended).toMatchObject({ code: 0 });
  for (const args of [
    ['ingest', '--until-caught-up'],
    ['verify', '--deep'],
  ]) {
    const done = await at(...args).ended;
    expect({ args, ...done }).toMatchObject({ args, code: 0 });
  }
  console.log(
    `a new stream, verified, in ${(streamMs / 1000).toFixed(1)} s; a new table in ${((performance.now() - startMs - streamMs) / 1000).toFixed(1)} s`,
  );
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as it is in the file
  expect(readFileSync(join(folder.path, 'feeds.json'), 'utf8')).toContain('"password": "${MYSQL_PASSWORD:-}"');
  expect(readdirSync(join(folder.path, 'sql'))).toEqual([`06_create_${users}_table.sql`]);
});

test('no is no: nothing is there afterwards; nor at the end of the input, nor at Ctrl-C', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const name = uniqueName('orders');
  const add = () => terminal([BINARY, 'feeds', 'add', name, '--bootstrap-servers', kafka.bootstrap], { cwd: folder.path });
  const no = add();
  await no.answer('Make it, with how many partitions? [3]: ', 'many');
  await no.answer('it takes a whole number from 1', '2');
  await no.answer('Type', 'table');
  await no.answer('Destination', 'data_lake');
  await no.answer('Fields (name:TYPE,name:TYPE; Enter: from the first messages): ', 'id:BIGINT,text:VARCHAR');
  await no.answer('Key fields: ', 'id');
  await no.answer('Snapshots to keep', '');
  await no.answer('Do this? [y/N]: ', '');
  const ended = await no.ended;
  expect(ended).toMatchObject({ code: 0 });
  expect(ended.shown).toContain('nothing was changed');
  for (const key of [CTRL_D, CTRL_C]) {
    const gone = add();
    await gone.answer('Make it, with how many partitions? [3]: ', key);
    const { code, shown } = await gone.ended;
    // The shell of `script` says 130 for what Ctrl-C ended, whatever that said.
    expect({ shown, isDone: code === 0 }).toMatchObject({ isDone: false });
    expect(shown).toContain('nothing was changed');
  }
  expect(readdirSync(folder.path)).toEqual([]);
  expect(await (await kafka.admin()).listTopics()).not.toContain(name);
});
