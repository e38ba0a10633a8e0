// What is in MySQL, read as any other program would read it, and whether it is what the lake's transactions add up to. For
// quickstart. Nothing may write meanwhile: the stores are read one after the other.

import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import mysql2, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { loadConfig } from '../src/config/load.ts';
import type { Feed } from '../src/model/feed.ts';
import { root, ScriptError } from './common.ts';
import { agrees, type Comparison, compare, rowTexts, type Source, sumTexts, type TableTotals } from './compare-totals.ts';
import { tableTotals } from './sample-totals.ts';
import { type FeedPlace, query, readFeeds, rowsOf } from './show-lake.ts';
import { type Row, textTable } from './text-table.ts';

const differencesShownMax = 5;

type Environment = Readonly<Record<string, string | undefined>>;
type Fact = { readonly feed: Feed; readonly table: string; readonly view: string };

/** Times as they stand in the table; DECIMAL, and a sum of BIGINTs, are text with all their digits. */
async function connect(env: Environment): Promise<{ connection: Connection; place: string; facts: readonly Fact[] }> {
  const { warehouse, feeds } = loadConfig({ path: `${root}/feeds.json`, env });
  if (warehouse.engine !== 'mysql') throw new ScriptError('feeds.json names no MySQL: see its "warehouse"');
  const { host, port, user, password, database, ssl } = warehouse;
  const tls = ssl === false ? {} : { ssl: ssl === true ? {} : ssl };
  const texts = { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true };
  const facts = feeds
    .filter(({ type, destination }) => type === 'table' && destination !== 'data_lake')
    .map((feed) => ({ feed, table: feed.mysqlTable ?? `fact_${feed.name}` }))
    .map((fact) => ({ ...fact, view: `${fact.table}_latest` }));
  const connection = await mysql2.createConnection({ host, port, user, password, database, ...tls, ...texts });
  return { connection, place: `${database} at ${host}:${port}`, facts };
}

async function select(connection: Connection, sql: string): Promise<Row[]> {
  return (await connection.query<RowDataPacket[]>(sql))[0];
}

async function factRow(connection: Connection, { table, view }: Fact): Promise<Row> {
  const [all] = await select(connection, `select count(*) as n from ${table}`);
  const newest = `max(concat(snapshot_date, ' version ', snapshot_version))`;
  const [latest] = await select(connection, `select count(*) as n, ${newest} as snapshot from ${view}`);
  return { table, rows: all?.['n'], view, snapshot: latest?.['snapshot'], 'rows in it': latest?.['n'] };
}

async function dimensionRow(connection: Connection, dimension: string): Promise<Row> {
  const times = 'min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at';
  const [row] = await select(connection, `select count(*) as n, ${times} from ${dimension}`);
  return { dimension, rows: row?.['n'], first_seen_at: row?.['first_seen_at'], last_seen_at: row?.['last_seen_at'] };
}

async function showTables(connection: Connection, facts: readonly Fact[]): Promise<void> {
  const dimensions = [...new Set(facts.flatMap(({ feed }) => feed.dimensions.map(({ table }) => table)))];
  const rows: Row[][] = [[], []];
  for (const fact of facts) rows[0]?.push(await factRow(connection, fact));
  for (const dimension of dimensions) rows[1]?.push(await dimensionRow(connection, dimension));
  for (const some of rows) if (some.length > 0) process.stdout.write(`\n${textTable(some)}\n`);
}

/** The texts that MySQL gives the same values; times are in UTC on both sides. */
function inMysqlsTexts({ key, columns }: TableTotals, relation: string): string {
  const text = (column: string): string =>
    column === 'updated_at' ? `strftime(updated_at, '%Y-%m-%d %H:%M:%S.%f') as updated_at` : `${column}::varchar as ${column}`;
  return `select ${[key, ...columns].map(text).join(', ')} from (${relation})`;
}

