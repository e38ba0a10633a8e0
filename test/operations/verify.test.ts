// lake verify over a good installation, and over the same one damaged in one way at a time: what it finds, and where (DESIGN §7).

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  copyFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { openDatabase, run } from '../../src/duckdb/connection.ts';
import { quoteText } from '../../src/duckdb/sql.ts';
import { decodeEntry, encodeEntry, sealJson } from '../../src/lake/entry-codec.ts';
import { readFooters } from '../../src/lake/footers.ts';
import { stateToJson } from '../../src/model/checkpoint.ts';
import type { FeedState, LiveFile } from '../../src/model/feed-state.ts';
import { toOffset } from '../../src/model/offsets.ts';
import { checkpointPath, cutsFolder, entryPath } from '../../src/model/paths.ts';
import { drain, type LakeSetup, runLake, streamFeed } from '../helpers/ingest.ts';
import { stateOf } from '../helpers/lake-rows.ts';
import { type TestDatabase, testMysql } from '../helpers/mysql.ts';
import { message, messages, type Recorder, record } from '../helpers/produced.ts';
import { random } from '../helpers/random.ts';
import { tempDir, testKafka } from '../helpers/services.ts';
import { factFeed, rowsOf, warehouseSetup } from '../helpers/warehouse.ts';

setDefaultTimeout(300_000);

const at = (hour: number): number => Date.UTC(2025, 0, 28, hour);

type Found = { readonly target: string; readonly check: string; readonly kind: string; readonly place: string };
type Verdict = {
  readonly ok: boolean;
  readonly feeds: readonly {
    readonly feed: string;
    readonly ok: boolean;
    readonly checks: readonly {
      readonly check: string;
      readonly target: string;
      readonly ok: boolean;
      readonly findings: readonly { readonly place: string; readonly kind: string; readonly what: string; readonly do: string }[];
      readonly notes: readonly string[];
    }[];
    readonly error: { readonly code: string } | null;
    readonly totals: unknown;
  }[];
};

let folder: Awaited<ReturnType<typeof tempDir>>;
let database: TestDatabase;
let setup: LakeSetup;
let good: string;
const topics = { events: '', both: '', totals: '' };
const sent: Recorder[] = [];

/** A stream in the lake with a dead letter, a stream in both targets, a table in both with two sealed snapshots. */
beforeAll(async () => {
  folder = await tempDir();
  database = await testMysql();
  const kafka = await testKafka();
  for (const name of ['events', 'both', 'totals'] as const) topics[name] = await kafka.createTopic({ partitions: 2 });
  setup = warehouseSetup({
    folder: folder.path,
    kafka,
    database,
    feeds: [
      streamFeed('events', topics.events),
      streamFeed('both', topics.both, { destination: 'both', mysql_table: 'fact_both' }),
      factFeed('totals', topics.totals, { destination: 'both', snapshot_every: 'hour' }),
    ],
    batch: { batch_size: 150 },
  });
  good = `${setup.lakePath}.good`;
  for (const topic of Object.values(topics)) sent.push(await record(kafka, topic));
  const [events, both, totals] = sent;
  for (const hour of [10, 11, 12]) {
    const more = (id: number) => ({ partition: id % 2, timestampMs: at(hour) + id * 10 });
    await events?.send([...messages(hour * 1000, 200, more), message(1, { value: `no json ${hour}`, partition: 0 })]);
    await both?.send([...messages(hour * 1000, 50, more), message(1, { value: `no json ${hour}`, partition: 0 })]);
    await totals?.send(
      messages(1, 40, more).map((one, index) => (index % 7 === hour % 7 ? { ...one, key: String(index + 1), value: null } : one)),
    );
    await drain(setup, { clockMs: at(hour) + 1_800_000 });
  }
  cpSync(setup.lakePath, good, { recursive: true });
});

