// `lake query` on a lake that a real ingest made: a stream that got a column on its way, a table with a sealed snapshot, a feed that
// nothing came to. What each view holds, that every value is exact, and that SQL reaches nothing else.

import { beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { gather, type Result } from '../../src/duckdb/statement.ts';
import { LakeError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { supersededPath } from '../../src/model/paths.ts';
import { type Installation, openInstallation } from '../../src/operations/installation.ts';
import { type QueryRequest, type QueryWork, runQuery } from '../../src/operations/query.ts';
import { drain, type LakeSetup, runLake, startLake, streamFeed, tableFeed, writeSetup } from '../helpers/ingest.ts';
import { FIRST_MS, messages } from '../helpers/produced.ts';
import { baseFolder, tempDir, testKafka } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const DAY_MS = 86_400_000;
let setup: LakeSetup;
let folder = '';
let totalsTopic = '';

beforeAll(async () => {
  folder = mkdtempSync(join(baseFolder(), 'query-'));
  const kafka = await testKafka();
  const forEver = { configs: { 'retention.ms': '-1' } };
  const [orders, totals, none, unknown] = [
    await kafka.createTopic({ partitions: 2, ...forEver }),
    await kafka.createTopic(forEver),
    await kafka.createTopic(forEver),
    await kafka.createTopic(forEver),
  ];
  totalsTopic = totals;
  const feeds = (orderFields: Record<string, string>) => [
    streamFeed('orders', orders, { schema: { fields: orderFields } }),
    tableFeed('totals', totals),
    streamFeed('quiet', none),
    streamFeed('guessed', unknown, { schema: undefined }),
    streamFeed('facts', none, { destination: 'data_warehouse', mysql_table: 'fact_facts', enabled: false }),
  ];
  const write = (orderFields: Record<string, string>) =>
    writeSetup({ folder, kafka, feeds: feeds(orderFields), groupId: `group_${orders}` });
  setup = write({ id: 'INTEGER', text: 'VARCHAR' });
  await kafka.produce(
    orders,
    messages(0, 100, (id) => ({ partition: id % 2, ...(id % 10 ? {} : { value: `no json ${id}` }) })),
  );
  await kafka.produce(
    totals,
    messages(0, 20, (id) => ({ key: String(id) })),
  );
  await drain(setup, { clockMs: FIRST_MS - DAY_MS / 2, args: ['--mode', 'lake'] });
  setup = write({ id: 'BIGINT', text: 'VARCHAR', amount: 'DECIMAL(30,4)', moment: 'TIMESTAMP', raw: 'BLOB' });
  const rich = { id: '9007199254740993', text: 'tab\tline\n"quote" \\ ü', amount: '12345678901234567890123456.7890' };
  const last = { ...rich, moment: '2025-01-28T23:59:59.123456+01:00', raw: 'AP8=' };
  await kafka.produce(orders, [{ key: null, value: JSON.stringify(last), timestampMs: FIRST_MS }]);
  await kafka.produce(totals, [
    { key: '3', value: null, timestampMs: FIRST_MS + DAY_MS },
    { key: '4', value: '{"id":4,"text":"newer"}', timestampMs: FIRST_MS + DAY_MS },
  ]);
  await drain(setup, { clockMs: FIRST_MS + DAY_MS + 1, args: ['--mode', 'lake'] });
});

const ask = (sql: string, ...args: string[]) => runLake(setup, ['query', sql, ...args, '--log-level', 'info']);

async function lines(sql: string, ...args: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await ask(sql, ...args);
  if (code !== 0) throw new Error(stderr);
  return stdout.split('\n').slice(1, -1);
}

describe('the views', () => {
  test('a stream is all its rows, old files beside new ones, each column with the type that is pinned', async () => {
    expect(await lines('SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)), count(amount) FROM orders')).toEqual([
      '91\t91\t1',
    ]);
    const types = "SELECT column_name || ' ' || column_type FROM (DESCRIBE orders)";
    expect(await lines(types)).toEqual([
      ...['id BIGINT', 'text VARCHAR', 'amount DECIMAL(30,4)', 'moment TIMESTAMP WITH TIME ZONE', 'raw BLOB'],
      ...['kafka_partition INTEGER', 'kafka_offset BIGINT', 'kafka_timestamp TIMESTAMP WITH TIME ZONE', 'kafka_key BLOB'],
    ]);
  });

  test('a table is its open snapshot, its history all of them by name', async () => {
    expect(await lines('SELECT count(*), max(text) FILTER (id = 4) FROM totals')).toEqual(['19\tnewer']);
    const byName = 'SELECT snapshot_date, snapshot_version, count(*), max(text) FILTER (id = 4) FROM totals_history GROUP BY ALL';
    const history = await lines(`${byName} ORDER BY 1`);
    expect(history.at(-1)).toEndWith('\t1\t19\tnewer');
    expect(history.at(0)).toBe('2025-01-28\t1\t20\ttext 4');
    expect(await lines("SELECT count(*) FROM totals_history WHERE snapshot_date = DATE '2025-01-28'")).toEqual(['20']);
  });

  test('dead letters are a view of their own', async () => {
    const letters = await lines('SELECT decode(value) FROM orders_dead_letters ORDER BY kafka_partition, kafka_offset');
    expect(letters).toEqual(Array.from({ length: 10 }, (_, n) => `no json ${n * 10}`));
  });

  test('a feed that nothing came to is an empty view with its columns', async () => {
    expect(await lines('SELECT count(*), count(id) FROM quiet')).toEqual(['0\t0']);
    const types = "SELECT column_type FROM (DESCRIBE quiet) WHERE column_name IN ('id', 'text', 'kafka_key')";
    expect(await lines(types)).toEqual(['BIGINT', 'VARCHAR', 'BLOB']);
    expect(await lines('SELECT count(*), count(kafka_offset) FROM guessed')).toEqual(['0\t0']);
    expect((await ask('FROM quiet')).stdout).toBe('id\ttext\tkafka_partition\tkafka_offset\tkafka_timestamp\tkafka_key\n');
  });

  test('an unknown one is told with those there are', async () => {
    const { code, stderr } = await ask('SELECT * FROM ordres');
    expect(code).toBe(1);
    expect(stderr).toContain('Catalog Error: Table with name ordres does not exist!');
    expect(stderr).toContain(
      'the views are guessed, guessed_dead_letters, orders, orders_dead_letters, quiet, quiet_dead_letters, totals, totals_dead_letters, totals_history; did you mean "orders"?',
    );
    expect((await ask('FROM facts')).stderr).toContain('feed facts is in the warehouse alone: ask fact_facts there');
    expect((await ask('SELECT idd FROM orders')).stderr).toContain('Candidate bindings: "id"');
  });

  test('--explain-files lists what a view reads, and runs nothing', async () => {
    const { stdout } = await ask('SELECT nothing FROM orders JOIN totals USING (id)', '--explain-files', '--json');
    const { views } = JSON.parse(stdout);
    expect(views.map((view: { view: string }) => view.view)).toEqual(['orders', 'totals']);
    expect(views[0].rows).toBe(91);
    expect(views[0].files.length).toBe(3);
    expect(views[1].files.length).toBe(1);
    for (const { files } of views)
      for (const file of files) expect(statSync(join(setup.lakePath, file.path)).size).toBe(file.bytes);
  });
});

describe('values', () => {
  const rich =
    "SELECT id, text, amount, moment, raw, kafka_key, [id] AS list, {'a': amount} AS struct FROM orders WHERE amount > 0";

  test('TSV escapes what would break a line, and has every digit', async () => {
    expect(await lines(rich)).toEqual([
      '9007199254740993\ttab\\tline\\n"quote" \\\\ ü\t12345678901234567890123456.7890\t2025-01-28T22:59:59.123456Z\tAP8=\t\\N\t["9007199254740993"]\t{"a":"12345678901234567890123456.7890"}',
    ]);
  });

  test('JSON has texts where a double would lose digits', async () => {
    const document = JSON.parse((await ask(rich, '--json')).stdout);
    expect(document).toEqual({
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'text', type: 'VARCHAR' },
        { name: 'amount', type: 'DECIMAL(30,4)' },
        { name: 'moment', type: 'TIMESTAMP WITH TIME ZONE' },
        { name: 'raw', type: 'BLOB' },
        { name: 'kafka_key', type: 'BLOB' },
        { name: 'list', type: 'BIGINT[]' },
        { name: 'struct', type: 'STRUCT("a" DECIMAL(30,4))' },
      ],
      rows: [
        {
          id: '9007199254740993',
          text: 'tab\tline\n"quote" \\ ü',
          amount: '12345678901234567890123456.7890',
          moment: '2025-01-28T22:59:59.123456Z',
          raw: 'AP8=',
          kafka_key: null,
          list: ['9007199254740993'],
          struct: { a: '12345678901234567890123456.7890' },
        },
      ],
      row_count: 1,
    });
    const many = (await ask('SELECT id, text FROM orders WHERE id < 3 ORDER BY id', '--format', 'ndjson')).stdout;
    expect(many).toBe('{"id": "1", "text": "text 1"}\n{"id": "2", "text": "text 2"}\n');
  });

  test('CSV tells NULL from an empty text', async () => {
    const { stdout } = await ask("SELECT text, '' AS empty, NULL AS nothing FROM orders WHERE amount > 0", '--format', 'csv');
    expect(stdout).toBe('text,empty,nothing\n"tab\tline\n""quote"" \\ ü","",\n');
  });

  test('Parquet keeps the digits of sums, and the file is there when it is whole', async () => {
    const out = join(folder, 'sums.parquet');
    expect((await ask('SELECT sum(id) AS ids, sum(amount) AS amounts FROM orders; -- all', '--out', out)).code).toBe(0);
    expect(await lines(`SELECT * FROM read_parquet('${out}')`, '--unsafe')).toEqual([
      '9007199254745493\t12345678901234567890123456.7890',
    ]);
    const failed = join(folder, 'failed.parquet');
    expect((await ask('SELECT text::INTEGER FROM orders', '--out', failed)).code).toBe(1);
    expect(readdirSync(folder).filter((name) => name.startsWith('failed'))).toEqual([]);
  });

  test('a large result waits whole before the first byte of it is printed', async () => {
    const { stdout, code } = await ask('SELECT o.text, n FROM orders o, range(20000) r(n) WHERE o.id < 100');
    expect(code).toBe(0);
    expect(stdout.split('\n').length).toBe(90 * 20_000 + 2);
    const half = await ask("SELECT CASE WHEN n < 1500000 THEN n ELSE 'late'::INTEGER + n END FROM range(2000000) r(n)");
    expect({ code: half.code, stdout: half.stdout }).toEqual({ code: 1, stdout: '' });
  });

  test('what does not fit into memory spills, and nothing of it stays', async () => {
    await using spill = await tempDir();
    const sorted =
      'SELECT p, row_number() OVER (ORDER BY p DESC) FROM (SELECT repeat(n::VARCHAR, 30) AS p FROM range(500000) r(n))';
    const options = ['--memory-limit', '80MB', '--temp-folder', spill.path];
    expect(await lines(`SELECT count(*), sum(length(p)) FROM (${sorted})`, ...options)).toEqual(['500000\t86666700']);
    expect(readdirSync(spill.path)).toEqual([]);
    const busy = startLake(setup, ['query', "SELECT count(*) FROM range(1000000000000) r(n) WHERE n::VARCHAR = 'x'", ...options]);
    await until(() => readdirSync(spill.path).length > 0);
    busy.kill('SIGINT');
    const { code, stdout, stderr } = await busy.ended;
    expect({ code, stdout, said: stderr.includes('the query was ended') }).toEqual({ code: 1, stdout: '', said: true });
    expect(readdirSync(spill.path)).toEqual([]);
  });

  test('a terminal gets a table of a bounded number of rows', async () => {
    const command = `${process.execPath} src/main.ts query 'SELECT n, chr(27) AS esc FROM range(5) r(n)' --limit-rows 3 --config ${setup.configPath}`;
    const child = Bun.spawn(['script', '-qec', command, '/dev/null'], { stdin: 'ignore', stdout: 'pipe' });
    const shown = (await new Response(child.stdout).text()).replaceAll('\r', '').split('\n');
    expect(shown.slice(0, 5)).toEqual(['n  esc', '─  ────', '0  \\x1b', '1  \\x1b', '2  \\x1b']);
    expect(shown[5]).toContain('rows_left_out rows=3');
    expect((await ask('SELECT * FROM range(2000)')).stdout.split('\n').length).toBe(2_002);
  });

  test('SQL comes from a file or from stdin as well', async () => {
    const file = join(folder, 'q.sql');
    writeFileSync(file, '-- how many\nCREATE TEMP TABLE few AS FROM orders LIMIT 3;\nSELECT count(*) AS n FROM few;\n');
    expect((await runLake(setup, ['query', '--file', file])).stdout).toBe('n\n3\n');
    const child = Bun.spawn([process.execPath, 'src/main.ts', 'query', '-', '--config', setup.configPath], {
      stdin: new Blob(['SELECT 7 AS n']),
      stdout: 'pipe',
    });
    expect(await new Response(child.stdout).text()).toBe('n\n7\n');
    expect((await runLake(setup, ['query'])).code).toBe(2);
  });
});