async function mysqlSource(connection: Connection, totals: TableTotals, view: string): Promise<Source> {
  const rows = await select(connection, `select ${[totals.key, ...totals.columns].join(', ')} from ${view}`);
  const sums = totals.sums.map((column) => `sum(${column}) as ${column}`);
  const [sum] = await select(connection, `select count(*) as \`rows\`, ${sums.join(', ')} from ${view}`);
  return { title: 'in MySQL', rows: rowTexts(rows, totals), sums: sumTexts(sum, totals) };
}

type LakeSource = { readonly title: string; readonly relation: string };

async function lakeSource(duckdb: DuckDBConnection, totals: TableTotals, { title, relation }: LakeSource): Promise<Source> {
  const rows = await query(duckdb, inMysqlsTexts(totals, relation));
  const sums = totals.sums.map((column) => `sum(${column})::varchar as ${column}`);
  const [sum] = await query(duckdb, `select count(*)::varchar as "rows", ${sums.join(', ')} from (${relation})`);
  return { title, rows: rowTexts(rows, totals), sums: sumTexts(sum, totals) };
}

/** The tables that can be compared: those that were filled from the samples, as the transactions were. */
async function compareAll(connection: Connection, facts: readonly Fact[], places: readonly FeedPlace[]): Promise<Comparison[]> {
  const place = (name: string): FeedPlace | undefined => places.find((one) => one.name === name);
  const transactions = place('transaction_stream');
  if (transactions === undefined) return [];
  const duckdb = await (await DuckDBInstance.create(':memory:')).connect();
  await duckdb.run(`set TimeZone = 'UTC'`);
  const compared: Comparison[] = [];
  for (const totals of tableTotals) {
    const fact = facts.find(({ feed }) => feed.name === totals.feed);
    if (fact === undefined) continue;
    const title = "over the lake's transactions";
    const wanted = await lakeSource(duckdb, totals, { title, relation: totals.select(rowsOf(transactions)) });
    const table = place(totals.feed);
    const own = table && { title: "in the lake's table", relation: `select * from ${rowsOf(table)}` };
    const found = [await mysqlSource(connection, totals, fact.view), ...(own ? [await lakeSource(duckdb, totals, own)] : [])];
    compared.push(compare(fact.table, totals, [wanted, ...found]));
  }
  duckdb.closeSync();
  return compared;
}

export type WarehouseOptions = {
  readonly env: Environment;
  /** Feeds whose topics hold something else than the samples. */
  readonly leftAlone: readonly string[];
  /** Feeds without files in the lake. */
  readonly absent: readonly string[];
};

/** Prints the fact tables, the dimensions and the comparison; returns the tables that differ. */
export async function showWarehouse({ env, leftAlone, absent }: WarehouseOptions): Promise<readonly string[]> {
  const { connection, place, facts } = await connect(env);
  try {
    process.stdout.write(`\nThe warehouse is the MySQL database ${place}\n`);
    await showTables(connection, facts);
    const known = facts.filter(({ feed }) => !leftAlone.includes(feed.name));
    const places = readFeeds().feeds.filter(({ name }) => !absent.includes(name) && !leftAlone.includes(name));
    const compared = await compareAll(connection, known, places);
    for (const { table } of facts.filter((fact) => !compared.some((one) => one.table === fact.table)))
      process.stdout.write(`\n${table} is not compared: it, or the transactions, hold other messages than the samples\n`);
    if (compared.length > 0)
      process.stdout.write(`\nThe same totals from both sides:\n\n${textTable(compared.flatMap(({ lines }) => lines))}\n`);
    for (const { table, wrong } of compared.filter((one) => one.wrong.length > 0))
      process.stdout.write(
        `\nDIFFERENT in ${table}: ${wrong.length} ${wrong.length === 1 ? 'row' : 'rows'}, such as\n${wrong.slice(0, differencesShownMax).join('\n')}\n`,
      );
    return compared.filter((one) => !agrees(one)).map(({ table }) => table);
  } finally {
    connection.destroy();
  }
}
