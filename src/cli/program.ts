// The command line: cac declares it, a command's own file runs it, exit.ts says what went wrong.

import { cac } from 'cac';
import { type CommandContext, oneOf } from '../commands/context.ts';
import { feedsCommand } from '../commands/feeds.ts';
import { ingestCommand } from '../commands/ingest.ts';
import { OVERRIDE_FLAGS } from '../config/overrides.ts';
import { didYouMean } from '../config/suggest.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { createLog, type LogFormat, type LogLevel } from '../log.ts';
import { buildInfo } from '../version.ts';
import { exitCodeOf, renderError } from './exit.ts';
import { renderJson, renderTable } from './output.ts';
import { paintFor } from './paint.ts';
import { createProgress } from './progress.ts';
import type { Terminal } from './terminal.ts';

type Flags = Readonly<Record<string, unknown>>;
type Command = (context: CommandContext) => Promise<ExitCode>;

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];
const COMMANDS = ['ingest', 'feeds'];

/** Never throws. */
export async function runProgram(terminal: Terminal): Promise<ExitCode> {
  let level: LogLevel = 'info';
  try {
    const { command, flags } = parse(terminal);
    if (command === null) return EXIT.done;
    level = oneOf(text(flags, 'logLevel') ?? 'info', LEVELS, '--log-level');
    return await command(contextOf(terminal, flags, level));
  } catch (error) {
    terminal.stderr.write(renderError(error, level, paintFor(terminal)));
    return exitCodeOf(error);
  }
}

function contextOf(terminal: Terminal, flags: Flags, level: LogLevel): CommandContext {
  const format = oneOf<LogFormat>(text(flags, 'logFormat') ?? 'pretty', ['pretty', 'json'], '--log-format');
  const progress = createProgress(terminal, () => log);
  const log = createLog({
    level,
    format,
    write: (line) => progress.line(line),
    now: () => new Date(terminal.nowMs()),
    paint: paintFor(terminal),
  });
  const { env, nowMs, newId, stop, abort, collectGarbage, stdout, stderr } = terminal;
  return {
    flags: { text: (name) => text(flags, name), list: (name) => list(flags, name), has: (name) => flags[name] === true },
    configPath: text(flags, 'config') ?? 'feeds.json',
    overrides: Object.fromEntries(OVERRIDE_FLAGS.map(({ name }) => [name, text(flags, name)])),
    ...{ env, log, nowMs, newId, stop, abort, collectGarbage, progress },
    print: ({ table, json }) => stdout.write(flags['json'] === true ? renderJson(json) : renderTable(table, stdout.isTerminal)),
    tell: (error) => stderr.write(renderError(error, level, paintFor(terminal))),
  };
}

function parse(terminal: Terminal): { command: Command | null; flags: Flags } {
  const program = cac('lake');
  let chosen: Command | null = null;
  const choose = (command: Command): void => {
    chosen = command;
  };
  declare(program, choose);
  program.help((sections) => [...sections, EXAMPLES_AND_EXITS]);
  const argv = textArguments(terminal.argv);
  const flags = guarded(() => program.parse(argv, { run: false }).options as Flags);
  if (flags['version'] === true) {
    terminal.stdout.write(versionText(terminal));
    return { command: null, flags };
  }
  if (flags['help'] === true) return { command: null, flags };
  if (!program.matchedCommand) {
    const [word] = program.args;
    if (word === undefined) {
      program.outputHelp();
      return { command: null, flags };
    }
    throw new LakeError('usage', `there is no command ${word} (there are: ${COMMANDS.join(', ')})${didYouMean(word, COMMANDS)}`);
  }
  const options = [...program.globalCommand.options, ...program.matchedCommand.options];
  guarded(
    () => program.runMatchedCommand(),
    options.map(({ rawName }) => rawName.split(' ')[0] ?? rawName),
  );
  return { command: chosen, flags };
}

function declare(program: ReturnType<typeof cac>, choose: (command: Command) => void): void {
  program.option('--config <file>', 'The configuration', { default: 'feeds.json' });
  program.option('--json', 'One JSON document on stdout');
  program.option('--log-format <format>', 'pretty or json', { default: 'pretty' });
  program.option('--log-level <level>', 'error, warn, info or debug', { default: 'info' });
  program.option('--version', 'Version, commit and runtimes');
  for (const { flag, place } of OVERRIDE_FLAGS) program.option(`${flag} <value>`, `Instead of ${place} in the file`);
  program
    .command('ingest', 'Move messages from Kafka into the lake, exactly once')
    .option('--mode <mode>', 'all, lake or warehouse', { default: 'all' })
    .option('--feed <names>', 'Only these feeds, separated by commas')
    .option('--until-caught-up', 'End when everything that is in Kafka now is in')
    .option('--on-gap <action>', 'stop or record, when Kafka has already deleted messages', { default: 'stop' })
    .example('  lake ingest')
    .example('  lake ingest --feed customer_events --until-caught-up')
    .example('  lake ingest --feed customer_events --on-gap record')
    .action(() => choose(ingestCommand));
  program
    .command('feeds <action> [name]', 'list, check or enable feeds')
    .example('  lake feeds list')
    .example('  lake feeds check --config feeds.json')
    .example('  lake feeds enable customer_events')
    .action((action: string, name: string | undefined) => choose((context) => feedsCommand(context, action, name)));
}

const EXAMPLES_AND_EXITS = {
  title: 'Exit codes',
  body: '  0 done · 1 failed, act · 2 usage or configuration, nothing touched · 3 the answer is no · 4 out of reach · 5 fenced · 70 bug',
};

/** cac turns 007 into 7 and loses digits of large numbers; `--flag=value` with a leading mark keeps the text. */
function textArguments(argv: readonly string[]): string[] {
  return argv.map((word) =>
    /^-?\d/.test(word) ? `${TEXT_MARK}${word}` : word.replace(/^(--[a-z-]+)=(?=-?\d)/, `$1=${TEXT_MARK}`),
  );
}

const TEXT_MARK = '\u0001';

/** `flags`: those there are, for one that is not. */
function guarded<T>(work: () => T, flags: readonly string[] = []): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'CACError') throw error;
    // cac tells it in camel case.
    const unknown = /^Unknown option `(--?\w+)`$/.exec(error.message)?.[1];
    if (unknown === undefined) throw new LakeError('usage', error.message);
    const flag = unknown.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new LakeError('usage', `there is no flag ${flag}${didYouMean(flag, flags)}`);
  }
}

function text(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  if (value === undefined || value === true || value === false) return undefined;
  if (Array.isArray(value)) throw new LakeError('usage', `--${name} is given ${value.length} times`);
  return String(value).replaceAll(TEXT_MARK, '');
}

const list = (flags: Flags, name: string): readonly string[] =>
  (text(flags, name) ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

function versionText(terminal: Terminal): string {
  const { version, commit, ...runtimes } = buildInfo;
  if (terminal.argv.includes('--json')) return `${JSON.stringify(buildInfo)}\n`;
  const named = Object.entries(runtimes).map(([name, of]) => `${name} ${of}`);
  return `lake ${version} (commit ${commit}, ${named.join(', ')})\n`;
}
