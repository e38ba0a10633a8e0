// Why a warehouse cannot be opened, as an error for a person: who is it, and what to run. Pure.

import type { MysqlConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { WarehouseFailure } from './warehouse.ts';

const quoted = (name: string): string => `\`${name.replaceAll('`', '``')}\``;
const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** The database is not there. */
export const UNKNOWN_DATABASE = 1049;
const PASSWORD = [1045, 1698, 1251, 1524, 1275];

function todo(failure: WarehouseFailure, { user, database, ssl }: MysqlConfig): string | undefined {
  const grant = `GRANT ALL PRIVILEGES ON ${quoted(database)}.* TO ${text(user)}@'%'`;
  if (failure.number === UNKNOWN_DATABASE)
    return `lake ingest  makes it, where ${user} may; else have it made:  CREATE DATABASE ${quoted(database)} CHARACTER SET utf8mb4`;
  if (failure.number === 1044) return `give ${user} its rights, or create the database:  ${grant}`;
  if (failure.number !== null && PASSWORD.includes(failure.number))
    return 'correct warehouse.user and warehouse.password (MYSQL_PASSWORD, --mysql-password)';
  if (failure.number === 1129) return 'run  FLUSH HOSTS  on the server';
  if (failure.number === 1130) return `let ${user} come in from this host:  CREATE USER ${text(user)}@'%' …; ${grant}`;
  if (failure.number === 3159 && ssl === false) return 'set warehouse.ssl: this server wants TLS';
  if (failure.number === null && failure.class === 'denied')
    return 'correct warehouse.ssl: the CA, the name of the host in the certificate, or switch it off';
  return undefined;
}

/** `warehouse_unreachable` for what may pass by waiting, else `warehouse_refused`. */
export function openRefused(failure: WarehouseFailure, config: MysqlConfig): LakeError {
  const { host, port, user, database } = config;
  const number = failure.number === null ? '' : ` (${failure.number})`;
  const more = { where: { target: 'warehouse' }, cause: failure };
  if (failure.class === 'wait') {
    return new LakeError('warehouse_unreachable', `warehouse ${host}:${port} is out of reach: ${failure.message}${number}`, more);
  }
  const hint = todo(failure, config);
  return new LakeError(
    'warehouse_refused',
    `warehouse ${host}:${port} refuses ${user} on ${database}: ${failure.message}${number}`,
    {
      ...more,
      ...(hint === undefined ? {} : { todo: hint }),
    },
  );
}
