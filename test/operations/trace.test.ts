// `lake trace` of every fate a message can have, in a stream and a table that a real ingest took into both targets.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedCopy, testEmbedded } from '../helpers/embedded.ts';
import { drain, type LakeSetup, runLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { type TestDatabase, testMysql } from '../helpers/mysql.ts';
import { FIRST_MS, message, messages } from '../helpers/produced.ts';
import { baseFolder, tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';
import { rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

let setup: LakeSetup;
let embedded: LakeSetup;
let database: TestDatabase;
let copy: EmbeddedCopy;
let [orders, totals] = ['', ''];
let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(baseFolder(), 'trace-'));
  const kafka = await testKafka();
  database = await testMysql();
  copy = testEmbedded();
  orders = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  totals = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  const feeds = [
    streamFeed('orders', orders, { destination: 'both', mysql_table: 'fact_orders' }),
    tableFeed('totals', totals, { destination: 'both', mysql_table: 'fact_totals' }),
  ];
  setup = warehouseSetup({ folder, kafka, database, feeds });
  const other = join(folder, 'embedded');
  mkdirSync(other);
  embedded = warehouseSetup({ folder: other, kafka, database: copy, feeds });
  // Offsets 0 to 2: rows, a tombstone; 3: a marker; 4 and 5: refused, a row.
  const transaction = await kafka.openTransaction();
  await transaction.send(orders, [message(0), message(1), message(2, { value: null })]);
  await transaction.commit();
  // Kafka writes the marker after its answer.
  await until(async () => (await kafka.watermarks(orders))[0]?.high === 4n, {
    timeoutMs: 180_000,
    what: 'the marker is written',
  });
  await kafka.produce(orders, [message(4, { value: 'no json' }), message(5)]);
  // 0: superseded by 2; 1: deleted by 3; 2: the row; 3: a tombstone; 4: no key; 5 and 6: a key deleted and back.
  await kafka.produce(totals, [
    { key: '1', value: '{"id":1,"text":"old"}', timestampMs: FIRST_MS },
    { key: '2', value: '{"id":2,"text":"gone"}', timestampMs: FIRST_MS + 1 },
    { key: '1', value: '{"id":1,"text":"new"}', timestampMs: FIRST_MS + 2 },
    { key: '2', value: null, timestampMs: FIRST_MS + 3 },
    { key: null, value: '{"text":"no key"}', timestampMs: FIRST_MS + 4 },
    { key: '3', value: null, timestampMs: FIRST_MS + 5 },
    { key: '3', value: '{"id":3,"text":"back"}', timestampMs: FIRST_MS + 6 },
  ]);
  await Promise.all([drain(setup), drain(embedded)]);
  await kafka.produce(orders, [message(6)]);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await copy[Symbol.asyncDispose]();
});

const DAY_MS = 86_400_000;

type Answer = Readonly<Record<string, unknown>> & { readonly target: string; readonly status: string; readonly detail: string };

const traceOf = (place: string, ...args: string[]) => traceIn(setup, place, ...args);

async function traceIn(where: LakeSetup, place: string, ...args: string[]) {
  const { code, stdout, stderr } = await runLake(where, ['trace', place, '--json', ...args]);
  if (code === null || code > 4 || stdout === '') throw new Error(stderr);
  const json = JSON.parse(stdout) as { ok: boolean; kafka: Record<string, unknown>; answers: Answer[] };
  const by = (target: string): Answer =>
    json.answers.find((one) => one.target === target) ?? { target, status: 'none', detail: '' };
  return { code, ...json, lake: by('lake'), warehouse: by('warehouse') };
}

const both = async (place: string) => {
  const { code, lake, warehouse } = await traceOf(place);
  return { code, lake: lake.status, warehouse: warehouse.status };
};

