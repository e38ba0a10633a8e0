// One transaction of the embedded DuckDB. After an error DuckDB takes nothing more of a transaction, and has no savepoints:
// what was done in it until then is done again, which comes to the same, for nobody else writes.
// Invariant: a statement that failed has left nothing, and what was done before it stands.

import { type ColumnValues, type Connection, execute, fillTempTable, run } from '../duckdb/connection.ts';
import { quoteName } from '../duckdb/sql.ts';
import { assert } from '../errors.ts';
import { classifyEmbedded, isInvalidated } from './duckdb-error.ts';
import { aborted } from './duckdb-queue.ts';
import { type RowsInsert, type SqlScalar, type Statement, type Tx, WarehouseFailure } from './warehouse.ts';

type Change = { readonly apply: () => Promise<number>; readonly bytes: number };
type Done<T> = { readonly result: T; readonly changed: boolean };

/** Of what would be done again. Beyond it a row that is refused ends the feed: the columns hold whatever a batch has. */
const AGAIN_BYTES_MAX = 64 * 1024 * 1024;

const INCOMING = 'incoming_rows';

export function createTransaction(connection: Connection, signal: AbortSignal) {
  const done: Change[] = [];
  let doneBytes = 0;
  let changed = false;
  let open = true;
  let ended: unknown = null;
  const plain = (text: string): Promise<unknown> => run(connection, text).catch((error: unknown) => raise(error));

  const check = (): void => {
    if (ended !== null) throw ended;
    if (signal.aborted) throw aborted();
  };
  const end = (cause: unknown): never => {
    ended = classifyEmbedded(cause);
    throw ended;
  };
  /** DuckDB has let go of the transaction: all of it again, without what failed. */
  const again = async (): Promise<void> => {
    if (doneBytes > AGAIN_BYTES_MAX) throw new WarehouseFailure('stop', 'a row was refused behind too many to send them again');
    await plain('ROLLBACK');
    await plain('BEGIN TRANSACTION');
    for (const change of done) await change.apply();
  };
  const send = async <T>(work: () => Promise<T>): Promise<T> => {
    assert(open, 'a statement after the end of its transaction');
    check();
    const interrupt = (): void => connection.interrupt();
    signal.addEventListener('abort', interrupt, { once: true });
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) {
        ended = aborted();
        throw ended;
      }
      const failure = classifyEmbedded(error);
      const stands = failure.class === 'row' || failure.class === 'duplicate';
      if (!stands) ended = failure;
      else await again().catch(end);
      throw failure;
    } finally {
      signal.removeEventListener('abort', interrupt);
    }
  };
  const change = async (apply: () => Promise<number>, bytes: number): Promise<number> => {
    const count = await send(apply);
    done.push({ apply, bytes });
    doneBytes += bytes;
    if (doneBytes > AGAIN_BYTES_MAX) done.length = 0;
    changed = true;
    return count;
  };
  const tx: Tx = {
    change: (statement) => change(() => changeBy(connection, statement), bytesOf(statement.values)),
    rows: async (statement) => (await send(() => bound(connection, statement))).rows,
    insert: (insert) => change(() => insertRows(connection, insert), sum(insert.rows.map(bytesOf))),
  };
  return {
    /** `giveUp`: the database, when nobody knows what it has. */
    run: async <T>(work: (own: Tx) => Promise<T>, giveUp: () => Promise<void>): Promise<Done<T>> => {
      if (signal.aborted) throw aborted();
      await plain('BEGIN TRANSACTION');
      let result: T;
      try {
        result = await work(tx);
        check();
      } catch (error) {
        open = false;
        await run(connection, 'ROLLBACK').catch(() => undefined);
        throw error;
      }
      open = false;
      await commit(connection, giveUp);
      return { result, changed };
    },
  };
}

function raise(error: unknown): never {
  throw classifyEmbedded(error);
}

/** An error may come after what was done is on the disk: opened again, the database has it or not. */
async function commit(connection: Connection, giveUp: () => Promise<void>): Promise<void> {
  try {
    await run(connection, 'COMMIT');
  } catch (error) {
    const failure = classifyEmbedded(error);
    if (failure.class === 'retry' && !isInvalidated(failure)) throw failure;
    await giveUp();
    const todo = failure.todo === null ? {} : { todo: failure.todo };
    throw new WarehouseFailure('in_doubt', `COMMIT has no answer: ${failure.message}`, { cause: error, ...todo });
  }
}

async function bound(connection: Connection, statement: Statement) {
  // DuckDB would store half of a surrogate pair as another character.
  for (const value of statement.values) checkText(value);
  return await execute(connection, statement);
}

const changeBy = async (connection: Connection, statement: Statement): Promise<number> =>
  (await bound(connection, statement)).changed;

function checkText(value: SqlScalar): void {
  if (typeof value === 'string' && !value.isWellFormed())
    throw new WarehouseFailure('row', 'a text holds half of a surrogate pair');
}

/** By columns through a table of this connection: a statement with a place for every value takes four times as long. With a tail,
 *  which is the middle of a MERGE (duckdb-dialect), what is there is changed, and the rest inserted. */
async function insertRows(connection: Connection, { table, columns, rows, tail }: RowsInsert): Promise<number> {
  const described = await execute(connection, { text: `DESCRIBE SELECT ${columns.join(', ')} FROM ${table}`, values: [] });
  const types = described.rows.map((row) => String(row['column_type']));
  const content: Record<string, ColumnValues> = {};
  for (const [index, type] of types.entries()) content[nameOf(index)] = columnOf(rows, index, type);
  await fillTempTable(connection, INCOMING, { count: rows.length, columns: content });
  const values = types.map((type, index) => `CAST(${quoteName(nameOf(index))} AS ${type}) AS ${columns[index]}`);
  const select = `SELECT ${values.join(', ')} FROM ${quoteName(INCOMING)}`;
  const into = columns.join(', ');
  if (tail === '') return await run(connection, `INSERT INTO ${table} (${into}) ${select}`);
  const all = columns.map((column) => `excluded.${column}`).join(', ');
  return await run(
    connection,
    `MERGE INTO ${table} AS old USING (${select}) AS excluded${tail} WHEN NOT MATCHED THEN INSERT (${into}) VALUES (${all})`,
  );
}

const nameOf = (index: number): string => `c${index}`;

function columnOf(rows: RowsInsert['rows'], index: number, type: string): ColumnValues {
  if (type === 'BLOB') {
    const values = rows.map((row) => {
      const value = row[index] ?? null;
      assert(value === null || value instanceof Uint8Array, 'a column of bytes is given something else');
      return value;
    });
    return { type: 'BLOB', values };
  }
  const values = rows.map((row) => {
    const value = row[index] ?? null;
    checkText(value);
    return value === null ? null : String(value);
  });
  return { type: 'VARCHAR', values };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const bytesOf = (values: readonly SqlScalar[]): number =>
  sum(values.map((value) => (typeof value === 'string' || value instanceof Uint8Array ? value.length : 8)));
