// lake init: a feeds.json to begin with, from flags or from answers; a file that is there is left as it is.

import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { replaceText } from '../config/config-file.ts';
import { findConfigIssues } from '../config/load.ts';
import type { Overrides } from '../config/overrides.ts';
import { starterText } from '../config/starter.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import type { CommandSpec } from './command.ts';
import type { CommandContext } from './context.ts';

export const init: CommandSpec = {
  usage: 'init',
  summary: 'Write a commented feeds.json to begin with; asks on a terminal',
  options: [
    { flag: '--yes', text: 'Ask nothing' },
    { flag: '--dry-run', text: 'Show the file, and write nothing' },
  ],
  examples: [
    'lake init',
    'lake init --yes --bootstrap-servers kafka1:9092,kafka2:9092 --timezone Europe/Berlin',
    'lake init --yes --mysql-host db1 --mysql-user lake --mysql-database data_warehouse',
    'lake init --dry-run --config /srv/lake/feeds.json',
  ],
  run,
};

const NO_TABLE = { columns: [], rows: [] };

async function run(context: CommandContext): Promise<ExitCode> {
  const { configPath: path, flags, ask } = context;
  if (existsSync(path))
    throw new LakeError('usage', `${path} is there already, and is left as it is`, {
      todo: 'add to it with  lake feeds add, or name another file with --config',
    });
  const isAsked = ask !== null && !flags.has('yes') && !flags.has('dryRun');
  const text = starterText(isAsked ? await answers(context.overrides, ask) : context.overrides);
  const read = (asked: string): string => (asked === resolve(path) ? text : '');
  const { issues } = findConfigIssues({ path, env: context.env, readText: read });
  if (issues.length > 0)
    throw new LakeError('usage', `what was given makes no feeds.json:\n${issues.map((issue) => issue.message).join('\n')}`, {
      todo: 'correct the flags; nothing was written',
    });
  const facts = { path: resolve(path), lake: resolve(dirname(path), context.overrides.lakePath ?? 'data_lake') };
  if (flags.has('dryRun')) {
    if (context.isJson) context.print({ table: NO_TABLE, json: { ...facts, text } });
    else await context.stdout.send(Buffer.from(text));
    return EXIT.done;
  }
  await replaceText(resolve(path), { before: null, after: text });
  context.print({
    table: { columns: [{ title: 'written' }, { title: 'next' }], rows: [[path, 'lake doctor, then lake feeds add <name>']] },
    json: facts,
  });
  return EXIT.done;
}

type Ask = NonNullable<CommandContext['ask']>;

/** Nothing is asked that a flag has said; Enter takes what is shown. Throws aborted. */
async function answers(given: Overrides, ask: Ask): Promise<Overrides> {
  let known = given;
  const set = async (name: keyof Overrides, question: string, preset: string): Promise<void> => {
    if (known[name] !== undefined) return;
    const answer = await ask(`${question} [${preset}]: `);
    if (answer === null) throw new LakeError('aborted', 'the questions were not answered: nothing was written');
    known = { ...known, [name]: answer.trim() === '' ? preset : answer.trim() };
  };
  await set('bootstrapServers', 'Kafka brokers, host:port', 'localhost:9092');
  await set('lakePath', 'folder of the lake', 'data_lake');
  await set('timezone', 'time zone of its days', 'UTC');
  const isSaid = Object.keys(given).some((name) => name.startsWith('mysql') && given[name as keyof Overrides] !== undefined);
  if (!isSaid) {
    const answer = await ask('a MySQL or MariaDB server beside it? host, or nothing for tables in the lake itself []: ');
    if (answer === null || answer.trim() === '') return known;
    known = { ...known, mysqlHost: answer.trim() };
  }
  await set('mysqlHost', 'host of the server', 'localhost');
  await set('mysqlPort', 'its port', '3306');
  await set('mysqlUser', 'user; the password is taken from MYSQL_PASSWORD', 'root');
  await set('mysqlDatabase', 'database', 'data_warehouse');
  return known;
}
