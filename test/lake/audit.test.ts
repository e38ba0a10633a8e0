// The lake's journal: what was done to a feed is told once, by whom, also when an answer is lost, a process killed or a line torn.

import { expect, test } from 'bun:test';
import { appendFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Audit, openAudit, readJournal } from '../../src/lake/audit.ts';
import { openLakeFeed } from '../../src/lake/lake.ts';
import { openLocalStore } from '../../src/lake/local-store.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { failOnce, faulty } from '../helpers/faulty-store.ts';
import { newId, noSignal } from '../helpers/lake-folder.ts';

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
const START_MS = Date.UTC(2025, 0, 28, 12);

async function scene() {
  const root = mkdtempSync(join(tmpdir(), 'lake-audit-'));
  const store = await openLocalStore({ root, access: 'write' });
  const clock = { ms: START_MS };
  const nowMs = () => clock.ms;
  const audit = (actor = 'me'): Audit => openAudit({ store, actor, nowMs, log: silent });
  return {
    ...{ root, store, clock, audit },
    feed: (onEntry: Audit['entry'], by: ObjectStore = store) =>
      openLakeFeed({
        ...{ store: by, feed: 'orders', topic: 't', clusterId: 'c', compression: 'snappy', nowMs, newId, onEntry },
      }),
    lines: async () => (await readJournal(store)).map(({ action, resource, actor }) => [action, resource, actor]),
    /** In the file, repeated ones too. */
    count: () => readFileSync(join(root, '_lake/audit.ndjson'), 'utf8').split('\n').length - 1,
  };
}
const gap = (start: number, end: number, reason: string) => ({
  ...{ partition: 0, start: toOffset(BigInt(start)), end: toOffset(BigInt(end)), reason },
});

test('every change but those that move data on is told, in order, with who and when', async () => {
  const at = await scene();
  const audit = at.audit();
  const feed = await at.feed(audit.entry);
  await feed.pinSchema({ version: 1, fields: [] }, noSignal);
  await feed.pinConfig({ start: '{}' }, noSignal);
  await feed.recordGaps([gap(0, 5, 'takeover'), { ...gap(0, 7, 'expired'), partition: 1 }], noSignal);
  await feed.stop('wrong', noSignal);
  await feed.enable(noSignal);
  await audit.end();
  expect(await at.lines()).toEqual([
    ['schema_pinned', 'schema 1', 'me'],
    ['config_pinned', 'start', 'me'],
    ['takeover', '0:0-5', 'me'],
    ['gap_recorded', '1:0-7', 'me'],
    ['feed_stopped', 'orders', 'me'],
    ['feed_enabled', 'orders', 'me'],
  ]);
  expect((await readJournal(at.store))[3]).toEqual({
    ...{ id: 'orders/3/1', at: '2025-01-28T12:00:00.000Z', actor: 'me', feed: 'orders', target: 'lake', rows: null },
    ...{ action: 'gap_recorded', resource: '1:0-7' },
    details: { partition: 1, start: '0', end: '7', reason: 'expired', version: 3, writer: expect.any(String) },
  });
});

test('once, when the answer of the commit is lost', async () => {
  const at = await scene();
  const audit = at.audit();
  const lost = failOnce(
    ({ method }) => method === 'createExclusive',
    () => new Error('lost'),
  );
  const feed = await at.feed(audit.entry, faulty(at.store, { after: lost }));
  await feed.pinConfig({ a: '1' }, noSignal);
  await feed.refresh();
  await audit.end();
  expect([await at.lines(), at.count()]).toEqual([[['config_pinned', 'a', 'me']], 1]);
});

test('by the next start when whoever committed it was killed, and not while that one may still tell it', async () => {
  const at = await scene();
  const killed = await at.feed(() => undefined);
  await killed.pinConfig({ a: '1' }, noSignal);
  const audit = at.audit('next');
  await audit.recover('orders', 1);
  expect(await at.lines()).toEqual([]);
  at.clock.ms += 60_000;
  await audit.recover('orders', 1);
  await audit.recover('orders', 1);
  expect([await at.lines(), at.count()]).toEqual([[['config_pinned', 'a', null]], 1]);
});

test('a line that a power cut left half spoils no other', async () => {
  const at = await scene();
  const audit = at.audit();
  const feed = await at.feed(audit.entry);
  await feed.pinConfig({ a: '1' }, noSignal);
  await audit.end();
  appendFileSync(join(at.root, '_lake/audit.ndjson'), '{"id":"orders/2","at":"20');
  const next = at.audit('next');
  await next.recover('orders', 1);
  await (await at.feed(next.entry)).pinConfig({ b: '2' }, noSignal);
  await next.end();
  expect(await at.lines()).toEqual([
    ['config_pinned', 'a', 'me'],
    ['config_pinned', 'b', 'next'],
  ]);
});

test('a journal that cannot be written fails nothing', async () => {
  const at = await scene();
  const told: string[] = [];
  const log = { ...silent, warn: (event: string) => void told.push(event) };
  const store = { ...at.store, localPath: () => '/dev/null/audit.ndjson' };
  const audit = openAudit({ store, actor: 'me', nowMs: () => START_MS, log });
  expect(await (await at.feed(audit.entry)).pinConfig({ a: '1' }, noSignal)).toMatchObject({ kind: 'committed' });
  await audit.end();
  expect(told).toEqual(['audit_skipped']);
});
