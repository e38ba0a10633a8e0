// Opens the warehouse that the configuration names: waits for a server that is away, makes a database that is missing.

import type { MysqlConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { openMysqlWarehouse } from './mysql-warehouse.ts';
import { createDatabase } from './own-tables.ts';
import { type Patience, patiently } from './patience.ts';
import { type Warehouse, WarehouseFailure } from './warehouse.ts';

const UNKNOWN_DATABASE = 1049;

export type OpenOptions = { readonly log: Log; readonly patience: Patience; readonly signal: AbortSignal };

/** Waits as `patience` says. Throws LakeError `warehouse_refused`, `warehouse_unreachable`, `aborted`. */
export function openWarehouse(config: MysqlConfig, options: OpenOptions): Promise<Warehouse> {
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
