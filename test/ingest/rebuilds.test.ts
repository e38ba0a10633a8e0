// What a table's beat does while Kafka is away: nothing ends by it, it is said once, and what was to be noted is noted later.

import { describe, expect, test } from 'bun:test';
import { connectAdmin, type KafkaAdmin } from '../../src/broker/client.ts';
import { LakeError } from '../../src/errors.ts';
import { Rebuilds } from '../../src/ingest/rebuilds.ts';
import type { Log } from '../../src/log.ts';
import { feedOf } from '../config/helpers.ts';
import { noSignal } from '../helpers/lake-folder.ts';
import { testKafka } from '../helpers/services.ts';
import { row, tableScene } from '../lake/table-helpers.ts';

const KEPT_MS = 60_000;

async function scene() {
  const kafka = await testKafka();
  const configs = { 'cleanup.policy': 'compact', 'delete.retention.ms': String(KEPT_MS) };
  const topic = await kafka.createTopic({ partitions: 1, configs });
  const events: string[] = [];
  const tell = (event: string): void => void events.push(event);
  const log: Log = { error: tell, warn: tell, info: tell, debug: () => undefined };
  const config = {
    bootstrapServers: [kafka.bootstrap],
    ssl: false,
    sasl: null,
    groupId: 'g',
    warehouseGroupId: 'w',
    sessionTimeoutSeconds: 30,
  };
  const connected = await connectAdmin(config, log);
  let askedCount = 0;
  let wrong: LakeError | null = null;
  const passed = <T>(ask: () => Promise<T>): Promise<T> => {
    askedCount += 1;
    return wrong === null ? ask() : Promise.reject(wrong);
  };
  const admin: KafkaAdmin = {
    ...connected.admin,
    describeConfigs: (asked) => passed(() => connected.admin.describeConfigs(asked)),
    fetchTopicOffsets: (asked) => passed(() => connected.admin.fetchTopicOffsets(asked)),
  };
  const lake = tableScene();
  const { table, take, publish } = await lake.open();
  const feed = feedOf({ feed_name: 'totals', feed_type: 'table', topic, schema: { key_field: 'id', fields: { id: 'BIGINT' } } });
  await kafka.produce(topic, [{ key: '1', value: 'one' }]);
  let failOver: 'none' | 'coming' | 'over' = 'none';
  const rebuilds = new Rebuilds({
    ...{ feed, admin, kafka: config, log },
    target: { ...table, state: () => (failOver === 'over' ? { ...table.state(), positions: new Map() } : table.state()) },
    table: {
      ...table.rebuild,
      noteCaughtUp: async (atMs, signal) => {
        if (failOver === 'none') return await table.rebuild.noteCaughtUp(atMs, signal);
        failOver = 'over';
      },
    },
    nowMs: () => lake.clock.ms,
    signal: noSignal,
  });
  return {
    ...{ rebuilds, events },
    askedCount: () => askedCount,
    publishRow: async () => {
      await take([row(0, 1, 10)]);
      await publish();
    },
    failOver: () => {
      failOver = 'coming';
    },
    later: () => {
      lake.clock.ms += KEPT_MS / 2;
    },
    away: (error: LakeError | null) => {
      wrong = error;
    },
    caughtUpAt: async () => (await lake.state()).snapshot?.caughtUpAt,
    [Symbol.asyncDispose]: () => connected[Symbol.asyncDispose](),
  };
}

describe('the beat of a table', () => {
  for (const code of ['kafka_unreachable', 'topic_missing'] as const) {
    test(`waits out ${code}, says so once, and notes later`, async () => {
      await using at = await scene();
      await at.publishRow();
      at.later();
      at.away(new LakeError(code, 'Kafka starts'));
      expect([await at.rebuilds.beat(), await at.rebuilds.beat(), at.events]).toEqual([false, false, ['caught_up_unsaid']]);
      await at.rebuilds.noteLast();
      expect(await at.caughtUpAt()).toBe('2025-01-28T10:30:00.000Z');
      at.away(null);
      expect(await at.rebuilds.beat()).toBe(false);
      expect(await at.caughtUpAt()).toBe('2025-01-28T10:30:30.000Z');
    });
  }

  test('asks Kafka nothing while there is no snapshot to note it on', async () => {
    await using at = await scene();
    await at.rebuilds.beat();
    expect(at.askedCount()).toBe(0);
    await at.publishRow();
    at.later();
    await at.rebuilds.beat();
    expect(at.askedCount()).toBeGreaterThan(0);
  });

  test('has the table read again when the target finds its positions back', async () => {
    await using at = await scene();
    await at.publishRow();
    at.later();
    expect(await at.rebuilds.beat()).toBe(false);
    at.later();
    at.failOver();
    expect(await at.rebuilds.beat()).toBe(true);
  });

  test('throws on what does not pass', async () => {
    await using at = await scene();
    await at.publishRow();
    at.away(new LakeError('cluster_changed', 'another one'));
    await expect(at.rebuilds.beat()).rejects.toThrow('another one');
  });
});
