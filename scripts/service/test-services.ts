// The services of one run of the tests: a Kafka, a MySQL and a MariaDB that are never the daily ones and end with the run. A
// MySQL or MariaDB that the environment names (MYSQL_HOST, MARIADB_HOST) is taken instead; tests leave nothing in it.

import { join } from 'node:path';
import { ScriptError, say } from '../common.ts';
import { startBroker } from './kafka-broker.ts';
import { loginOf, mariadb, mysql } from './mysql.ts';
import { type MysqlEngine, nameOf } from './mysql-files.ts';
import { startMysqlServer, whyNoAnswer } from './mysql-server.ts';
import { endProcess, endWithParent, freePort, type ProcessRef } from './process.ts';
import { readState, type ServiceRecord } from './service.ts';

export type TestServices = {
  /** What leads the tests to them; a server's address is a URL with its user. */
  readonly environment: Readonly<Record<string, string>>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

type Started = { readonly environment: Record<string, string>; readonly ref: ProcessRef | null };

async function startKafka(folder: string): Promise<Started> {
  const port = await freePort();
  say('starting a Kafka for the tests');
  const ref = await startBroker({ folder: join(folder, 'kafka'), port });
  const address = `127.0.0.1:${port}`;
  return { ref, environment: { KAFKA_BOOTSTRAP_SERVERS: address, LAKE_TEST_KAFKA: address } };
}

async function startSql(engine: MysqlEngine, folder: string): Promise<Started> {
  const service = engine === 'mysql' ? mysql : mariadb;
  const leadTo = (record: ServiceRecord): Record<string, string> => {
    const { host, port, user, password } = loginOf(engine, record);
    const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
    return { ...service.environment(record), [`LAKE_TEST_${engine.toUpperCase()}`]: `mysql://${login}@${host}:${port}` };
  };
  const named = service.external(readState()[engine]);
  if (named !== null) {
    const reason = await whyNoAnswer(loginOf(engine, named));
    const variables = `${engine.toUpperCase()}_HOST and ${engine.toUpperCase()}_PORT`;
    if (reason !== null)
      throw new ScriptError(`${nameOf(engine)} at ${named.address}: ${reason}; start it, or unset ${variables}`);
    say(`the tests use ${nameOf(engine)} at ${named.address}`);
    return { ref: null, environment: leadTo(named) };
  }
  const port = await freePort();
  say(`starting a ${nameOf(engine)} for the tests`);
  const { logPath, ...ref } = await startMysqlServer({ engine, folder: join(folder, engine), port });
  return { ref, environment: leadTo({ kind: 'process', address: `127.0.0.1:${port}`, log: logPath, ...ref }) };
}

/** Starts them one after the other: two at once take as long on few cores. `folder` goes with this process. */
export async function startTestServices(folder: string): Promise<TestServices> {
  const refs: ProcessRef[] = [];
  const environment: Record<string, string> = {};
  const end = async (): Promise<void> => {
    for (const ref of refs) await endProcess(ref, 'SIGKILL');
  };
  const starts = [startKafka, (path: string) => startSql('mysql', path), (path: string) => startSql('mariadb', path)];
  try {
    for (const start of starts) {
      const started = await start(folder);
      Object.assign(environment, started.environment);
      if (started.ref === null) continue;
      refs.push(started.ref);
      endWithParent(started.ref, folder);
    }
  } catch (error) {
    await end();
    throw error;
  }
  return { environment, [Symbol.asyncDispose]: end };
}
