// What is in the lake, read as any other program would read it: by globbing Parquet files. For quickstart.

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { parse } from 'jsonc-parser';
import * as v from 'valibot';
import { root } from './common.ts';
import { samplesPath } from './samples.ts';
import { type Row, textTable } from './text-table.ts';

const configSchema = v.object({
  lake: v.optional(v.object({ path: v.optional(v.string(), 'data_lake') }), { path: 'data_lake' }),
  feeds: v.array(v.object({ feed_name: v.string(), feed_type: v.picklist(['stream', 'table']) })),
});
const factsSchema = v.object({
  messages: v.record(v.string(), v.number()),
  expected_totals: v.record(v.string(), v.record(v.string(), v.record(v.string(), v.unknown()))),
});

export type FeedPlace = { readonly name: string; readonly table: boolean; readonly folder: string; readonly glob: string };

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
export function rowsOf({ glob, table }: FeedPlace): string {
  const files = `read_parquet(${literal(glob)}, hive_partitioning = true)`;
  if (!table) return files;
  const newest = 'qualify dense_rank() over (order by snapshot_date desc, snapshot_version desc) = 1';
  return `(select * from ${files} ${newest})`;
}

export async function query(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson();
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

/** Whether the rows are what is expected: the same keys, with the same text in every expected column. */
function sameRows(found: readonly Row[], expected: Record<string, Row>): boolean {
  const byKey = new Map(found.map((row) => [String(row['user_id'] ?? row['payment_method'] ?? row['product_id']), row]));
  const same = Object.entries(expected).every(([key, columns]) =>
    Object.entries(columns).every(([column, value]) => String(byKey.get(key)?.[column]) === String(value)),
  );
  return same && found.length === Object.keys(expected).length;
}

/** The totals per payment method as the stream itself adds up to. */
const methodTotals = (stream: FeedPlace): string =>
  `select payment.method as payment_method, count(*) as transaction_count, sum(amount) as total_amount
     from ${rowsOf(stream)} group by all`;

/** Names of the feeds in the lake that hold something else than the samples add up to. */
async function differing(connection: DuckDBConnection, feeds: readonly FeedPlace[]): Promise<string[]> {
  const { messages, expected_totals: totals } = v.parse(factsSchema, JSON.parse(readFileSync(samplesPath, 'utf8')));
  const wrong: string[] = [];
  for (const feed of feeds) {
    const expected = totals[feed.name];
    if (feed.table && expected !== undefined) {
      if (!sameRows(await query(connection, `select * from ${rowsOf(feed)}`), expected)) wrong.push(feed.name);
    } else if (!feed.table && feed.name in messages) {
      const [counted] = await query(connection, `select count(*) as rows from ${rowsOf(feed)}`);
      const methods = totals['payment_method_totals'] ?? {};
      const complete = Number(counted?.['rows']) === messages[feed.name];
      const exact = feed.name !== 'transaction_stream' || sameRows(await query(connection, methodTotals(feed)), methods);
      if (!complete || !exact) wrong.push(feed.name);
    }
  }
  return wrong;
}

/** The payments in the stream and, where the lake has them, the totals that were aggregated from them: they must agree. */
function exampleQuery(lakePath: string, withTable: boolean): string {
  const stream = `${lakePath}/streams/transaction_stream/**/*.parquet`;
  const table = `${lakePath}/tables/payment_method_totals/**/*.parquet`;
  const inTable = `,
       (select arg_max(total_amount, (snapshot_date, snapshot_version)) from read_parquet(${literal(table)}) totals
         where totals.payment_method = payment.method) as amount_in_table`;
  return `select payment.method, count(*) as transactions, sum(amount) as amount${withTable ? inTable : ''}
  from read_parquet(${literal(stream)})
 group by payment.method order by transactions desc`;
}

export type Shown = { readonly differing: readonly string[]; readonly absent: readonly string[] };

/** Prints what every feed holds and an example; returns the feeds without files, and those that are not as the samples. */
export async function showLake(): Promise<Shown> {
  const { lakePath, feeds } = readFeeds();
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const summaries: Row[] = [];
  for (const feed of feeds) summaries.push(await feedSummary(connection, feed));
  process.stdout.write(`\nThe lake is in ${lakePath}\n\n${textTable(summaries)}\n`);
  const absent = summaries.filter(({ files }) => Number(files) === 0).map(({ feed }) => String(feed));
  if (!absent.includes('transaction_stream')) {
    const sql = exampleQuery(lakePath, !absent.includes('payment_method_totals'));
    process.stdout.write(`\nAn example, for any DuckDB:\n\n${sql}\n\n${textTable(await query(connection, sql))}\n`);
  }
  const present = feeds.filter(({ name }) => !absent.includes(name));
  const wrong = await differing(connection, present);
  connection.closeSync();
  return { differing: wrong, absent };
}
