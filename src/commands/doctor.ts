// lake doctor: is everything there that this installation needs, and if not, what to do.

import { findConfigIssues } from '../config/load.ts';
import type { ExitCode } from '../errors.ts';
import { type DoctorLine, lines, verdictOf } from '../model/doctor.ts';
import { examine } from '../operations/doctor.ts';
import { openInstallation } from '../operations/installation.ts';
import type { CommandSpec } from './command.ts';
import type { CommandContext } from './context.ts';

export const doctor: CommandSpec = {
  usage: 'doctor',
  summary: 'Look at configuration, Kafka, warehouse, disk and host, and say what to do about what is not right',
  options: [],
  examples: ['lake doctor', 'lake doctor --json', 'lake doctor --bootstrap-servers kafka1:9092,kafka2:9092'],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const found = await examined(context);
  context.print({
    table: {
      columns: ['state', 'target', 'check', 'what', 'do'].map((title) => ({ title })),
      rows: found.map(({ state, target, check, what, todo }) => [state, target, check, what, todo ?? '']),
    },
    json: {
      ok: verdictOf(found) === 0,
      checks: found.map(({ target, check, state, what, todo }) => ({ target, check, state, what, todo })),
    },
  });
  return verdictOf(found);
}

async function examined(context: CommandContext): Promise<readonly DoctorLine[]> {
  const { configPath: path, env, overrides, log, nowMs, newId } = context;
  const { config, issues } = findConfigIssues({ path, env, overrides });
  const say = lines('config', 'file');
  if (config === null)
    return issues.map(({ text }) => say.bad({ what: text, todo: 'correct the file, then run  lake feeds check' }));
  const enabled = config.feeds.filter((feed) => feed.enabled).length;
  const what = `${path}: ${config.feeds.length} feeds, ${enabled} enabled`;
  const signal = AbortSignal.any([context.stop, context.abort]);
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const none = { what, todo: 'add a feed with  lake feeds add' };
  return [enabled > 0 ? say.ok(what) : say.warn(none), ...(await examine(installation))];
}
