// docs/json-output.md is a contract: what the commands print has the fields and types of its examples, and its tables name them all.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Glob } from 'bun';
import { runLake, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { testMysql } from '../helpers/mysql.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const PAGE = readFileSync(join(import.meta.dir, '../../docs/json-output.md'), 'utf8');

type Section = { readonly example: unknown; readonly fields: readonly string[] };

/** The example and the fields of the table, by the command line. */
const SECTIONS = new Map<string, Section>(
  PAGE.split(/^## /m)
    .slice(1)
    .map((text): [string, Section] => {
      const [title = ''] = text.split('\n');
      const example = /```json\n([\s\S]*?)```/.exec(text)?.[1] ?? 'null';
      const table = /^\| field \|.*\n\|.*\n((?:\|.*\n)+)/m.exec(text)?.[1] ?? '';
      const cells = table.split('\n').map((line) => line.split('|')[1] ?? '');
      const fields = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? ''));
      return [
        title,
        { example: title.startsWith('lake trace') || title.startsWith('lake query') ? null : JSON.parse(example), fields },
      ];
    }),
);

type Shape = { readonly types: ReadonlySet<string>; readonly fields: ReadonlyMap<string, Shape>; readonly items: Shape | null };

const OPEN = new Set(['details', 'entry']);

/** What a value is made of; items of an array are taken together. `details` differ with each action, an `entry` is what feeds.schema.json says. */
function shapeOf(...values: readonly unknown[]): Shape {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  const objects = values.filter(isObject);
  const names = [...new Set(objects.flatMap((value) => Object.keys(value)))].sort();
  const items = values.filter(Array.isArray).flat();
  return {
    types: new Set(values.map((value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value))),
    fields: new Map(
      names.map((name) => {
        const held = objects.map((value) => value[name]);
        return [name, OPEN.has(name) ? { types: new Set(['object']), fields: new Map(), items: null } : shapeOf(...held)];
      }),
    ),
    items: items.length === 0 ? null : shapeOf(...items),
  };
}

/** What was printed and is not as the page has it. null is allowed where the page says so in words. */
function differences(page: Shape, printed: Shape, path = '$'): string[] {
  // A feed has totals of the targets it goes to.
  const allowed = new Set([...page.types, 'null', ...(/\.totals\.\w+$/.test(path) ? ['undefined'] : [])]);
  const strange = [...printed.types].filter((type) => !allowed.has(type) && !onlyNull(page));
  const isThing = printed.types.has('object') && page.types.has('object');
  const missing = isThing ? [...page.fields.keys()].filter((name) => !printed.fields.has(name)) : [];
  return [
    ...strange.map((type) => `${path} is a ${type}, on the page ${[...page.types].join(' or ')}`),
    ...missing.map((name) => `${path}.${name} is not printed`),
    ...[...printed.fields].flatMap(([name, shape]) => {
      const known = page.fields.get(name);
      if (!known) return isThing ? [`${path}.${name} is not on the page`] : [];
      return differences(known, shape, `${path}.${name}`);
    }),
    ...(printed.items && page.items ? differences(page.items, printed.items, `${path}[]`) : []),
  ];
}

const onlyNull = ({ types }: Shape): boolean => types.size === 1 && types.has('null');

