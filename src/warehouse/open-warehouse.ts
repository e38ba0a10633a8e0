// Opens the warehouse that the configuration names: the embedded one, or a server, which is waited for while it is away, and whose
// database is made when it is missing.

import type { MysqlConfig, WarehouseConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { openDuckdbCopy } from './duckdb-copy.ts';
import { openDuckdbWarehouse } from './duckdb-warehouse.ts';
import { UNKNOWN_DATABASE } from './mysql-open.ts';
import { openMysqlWarehouse } from './mysql-warehouse.ts';
import { createDatabase } from './own-tables.ts';
import { type Patience, patiently } from './patience.ts';
import { type Warehouse, WarehouseFailure } from './warehouse.ts';

export type OpenOptions = { readonly log: Log; readonly patience: Patience; readonly signal: AbortSignal };
/** Of the embedded one: its private file, and how often readers get a copy at most. */
export type Embedded = { readonly statePath: string; readonly publishEveryMs: number };

/** Waits as `patience` says. Throws LakeError `warehouse_refused`, `warehouse_unreachable`, `warehouse_busy`, `aborted`. */
export function openWarehouse(config: WarehouseConfig, options: OpenOptions & Embedded): Promise<Warehouse> {
  if (config.engine === 'mysql') return openServer(config, options);
  const { statePath, publishEveryMs, log, patience } = options;
  return openDuckdbWarehouse({ path: config.path, statePath, publishEveryMs, nowMs: patience.nowMs, log });
}

/** For a look that waits for nothing: the embedded one as it was last left for readers. Throws LakeError. */
export const openToRead = (config: WarehouseConfig, options: Omit<OpenOptions, 'patience'>): Promise<Warehouse> =>
  config.engine === 'mysql' ? openMysqlWarehouse(config, options) : openDuckdbCopy(config.path);

function openServer(config: MysqlConfig, options: OpenOptions): Promise<Warehouse> {
  const { log, patience, signal } = options;
  const open = async (): Promise<Warehouse> => {
    try {
      return await openMysqlWarehouse(config, { log, signal });
    } catch (error) {
      const failure = error instanceof LakeError && error.cause instanceof WarehouseFailure ? error.cause : null;
      if (failure?.number === UNKNOWN_DATABASE) return await makeDatabase(config, options);
      // As a failure that is waited out; the words keep the host and the port.
      if (failure?.class === 'wait' && error instanceof LakeError)
        throw new WarehouseFailure('wait', error.message, { number: failure.number, cause: error });
      throw error;
    }
  };
  return patiently(open, patience, signal);
}

async function makeDatabase(config: MysqlConfig, { log, signal }: OpenOptions): Promise<Warehouse> {
  {
    await using server = await openMysqlWarehouse({ ...config, database: '' }, { log, signal });
    await server.run(createDatabase(config.database), signal);
    log.info('database_created', { target: 'warehouse', database: config.database });
  }
  return await openMysqlWarehouse(config, { log, signal });
}
