// Moving in from the Python programs: a lake and a database as they leave them — pandas' Parquet without lineage, fact rows of the
// documented DDL, a consumer group with offsets — become lake's, beside what it takes in itself; nothing is lost, doubled or rewritten.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Consumer } from 'kafkajs';
import { openDatabase, run } from '../../src/duckdb/connection.ts';
import { type LakeResult, runLake, startLake, streamFeed } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { testMysql } from '../helpers/mysql.ts';
import { record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const DAY_MS = 86_400_000;
const NOW_MS = Date.now();
const dayAgo = (days: number): string => new Date(NOW_MS - days * DAY_MS).toISOString().slice(0, 10);
const folderOf = (day: string): string => `year=${day.slice(0, 4)}/month=${day.slice(5, 7)}/day=${day.slice(8)}`;

const FIELDS = { customer_id: 'VARCHAR', event: 'VARCHAR', amount: 'DECIMAL(30,2)', timestamp: 'TIMESTAMP' };
/** What the old programs took in, and what they left to lake. */
const [OLD, NEW] = [60, 40];
const timeOf = (id: number): string => `${dayAgo(id < 20 ? 90 : id < 40 ? 5 : 3)}T10:00:${String(id % 60).padStart(2, '0')}Z`;
/** Of lake's own more digits than a double has: read as one with the old files they would lose some. */
const amountOf = (id: number): string => (id < OLD ? `${id}.25` : `100000000000000000${id}.25`);
const eventOf = (id: number): string =>
  `{"customer_id":"C${id}","event":"login","amount":${amountOf(id)},"timestamp":"${timeOf(id)}"}`;

/** As pandas writes it: texts, doubles and naive nanoseconds, no lineage, no footer of ours. */
async function writeOld(lakePath: string, files: ReadonlyMap<string, string>): Promise<void> {
  await using database = await openDatabase();
  const connection = await database.connect();
  for (const [path, select] of files) {
    mkdirSync(dirname(join(lakePath, path)), { recursive: true });
    await run(connection, `COPY (${select}) TO '${join(lakePath, path)}' (FORMAT parquet, COMPRESSION snappy)`);
  }
}

const ids = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

const eventsSql = (from: number, to: number, timestamp: (text: string) => string): string => {
  const values = ids(from, to).map((id) => `('C${id}', 'login', ${amountOf(id)}::DOUBLE, ${timestamp(`'${timeOf(id)}'`)})`);
  return `SELECT * FROM (VALUES ${values.join(', ')}) t(customer_id, event, amount, timestamp)`;
};
const naive = (text: string): string => `CAST(CAST(${text} AS TIMESTAMPTZ) AS TIMESTAMP)::TIMESTAMP_NS`;

const SNAPSHOTS = [`${dayAgo(3)}/1`, `${dayAgo(2)}/1`, `${dayAgo(0)}/1`, `${dayAgo(0)}/2`] as const;
/** Of the old snapshot with this index. */
const usersOf = (index: number): string[] => Array.from({ length: index + 2 }, (_, user) => `user${user}`);
const totalsSql = (index: number): string => `SELECT unnest(['${usersOf(index).join("', '")}']) AS user_id, 1.5::DOUBLE AS total`;

async function layOut() {
  const folder = await tempDir();
  const database = await testMysql();
  const kafka = await testKafka();
  const events = await kafka.createTopic({ partitions: 2 });
  const [totals, clicks] = [await kafka.createTopic(), await kafka.createTopic()];
  const setup = warehouseSetup({
    ...{ folder: folder.path, kafka, database },
    feeds: [
      streamFeed('events', events, {
        ...{ event_time: 'timestamp', start: 'group', schema: { fields: FIELDS } },
        retention: { retention_days: 30, auto_delete: true },
      }),
      streamFeed('clicks', clicks, {
        ...{ destination: 'data_warehouse', mysql_table: 'fact_clicks', event_time: 'at' },
        schema: { fields: { page: 'VARCHAR(20)', at: 'TIMESTAMP' } },
        retention: { retention_days: 30, auto_delete: true },
      }),
      factFeed('totals', totals, {
        ...{ destination: 'both', retention: { retention_versions: 3, auto_delete: true } },
        schema: { key_field: 'user_id', fields: { user_id: { type: 'VARCHAR(255)', required: true }, total: 'DECIMAL(15,2)' } },
      }),
    ],
  });
  const old = new Map([
    [`streams/events/${folderOf(dayAgo(90))}/events_1.parquet`, eventsSql(0, 20, naive)],
    [`streams/events/${folderOf(dayAgo(5))}/events_2.parquet`, eventsSql(20, 30, naive)],
    // Another version of the program kept the text of the time.
    [`streams/events/${folderOf(dayAgo(5))}/events_3.parquet`, eventsSql(30, 40, (text) => text)],
    [`streams/events/${folderOf(dayAgo(3))}/events_4.parquet`, eventsSql(40, OLD, naive)],
    // A value that the declared type would round.
    [`streams/events/${folderOf(dayAgo(4))}/bad.parquet`, `SELECT 'C' AS customer_id, 1.005::DOUBLE AS amount`],
    ...SNAPSHOTS.map((name, index): [string, string] => [
      `tables/totals/snapshot_date=${name.replace('/', '/snapshot_version=')}/data.parquet`,
      totalsSql(index),
    ]),
  ]);
  await writeOld(setup.lakePath, old);
  await rowsOf(
    database,
    `create table fact_totals (id int auto_increment primary key, user_id varchar(255) not null, total decimal(15,2),
      snapshot_date date not null, snapshot_version int not null, created_at timestamp default current_timestamp,
      updated_at timestamp default current_timestamp on update current_timestamp,
      unique key unique_user (user_id, snapshot_date, snapshot_version), index idx_snapshot_date (snapshot_date)
    ) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_unicode_ci`,
  );
  for (const [index, name] of SNAPSHOTS.entries())
    for (const user of usersOf(index))
      await rowsOf(
        database,
        `insert into fact_totals (user_id, total, snapshot_date, snapshot_version) values ('${user}', 1.5, '${name.slice(0, 10)}', ${name.slice(11)})`,
      );
  await rowsOf(database, 'create table fact_clicks (id int auto_increment primary key, page varchar(20), at timestamp null)');
  await rowsOf(database, `insert into fact_clicks (page, at) values ('old', '${dayAgo(90)}'), ('old', '${dayAgo(3)}')`);
  return { folder, database, kafka, setup, old, events, totals, clicks };
}

let scene: Awaited<ReturnType<typeof layOut>>;
beforeAll(async () => {
  scene = await layOut();
});
afterAll(async () => {
  await scene.database[Symbol.asyncDispose]();
  await scene.folder[Symbol.asyncDispose]();
});

/** What the old programs committed: all of what they have taken in. The consumer goes on. */
async function oldConsumer(): Promise<Consumer> {
  const { kafka, setup, events } = scene;
  await using sent = await record(kafka, events);
  await sent.send(Array.from({ length: OLD }, (_, id) => ({ partition: id % 2, value: eventOf(id) })));
  const consumer = kafka.consumer(setup.groupId);
  await consumer.connect();
  await consumer.subscribe({ topics: [events], fromBeginning: true });
  let seen = 0;
  const eachMessage = async (): Promise<void> => {
    seen += 1;
  };
  await consumer.run({ eachMessage });
  await until(() => seen === OLD, { what: 'the old consumer has read everything' });
  const offsets = [0, 1].map((partition) => ({ topic: events, partition, offset: String(OLD / 2) }));
  await consumer.commitOffsets(offsets);
  return consumer;
}

const lake = (...args: string[]): Promise<LakeResult> => runLake(scene.setup, args);
type Report = {
  readonly adopted: readonly { what: string; target: string; rows: number }[];
  readonly refused: readonly { what: string; reason: string }[];
};
const reportOf = ({ stdout, stderr }: LakeResult): Report => {
  if (!stdout.startsWith('{')) throw new Error(`no report: ${stdout}${stderr}`);
  return JSON.parse(stdout) as Report;
};
const shown = ({ adopted }: Report): string[] => adopted.map(({ target, what, rows }) => `${target} ${what} ${rows}`);
const asked = async (sql: string): Promise<string> => (await lake('query', sql)).stdout.split('\n')[1] ?? '';
const verified = async (): Promise<void> => {
  const { code, stdout, stderr } = await lake('verify', '--deep', '--json');
  const findings = [...stdout.matchAll(/"what": "(.*)"/g)].map(([, what]) => what);
  expect({ code, findings, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, findings: [], stderr: '' });
};
const sha256 = (path: string): string =>
  createHash('sha256')
    .update(readFileSync(join(scene.setup.lakePath, path)))
    .digest('hex');

/** What all events add up to, wherever their rows lie. */
const SUMS = 'SELECT count(*), count(DISTINCT customer_id), sum(amount), min(timestamp), max(timestamp) FROM events';
const sums = (ids: readonly number[]): string => {
  const cents = String(ids.reduce((sum, id) => sum + BigInt(amountOf(id).replace('.', '')), 0n));
  const times = ids.map(timeOf).sort();
  const at = (text: string | undefined): string => `${text?.replace('Z', '.000000Z')}`;
  return [ids.length, ids.length, `${cents.slice(0, -2)}.${cents.slice(-2)}`, at(times[0]), at(times.at(-1))].join('\t');
};

/** Runs what an error prints. */
async function altered({ code, stderr }: LakeResult): Promise<void> {
  expect(code).toBe(1);
  const [text = ''] = /(SET time_zone.*;\n)?ALTER TABLE[\s\S]*?;/.exec(stderr) ?? [];
  for (const statement of text.split(';').filter((one) => one.trim() !== '')) await rowsOf(scene.database, statement);
}

describe('moving in', () => {
  test('while the old consumers still run, ingest says so and touches nothing', async () => {
    const consumer = await oldConsumer();
    const { code, stderr } = await lake('ingest', '--until-caught-up', '--feed', 'events');
    expect({ code, says: /other programs still read in the group/.test(stderr) }).toEqual({ code: 5, says: true });
    await consumer.disconnect();
    expect((await stateOf(scene.setup.lakePath, 'events')).positions.size).toBe(0);
  });

  test('a fact table of the old DDL is refused with one ALTER, after which its snapshots are shown and not touched', async () => {
    const refused = await lake('adopt', 'totals', '--dry-run');
    await altered(refused);
    const plan = await lake('adopt', 'totals', '--dry-run', '--json');
    expect(shown(reportOf(plan)).sort()).toEqual(
      SNAPSHOTS.flatMap((name, index) => [`lake ${name} ${index + 2}`, `warehouse ${name} ${index + 2}`]).sort(),
    );
    expect((await stateOf(scene.setup.lakePath, 'totals')).version).toBe(0);
    expect((await lake('adopt', 'totals')).stderr).toContain('needs --yes');
  });

  test('killed half-way, what is adopted is whole, and the next run does the rest', async () => {
    const entry = { method: 'createExclusive', key: '/log/', n: 3, when: 'after' } as const;
    for (const fault of [entry, { method: 'change', key: 'INTO lake_snapshots', n: 3, when: 'before' } as const])
      expect((await runLake(scene.setup, ['adopt', 'totals'], { fault })).code).toBe(null);
    const { files, config } = await stateOf(scene.setup.lakePath, 'totals');
    expect({ files: files.size, after: config.values['snapshot_after'] }).toEqual({ files: 4, after: SNAPSHOTS[3] });
    expect(await rowsOf(scene.database, 'SELECT * FROM lake_snapshots')).toEqual([]);
    expect(shown(reportOf(await lake('adopt', 'totals', '--dry-run', '--json')))).toEqual(
      SNAPSHOTS.map((name, index) => `warehouse ${name} ${index + 2}`),
    );
  });

  test('old files and rows are adopted where they lie, and what would change a value stays out with the reason', async () => {
    const before = [...scene.old.keys()].map((path) => [path, sha256(path)]);
    expect((await lake('adopt', 'totals', '--yes')).code).toBe(0);
    const { code, ...rest } = await lake('adopt', 'events', '--yes', '--json');
    const report = reportOf({ code, ...rest });
    expect(code).toBe(1);
    expect(shown(report)).toEqual([`lake ${dayAgo(90)} 20`, `lake ${dayAgo(5)} 20`, `lake ${dayAgo(3)} 20`]);
    expect(report.refused).toMatchObject([{ reason: '1 values of amount (DOUBLE) are no DECIMAL(30,2)' }]);
    expect([...scene.old.keys()].map((path) => [path, sha256(path)])).toEqual(before);
    // What feeds.json says later has to hold the old values, too.
    expect((await stateOf(scene.setup.lakePath, 'events')).schema?.version).toBe(1);
    expect(shown(reportOf(await lake('adopt', 'totals', '--json')))).toEqual([]);
    expect(await asked(SUMS)).toBe(sums(ids(0, OLD)));
  });

  test('ingest goes on where the old consumers ended, and old and new rows are one', async () => {
    const { kafka, events, totals, setup } = scene;
    await using sent = await record(kafka, events);
    await sent.send(ids(OLD, OLD + NEW).map((id) => ({ partition: id % 2, value: eventOf(id) })));
    await using changes = await record(kafka, totals);
    await changes.send(['user0', 'user9'].map((user) => ({ key: user, value: JSON.stringify({ user_id: user, total: 2.5 }) })));
    await altered(await lake('adopt', 'clicks', '--yes'));
    expect(shown(reportOf(await lake('adopt', 'clicks', '--yes', '--json')))).toEqual([]);
    await using seen = await record(kafka, scene.clicks);
    await seen.send([{ value: JSON.stringify({ page: 'new', at: timeOf(50) }) }]);
    const { code, stderr } = await lake('ingest', '--until-caught-up');
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(await asked(SUMS)).toBe(sums(ids(0, OLD + NEW)));
    const state = await stateOf(setup.lakePath, 'events');
    expect(state.gaps.map(({ partition, start, end, reason }) => `${partition}:${start}-${end} ${reason}`).sort()).toEqual([
      `0:0-${OLD / 2} takeover`,
      `1:0-${OLD / 2} takeover`,
    ]);
    await verified();
  });

  test('the first snapshot of lake has a name after the old ones, in both targets, and only its own rows', async () => {
    const open = (await stateOf(scene.setup.lakePath, 'totals')).snapshot;
    const name = `${open?.date}/${open?.version}`;
    expect(name > (SNAPSHOTS.at(-1) ?? '')).toBe(true);
    const rows = await rowsOf(
      scene.database,
      `SELECT CONCAT(CAST(snapshot_date AS CHAR), '/', snapshot_version) AS name, state, cut_kind
      FROM lake_snapshots ORDER BY snapshot_date, snapshot_version`,
    );
    expect(rows.map((row) => `${row['name']} ${row['state']} ${row['cut_kind']}`)).toEqual([
      ...SNAPSHOTS.map((one) => `${one} sealed adopted`),
      `${name} open null`,
    ]);
    const latest = await rowsOf(scene.database, 'SELECT user_id FROM fact_totals_latest ORDER BY 1');
    expect(latest.map((row) => row['user_id'])).toEqual(['user0', 'user9']);
    expect(await asked('SELECT count(*), sum(total) FROM totals')).toBe('2\t5.00');
    expect(await asked('SELECT count(*), sum(total) FROM totals_history')).toBe('16\t26.00');
  });

  test('compact merges old and new files of a day, without a change to any value', async () => {
    const { code, stdout } = await lake('compact', 'events', '--older-than', '1s', '--json');
    expect({ code, groups: [...stdout.matchAll(/"what": "([\d-]+)"/g)].map(([, day]) => day) }).toEqual({
      code: 0,
      groups: [dayAgo(5), dayAgo(3)],
    });
    expect(await asked(SUMS)).toBe(sums(ids(0, OLD + NEW)));
    await verified();
  });

  test('retention expires old days and old snapshots in both targets', async () => {
    const { code, stdout } = await lake('retention', '--json');
    const actions = (JSON.parse(stdout) as { actions: { target: string; what: string }[] }).actions;
    expect(code).toBe(0);
    expect(actions.map(({ target, what }) => `${target} ${what.replace(/^before .*/, 'before …')}`).sort()).toEqual(
      [
        'warehouse before …',
        `lake ${dayAgo(90)}`,
        ...SNAPSHOTS.slice(0, 2).map((name) => `lake ${name}`),
        ...SNAPSHOTS.slice(0, 2).map((name) => `warehouse ${name}`),
      ].sort(),
    );
    expect((await rowsOf(scene.database, 'SELECT page FROM fact_clicks ORDER BY id')).map((row) => row['page'])).toEqual([
      'old',
      'new',
    ]);
    expect(await asked(SUMS)).toBe(sums(ids(20, OLD + NEW)));
    await verified();
  });

  test('beside a running ingest, files that are found later are adopted, and nothing is disturbed', async () => {
    const { events, kafka, setup } = scene;
    const running = startLake(setup, ['ingest', '--feed', 'events']);
    await running.event('partitions_assigned');
    await using sent = await record(kafka, events);
    const path = `streams/events/${folderOf(dayAgo(5))}/found_later.parquet`;
    // As values of old rows that are gone by now.
    await writeOld(setup.lakePath, new Map([[path, eventsSql(0, 10, (text) => text)]]));
    await sent.send([{ value: eventOf(OLD + NEW) }]);
    await running.event('batch_committed');
    expect(shown(reportOf(await lake('adopt', 'events', '--yes', '--json')))).toEqual([`lake ${dayAgo(5)} 10`]);
    await sent.send([{ value: eventOf(OLD + NEW + 1) }]);
    await running.event('batch_committed', 2);
    running.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
    expect(await asked(SUMS)).toBe(sums([...ids(0, 10), ...ids(20, OLD + NEW + 2)]));
    await verified();
  });
});
