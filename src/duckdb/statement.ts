// A person's SQL as statements: their kinds, and their results. Invariant: whatever DuckDB says against a statement is told, in all
// its words, before a row of its result is given: a result that is streamed while it is made ends in silence where it fails (the
// package does not ask for the error), so only results that are whole are handed out.

import type { DuckDBPreparedStatement, DuckDBResult } from '@duckdb/node-api';
import { assert, LakeError } from '../errors.ts';
import { type Connection, query } from './connection.ts';
import { type Exact, exactly } from './exact.ts';

export type ResultColumn = { readonly name: string; readonly type: string };

export type Result = {
  readonly columns: readonly ResultColumn[];
  /** Once. */
  readonly batches: () => AsyncGenerator<readonly (readonly Exact[])[]>;
};

export type Prepared = {
  /** DuckDB's name of it: SELECT, COPY, CREATE, … */
  readonly kind: string;
  /** Runs it; the result is in memory whole. */
  run(): Promise<Result>;
  close(): void;
};

export type Statements = { readonly count: number; prepare(index: number): Promise<Prepared> };

/** Nothing of it is run. Throws sql_refused. */
export async function prepareAll(connection: Connection, sql: string): Promise<Statements> {
  const { StatementType } = await import('@duckdb/node-api');
  // Of a text without a statement the package makes no collection.
  const found = await inItsWords(async () => (isBlank(sql) ? null : await connection.extractStatements(sql)));
  return {
    count: found?.count ?? 0,
    prepare: (index) =>
      inItsWords(async () => {
        assert(found, 'a statement of none');
        const statement = await found.prepare(index);
        return preparedOf(statement, StatementType[statement.statementType] ?? 'a statement of an unknown kind');
      }),
  };
}

/** The view of a SELECT: at the end of the statement it may be followed by anything, a semicolon or a comment. null: it is none. */
export async function viewOfSelect(connection: Connection, sql: string): Promise<string | null> {
  const statements = await prepareAll(connection, `CREATE TEMP VIEW ${RESULT_VIEW} AS ${sql}`).catch((error: unknown) => {
    if (error instanceof LakeError && error.message.startsWith('Parser Error')) return null;
    throw error;
  });
  if (statements?.count !== 1) return null;
  await (await statements.prepare(0)).run();
  return RESULT_VIEW;
}

const RESULT_VIEW = 'lake_result';
const RESULT_TABLE = 'lake_rows';

/** The result of `last`, which is the last statement of `sql`: in a table of the engine, which spills, where that is possible.
 *  At most `rowsMax` rows; null: all. Throws sql_refused. */
export async function gather(
  connection: Connection,
  { sql, last, rowsMax }: { readonly sql: string; readonly last: Prepared; readonly rowsMax: number | null },
): Promise<Result> {
  const view = last.kind === 'SELECT' ? await viewOfSelect(connection, sql) : null;
  if (view === null) return last.run();
  const limit = rowsMax === null ? '' : ` LIMIT ${rowsMax}`;
  const made = await prepareAll(connection, `CREATE TEMP TABLE ${RESULT_TABLE} AS FROM ${view}${limit}`);
  await (await made.prepare(0)).run();
  const [total] = await query(connection, `SELECT count(*) AS count FROM ${RESULT_TABLE}`);
  const rows = resultOf(await inItsWords(() => connection.stream(`FROM ${RESULT_TABLE}`)));
  return { columns: rows.columns, batches: () => counted(rows.batches(), Number(total?.['count'])) };
}

/** What has spilled is read from a disk. */
async function* counted(batches: ReturnType<Result['batches']>, expected: number): ReturnType<Result['batches']> {
  let count = 0;
  for await (const batch of batches) {
    count += batch.length;
    yield batch;
  }
  if (count !== expected) throw new LakeError('engine_failed', `${count} of the ${expected} rows of the result could be read`);
}

const isBlank = (sql: string): boolean => sql.replaceAll(/--[^\n]*|\/\*[\s\S]*?\*\/|[\s;]+/g, '') === '';

const preparedOf = (statement: DuckDBPreparedStatement, kind: string): Prepared => ({
  kind,
  run: () => inItsWords(async () => resultOf(await statement.run())),
  close: () => statement.destroySync(),
});

function resultOf(result: DuckDBResult): Result {
  const types = result.columnTypes();
  const converts = types.map(exactly);
  const names = result.deduplicatedColumnNames();
  return {
    columns: names.map((name, index) => ({ name, type: types[index]?.alias ?? String(types[index]) })),
    batches: async function* () {
      for (;;) {
        const chunk = await inItsWords(() => result.fetchChunk());
        if (chunk === null || chunk.rowCount === 0) return;
        const columns = converts.map((convert, index) => chunk.getColumnValues(index).map(convert));
        yield Array.from({ length: chunk.rowCount }, (_, row) => columns.map((column) => column[row] ?? null));
      }
    },
  };
}

async function inItsWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw sqlRefused(cause);
  }
}

/** What the package puts before DuckDB's words. */
const PREFIX = /^Failed to (extract statements|prepare|execute prepared statement): /;

function sqlRefused(cause: unknown): LakeError {
  if (cause instanceof LakeError) return cause;
  const words = (cause instanceof Error ? cause.message : String(cause)).replace(PREFIX, '').trim();
  const todo = words.startsWith('Out of Memory') ? { todo: 'give it more with --memory-limit, or ask for less at once' } : {};
  return new LakeError('sql_refused', words, todo);
}