/** A table and a stream for both targets, and a stream whose messages are all refused. */
async function scene() {
  const folder = await tempDir();
  const database = await testMysql();
  const kafka = await testKafka();
  const topics = [await kafka.createTopic(), await kafka.createTopic({ configs: { 'retention.ms': '900000000000' } })] as const;
  const [totals, wrong] = topics;
  const feeds = [
    factFeed('totals', totals, { destination: 'both' }),
    streamFeed('wrong', wrong, { dead_letters_max_ratio: 0.1 }),
  ];
  const setup = warehouseSetup({ folder: folder.path, kafka, database, feeds });
  for (const topic of topics) {
    await using sent = await record(kafka, topic);
    await sent.send(messages(0, 1_500, () => (topic === wrong ? { value: 'no json' } : {})));
  }
  return {
    setup,
    topics,
    folder: folder.path,
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const HELD = [
  'lake ingest',
  'lake feeds list',
  'lake feeds check',
  'lake feeds enable',
  'lake lag',
  'lake status',
  'lake audit',
  'lake verify',
  'lake rewind',
  'lake doctor',
  'lake adopt',
  'lake init',
] as const;
/** Called one by one. */
type Held =
  | (typeof HELD)[number]
  | 'lake plan'
  | `lake dead-letters ${'list' | 'show' | 'retry'}`
  | `lake feeds ${'disable' | 'show' | 'remove' | 'infer' | 'add' | 'sync' | 'import'}`;

test('every document is as the page has it', async () => {
  await using at = await scene();
  const bad = join(at.folder, 'bad.json');
  writeFileSync(bad, JSON.stringify({ feeds: [{ feed_name: 'orders' }] }));
  const print = async (command: Held, args: readonly string[] = []): Promise<unknown> => {
    const fresh = join(at.folder, 'fresh.json');
    const configPath = command === 'lake feeds check' ? bad : command === 'lake init' ? fresh : at.setup.configPath;
    const { stdout } = await runLake({ configPath }, [...command.split(' ').slice(1), ...args, '--json']);
    return JSON.parse(stdout);
  };
  const problems: string[] = [];
  const hold = async (command: Held, args?: readonly string[]): Promise<void> => {
    const section = SECTIONS.get(`${command} --json`);
    if (!section) throw new Error(`docs/json-output.md has no section "${command} --json"`);
    const [page, printed] = [shapeOf(section.example), shapeOf(await print(command, args))];
    problems.push(...differences(page, printed).map((what) => `${command}: ${what}`));
    const named = printed.items ? [...printed.items.fields.keys()] : [];
    if (section.fields.length > 0) expect({ command, fields: section.fields.toSorted() }).toEqual({ command, fields: named });
  };
  await hold('lake lag');
  await hold('lake ingest', ['--until-caught-up']);
  for (const command of HELD.slice(1, 3)) await hold(command);
  // So that verify has something to find.
  for (const name of new Glob('tables/**/*.parquet').scanSync(at.setup.lakePath)) rmSync(join(at.setup.lakePath, name));
  for (const command of HELD.slice(4, -4)) await hold(command);
  await hold('lake plan');
  await hold('lake dead-letters list');
  await hold('lake dead-letters show', [`${at.topics[1]}:0:0`]);
  await hold('lake dead-letters retry');
  await hold('lake rewind', ['totals', '--to', 'earliest', '--dry-run']);
  await hold('lake rewind', ['wrong', '--to', 'earliest', '--dry-run']);
  await hold('lake doctor');
  const old = join(at.setup.lakePath, 'streams/wrong/year=2025/month=01/day=28');
  mkdirSync(old, { recursive: true });
  writeFileSync(join(old, 'broken.parquet'), 'no parquet');
  await hold('lake adopt', ['wrong', '--dry-run']);
  await hold('lake init');
  await hold('lake lag', ['--mysql-port', '1']);
  await hold('lake status', ['--mysql-port', '1']);
  await hold('lake feeds enable', ['wrong']);
  await hold('lake feeds enable', ['wrong']);
  await hold('lake feeds disable', ['wrong']);
  await hold('lake feeds show', ['totals']);
  // A limit that the registry does not have yet, and a feed that it knows and the file has lost.
  const file = readFileSync(at.setup.configPath, 'utf8');
  writeFileSync(
    at.setup.configPath,
    file.replace('"feed_name": "wrong"', '"retention": { "retention_days": 9 }, "feed_name": "wrong"'),
  );
  await hold('lake feeds sync', ['--dry-run']);
  writeFileSync(at.setup.configPath, file);
  await hold('lake feeds remove', ['wrong', '--yes']);
  await hold('lake feeds import', ['--dry-run']);
  await hold('lake feeds infer', [at.topics[0]]);
  await hold('lake feeds add', ['wrong', '--topic', at.topics[1], '--dry-run']);
  await hold('lake feeds add', ['wrong', '--topic', at.topics[1], '--yes']);
  expect(problems).toEqual([]);
});

test('lake lag prints the fields of the contract in their order, offsets as texts', async () => {
  await using folder = await tempDir();
  const kafka = await testKafka();
  const topic = await kafka.createTopic();
  const setup = writeSetup({ folder: folder.path, kafka, feeds: [streamFeed('orders', topic)] });
  const { stdout } = await runLake(setup, ['lag', '--json']);
  const empty = { position: null, low_watermark: '0', high_watermark: '0', last_stable_offset: '0' };
  const line = { feed: 'orders', target: 'lake', topic, partition: 0, ...empty, lag: 0, lag_seconds: 0, seconds_to_loss: null };
  expect(stdout).toBe(`${JSON.stringify([line], null, 2)}\n`);
});