describe('a stream', () => {
  test('a row is shown with its file and its id, beside the message', async () => {
    const { code, ok, kafka, lake, warehouse } = await traceOf(`${orders}:0:1`);
    expect({ code, ok }).toEqual({ code: 0, ok: true });
    expect(kafka).toMatchObject({
      status: 'message',
      key: 'k1',
      value: '{"id":1,"text":"text 1"}',
      timestamp: '2025-01-28T23:01:00.000Z',
    });
    expect(lake).toMatchObject({ status: 'row', row: 1, columns: { id: '1', text: 'text 1', kafka_offset: '1' } });
    expect(String(lake['file'])).toStartWith('streams/orders/year=2025/month=01/day=28/data_');
    // The feed has a field called id, so that the row's own is called lake_id.
    const [fact] = await rowsOf(database, 'SELECT lake_id FROM fact_orders WHERE kafka_offset = 1');
    expect(warehouse).toMatchObject({ status: 'row', table: 'fact_orders', id: String(fact?.['lake_id']) });
  });

  test('a tombstone was counted, a marker is a hole, what was refused is a dead letter', async () => {
    expect(await both(`${orders}:0:2`)).toEqual({ code: 0, lake: 'tombstone', warehouse: 'tombstone' });
    expect(await both(`${orders}:0:3`)).toEqual({ code: 0, lake: 'hole', warehouse: 'hole' });
    const { code, lake, warehouse } = await traceOf(`${orders}:0:4`);
    expect(code).toBe(0);
    expect(lake).toMatchObject({ status: 'dead_letter', row: 0 });
    expect(String(lake['file'])).toStartWith('dead_letters/orders/');
    expect(String(lake['reason'])).toContain('is not JSON');
    const [letter] = await rowsOf(database, "SELECT id FROM lake_dead_letters WHERE feed = 'orders'");
    expect(warehouse).toMatchObject({ status: 'dead_letter', id: String(letter?.['id']), state: 'open' });
  });

  test('what is not in yet is no, and so is what nobody has sent', async () => {
    expect(await both(`${orders}:0:6`)).toEqual({ code: 3, lake: 'not_yet', warehouse: 'not_yet' });
    expect(await both(`${orders}:0:700`)).toEqual({ code: 3, lake: 'not_yet', warehouse: 'not_yet' });
    expect(await both(`${orders}:9:0`)).toEqual({ code: 3, lake: 'not_yet', warehouse: 'not_yet' });
  });

  test('without Kafka it is found all the same', async () => {
    const { code, kafka, lake, warehouse } = await traceOf(`${orders}:0:5`, '--bootstrap-servers', '127.0.0.1:1');
    expect({ code, kafka: kafka['status'], lake: lake.status, warehouse: warehouse.status }).toEqual({
      ...{ code: 0, kafka: 'unreachable', lake: 'row', warehouse: 'row' },
    });
  });

  test('a warehouse that is away is said, and the lake answers', async () => {
    const { code, lake, warehouse } = await traceOf(`${orders}:0:5`, '--mysql-port', '1');
    expect({ code, lake: lake.status, warehouse: warehouse.status }).toEqual({ code: 4, lake: 'row', warehouse: 'unreachable' });
  });
});

