// The HTTP server beside an ingest: what it answers, where it listens, and how a place that is taken is said.

import { expect, test } from 'bun:test';
import { createReadiness } from '../../src/ingest/readiness.ts';
import { startHttp } from '../../src/service/http.ts';
import { parseListen } from '../../src/service/listen.ts';
import { createMetrics } from '../../src/service/metrics.ts';

const events: Record<string, unknown>[] = [];
const silent = { error: () => {}, warn: () => {}, debug: () => {} };
const log = { ...silent, info: (event: string, fields = {}) => void events.push({ event, ...fields }) };
const clock = { ms: Date.UTC(2025, 0, 28) };
const readinessOf = () => createReadiness(['lake', 'warehouse'], { nowMs: () => clock.ms, isServed: true });
const metrics = createMetrics(() => clock.ms);
const FREE = { host: '127.0.0.1', port: 0 };

test.each([
  ['9464', '127.0.0.1', 9464],
  [':9464', '127.0.0.1', 9464],
  ['127.0.0.1:0', '127.0.0.1', 0],
  ['0.0.0.0:80', '0.0.0.0', 80],
  ['localhost:80', 'localhost', 80],
  ['[::1]:80', '::1', 80],
])('%s is %s and %d', (text, host, port) => expect(parseListen(text)).toEqual({ host, port }));

test.each(['', 'localhost', 'localhost:', ':', '1:2:3', '65536', 'a b:1', '-1', '::1:80'])('%p is no address', (text) =>
  expect(() => parseListen(text)).toThrow(expect.objectContaining({ code: 'usage', exit: 2 })),
);

test('ready is who was given partitions and waits for nothing; each waiter counts, and an end by an error stays', async () => {
  const readiness = readinessOf();
  await using server = await startHttp({ listen: FREE, readiness, metrics, log });
  expect(events.at(-1)).toEqual({ event: 'http_listening', host: '127.0.0.1', port: server.port });
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    return [response.status, JSON.parse((await response.text()) || 'null')] as const;
  };
  const [lake, warehouse] = [readiness.pipeline('lake'), readiness.pipeline('warehouse')];
  const since = '2025-01-28T00:00:00.000Z';
  const [starting, up] = [
    { ready: false, since, reason: 'it is starting' },
    { ready: true, since, reason: null },
  ];
  expect(await get('/healthz')).toEqual([200, { ok: true }]);
  const pipelines = [
    { target: 'lake', ...starting },
    { target: 'warehouse', ...starting },
  ];
  expect(await get('/readyz')).toEqual([503, { ready: false, pipelines, config: { since, refused: null } }]);
  for (const one of [lake, warehouse]) one.reads();
  expect(await get('/readyz?now')).toMatchObject([200, { ready: true, pipelines: [up, up] }]);
  const [first, second] = [{}, {}];
  clock.ms += 1_000;
  warehouse.waits(first, 'away');
  clock.ms += 1_000;
  warehouse.waits(second, 'away still');
  warehouse.back(first);
  const away = { ready: false, since: '2025-01-28T00:00:01.000Z', reason: 'away still' };
  expect(await get('/readyz')).toMatchObject([503, { ready: false, pipelines: [up, away] }]);
  warehouse.back(second);
  lake.kafkaLost('no broker');
  expect(await get('/readyz')).toMatchObject([503, { pipelines: [{ ready: false, reason: 'no broker' }, { ready: true }] }]);
  lake.reads();
  warehouse.failed('refused');
  warehouse.reads();
  expect(await get('/readyz')).toMatchObject([503, { pipelines: [{ ready: true }, { ready: false, reason: 'refused' }] }]);
  expect([(await get('/'))[0], (await get('/readyz', 'POST'))[0]]).toEqual([404, 405]);
});

test('what a pipeline waited for ends with it, and one without feeds is not asked for', () => {
  const readiness = readinessOf();
  const [lake, warehouse] = [readiness.pipeline('lake'), readiness.pipeline('warehouse')];
  lake.reads();
  warehouse.waits({}, 'away');
  warehouse.failed('refused');
  warehouse.begins();
  warehouse.reads();
  expect(readiness.view()).toMatchObject({ ready: true });
  warehouse.waits({}, 'away');
  warehouse.ends();
  expect(readiness.view()).toMatchObject({ ready: true, pipelines: [{ target: 'lake' }] });
  readiness.pipeline('warehouse').begins();
  expect(readiness.view()).toMatchObject({ ready: false, pipelines: [{}, { target: 'warehouse', reason: 'it is starting' }] });
});

test('/metrics counts what the log tells, by feed and target, and what the feeds bring that no field reads', async () => {
  const told = events.length;
  const readiness = readinessOf();
  readiness.pipeline('lake').reads();
  const own = createMetrics(() => 1_700_000_000_500);
  const counted = own.counted(log);
  await using server = await startHttp({ listen: FREE, readiness, metrics: own, log: counted });
  const [lake, warehouse] = [
    { feed: 'orders', target: 'lake' },
    { feed: 'orders', target: 'warehouse' },
  ];
  counted.error('feed_stopped', { ...lake, code: 'disk_full' });
  counted.error('feed_stopped', { ...warehouse, code: 'warehouse_refused' });
  counted.info('batch_committed', { ...lake, messages: 40, rows: 38, dead_letters: 2, files: 1, bytes: 900 });
  counted.info('snapshot_published', { ...lake, messages: 2, rows: 5, dead_letters: 0, files: 2, bytes: 100 });
  for (const fields of ['extra,more', 'more']) counted.warn('fields_unknown', { feed: 'orders', fields });
  counted.warn('commit_conflicted', lake);
  counted.warn('gap_recorded', { ...warehouse, partition: 0 });
  counted.info('config_taken', { feeds: 1 });
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const text = await response.text();
  expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([
    'lake_messages_committed_total{feed="orders",target="lake"} 42',
    'lake_dead_letters_total{feed="orders",target="lake"} 2',
    'lake_bytes_written_total{feed="orders",target="lake"} 1000',
    'lake_commits_total{feed="orders",target="lake"} 2',
    'lake_conflicts_total{feed="orders",target="lake"} 1',
    'lake_gaps_total{feed="orders",target="warehouse"} 1',
    'lake_last_commit_timestamp_seconds{feed="orders",target="lake"} 1700000000.5',
    'lake_unknown_fields{feed="orders"} 2',
    'lake_feed_stopped{feed="orders",target="warehouse"} 1',
    'lake_pipeline_ready{target="lake"} 1',
    'lake_pipeline_ready{target="warehouse"} 0',
  ]);
  expect(text).toContain('# TYPE lake_commits_total counter\n');
  // And all of it is in the log as well.
  expect(events.slice(told).map(({ event }) => event)).toEqual([
    'http_listening',
    'batch_committed',
    'snapshot_published',
    'config_taken',
  ]);
});

test('a port in use is said, and one that is let go is free again', async () => {
  const first = await startHttp({ listen: FREE, readiness: readinessOf(), metrics, log });
  const listen = { host: '127.0.0.1', port: first.port };
  expect(startHttp({ listen, readiness: readinessOf(), metrics, log })).rejects.toMatchObject({
    ...{ code: 'usage', exit: 2, message: `port ${first.port} of 127.0.0.1 is in use`, todo: expect.stringContaining('--http') },
  });
  await first[Symbol.asyncDispose]();
  await using second = await startHttp({ listen, readiness: readinessOf(), metrics, log });
  expect(second.port).toBe(first.port);
});
