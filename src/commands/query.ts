// lake query: SQL over the feeds' committed files. What is printed is whole and read from one version of each feed's log, whatever
// happens in the lake meanwhile: nothing is printed before all of it is there.

import { readFile, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join, relative, resolve, sep } from 'node:path';
import type { Config } from '../config/config.ts';
import { didYouMean } from '../config/suggest.ts';
import { parseBytes } from '../config/units.ts';
import { copyToParquet } from '../duckdb/copy-parquet.ts';
import type { Exact } from '../duckdb/exact.ts';
import { gather, type Result } from '../duckdb/statement.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { errorCode } from '../lake/store-error.ts';
import { openInstallation } from '../operations/installation.ts';
import { type FoundView, findFiles, type QueryRequest, type QueryWork, runQuery } from '../operations/query.ts';
import { intoFile, partialPath, type Sink, streamSink } from '../operations/sink.ts';
import { viewNames } from '../operations/views.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, configOf, oneOf, type Table } from './context.ts';
import { type Encoder, encoderOf, shownCell, TEXT_FORMATS, type TextFormat } from './result-format.ts';

const FORMATS = ['table', ...TEXT_FORMATS, 'parquet'] as const;
type Format = (typeof FORMATS)[number];

/** More is no reading on a terminal. */
const SHOWN_ROWS = '1000';
const MEMORY = '1GB';
const MEMORY_BYTES_MIN = 64_000_000;

export const query: CommandSpec = {
  usage: 'query [sql]',
  summary: 'Ask the lake with SQL: a view per feed over its committed files, <feed>_history, <feed>_dead_letters',
  options: [
    { flag: '--file <file>', text: 'The SQL is in this file; - as the SQL reads it from stdin' },
    {
      flag: '--format <format>',
      text: `${FORMATS.join(', ')} (default: table on a terminal, else tsv; or what --out ends with)`,
    },
    { flag: '--out <file>', text: 'Write the result into this file, which appears when it is whole' },
    { flag: '--limit-rows <n>', text: 'Rows of a table on a terminal; other formats have no limit', default: SHOWN_ROWS },
    { flag: '--explain-files', text: 'List the files, rows and bytes that each view reads, and run nothing' },
    { flag: '--memory-limit <size>', text: 'What DuckDB may use before it spills', default: MEMORY },
    { flag: '--temp-folder <folder>', text: 'Where it spills, and where a large result waits (default: the system’s)' },
    { flag: '--unsafe', text: 'Let the SQL read and write other files and reach the network' },
  ],
  examples: [
    'lake query "SELECT event, count(*) FROM customer_events GROUP BY ALL ORDER BY 2 DESC"',
    'lake query "SELECT snapshot_date, sum(total_amount) FROM user_transaction_summary_history GROUP BY 1 ORDER BY 1"',
    'lake query "SELECT kafka_partition, kafka_offset, reason, decode(value) FROM customer_events_dead_letters" --json',
    'lake query "FROM customer_events WHERE timestamp >= \'2025-01-28\'" --out events.parquet',
    'lake query - --format csv < report.sql | gzip > report.csv.gz',
    'lake query "FROM customer_events" --explain-files',
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const { flags, stop: signal, log, nowMs, newId } = context;
  const sql = await sqlOf(context);
  const config = configOf(context);
  const output = outputOf(context, config);
  const shownRowsMax = rowsMax(flags.text('limitRows') ?? SHOWN_ROWS);
  const request: QueryRequest = {
    sql,
    unsafe: flags.has('unsafe'),
    memoryBytesMax: bytesOf(flags.text('memoryLimit') ?? MEMORY),
    tempFolder: join(flags.text('tempFolder') ?? tmpdir(), `lake-query-${newId()}`),
    writes: output.format === 'parquet' ? partialPath(output.out) : null,
  };
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  try {
    if (flags.has('explainFiles')) explain(context, await findFiles(installation, sql));
    else if (output.format === 'parquet') await runQuery(installation, request, asParquet(output.out));
    else if (output.format === 'table') await runQuery(installation, request, asTable(context, shownRowsMax));
    else await runQuery(installation, request, asText(context, output));
  } catch (error) {
    // Whoever read our output has seen enough.
    if (errorCode(error) !== 'EPIPE') throw explained(error, config);
  }
  return EXIT.done;
}

const asParquet = (out: string): QueryWork<void, void> => ({
  gather: ({ connection, sql }) => copyToParquet(connection, sql, partialPath(out)),
  give: () => rename(partialPath(out), out),
});

const asText = ({ stdout }: CommandContext, { format, out }: TextOutput): QueryWork<Result, void> => ({
  gather: ({ connection, sql, last }) => gather(connection, { sql, last, rowsMax: null }),
  give: async (result) => {
    if (out !== null) return intoFile(out, (sink) => write(result, encoderOf(format), sink));
    const sink = streamSink(stdout.send);
    await write(result, encoderOf(format), sink);
    await sink.finish();
  },
});

async function write({ columns, batches }: Result, encoder: Encoder, sink: Sink): Promise<void> {
  await sink.write(encoder.head(columns));
  let count = 0;
  for await (const batch of batches()) for (const row of batch) await sink.write(encoder.row(row, count++));
  await sink.write(encoder.tail(count));
}

const asTable = (context: CommandContext, shownMax: number): QueryWork<Result, void> => ({
  // One more than is shown, to know whether there are more.
  gather: ({ connection, sql, last }) => gather(connection, { sql, last, rowsMax: shownMax + 1 }),
  give: async ({ columns, batches }) => {
    const rows: (readonly Exact[])[] = [];
    for await (const batch of batches()) rows.push(...batch);
    const table: Table = {
      columns: columns.map(({ name, type }) => ({ title: name, align: NUMBERS.test(type) ? 'right' : 'left' })),
      rows: rows.slice(0, shownMax).map((row) => row.map(shownCell)),
    };
    context.print({ table, json: null, isAligned: true });
    if (rows.length > shownMax)
      context.log.info('rows_left_out', { rows: shownMax, more: 'with --limit-rows, into a pipe, or with --out' });
  },
});

const NUMBERS = /^(?:U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|DECIMAL|DOUBLE|FLOAT)/;

async function sqlOf({ args, flags, stdin }: CommandContext): Promise<string> {
  const [given] = args;
  const file = flags.text('file');
  if ((given === undefined) === (file === undefined)) {
    throw new LakeError('usage', 'lake query takes its SQL in one place: as its argument, from a --file, or - for stdin', {
      todo: 'for example  lake query "SELECT count(*) FROM customer_events"',
    });
  }
  if (given !== undefined) return given === '-' ? stdin() : given;
  const path = file ?? '';
  return await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new LakeError('usage', `the SQL in ${path} cannot be read`, { where: { path }, cause });
  });
}