describe('a table', () => {
  test('the row, and what it took the place of', async () => {
    const { code, lake, warehouse } = await traceOf(`${totals}:0:2`);
    expect(code).toBe(0);
    expect(lake).toMatchObject({ status: 'row', columns: { id: '1', text: 'new' } });
    expect(warehouse).toMatchObject({ status: 'row', columns: { id: expect.anything(), text: 'new' } });
    const old = await traceOf(`${totals}:0:0`);
    const by = { kafka_partition: 0, kafka_offset: '2' };
    expect(old.lake).toMatchObject({ status: 'superseded', superseded_by: by });
    expect(old.warehouse).toMatchObject({ status: 'superseded', superseded_by: by });
  });

  test('a tombstone says whether its key is gone, and is what superseded', async () => {
    const { lake, warehouse } = await traceOf(`${totals}:0:3`);
    expect(lake).toMatchObject({ status: 'tombstone', key_is_gone: true });
    expect(warehouse).toMatchObject({ status: 'tombstone', key_is_gone: true });
    const deleted = await traceOf(`${totals}:0:1`);
    const by = { kafka_partition: 0, kafka_offset: '3' };
    expect(deleted.lake).toMatchObject({ status: 'superseded', superseded_by: by });
    expect(deleted.warehouse).toMatchObject({ status: 'superseded', superseded_by: by });
    const back = await traceOf(`${totals}:0:5`);
    expect(back.lake).toMatchObject({ status: 'tombstone', key_is_gone: false });
    expect(back.warehouse).toMatchObject({ status: 'tombstone', key_is_gone: false });
  });

  test('a message without a key is a dead letter', async () => {
    expect(await both(`${totals}:0:4`)).toEqual({ code: 0, lake: 'dead_letter', warehouse: 'dead_letter' });
  });

  test('without Kafka nobody can say by what it was superseded', async () => {
    const { code, lake, warehouse } = await traceOf(`${totals}:0:0`, '--bootstrap-servers', '127.0.0.1:1');
    expect(code).toBe(0);
    expect(lake).toMatchObject({ status: 'superseded', superseded_by: null });
    expect(warehouse).toMatchObject({ status: 'superseded', superseded_by: null });
  });
});

test('the embedded warehouse answers by the copy that it leaves', async () => {
  const at = async (place: string) => (await traceIn(embedded, place)).warehouse;
  expect(await at(`${orders}:0:1`)).toMatchObject({ status: 'row', table: 'fact_orders', columns: { text: 'text 1' } });
  expect(await at(`${orders}:0:4`)).toMatchObject({ status: 'dead_letter', state: 'open' });
  expect(await at(`${totals}:0:2`)).toMatchObject({ status: 'row', columns: { text: 'new' } });
  expect(await at(`${totals}:0:1`)).toMatchObject({ status: 'superseded', superseded_by: { kafka_offset: '3' } });
});

test.each([
  ['orders', 'fact_orders', 0],
  ['totals', 'fact_totals', 2],
] as const)('a column of %s that is gone is told, and is no bug', async (feed, table, offset) => {
  await rowsOf(database, `ALTER TABLE ${table} RENAME COLUMN kafka_offset TO gone`);
  try {
    const place = `${feed === 'orders' ? orders : totals}:0:${offset}`;
    const { code, stderr } = await runLake(setup, ['trace', place]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('kafka_offset')]);
  } finally {
    await rowsOf(database, `ALTER TABLE ${table} RENAME COLUMN gone TO kafka_offset`);
  }
});

test('it leaves no group behind', async () => {
  await traceOf(`${orders}:0:0`);
  const { groups } = await (await (await testKafka()).admin()).listGroups();
  const ours = groups.map(({ groupId }) => groupId).filter((id) => id.startsWith(setup.groupId));
  expect(ours.sort()).toEqual([setup.groupId, `${setup.groupId}_warehouse`]);
});

test('what names no message, or no topic of a feed, is a usage error', async () => {
  for (const word of ['orders', 'orders:0', 'orders:x:1', 'orders:0:-1', `${orders}:0:9999999999999999999`])
    expect((await runLake(setup, ['trace', word])).code).toBe(2);
  expect((await runLake(setup, ['trace', `${orders}x:0:1`])).stderr).toContain(`did you mean "${orders}"?`);
});

test('a file that the log names and that is nowhere is damage, and told', async () => {
  const [file] = [...(await stateOf(setup.lakePath, 'orders')).files.values()].filter(({ kind }) => kind === 'data');
  const [from, to] = [join(setup.lakePath, file?.path ?? ''), join(folder, 'aside.parquet')];
  renameSync(from, to);
  const { code, stderr } = await runLake(setup, ['trace', `${orders}:0:1`]);
  expect({ code, said: stderr.includes('is nowhere, and the log names it') }).toEqual({ code: 1, said: true });
  renameSync(to, from);
});

