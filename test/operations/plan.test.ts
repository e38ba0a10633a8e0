// lake plan: what an ingest then does, told before; and nothing of it done.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { drain, type LakeSetup, runLake } from '../helpers/ingest.ts';
import { globFiles } from '../helpers/lake-rows.ts';
import { lettersScene } from '../helpers/letters-scene.ts';
import { rowsOf } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

type Plan = {
  readonly feed: string;
  readonly problems: readonly { readonly code: string }[];
  readonly from: string | null;
  readonly messages: number;
  readonly unread: string;
  readonly rows: number;
  readonly tombstones: number;
  readonly dead_letters: number;
  readonly refused: readonly { readonly reason: string; readonly letters: number; readonly first: string }[];
  readonly schema: { readonly from: string; readonly is_new: boolean } | null;
  readonly drift: readonly { readonly field: string; readonly messages: number }[];
  readonly files: readonly { readonly what: string; readonly rows: number; readonly bytes: number }[];
  readonly statements: readonly { readonly action: string; readonly resource: string; readonly sql: string }[];
};

const plansOf = async (setup: LakeSetup, args: readonly string[] = []) => {
  const result = await runLake(setup, ['plan', '--json', ...args]);
  if (!result.stdout.startsWith('[')) throw new Error(`no plan: ${result.stdout}${result.stderr}`);
  const plans = JSON.parse(result.stdout) as readonly Plan[];
  return { code: result.code, of: (feed: string): Plan | undefined => plans.find((one) => one.feed === feed) };
};

test.each(['mysql', 'mariadb', 'duckdb'] as const)('%s: tells what an ingest will do, and touches nothing', async (engine) => {
  await using scene = await lettersScene(engine);
  await scene.produce();
  await scene.send('events', [[8, JSON.stringify({ id: 8, text: 'text 8', added: true })]]);
  const groups = async (): Promise<string[]> => {
    const admin = scene.kafka.client.admin();
    await admin.connect();
    const found = await admin.listGroups().finally(() => admin.disconnect());
    return found.groups.map(({ groupId }) => groupId).filter((name) => name.includes(scene.refusing.groupId));
  };
  const first = await plansOf(scene.refusing);
  expect(first.code).toBe(0);
  expect(first.of('events')).toMatchObject({
    ...{ problems: [], from: 'position', messages: 7, unread: '7', rows: 4, dead_letters: 3, tombstones: 0 },
    schema: { from: 'declared', is_new: true },
    refused: [
      { reason: 'text: required, and missing or null', letters: 2, first: '0:1' },
      { letters: 1, first: '0:4' },
    ],
    drift: [{ field: 'added', messages: 1 }],
    files: [{ what: '2025-01-28', rows: 4 }],
    statements: [{ action: 'table_created', resource: 'fact_events' }],
  });
  expect(first.of('totals')).toMatchObject({
    ...{ messages: 9, rows: 3, tombstones: 1, dead_letters: 5, files: [{ what: 'open snapshot', rows: 3 }] },
    statements: [{ action: 'table_created' }, { action: 'view_created', resource: 'fact_totals_latest' }],
  });
  // Neither a lake, nor a table, nor a group.
  expect(existsSync(scene.refusing.lakePath)).toBe(false);
  if (scene.database.engine !== 'duckdb') expect(await rowsOf(scene.database, 'SHOW TABLES')).toEqual([]);
  else expect(existsSync(scene.database.path)).toBe(false);
  expect(await groups()).toEqual([]);

  await drain(scene.refusing);
  const [files, known] = [globFiles(scene.refusing.lakePath, 'events'), await groups()];
  expect(files.data.length).toBe(1);
  // What was planned is what came; nothing is unread, so the newest are looked at, by the schema that feeds.json has by now.
  const then = await plansOf(scene.corrected, ['events', '--messages', '3']);
  expect(then.of('events')).toMatchObject({ from: 'newest', messages: 3, unread: '0', rows: 2, dead_letters: 1, statements: [] });
  expect(then.of('events')?.schema).toMatchObject({ from: 'declared', is_new: true });
  expect(globFiles(scene.refusing.lakePath, 'events')).toEqual(files);
  expect(await groups()).toEqual(known);
});

test('a topic that is missing is a problem of its feed, and a server that is away exit 4', async () => {
  await using scene = await lettersScene('mysql');
  await scene.produce();
  const config = JSON.parse(await Bun.file(scene.refusing.configPath).text()) as { feeds: { topic: string }[] };
  const [first] = config.feeds;
  if (first) first.topic = 'nobody.made.this';
  await Bun.write(scene.refusing.configPath, JSON.stringify(config));
  const plans = await plansOf(scene.refusing);
  expect(plans.code).toBe(3);
  expect(plans.of('events')).toMatchObject({ problems: [{ code: 'topic_missing' }], messages: 0, from: null });
  expect(plans.of('totals')).toMatchObject({ problems: [], messages: 9 });
  const away = await plansOf(scene.refusing, ['totals', '--mysql-port', '1']);
  expect({ code: away.code, messages: away.of('totals')?.messages }).toEqual({ code: 4, messages: 9 });
  expect(away.of('totals')?.problems.map(({ code }) => code)).toEqual(['warehouse_unreachable']);
});
