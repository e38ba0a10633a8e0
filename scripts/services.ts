// scripts/services start|stop|status [name…]: the real services lake works with, detached, for daily use.
// What runs is remembered in .services/state.json; data and output are under .services/ too and survive a stop.

import { runScript, ScriptError, say } from './common.ts';
import { kafka } from './service/kafka.ts';
import { readState, remember, type Service, type ServiceRecord } from './service/service.ts';

const all: readonly Service[] = [kafka];

function describe(record: ServiceRecord): string {
  if (record.kind === 'process') return `pid ${record.pid} · output ${record.log}`;
  return record.kind === 'docker' ? `container ${record.container}` : 'not started here, so not stopped here';
}

/** Starts what is not running; returns the variables that lead lake to it. */
export async function startServices(chosen: readonly Service[] = all): Promise<Record<string, string>> {
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

/** Whether all of them run. */
async function printStatus(chosen: readonly Service[]): Promise<boolean> {
  let complete = true;
  for (const service of chosen) {
    const known = readState()[service.name];
    const record = service.external(known) ?? known;
    const running = record !== undefined && (await service.isRunning(record));
    complete &&= running;
    process.stdout.write(`${service.name}\t${running ? `running\t${record.address}\t${describe(record)}` : 'not running'}\n`);
  }
  return complete;
}

if (import.meta.main) {
  await runScript(async () => {
    const [verb, ...names] = process.argv.slice(2);
    const unknown = names.find((name) => !all.some((service) => service.name === name));
    if (unknown !== undefined)
      throw new ScriptError(`no service ${unknown}: there is ${all.map((service) => service.name).join(', ')}`);
    const chosen = names.length === 0 ? all : all.filter((service) => names.includes(service.name));
    if (verb === 'start') {
      const environment = await startServices(chosen);
      for (const [name, value] of Object.entries(environment)) process.stdout.write(`export ${name}=${value}\n`);
    } else if (verb === 'stop') await stopServices(chosen);
    else if (verb === 'status') return (await printStatus(chosen)) ? 0 : 3;
    else throw new ScriptError('usage: scripts/services start|stop|status [kafka]');
    return 0;
  });
}
