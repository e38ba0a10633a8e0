// Feeds that are switched off and on, taken out, shown and inferred: nothing that was taken in is touched, feeds.json keeps its
// comments, and what the database and the journals say follows.

import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../scripts/service/process.ts';
import { drain } from '../helpers/ingest.ts';
import { uniqueName } from '../helpers/kafka.ts';
import { newFeedScene, totals } from '../helpers/new-feed-scene.ts';
import { rowsOf } from '../helpers/warehouse.ts';

test('disabled, enabled and taken out: its data stays, and it can be added again', async () => {
  await using at = await newFeedScene();
  const name = uniqueName('user_totals');
  await at.kafka.createTopic({ name, partitions: 2, configs: { 'cleanup.policy': 'compact' } });
  await at.kafka.produce(name, totals(40));
  await at.json('feeds', 'add', name, '--yes');
  const added = at.text();
  await drain(at.setup, { args: ['--feed', name] });
  const active = async () =>
    (await rowsOf(at.database, 'SELECT is_active FROM feed_registry WHERE feed_name = ?', [name]))[0]?.['is_active'];

  expect((await at.lake('feeds', 'disable', name, '--dry-run')).stdout).toContain('+      "enabled": false,');
  expect((await at.lake('feeds', 'disable', name, '--topic', 'x')).stderr).toContain(
    '--topic has no meaning for lake feeds disable',
  );
  expect(at.text()).toBe(added);
  expect(await at.json('feeds', 'disable', name)).toMatchObject({ feed: name, enabled: false, was_enabled: true });
  expect(at.text()).toBe(added.replace(/("feed_name": "user_totals[\s\S]*?"enabled": )true/, '$1false'));
  expect(await active()).toBe(0);
  expect((await at.lake('ingest', '--feed', name, '--until-caught-up')).stderr).toContain(`feed ${name} is not enabled`);
  expect(await at.json('feeds', 'disable', name)).toMatchObject({ enabled: false, was_enabled: false });
  expect(await at.json('feeds', 'enable', name)).toMatchObject({ enabled: true, was_enabled: false, was_stopped: false });
  expect({ text: at.text(), active: await active() }).toEqual({ text: added, active: 1 });

  expect((await at.lake('feeds', 'remove', name)).code).toBe(2);
  const plan = await at.lake('feeds', 'remove', name, '--dry-run');
  expect(plan.stdout).toContain(`-      "feed_name": "${name}",`);
  const port = String(await freePort());
  expect((await at.lake('feeds', 'remove', name, '--yes', '--mysql-port', port)).code).toBe(4);
  expect(at.text()).toBe(added);
  const removed = await at.json('feeds', 'remove', name, '--yes');
  const folder = join(at.setup.lakePath, 'tables', name);
  expect(removed.stays).toContainEqual({ what: 'data files', place: folder });
  expect({ text: at.text(), active: await active(), isThere: existsSync(folder) }).toEqual({
    text: at.commented,
    active: 0,
    isThere: true,
  });
  expect(await rowsOf(at.database, `SELECT COUNT(*) AS held FROM fact_${name}_latest`)).toEqual([{ held: '19' }]);

  const again = await at.json('feeds', 'add', name, '--yes');
  expect(again.steps.map(({ step, state }: { step: string; state: string }) => `${step} ${state}`)).toEqual([
    ...['topic there', 'configuration done', 'sql there', 'registry done', 'table there', 'audit done'],
  ]);
  expect(await active()).toBe(1);
  await drain(at.setup, { args: ['--feed', name] });
  expect(await at.json('verify', name)).toMatchObject({ ok: true });
  expect(await at.told(name)).toEqual(['feed_added', 'feed_disabled', 'feed_enabled', 'feed_removed', 'feed_added']);
  const audited = await rowsOf(
    at.database,
    "SELECT action FROM audit_log WHERE feed_name = ? AND resource LIKE '%feeds.json' ORDER BY audit_id",
    [name],
  );
  expect(audited.map(({ action }) => action)).toEqual(await at.told(name));
});

test('a database that is away does not keep a feed from being switched off; it is told what is left', async () => {
  await using at = await newFeedScene();
  const [{ feed }] = await at.json('feeds', 'list');
  const port = String(await freePort());
  const said = await at.lake('feeds', 'disable', feed, '--mysql-port', port);
  expect(said.code).toBe(4);
  expect(said.stderr).toContain('feeds.json is changed, but feed_registry was not told');
  expect(said.stderr).toContain(`lake feeds disable ${feed}`);
  expect(await at.json('feeds', 'list')).toMatchObject([{ feed, enabled: false }]);
});

test('a feed is shown whole, with what its log has not taken up yet; another is inferred and nothing changes', async () => {
  await using at = await newFeedScene();
  const [name, other] = [uniqueName('user_totals'), uniqueName('Shop.Totals')];
  for (const topic of [name, other]) {
    await at.kafka.createTopic({ name: topic, partitions: 2, configs: { 'cleanup.policy': 'compact' } });
    await at.kafka.produce(topic, totals(40));
  }
  await at.json('feeds', 'add', name, '--yes', '--destination', 'data_lake');
  expect(await at.json('feeds', 'show', name)).toMatchObject({
    schema_version: null,
    targets: [{ target: 'lake', state: 'never_started', lag: 41 }],
  });
  await drain(at.setup, { args: ['--feed', name] });
  const shown = await at.json('feeds', 'show', name);
  expect(shown).toMatchObject({ key_field: ['user_id'], schema_version: 1, targets: [{ state: 'ready', lag: 0 }] });
  expect(shown.fields.filter(({ drift }: { drift: string | null }) => drift !== null)).toEqual([]);

  const before = at.text();
  const inferred = await at.lake('feeds', 'infer', other);
  expect(inferred.stderr).toContain('key user_id: the Kafka key is the value of user_id in every message');
  expect(JSON.parse(inferred.stdout)).toMatchObject({ topic: other, feed_type: 'table', schema: { key_field: 'user_id' } });
  expect(JSON.parse(inferred.stdout).feed_name).toMatch(/^shop_totals_[0-9a-f]{8}$/);
  expect((await at.lake('feeds', 'infer', uniqueName('nope'))).code).toBe(1);
  expect(at.text()).toBe(before);
});
