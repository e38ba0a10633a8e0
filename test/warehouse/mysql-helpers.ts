// What the tests of the MySQL warehouse share: a warehouse on a test's database, and the failure a piece of work ends with.

import { readdirSync, readFileSync } from 'node:fs';
import type { MysqlConfig } from '../../src/config/config.ts';
import { LakeError } from '../../src/errors.ts';
import { type MysqlOptions, openMysqlWarehouse } from '../../src/warehouse/mysql-warehouse.ts';
import { type SqlScalar, type Statement, type Warehouse, WarehouseFailure } from '../../src/warehouse/warehouse.ts';
import type { PrivateMysql, TestDatabase } from '../helpers/mysql.ts';
import { until } from '../helpers/until.ts';

export const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
export const never = new AbortController().signal;
export const sql = (text: string, ...values: SqlScalar[]): Statement => ({ text, values });

export const configOf = ({ login, database }: TestDatabase, more: Partial<MysqlConfig> = {}): MysqlConfig => ({
  engine: 'mysql',
  ...login,
  database,
  ssl: false,
  ...more,
});

type Opening = Partial<MysqlConfig> & { readonly options?: Partial<MysqlOptions> };

export const openOn = ({ options, ...more }: Opening, database: TestDatabase): Promise<Warehouse> =>
  openMysqlWarehouse(configOf(database, more), { log: silent, ...options });

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );

export async function failureOf(work: Promise<unknown>): Promise<WarehouseFailure> {
  const error = await errorOf(work);
  if (!(error instanceof WarehouseFailure)) throw error;
  return error;
}

export async function lakeErrorOf(work: Promise<unknown>): Promise<LakeError> {
  const error = await errorOf(work);
  if (!(error instanceof LakeError)) throw error;
  return error;
}

/** Class and number, as a line to compare. */
export const shown = (failure: WarehouseFailure): string => `${failure.class} ${failure.number}`;

/** Paused, and all its threads have really stopped: a signal takes its time, in which a server answers. */
export async function pauseWhole(server: PrivateMysql): Promise<void> {
  server.pause();
  const tasks = `/proc/${server.pid()}/task`;
  const stopped = (task: string): boolean => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'));
  await until(() => readdirSync(tasks).every(stopped));
}