type TextOutput = { readonly format: TextFormat; readonly out: string | null };
type Output = { readonly format: 'table' } | TextOutput | { readonly format: 'parquet'; readonly out: string };

function outputOf({ flags, stdout }: CommandContext, config: Config): Output {
  const out = flags.text('out') === undefined ? null : resolve(flags.text('out') ?? '');
  if (out !== null && !relative(config.lake.path, out).startsWith(`..${sep}`))
    throw new LakeError('usage', `--out ${out} lies in the lake, where only ingest writes`, { where: { path: out } });
  const format = formatOf(flags.has('json') ? 'json' : flags.text('format'), out, stdout.isTerminal);
  if (format === 'table') return out === null ? { format } : { format: 'tsv', out };
  if (format !== 'parquet') return { format, out };
  if (out === null) throw new LakeError('usage', '--format parquet needs --out with the name of the file to write');
  return { format, out };
}

function formatOf(given: string | undefined, out: string | null, isTerminal: boolean): Format {
  if (given !== undefined) return oneOf(given, FORMATS, '--format');
  if (out === null) return isTerminal ? 'table' : 'tsv';
  return oneOf(extname(out).slice(1), FORMATS, 'without --format, the ending of --out');
}

function rowsMax(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new LakeError('usage', `--limit-rows is ${JSON.stringify(text)}; it takes a number of rows from 1`);
}

function bytesOf(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== null && bytes >= MEMORY_BYTES_MIN) return bytes;
  throw new LakeError('usage', `--memory-limit is ${JSON.stringify(text)}; it takes a size of at least 64MB, such as 2GB`);
}

function explain(context: CommandContext, views: readonly FoundView[]): void {
  const listed = views.map(({ name, feed, version, files, keys }) => ({
    view: name,
    feed: feed.name,
    version,
    rows: total(files, 'rows'),
    bytes: total(files, 'bytes'),
    files: files.map(({ rows, bytes }, index) => ({ path: keys[index] ?? '', rows, bytes })),
  }));
  context.print({
    table: {
      columns: [{ title: 'view' }, { title: 'file' }, { title: 'rows', align: 'right' }, { title: 'bytes', align: 'right' }],
      rows: listed.flatMap(({ view, rows, bytes, files }) => [
        [view, `${files.length} files`, String(rows), String(bytes)],
        ...files.map((file) => [view, file.path, String(file.rows), String(file.bytes)]),
      ]),
    },
    json: { views: listed },
  });
}

const total = (files: readonly { readonly rows: number; readonly bytes: number }[], of: 'rows' | 'bytes'): number =>
  files.reduce((sum, file) => sum + file[of], 0);

/** What DuckDB did not find may be another view than was meant. */
function explained(error: unknown, config: Config): unknown {
  if (!(error instanceof LakeError) || error.code !== 'sql_refused') return error;
  const wanted = /^Catalog Error: Table with name (.+) does not exist!/.exec(error.message)?.[1];
  if (wanted === undefined) return error;
  const away = config.feeds.find(({ name, destination }) => name === wanted.toLowerCase() && destination === 'data_warehouse');
  const views = viewNames(config.feeds).map(({ name }) => name);
  const near = didYouMean(wanted, views);
  const todo = away
    ? `feed ${away.name} is in the warehouse alone: ask ${away.mysqlTable ?? `fact_${away.name}`} there`
    : `the views are ${views.join(', ')}${near}`;
  // DuckDB's own guess knows only the views that the SQL names.
  return new LakeError('sql_refused', error.message.replace(/\nDid you mean [^\n]*/, ''), { todo });
}
