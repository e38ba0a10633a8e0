// scripts/services start|stop|status [name…]: the real services lake works with, detached, for daily use.
// What runs is remembered in .services/state.json; data and output are under .services/ too and survive a stop.

import { runScript, ScriptError, say } from './common.ts';
import { kafka } from './service/kafka.ts';
import { mariadb, mysql } from './service/mysql.ts';
import { readState, remember, type Service, type ServiceRecord } from './service/service.ts';

const all: readonly Service[] = [kafka, mysql, mariadb];
/** What lake works with unless told otherwise; MariaDB is started by name. */
export const usual: readonly Service[] = [kafka, mysql];

function describe(record: ServiceRecord): string {
  if (record.kind === 'process') return `pid ${record.pid} · output ${record.log}`;
  return record.kind === 'docker' ? `container ${record.container}` : 'not started here, so not stopped here';
}

/** Starts what is not running; returns the variables that lead lake to it. The samples alone need Kafka only. */
export async function startServices(chosen: readonly Service[] = [kafka]): Promise<Record<string, string>> {
  const environment: Record<string, string> = {};
  for (const service of chosen) {
    const record = await service.start(readState()[service.name]);
    remember(service.name, record);
    say(`${service.name} runs on ${record.address} (${describe(record)})`);
    Object.assign(environment, service.environment(record));
  }
  return environment;
}

async function stopServices(chosen: readonly Service[]): Promise<void> {
  for (const service of chosen) {
    const record = readState()[service.name];
    const stopped = record !== undefined && (await service.stop(record));
    say(stopped ? `${service.name} stopped; its data stays in .services` : `${service.name}: nothing of ours runs`);
  }
}

/** Whether those of them run that are expected to: all that were named, else whatever was started here or is named outside. */
async function printStatus(chosen: readonly Service[], named: boolean): Promise<boolean> {
  let complete = true;
  let any = false;
  for (const service of chosen) {
    const known = readState()[service.name];
    const record = service.external(known) ?? known;
    const running = record !== undefined && (await service.isRunning(record));
    complete &&= running || (!named && record === undefined);
    any ||= running;
    process.stdout.write(`${service.name}\t${running ? `running\t${record.address}\t${describe(record)}` : 'not running'}\n`);
  }
  return complete && any;
}

if (import.meta.main) {
  await runScript(async () => {
    const [verb, ...names] = process.argv.slice(2);
    const unknown = names.find((name) => !all.some((service) => service.name === name));
    if (unknown !== undefined)
      throw new ScriptError(`no service ${unknown}: there is ${all.map((service) => service.name).join(', ')}`);
    const named = names.length > 0;
    const chosen = named ? all.filter((service) => names.includes(service.name)) : all;
    if (verb === 'start') {
      const environment = await startServices(named ? chosen : usual);
      for (const [name, value] of Object.entries(environment)) process.stdout.write(`export ${name}=${value}\n`);
    } else if (verb === 'stop') await stopServices(chosen);
    else if (verb === 'status') return (await printStatus(chosen, named)) ? 0 : 3;
    else throw new ScriptError('usage: scripts/services start|stop|status [kafka] [mysql] [mariadb]');
    return 0;
  });
}
