// The embedded warehouse as its readers have it: the copy that the writer left, one state for as long as it is open.
// Invariant: nothing can be written through it.

import { existsSync } from 'node:fs';
import { execute, openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { duckdbDialect } from './duckdb-dialect.ts';
import { classifyEmbedded } from './duckdb-error.ts';
import { createQueue } from './duckdb-queue.ts';
import { type Warehouse, WarehouseFailure } from './warehouse.ts';

/** Throws LakeError `warehouse_unreachable` when there is none yet, `warehouse_failed` when it cannot be read. */
export async function openDuckdbCopy(path: string): Promise<Warehouse> {
  const where = { target: 'warehouse', path };
  if (!existsSync(path)) {
    const todo = 'take something in first:  lake ingest --until-caught-up';
    const words = 'the embedded warehouse has left no copy for readers yet';
    throw new LakeError('warehouse_unreachable', words, { where, todo, cause: new WarehouseFailure('missing', words) });
  }
  const database = await openDatabase({ path, readOnly: true }).catch((cause: unknown) => {
    const words = classifyEmbedded(cause).message;
    throw new LakeError('warehouse_failed', `the copy of the embedded warehouse cannot be read: ${words}`, { where, cause });
  });
  const connection = await database.connect();
  const queue = createQueue();
  return {
    engine: 'duckdb',
    dialect: duckdbDialect,
    statementBytesMax: 0,
    transaction: async () => {
      throw new LakeError('bug', 'the copy for readers takes no transactions');
    },
    run: (statement, signal) =>
      queue(signal, async () => {
        try {
          return (await execute(connection, statement)).rows;
        } catch (error) {
          throw classifyEmbedded(error);
        }
      }),
    [Symbol.asyncDispose]: () =>
      queue(null, async () => {
        connection.closeSync();
        await database[Symbol.asyncDispose]();
      }),
  };
}
