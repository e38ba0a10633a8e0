// MySQL and MariaDB for daily work: one warehouse each. Ours let root in without a password, from this machine only.

import { makeService } from './make-service.ts';
import { type MysqlEngine, nameOf } from './mysql-files.ts';
import {
  type MysqlLogin,
  type MysqlPlace,
  serverSettings,
  settingArguments,
  startMysqlServer,
  untilReady,
  whyNoAnswer,
} from './mysql-server.ts';
import type { Service, ServiceRecord } from './service.ts';

type Kind = { readonly prefix: string; readonly defaultPort: number; readonly image: string; readonly allowEmpty: string };

const kinds: Readonly<Record<MysqlEngine, Kind>> = {
  mysql: { prefix: 'MYSQL', defaultPort: 3306, image: 'mysql:8.4', allowEmpty: 'MYSQL_ALLOW_EMPTY_PASSWORD' },
  mariadb: { prefix: 'MARIADB', defaultPort: 3307, image: 'mariadb:10.11', allowEmpty: 'MARIADB_ALLOW_EMPTY_ROOT_PASSWORD' },
};

/** host:port of the server that the environment names by MYSQL_HOST or MYSQL_PORT (or MARIADB_…); null when it names none. */
function namedAddress(prefix: string): string | null {
  const host = process.env[`${prefix}_HOST`];
  const port = process.env[`${prefix}_PORT`];
  if (!host && !port) return null;
  // localhost is how lake's own default says it, and ours is remembered by number.
  return `${!host || host === 'localhost' ? '127.0.0.1' : host}:${port || '3306'}`;
}

/** How to log in: for ours as root without a password, for one that the environment names with the user it names. */
export function loginOf(engine: MysqlEngine, { kind, address }: Pick<ServiceRecord, 'kind' | 'address'>): MysqlLogin {
  const colon = address.lastIndexOf(':');
  const { prefix } = kinds[engine];
  const given = (name: string): string | undefined => (kind === 'external' ? process.env[`${prefix}_${name}`] : undefined);
  return {
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    user: given('USER') || 'root',
    password: given('PASSWORD') ?? '',
  };
}

function service(engine: MysqlEngine): Service {
  const { prefix, defaultPort, image, allowEmpty } = kinds[engine];
  return makeService({
    name: engine,
    title: nameOf(engine),
    defaultPort,
    image,
    containerOptions: (port) => ({
      options: ['-p', `127.0.0.1:${port}:3306`, '-e', `${allowEmpty}=yes`],
      args: settingArguments(serverSettings[engine]),
    }),
    startProcess: (place: Omit<MysqlPlace, 'engine'>) => startMysqlServer({ ...place, engine }),
    whyNoAnswer: (record) => whyNoAnswer(loginOf(engine, record)),
    untilReady: (record, goneWhy) => untilReady({ title: nameOf(engine), login: loginOf(engine, record), goneWhy }),
    named: () => namedAddress(prefix),
    variable: `${prefix}_HOST and ${prefix}_PORT`,
    environment: (record) => {
      const { host, port, user, password } = loginOf(engine, record);
      const place = { [`${prefix}_HOST`]: host, [`${prefix}_PORT`]: String(port) };
      // Whoever names a server has named its user too; their password is not ours to print.
      return record.kind === 'external' ? place : { ...place, [`${prefix}_USER`]: user, [`${prefix}_PASSWORD`]: password };
    },
  });
}

export const mysql: Service = service('mysql');
export const mariadb: Service = service('mariadb');