describe('nothing but the committed files is reached', () => {
  const file = (): string => {
    const root = join(setup.lakePath, 'streams/orders');
    const found = readdirSync(root, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.parquet'));
    return join(root, found ?? '');
  };

  test.each([
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
    "CREATE VIEW v AS FROM read_csv('/etc/passwd'); FROM v",
    "COPY (SELECT 1) TO 'OUT/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'OUT/x.csv'",
    "ATTACH 'OUT/x.db'",
    "EXPORT DATABASE 'OUT'",
    'INSTALL httpfs',
    'LOAD httpfs',
    "SET memory_limit = '8GB'",
    'RESET lock_configuration',
    'PRAGMA enable_profiling',
    'SELECT 1; SELECT 2',
    "CREATE TABLE t AS SELECT 1; COPY t TO 'OUT/x.csv'; SELECT 1",
  ])('%s is refused', async (sql) => {
    await using out = await tempDir();
    const { code, stdout, stderr } = await ask(sql.replace('OUT', out.path));
    expect({ code, stdout, known: stderr.includes('sql_refused') }).toEqual({ code: 1, stdout: '', known: true });
    expect(readdirSync(out.path)).toEqual([]);
  });

  test.each([
    'COPY (SELECT 1 AS x, id FROM orders) TO',
    'EXPLAIN ANALYZE COPY (FROM orders) TO',
    '/* EXPLAIN SELECT */ EXPLAIN (ANALYZE) COPY (FROM orders) TO',
  ])('a file that may be read is not written: %s', async (copy) => {
    const before = readFileSync(file());
    const { code, stderr } = await ask(`${copy} '${file()}' (FORMAT parquet, USE_TMP_FILE false)`);
    expect({ code, known: stderr.includes('lake query only reads') }).toEqual({ code: 1, known: true });
    expect(readFileSync(file()).equals(before)).toBe(true);
  });

  test('no result is written into the lake, nor where there is none', async () => {
    expect((await ask('FROM orders', '--out', join(setup.lakePath, 'x.csv'))).code).toBe(2);
    const nowhere = await runLake(setup, ['query', 'FROM orders', '--lake-path', join(folder, 'nowhere')]);
    expect({ code: nowhere.code, there: existsSync(join(folder, 'nowhere')) }).toEqual({ code: 2, there: false });
  });

  test('--unsafe opens other files', async () => {
    expect(await lines("SELECT count(*) > 0 FROM read_text('/etc/passwd')", '--unsafe')).toEqual(['true']);
  });
});

describe('a file that goes away under a query', () => {
  const request: QueryRequest = {
    sql: 'SELECT count(*) AS n FROM totals',
    unsafe: false,
    memoryBytesMax: 256_000_000,
    tempFolder: join(baseFolder(), 'query-spill'),
    writes: null,
  };
  /** `onFound` is called with the key of each file when the query has found it, before it opens it. */
  const installed = (onFound: (key: string) => void = () => undefined): Installation => {
    const installation = openInstallation({
      config: loadConfig({ path: setup.configPath, env: {}, overrides: {} }),
      log: createLog({ level: 'error', format: 'json', write: () => undefined, now: () => new Date() }),
      nowMs: Date.now,
      newId: () => 'x',
      signal: new AbortController().signal,
    });
    const lake = async () => {
      const store = await installation.lake();
      const localPath = (key: string): string => {
        const path = store.localPath(key);
        onFound(key);
        return path;
      };
      return { ...store, localPath };
    };
    return { ...installation, lake };
  };
  const at = (key: string): string => join(setup.lakePath, key);
  /** Where the next publish would put it. */
  const supersede = (key: string): void => {
    const to = at(supersededPath('totals', key));
    mkdirSync(dirname(to), { recursive: true });
    renameSync(at(key), to);
  };
  const restore = (key: string): void => renameSync(at(supersededPath('totals', key)), at(key));
  const counting: QueryWork<Result, unknown[]> = {
    gather: ({ connection, sql, last }) => gather(connection, { sql, last, rowsMax: null }),
    give: async ({ batches }) => {
      const rows: unknown[] = [];
      for await (const batch of batches()) rows.push(...batch);
      return rows;
    },
  };

  test('before it is opened: the query begins anew', async () => {
    let moved: string | null = null;
    await using installation = installed((key) => {
      if (moved !== null || !key.startsWith('tables/')) return;
      moved = key;
      supersede(key);
    });
    expect(await runQuery(installation, request, counting)).toEqual([['19']]);
    expect(moved).toStartWith('tables/totals/');
    restore(moved ?? '');
  });

  test('while it is read: what was begun is void, and the query begins anew', async () => {
    const found: string[] = [];
    await using installation = installed((key) => void (key.startsWith('tables/') && found.push(key)));
    let runs = 0;
    const rows = await runQuery(installation, request, {
      ...counting,
      gather: async (asked) => {
        runs += 1;
        if (runs > 1) return counting.gather(asked);
        supersede(found[0] ?? '');
        throw new LakeError('sql_refused', 'IO Error: Cannot open file: No such file or directory');
      },
    });
    expect({ runs, rows }).toEqual({ runs: 2, rows: [['19']] });
    restore(found[0] ?? '');
  });

  test('by a publish at every attempt: what was folded first is read from where it was put aside', async () => {
    await using installation = installed();
    const kafka = await testKafka();
    let runs = 0;
    const rows = await runQuery(installation, request, {
      ...counting,
      gather: async (asked) => {
        runs += 1;
        const id = 100 + runs;
        await kafka.produce(
          totalsTopic,
          messages(id, 1, () => ({ key: String(id), timestampMs: FIRST_MS + DAY_MS })),
        );
        await drain(setup, { clockMs: FIRST_MS + DAY_MS + 1, args: ['--mode', 'lake'] });
        return await counting.gather(asked);
      },
    });
    expect({ runs, rows }).toEqual({ runs: 2, rows: [['19']] });
  });

  test('a query that fails by itself is not run again', async () => {
    await using installation = installed();
    let runs = 0;
    const gathering = async (): Promise<Result> => {
      runs += 1;
      throw new LakeError('sql_refused', 'Conversion Error');
    };
    const failing = runQuery(installation, request, { ...counting, gather: gathering });
    expect(await failing.catch((error: unknown) => String(error))).toContain('Conversion Error');
    expect(runs).toBe(1);
  });
});