test('offsets that Kafka lost are a recorded gap, or before the start', async () => {
  await using own = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  const late = writeSetup({ folder: own.path, kafka, feeds: [streamFeed('late', topic)] });
  await kafka.produce(topic, messages(0, 4));
  await kafka.deleteRecords(topic, [{ partition: 0, before: 2n }]);
  await drain(late);
  await kafka.produce(topic, messages(4, 4));
  await kafka.deleteRecords(topic, [{ partition: 0, before: 6n }]);
  await drain(late, { args: ['--on-gap', 'record'] });
  const statusOf = async (offset: number) => {
    const { code, stdout } = await runLake(late, ['trace', `${topic}:0:${offset}`]);
    return `${code} ${stdout.split('\n')[2]?.split('\t')[2]}`;
  };
  expect(await Promise.all([0, 2, 5, 6].map(statusOf))).toEqual(['0 before_start', '0 row', '0 gap', '0 row']);
});

test('what was superseded or deleted says in which sealed snapshots it is still a row', async () => {
  await using own = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  const days = writeSetup({ folder: own.path, kafka, feeds: [tableFeed('days', topic)] });
  const send = (values: readonly (string | null)[], at: number) =>
    kafka.produce(
      topic,
      values.map((value, id) => ({ key: String(id), value, timestampMs: at })),
    );
  const clocked = (clockMs: number) => drain(days, { clockMs, args: ['--mode', 'lake'] });
  await send(['{"id":0,"text":"kept"}', '{"id":1,"text":"old"}', '{"id":2,"text":"gone"}'], FIRST_MS);
  await clocked(FIRST_MS + 1_000);
  // 3 and 4 come a day later: 1 is newer, 2 is deleted.
  await kafka.produce(topic, [
    { key: '1', value: '{"id":1,"text":"new"}', timestampMs: FIRST_MS + DAY_MS },
    { key: '2', value: null, timestampMs: FIRST_MS + DAY_MS },
  ]);
  await clocked(FIRST_MS + DAY_MS + 1_000);
  const first = { snapshot_date: '2025-01-28', snapshot_version: 1 };
  const second = { snapshot_date: '2025-01-29', snapshot_version: 1 };
  const at = async (offset: number) => (await traceIn(days, `${topic}:0:${offset}`)).lake;
  expect(await at(0)).toMatchObject({ status: 'row', snapshots: [second, first] });
  expect(await at(1)).toMatchObject({ status: 'superseded', superseded_by: { kafka_offset: '3' }, snapshots: [first] });
  expect(await at(2)).toMatchObject({ status: 'superseded', superseded_by: { kafka_offset: '4' }, snapshots: [first] });
  expect(await at(4)).toMatchObject({ status: 'tombstone', key_is_gone: true, snapshots: [] });
  const blind = await traceIn(days, `${topic}:0:1`, '--bootstrap-servers', '127.0.0.1:1');
  expect(blind.lake).toMatchObject({ status: 'superseded', superseded_by: null, snapshots: [first] });
});

test('what retention has deleted is removed, in both targets', async () => {
  await using own = await tempDir();
  await using kept = await testMysql();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ configs: { 'retention.ms': '-1' } });
  const feed = streamFeed('brief', topic, {
    ...{ destination: 'both', mysql_table: 'fact_brief' },
    retention: { retention_days: 30, auto_delete: true },
  });
  const brief = warehouseSetup({ folder: own.path, kafka, database: kept, feeds: [feed] });
  await kafka.produce(topic, [message(0), message(1, { timestampMs: Date.now() })]);
  await drain(brief);
  const { code, stderr } = await runLake(brief, ['retention']);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const expired = await traceIn(brief, `${topic}:0:0`);
  expect({ code: expired.code, lake: expired.lake.status, warehouse: expired.warehouse.status }).toEqual({
    ...{ code: 0, lake: 'removed', warehouse: 'removed' },
  });
  expect(expired.lake).toMatchObject({ kind: 'retain', detail: expect.stringContaining('its row was in it') });
  const fresh = await traceIn(brief, `${topic}:0:1`);
  expect([fresh.lake.status, fresh.warehouse.status]).toEqual(['row', 'row']);
});