afterAll(async () => {
  for (const one of sent) await one[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function verify(...args: string[]): Promise<{ code: number | null; verdict: Verdict; found: Found[] }> {
  const { code, stdout, stderr } = await runLake(setup, ['verify', '--json', ...args]);
  if (!stdout.startsWith('{')) throw new Error(`verify ended with ${code}: ${stderr}`);
  const verdict = JSON.parse(stdout) as Verdict;
  const found = verdict.feeds.flatMap(({ checks }) =>
    checks.flatMap(({ check, target, findings }) => findings.map(({ kind, place }) => ({ target, check, kind, place }))),
  );
  return { code, verdict, found };
}

/** What of the damage table each test adds, printed as one at the end: damage → finding → exit code. */
const table: string[] = [];
const tell = (
  damage: string,
  mode: 'quick' | 'deep',
  { code, found }: { code: number | null; found: readonly Found[] },
): void => {
  table.push(`${damage} → ${mode}: ${kindsOf(found).join(', ')} → exit ${code}`);
};
afterAll(() => console.log(`\nwhat lake verify finds (damage → finding → exit code)\n  ${table.join('\n  ')}`));

const kindsOf = (found: readonly Found[]): string[] =>
  [...new Set(found.map(({ target, check, kind }) => `${target} ${check} ${kind}`))].sort();

describe('a good installation', () => {
  test('has nothing to find, and says what it looked at', async () => {
    const { code, verdict, found } = await verify();
    expect(found).toEqual([]);
    expect({ code, ok: verdict.ok }).toEqual({ code: 0, ok: true });
    const checks = verdict.feeds.map(({ feed, checks }) => [
      feed,
      checks.map(({ target, check }) => `${target} ${check}`).sort(),
    ]);
    const lake = ['lake beyond', 'lake counts', 'lake files', 'lake kafka', 'lake log', 'lake strays'];
    const warehouse = ['beyond', 'columns', 'counts', 'kafka', 'registry'].map((name) => `warehouse ${name}`);
    expect(Object.fromEntries(checks)).toEqual({
      events: lake,
      both: [...lake, ...warehouse],
      totals: ['both snapshots', ...lake, ...warehouse],
    });
    const events = { messages: 603, rows: 600, dead_letters: 3, tombstones: 0 };
    expect(verdict.feeds[0]?.totals).toEqual({ lake: events });
    const both = { messages: 153, rows: 150, dead_letters: 3, tombstones: 0 };
    expect(verdict.feeds[1]?.totals).toEqual({ lake: both, warehouse: both });
  });

  test('on a terminal a deep look shows how far it is, in bytes', async () => {
    let out = '';
    const decoder = new TextDecoder();
    await using terminal = new Bun.Terminal({
      cols: 120,
      rows: 60,
      data: (_terminal, data) => {
        out += decoder.decode(data, { stream: true });
      },
    });
    const main = join(import.meta.dir, '../../src/main.ts');
    const child = Bun.spawn([process.execPath, main, 'verify', '--deep', '--config', setup.configPath], { terminal });
    expect(await child.exited).toBe(0);
    expect(out).toMatch(/[█░] +\d+ % {2}[\d.]+ [KM]?B of [\d.]+ KB {2}about /);
  });

  test('verifies the feeds that are named alone', async () => {
    const { verdict } = await verify('events');
    expect(verdict.feeds.map(({ feed }) => feed)).toEqual(['events']);
  });
});

const KEPT = 'CREATE TABLE kept AS SELECT * FROM';
const inLake = (path: string): string => join(setup.lakePath, path);
const dataFile = (state: FeedState, kind: LiveFile['kind'] = 'data', index = 0): LiveFile => {
  const file = [...state.files.values()].filter((one) => one.kind === kind)[index];
  if (!file) throw new Error(`no ${kind} file ${index}`);
  return file;
};
const entryOf = (feed: string, version: number) =>
  decodeEntry(readFileSync(inLake(entryPath(feed, version))), { feed, version, file: 'entry' });
/** The newest entry that commits messages. */
const lastAppend = (state: FeedState): number => {
  for (let version = state.version; version > 0; version -= 1) if (entryOf(state.feed, version).ranges.length > 0) return version;
  throw new Error('nothing was committed');
};

type LakeDamage = readonly [what: string, feed: string, damage: (state: FeedState) => void, found: readonly string[]];
const LAKE: readonly LakeDamage[] = [
  ['a data file deleted', 'events', (state) => rmSync(inLake(dataFile(state).path)), ['lake files missing']],
  [
    'a data file truncated',
    'events',
    (state) => truncateSync(inLake(dataFile(state).path), dataFile(state).bytes - 10),
    ['lake files size'],
  ],
  [
    'a data file replaced by an older one',
    'events',
    (state) => copyFileSync(inLake(dataFile(state, 'data', 1).path), inLake(dataFile(state).path)),
    ['lake files'],
  ],
  [
    'a data file doubled under another name',
    'events',
    (state) => copyFileSync(inLake(dataFile(state).path), inLake(dataFile(state).path.replace('data_', 'copy_of_'))),
    ['lake strays copy'],
  ],
  [
    'an orphan',
    'events',
    (state) =>
      copyFileSync(
        inLake(dataFile(state).path),
        inLake(dataFile(state).path.replace(/data_[0-9a-f]+/, `data_${'0'.repeat(28)}`)),
      ),
    ['lake strays orphan'],
  ],
  ['a dead-letter file gone', 'events', (state) => rmSync(inLake(dataFile(state, 'dead_letters').path)), ['lake files missing']],
  ['a log entry deleted', 'events', () => rmSync(inLake(entryPath('events', 2))), ['lake log damaged']],
  [
    'the newest log entry deleted',
    'events',
    (state) => rmSync(inLake(entryPath('events', state.version))),
    ['lake kafka group_ahead', 'lake strays orphan'],
  ],
  [
    'a log entry edited',
    'events',
    () => {
      const path = inLake(entryPath('events', 2));
      writeFileSync(
        path,
        readFileSync(path, 'utf8')
          .replace('"rows":', '"rows" :')
          .replace(/"bytes":(\d)/, '"bytes":9$1'),
      );
    },
    ['lake log damaged'],
  ],
  [
    'a log entry edited, with a checksum to match',
    'events',
    (state) => {
      const version = lastAppend(state);
      const entry = entryOf('events', version);
      const [first, ...others] = entry.ranges;
      if (!first) throw new Error('no range');
      const ranges = [{ ...first, rows: first.rows - 1, deadLetters: first.deadLetters + 1 }, ...others];
      writeFileSync(inLake(entryPath('events', version)), encodeEntry({ ...entry, ranges }));
    },
    ['lake log damaged'],
  ],
  [
    'a log entry doubled',
    'events',
    (state) => copyFileSync(inLake(entryPath('events', 2)), inLake(entryPath('events', state.version + 1))),
    ['lake log damaged'],
  ],
  [
    'a position moved forward in the log, with a checksum to match',
    'events',
    (state) => {
      const version = lastAppend(state);
      const entry = entryOf('events', version);
      const [first, ...others] = entry.ranges;
      if (!first) throw new Error('no range');
      const ranges = [{ ...first, end: toOffset(first.end + 5n) }, ...others];
      writeFileSync(inLake(entryPath('events', version)), encodeEntry({ ...entry, ranges }));
    },
    ['lake files footer', 'lake kafka beyond_end'],
  ],
  [
    'a position moved back in the log, with a checksum to match',
    'events',
    (state) => {
      const version = lastAppend(state);
      const entry = entryOf('events', version);
      const [first, ...others] = entry.ranges;
      if (!first) throw new Error('no range');
      const ranges = [{ ...first, end: toOffset(first.end - 5n) }, ...others];
      writeFileSync(inLake(entryPath('events', version)), encodeEntry({ ...entry, ranges }));
    },
    ['lake log damaged', 'lake kafka group_ahead'],
  ],
  [
    'a checkpoint that is not the fold',
    'events',
    (state) => {
      const path = inLake(checkpointPath('events', state.version));
      cpSync(inLake(entryPath('events', 1)), path);
      writeFileSync(path, sealJson(stateToJson({ ...state, epoch: state.epoch + 1 })));
    },
    ['lake log checkpoint'],
  ],
  [
    'a cut that says other offsets',
    'totals',
    () => {
      const [name = ''] = readdirSync(inLake(cutsFolder('totals'))).filter((one) => one.endsWith('.json'));
      const path = inLake(`${cutsFolder('totals')}/${name}`);
      const { checksum: _, ...cut } = JSON.parse(readFileSync(path, 'utf8'));
      writeFileSync(path, sealJson({ ...cut, positions: { ...cut.positions, 0: '7' } }));
    },
    ['lake log cut'],
  ],
  ['the file of the open snapshot deleted', 'totals', openFileGone, ['lake files missing']],
];

function openFileGone(state: FeedState): void {
  const open = [...state.files.values()].find(({ kind, version }) => kind === 'data' && version === state.version);
  rmSync(inLake((open ?? dataFile(state, 'data', state.files.size / 2 - 1)).path));
}

const DAMAGES_MAX = 20;

describe('what cannot be asked', () => {
  const answers = ({ feeds }: Verdict) =>
    feeds.map(({ feed, ok, error, checks }) => [feed, ok, error?.code ?? null, checks.length]);

  test('a warehouse that is away: exit 4, and the rest is looked at all the same', async () => {
    const { code, verdict, found } = await verify('--mysql-port', '1');
    expect({ code, found }).toEqual({ code: 4, found: [] });
    expect(answers(verdict)).toEqual([
      ['events', true, null, 6],
      ['both', false, 'warehouse_unreachable', 6],
      ['totals', false, 'warehouse_unreachable', 6],
    ]);
  });

  test('Kafka away: exit 4, and all is looked at that needs none of it', async () => {
    const { code, verdict, found } = await verify('--deep', '--bootstrap-servers', '127.0.0.1:1');
    expect({ code, found }).toEqual({ code: 4, found: [] });
    expect(answers(verdict)).toEqual([
      ['events', false, 'kafka_unreachable', 6],
      ['both', false, 'kafka_unreachable', 10],
      ['totals', false, 'kafka_unreachable', 14],
    ]);
  });

  test('something is wrong besides: exit 3 all the same', async () => {
    const { path } = dataFile(await stateOf(setup.lakePath, 'both'));
    renameSync(inLake(path), `${inLake(path)}.away`);
    const away = ['--bootstrap-servers', '127.0.0.1:1', '--mysql-port', '1'];
    const { code, found, verdict } = await verify('both', ...away);
    renameSync(`${inLake(path)}.away`, inLake(path));
    expect({ code, kinds: kindsOf(found) }).toEqual({ code: 3, kinds: ['lake files missing'] });
    expect(verdict.feeds[0]?.error?.code).toBe('kafka_unreachable');
  });

  test('a database without tables of lake is told, and is no fault', async () => {
    await using empty = await testMysql();
    const { code, verdict } = await verify('both', '--mysql-database', empty.database);
    expect(code).toBe(0);
    expect(JSON.stringify(verdict)).toContain('the warehouse has no tables of lake yet');
  });
});

describe('a lake that was damaged at random', () => {
  test(`is found out, ${DAMAGES_MAX} times`, async () => {
    const { seed, between } = random();
    const whole = (max: number): number => Math.floor(between(0, max));
    const isWatched = (path: string): boolean =>
      /^(?:streams|tables|dead_letters|_lake\/feeds\/\w+\/(?:log|cuts|state))\//.test(path);
    const all = [...new Bun.Glob('**/*').scanSync({ cwd: good, onlyFiles: true })].filter(isWatched).sort();
    expect(all.length).toBeGreaterThan(20);
    for (let round = 0; round < DAMAGES_MAX; round += 1) {
      const path = all[whole(all.length)] ?? '';
      const feed = /^_lake\/feeds\/(\w+)|^\w+\/(\w+)/.exec(path)?.slice(1).find(Boolean) ?? '';
      const bytes = readFileSync(inLake(path));
      const at = whole(bytes.length);
      const kind = whole(3);
      if (kind === 0) rmSync(inLake(path));
      else if (kind === 1) truncateSync(inLake(path), at);
      else writeFileSync(inLake(path), bytes.with(at, (bytes[at] ?? 0) ^ (1 << whole(8))));
      const { code, found } = await verify(feed, '--deep');
      const what = `${['deleted', 'truncated', 'flipped'][kind]} ${path} at ${at} (seed ${seed})`;
      expect({ what, code, isFound: found.length > 0 }).toEqual({ what, code: 3, isFound: true });
      writeFileSync(inLake(path), bytes);
    }
    expect((await verify('--deep')).code).toBe(0);
  });
});

describe('a lake that was damaged', () => {
  test.each(LAKE)('%s', async (what, feed, damage, wanted) => {
    damage(await stateOf(setup.lakePath, feed));
    try {
      const { code, found } = await verify(feed);
      tell(what, 'quick', { code, found });
      for (const part of wanted) expect(kindsOf(found).join('\n')).toContain(part);
      expect(code).toBe(3);
    } finally {
      rmSync(setup.lakePath, { recursive: true });
      cpSync(good, setup.lakePath, { recursive: true });
    }
  });

  test('a file that is not ours is told, and is no fault', async () => {
    writeFileSync(inLake('streams/events/part-0.parquet'), 'of others');
    const { code, verdict } = await verify('events');
    rmSync(inLake('streams/events/part-0.parquet'));
    expect(code).toBe(0);
    expect(JSON.stringify(verdict)).toContain('part-0.parquet is not ours');
  });
});

/** One byte in the middle of the pages of a file. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 3);
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  writeFileSync(path, bytes);
}

describe('what only a deep look finds', () => {
  test('nothing in a good installation', async () => {
    const { code, verdict, found } = await verify('--deep');
    expect({ code, found }).toEqual({ code: 0, found: [] });
    const totals = verdict.feeds.find(({ feed }) => feed === 'totals')?.checks.map(({ target, check }) => `${target} ${check}`);
    expect(totals).toContain('lake content');
    for (const target of ['lake', 'warehouse', 'both']) expect(totals).toContain(`${target} sealed`);
  });

  test('a byte that was flipped', async () => {
    const { path } = dataFile(await stateOf(setup.lakePath, 'events'));
    flip(inLake(path));
    try {
      expect((await verify('events')).code).toBe(0);
      const { code, found } = await verify('events', '--deep');
      tell('a byte flipped in a page', 'deep', { code, found });
      expect(code).toBe(3);
      expect(found).toContainEqual({ target: 'lake', check: 'content', kind: 'sha256', place: path });
    } finally {
      flip(inLake(path));
    }
  });

  test('a file that was written again with another value, and the log to match', async () => {
    const state = await stateOf(setup.lakePath, 'events');
    const file = dataFile(state);
    const path = inLake(file.path);
    await using db = await openDatabase();
    const connection = await db.connect();
    const footer = (await readFooters(connection, [path])).get(path);
    const pairs = footer && 'metadata' in footer ? [...footer.metadata].map(([name, text]) => `${name}: ${quoteText(text)}`) : [];
    await run(
      connection,
      `COPY (SELECT * REPLACE (CASE WHEN kafka_offset % 50 = 1 THEN 'forged' ELSE text END AS text)
         FROM read_parquet(${quoteText(path)}, hive_partitioning = false))
       TO ${quoteText(`${path}.new`)} (FORMAT parquet, COMPRESSION snappy, KV_METADATA { ${pairs.join(', ')} })`,
    );
    renameSync(`${path}.new`, path);
    const entry = entryOf('events', file.version);
    const added = entry.added.map((one) =>
      one.path === file.path
        ? { ...one, bytes: statSync(path).size, sha256: new Bun.CryptoHasher('sha256').update(readFileSync(path)).digest('hex') }
        : one,
    );
    writeFileSync(inLake(entryPath('events', file.version)), encodeEntry({ ...entry, added }));
    try {
      expect((await verify('events')).found).toEqual([]);
      const { code, found } = await verify('events', '--deep');
      tell('a file forged, and the log to match', 'deep', { code, found });
      expect({ code, found: kindsOf(found) }).toEqual({ code: 3, found: ['lake topic differs'] });
    } finally {
      rmSync(setup.lakePath, { recursive: true });
      cpSync(good, setup.lakePath, { recursive: true });
    }
  });

  test('a value that was changed in the row of a stream', async () => {
    await rowsOf(database, `${KEPT} fact_both WHERE text IS NOT NULL LIMIT 1`);
    await rowsOf(database, "UPDATE fact_both SET text = 'forged' WHERE lake_id = (SELECT lake_id FROM kept)");
    const { code, found } = await verify('both', '--deep');
    await rowsOf(database, 'UPDATE fact_both SET text = (SELECT text FROM kept) WHERE lake_id = (SELECT lake_id FROM kept)');
    await rowsOf(database, 'DROP TABLE kept');
    tell('a value of a stream’s row changed', 'deep', { code, found });
    expect({ code, found: kindsOf(found) }).toEqual({ code: 3, found: ['warehouse topic differs'] });
  });

  test('a value that was changed in a sealed snapshot', async () => {
    await rowsOf(database, `${KEPT} fact_totals WHERE text IS NOT NULL ORDER BY snapshot_date, snapshot_version LIMIT 1`);
    await rowsOf(database, "UPDATE fact_totals SET text = 'forged' WHERE lake_id = (SELECT lake_id FROM kept)");
    const { code, found } = await verify('totals', '--deep');
    await rowsOf(database, 'UPDATE fact_totals SET text = (SELECT text FROM kept) WHERE lake_id = (SELECT lake_id FROM kept)');
    await rowsOf(database, 'DROP TABLE kept');
    tell('a value of a sealed snapshot changed', 'deep', { code, found });
    expect({ code, found: kindsOf(found) }).toEqual({ code: 3, found: ['both sealed rows_differ'] });
  });

  test('a sealed row that another took the place of', async () => {
    const one = 'WHERE snapshot_version = 11 ORDER BY lake_id LIMIT 1';
    await rowsOf(database, `UPDATE fact_totals SET kafka_offset = kafka_offset + 1 ${one}`);
    const { code, found } = await verify('totals', '--deep');
    await rowsOf(database, `UPDATE fact_totals SET kafka_offset = kafka_offset - 1 ${one}`);
    tell('a row of a sealed snapshot replaced by another', 'deep', { code, found });
    expect(code).toBe(3);
    expect(kindsOf(found)).toContain('warehouse sealed checksum');
  });
});

/** What is worth something in a random row, and what it becomes. */
const WORTH: readonly (readonly [table: string, key: string, columns: readonly (readonly [string, string])[]])[] = [
  [
    'fact_both',
    'lake_id',
    [
      ['id', 'COALESCE(id, 0) + 1'],
      ['text', "CONCAT(COALESCE(text, ''), '!')"],
      ['kafka_offset', 'kafka_offset + 1000000'],
    ],
  ],
  ['fact_totals', 'lake_id', [['text', "CONCAT(COALESCE(text, ''), '!')"]]],
  [
    'lake_positions',
    'CONCAT(feed, kafka_partition)',
    [
      ['position', 'position + 1000000'],
      ['position', 'position - 1'],
      ['row_count', 'row_count + 1'],
      ['dead_letters', 'dead_letters + 1'],
    ],
  ],
  [
    'lake_snapshots',
    'CONCAT(feed, snapshot_date, snapshot_version)',
    [
      ['row_count', 'COALESCE(row_count, 0) + 1'],
      ['checksum', "'1'"],
    ],
  ],
  ['lake_dead_letters', 'id', [['kafka_offset', 'kafka_offset + 1000000']]],
  ['feed_registry', 'feed_name', [['kafka_topic', "'another'"]]],
];

/** Those that can be written. */
const COLUMNS = `SELECT column_name AS name FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = ? AND generation_expression = ''`;

describe('a warehouse that was damaged at random', () => {
  const rounds = 8;
  test(`is found out, ${rounds} times`, async () => {
    const { seed, between } = random();
    const one = <T>(list: readonly T[]): T => list[Math.floor(between(0, list.length))] ?? (list[0] as T);
    for (let round = 0; round < rounds; round += 1) {
      const [name, key, columns] = one(WORTH);
      // The registry's row of a feed that goes to the lake alone is not looked at.
      const looked = { lake_snapshots: "WHERE state = 'sealed'", feed_registry: "WHERE destination <> 'data_lake'" }[name] ?? '';
      const keys = await rowsOf(database, `SELECT ${key} AS k FROM ${name} ${looked} ORDER BY 1`);
      const where = `WHERE ${key} = '${one(keys)['k']}'`;
      await rowsOf(database, `${KEPT} ${name} ${where}`);
      const [column, value] = one(columns);
      const isDeleted = between(0, 3) < 1 && name !== 'lake_positions';
      await rowsOf(database, isDeleted ? `DELETE FROM ${name} ${where}` : `UPDATE ${name} SET ${column} = ${value} ${where}`);
      const { code, found } = await verify('--deep');
      if (!isDeleted) await rowsOf(database, `DELETE FROM ${name} WHERE ${key} IN (SELECT * FROM (SELECT ${key} FROM kept) k)`);
      const names = (await rowsOf(database, COLUMNS, [name])).map((row) => row['name']).join(', ');
      await rowsOf(database, `INSERT INTO ${name} (${names}) SELECT ${names} FROM kept`);
      await rowsOf(database, 'DROP TABLE kept');
      const what = `${isDeleted ? 'deleted' : `${column} = ${value}`} ${name} ${where} (seed ${seed})`;
      expect({ what, code, isFound: found.length > 0 }).toEqual({ what, code: 3, isFound: true });
    }
    expect((await verify('--deep')).code).toBe(0);
  });
});

type WarehouseDamage = readonly [what: string, feed: string, damage: string, undo: readonly string[], found: readonly string[]];
const WAREHOUSE: readonly WarehouseDamage[] = [
  [
    'a position moved back',
    'both',
    "UPDATE lake_positions SET position = position - 3 WHERE feed = 'both' AND kafka_partition = 0",
    ["UPDATE lake_positions SET position = position + 3 WHERE feed = 'both' AND kafka_partition = 0"],
    ['warehouse beyond beyond_facts', 'warehouse kafka group_ahead'],
  ],
  [
    'a position moved forward',
    'both',
    "UPDATE lake_positions SET position = position + 3 WHERE feed = 'both' AND kafka_partition = 0",
    ["UPDATE lake_positions SET position = position - 3 WHERE feed = 'both' AND kafka_partition = 0"],
    ['warehouse kafka beyond_end'],
  ],
  [
    'a position of a table moved back',
    'totals',
    "UPDATE lake_positions SET position = position - 3 WHERE feed = 'totals'",
    ["UPDATE lake_positions SET position = position + 3 WHERE feed = 'totals'"],
    ['warehouse beyond beyond_facts', 'warehouse kafka group_ahead'],
  ],
  [
    'a tombstone beyond the position',
    'totals',
    `${KEPT} lake_tombstones WHERE feed = 'totals' LIMIT 1; UPDATE lake_tombstones SET kafka_offset = 1000000 WHERE key_hash = (SELECT key_hash FROM kept)`,
    [
      'UPDATE lake_tombstones SET kafka_offset = (SELECT kafka_offset FROM kept) WHERE key_hash = (SELECT key_hash FROM kept)',
      'DROP TABLE kept',
    ],
    ['warehouse beyond beyond_tombstones'],
  ],
  [
    'a count of the positions changed',
    'both',
    "UPDATE lake_positions SET messages = messages + 1 WHERE feed = 'both'",
    ["UPDATE lake_positions SET messages = messages - 1 WHERE feed = 'both'"],
    ['warehouse counts messages'],
  ],
  [
    'a column of a table that lake reads renamed',
    'both',
    'ALTER TABLE fact_both RENAME COLUMN kafka_offset TO gone',
    ['ALTER TABLE fact_both RENAME COLUMN gone TO kafka_offset'],
    ['warehouse columns missing'],
  ],
  [
    "a column of lake's own tables renamed",
    'totals',
    'ALTER TABLE lake_snapshots RENAME COLUMN checksum TO gone',
    ['ALTER TABLE lake_snapshots RENAME COLUMN gone TO checksum'],
    ['warehouse columns missing'],
  ],
  [
    'a row of a stream added',
    'both',
    `INSERT INTO fact_both (id, text, kafka_partition, kafka_offset, kafka_timestamp)
      SELECT 99, 'added', kafka_partition, -1, kafka_timestamp FROM fact_both LIMIT 1`,
    ['DELETE FROM fact_both WHERE kafka_offset = -1'],
    ['warehouse counts rows'],
  ],
  [
    'a row of a stream deleted',
    'both',
    `${KEPT} fact_both LIMIT 1; DELETE FROM fact_both WHERE lake_id = (SELECT lake_id FROM kept)`,
    ['INSERT INTO fact_both SELECT * FROM kept', 'DROP TABLE kept'],
    ['warehouse counts rows'],
  ],
  [
    'a row of a table deleted',
    'totals',
    `${KEPT} fact_totals_latest LIMIT 1; DELETE FROM fact_totals WHERE lake_id = (SELECT lake_id FROM kept)`,
    ['INSERT INTO fact_totals SELECT * FROM kept', 'DROP TABLE kept'],
    ['both snapshots rows_differ'],
  ],
  [
    'a row of a table changed',
    'totals',
    `${KEPT} fact_totals_latest LIMIT 1; UPDATE fact_totals SET text = 'forged' WHERE lake_id = (SELECT lake_id FROM kept)`,
    ['UPDATE fact_totals SET text = (SELECT text FROM kept) WHERE lake_id = (SELECT lake_id FROM kept)', 'DROP TABLE kept'],
    ['both snapshots rows_differ'],
  ],
  [
    'a row of a table added',
    'totals',
    `INSERT INTO fact_totals (id, text, key_hash, kafka_partition, kafka_offset, kafka_timestamp, snapshot_date, snapshot_version)
      SELECT 99, 'added', REPEAT('x', 32), kafka_partition, 0, kafka_timestamp, snapshot_date, snapshot_version FROM fact_totals_latest LIMIT 1`,
    ['DELETE FROM fact_totals WHERE id = 99'],
    ['both snapshots rows_differ'],
  ],
  [
    'a row of a sealed snapshot deleted',
    'totals',
    `${KEPT} fact_totals ORDER BY snapshot_date, snapshot_version LIMIT 1; DELETE FROM fact_totals WHERE lake_id = (SELECT lake_id FROM kept)`,
    ['INSERT INTO fact_totals SELECT * FROM kept', 'DROP TABLE kept'],
    ['both snapshots rows'],
  ],
  [
    'the row of a sealed snapshot gone from lake_snapshots',
    'totals',
    `CREATE TABLE kept AS SELECT feed, snapshot_date, snapshot_version FROM lake_snapshots ORDER BY snapshot_version LIMIT 1; UPDATE lake_snapshots SET feed = 'away' WHERE snapshot_version = (SELECT snapshot_version FROM kept)`,
    ["UPDATE lake_snapshots SET feed = 'totals' WHERE feed = 'away'", 'DROP TABLE kept'],
    ['both snapshots unnamed'],
  ],
  [
    'a dead letter deleted',
    'both',
    `${KEPT} lake_dead_letters WHERE feed = 'both' LIMIT 1; DELETE FROM lake_dead_letters WHERE id = (SELECT id FROM kept)`,
    ['INSERT INTO lake_dead_letters SELECT * FROM kept', 'DROP TABLE kept'],
    ['warehouse counts dead_letters'],
  ],
  [
    'a column of another type',
    'both',
    'ALTER TABLE fact_both MODIFY COLUMN text VARCHAR(20)',
    ['ALTER TABLE fact_both MODIFY COLUMN text LONGTEXT CHARACTER SET utf8mb4 NULL'],
    ['warehouse columns differs'],
  ],
  [
    'the table of a stream dropped',
    'both',
    'RENAME TABLE fact_both TO away_both',
    ['RENAME TABLE away_both TO fact_both'],
    ['warehouse columns missing'],
  ],
  [
    'a table of lake dropped',
    'totals',
    'RENAME TABLE lake_positions TO away_positions',
    ['RENAME TABLE away_positions TO lake_positions'],
    ['warehouse columns missing'],
  ],
  ['a column dropped', 'both', 'ALTER TABLE fact_both DROP COLUMN text', [], ['warehouse columns column_added']],
  [
    'the registry drifted',
    'both',
    "UPDATE feed_registry SET kafka_topic = 'another' WHERE feed_name = 'both'",
    ["UPDATE feed_registry SET kafka_topic = TOPIC WHERE feed_name = 'both'"],
    ['warehouse registry differs'],
  ],
  [
    'a policy drifted',
    'both',
    "UPDATE data_retention_policies SET auto_delete = 1 - auto_delete WHERE feed_name = 'both'",
    ["UPDATE data_retention_policies SET auto_delete = 1 - auto_delete WHERE feed_name = 'both'"],
    ['warehouse registry differs'],
  ],
  [
    'a row of the registry gone',
    'totals',
    `${KEPT} feed_registry WHERE feed_name = 'totals'; DELETE FROM feed_registry WHERE feed_name = 'totals'`,
    ['INSERT INTO feed_registry SELECT * FROM kept', 'DROP TABLE kept'],
    ['warehouse registry missing'],
  ],
  [
    'a policy row gone',
    'both',
    `${KEPT} data_retention_policies WHERE feed_name = 'both'; DELETE FROM data_retention_policies WHERE feed_name = 'both'`,
    ['INSERT INTO data_retention_policies SELECT * FROM kept', 'DROP TABLE kept'],
    ['warehouse registry missing'],
  ],
];

describe('a warehouse that was damaged', () => {
  const all = async (statements: readonly string[]): Promise<void> => {
    for (const one of statements) await rowsOf(database, one.replace('TOPIC', `'${topics.both}'`));
  };

  // The last one stays damaged.
  const ordered = [...WAREHOUSE].sort((a, b) => Number(a[3].length === 0) - Number(b[3].length === 0));
  test.each(ordered)('%s', async (what, feed, damage, undo, wanted) => {
    await all(damage.split('; '));
    try {
      const { code, found } = await verify(feed);
      tell(what, 'quick', { code, found });
      for (const part of wanted) expect(kindsOf(found).join('\n')).toContain(part);
      expect(code).toBe(3);
    } finally {
      await all(undo);
    }
  });
});

describe('a group that was moved by hand', () => {
  test('forward is found', async () => {
    const kafka = await testKafka();
    const admin = await kafka.admin();
    const groupId = setup.groupId;
    const [before] = await kafka.groupOffsets(groupId, topics.events);
    await admin.setOffsets({
      groupId,
      topic: topics.events,
      partitions: [{ partition: 0, offset: String((before ?? 0n) + 7n) }],
    });
    const { code, found } = await verify('events');
    tell('a group moved forward', 'quick', { code, found });
    expect({ code, found: kindsOf(found) }).toEqual({ code: 3, found: ['lake kafka group_ahead'] });
    await admin.setOffsets({
      groupId,
      topic: topics.events,
      partitions: [{ partition: 0, offset: String((before ?? 1n) - 1n) }],
    });
    const behind = await verify('events');
    expect(behind.code).toBe(0);
    expect(JSON.stringify(behind.verdict)).toContain('behind the position');
  });
});

test('holes that transactions left are explained: aborted messages, markers, a partition of nothing else', async () => {
  await using own = await tempDir();
  await using other = await testMysql();
  const kafka = await testKafka();
  const topic = await kafka.createTopic({ partitions: 3 });
  await using holes = await record(kafka, topic);
  const feeds = [streamFeed('holes', topic, { destination: 'both', mysql_table: 'fact_holes' })];
  const scene = warehouseSetup({ folder: own.path, kafka, database: other, feeds });
  await holes.send(messages(0, 20, (id) => ({ partition: id % 2 })));
  await holes.inTransaction(
    messages(20, 30, (id) => ({ partition: id % 3 })),
    'abort',
  );
  await holes.inTransaction(
    messages(50, 10, () => ({ partition: 0 })),
    'commit',
  );
  await drain(scene);
  const { code, stdout } = await runLake(scene, ['verify', '--deep', '--json']);
  const verdict = JSON.parse(stdout) as Verdict;
  const findings = verdict.feeds.flatMap(({ checks }) => checks.flatMap((check) => check.findings));
  expect({ code, findings }).toEqual({ code: 0, findings: [] });
  const counts = { messages: 30, rows: 30, dead_letters: 0, tombstones: 0 };
  expect(verdict.feeds[0]?.totals).toEqual({ lake: counts, warehouse: counts });
});

describe('a feed of which a file is gone for good', () => {
  test('is read again after lake rewind, and then nothing is wrong', async () => {
    rmSync(inLake(dataFile(await stateOf(setup.lakePath, 'events')).path));
    expect(kindsOf((await verify('events')).found)).toEqual(['lake files missing']);
    const rewound = await runLake(setup, ['rewind', 'events', '--to', 'earliest', '--yes']);
    expect({ code: rewound.code, stderr: rewound.code === 0 ? '' : rewound.stderr }).toEqual({ code: 0, stderr: '' });
    await drain(setup, { args: ['--feed', 'events'] });
    const { code, found } = await verify('events', '--deep');
    expect({ code, found }).toEqual({ code: 0, found: [] });
  });
});
