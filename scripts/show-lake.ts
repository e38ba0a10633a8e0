// What is in the lake, read as any other program would read it: by globbing Parquet files. For quickstart.

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { parse } from 'jsonc-parser';
import * as v from 'valibot';
import { root } from './common.ts';
import { samplesPath } from './samples.ts';

const configSchema = v.object({
  lake: v.optional(v.object({ path: v.optional(v.string(), 'data_lake') }), { path: 'data_lake' }),
  feeds: v.array(v.object({ feed_name: v.string(), feed_type: v.picklist(['stream', 'table']) })),
});
const factsSchema = v.object({ expected_totals: v.record(v.string(), v.record(v.string(), v.record(v.string(), v.unknown()))) });

type FeedPlace = { readonly name: string; readonly table: boolean; readonly folder: string; readonly glob: string };
type Row = Record<string, unknown>;

export function readFeeds(): { lakePath: string; feeds: FeedPlace[] } {
  const config = v.parse(configSchema, parse(readFileSync(resolve(root, 'feeds.json'), 'utf8')));
  const lakePath = resolve(root, config.lake.path);
  const feeds = config.feeds.map(({ feed_name: name, feed_type: type }) => {
    const folder = `${lakePath}/${type}s/${name}`;
    return { name, table: type === 'table', folder, glob: `${folder}/**/*.parquet` };
  });
  return { lakePath, feeds };
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The feed's rows; of a table the newest snapshot. */
function rowsOf({ glob, table }: FeedPlace): string {
  const files = `read_parquet(${literal(glob)}, hive_partitioning = true)`;
  if (!table) return files;
  const newest = 'qualify dense_rank() over (order by snapshot_date desc, snapshot_version desc) = 1';
  return `(select * from ${files} ${newest})`;
}

async function query(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson();
}

/** Columns padded to their widest text, numbers to the right. */
export function textTable(rows: readonly Row[]): string {
  const names = Object.keys(rows[0] ?? {});
  const columns = names.map((name) => {
    const cells = rows.map((row) => String(row[name] ?? '–'));
    const width = Math.max(name.length, ...cells.map((cell) => cell.length));
    const right = cells.every((cell) => /^[-–\d.]+$/.test(cell));
    return [name, '─'.repeat(width), ...cells].map((cell) => (right ? cell.padStart(width) : cell.padEnd(width)));
  });
  return Array.from(
    { length: rows.length + 2 },
    (_, line) =>
      `  ${columns
        .map((cells) => cells[line])
        .join('  ')
        .trimEnd()}`,
  ).join('\n');
}

async function feedSummary(connection: DuckDBConnection, feed: FeedPlace): Promise<Row> {
  const type = feed.table ? 'table' : 'stream';
  const empty = { feed: feed.name, type, rows: 0, files: 0, days: 0, first: null, last: null };
  if (!existsSync(feed.folder)) return empty;
  const [files] = await query(connection, `select count(*) as files from glob(${literal(feed.glob)})`);
  if (Number(files?.['files'] ?? 0) === 0) return empty;
  const day = feed.table ? 'snapshot_date::date' : 'make_date(year::int, month::int, day::int)';
  const facts = await query(
    connection,
    `select count(*) as rows, count(distinct ${day}) as days, min(${day}) as first, max(${day}) as last from ${rowsOf(feed)}`,
  );
  const { rows, days, first, last } = facts[0] ?? {};
  return { feed: feed.name, type, rows, files: files?.['files'], days, first, last };
}

/** Names of the table feeds whose newest snapshot is not what the samples add up to. */
async function differing(connection: DuckDBConnection, feeds: readonly FeedPlace[]): Promise<string[]> {
  const { expected_totals: totals } = v.parse(factsSchema, JSON.parse(readFileSync(samplesPath, 'utf8')));
  const wrong: string[] = [];
  for (const [name, expected] of Object.entries(totals)) {
    const feed = feeds.find((candidate) => candidate.name === name);
    if (feed === undefined || !existsSync(feed.folder)) {
      wrong.push(name);
      continue;
    }
    const found = await query(connection, `select * from ${rowsOf(feed)}`);
    const byKey = new Map(found.map((row) => [String(row['user_id'] ?? row['payment_method'] ?? row['product_id']), row]));
    const same = Object.entries(expected).every(([key, columns]) =>
      Object.entries(columns).every(([column, value]) => String(byKey.get(key)?.[column]) === String(value)),
    );
    if (!same || found.length !== Object.keys(expected).length) wrong.push(name);
  }
  return wrong;
}

/** Two feeds that must agree: the payments in the stream, and the totals that were aggregated from them. */
function exampleQuery(lakePath: string): string {
  const stream = `${lakePath}/streams/transaction_stream/**/*.parquet`;
  const table = `${lakePath}/tables/payment_method_totals/**/*.parquet`;
  return `select payment.method, count(*) as transactions, sum(amount) as amount_in_stream,
       (select arg_max(total_amount, (snapshot_date, snapshot_version)) from read_parquet(${literal(table)}) totals
         where totals.payment_method = payment.method) as amount_in_table
  from read_parquet(${literal(stream)})
 group by payment.method order by transactions desc`;
}

/** Prints what every feed holds and an example; returns the tables that are not what the samples add up to. */
export async function showLake(): Promise<string[]> {
  const { lakePath, feeds } = readFeeds();
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const summaries: Row[] = [];
  for (const feed of feeds) summaries.push(await feedSummary(connection, feed));
  process.stdout.write(`\nThe lake is in ${lakePath}\n\n${textTable(summaries)}\n`);
  const complete = ['transaction_stream', 'payment_method_totals'].every((name) =>
    summaries.some(({ feed, files }) => feed === name && Number(files) > 0),
  );
  if (complete) {
    const sql = exampleQuery(lakePath);
    process.stdout.write(`\nAn example, for any DuckDB:\n\n${sql}\n\n${textTable(await query(connection, sql))}\n`);
  }
  const wrong = await differing(connection, feeds);
  connection.closeSync();
  return wrong;
}
