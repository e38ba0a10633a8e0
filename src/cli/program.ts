// The command line: cac declares it, a command's own file runs it, exit.ts says what went wrong.

import { cac } from 'cac';
import { COMMANDS } from '../commands/all.ts';
import { type CommandSpec, verbOf } from '../commands/command.ts';
import { type CommandContext, oneOf } from '../commands/context.ts';
import { GLOBAL_OPTIONS } from '../commands/global-options.ts';
import { OVERRIDE_FLAGS } from '../config/overrides.ts';
import { didYouMean } from '../config/suggest.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { createLog, type LogFormat, type LogLevel } from '../log.ts';
import { buildInfo } from '../version.ts';
import { exitCodeOf, renderError } from './exit.ts';
import { renderJson, renderTable } from './output.ts';
import { paintFor } from './paint.ts';
import { createProgress } from './progress.ts';
import { createScreen } from './screen.ts';
import type { Terminal } from './terminal.ts';

type Flags = Readonly<Record<string, unknown>>;
type Chosen = { readonly run: CommandSpec['run']; readonly args: readonly string[] };

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

/** Never throws. */
export async function runProgram(terminal: Terminal): Promise<ExitCode> {
  let level: LogLevel = 'info';
  try {
    const { command, flags } = parse(terminal);
    if (command === null) return EXIT.done;
    level = oneOf(text(flags, 'logLevel') ?? 'info', LEVELS, '--log-level');
    return await command.run(contextOf(terminal, { flags, args: command.args }, level));
  } catch (error) {
    terminal.stderr.write(renderError(error, level, paintFor(terminal)));
    return exitCodeOf(error);
  }
}

function contextOf(
  terminal: Terminal,
  { flags, args }: { readonly flags: Flags; readonly args: readonly string[] },
  level: LogLevel,
): CommandContext {
  const format = oneOf<LogFormat>(text(flags, 'logFormat') ?? 'pretty', ['pretty', 'json'], '--log-format');
  const progress = createProgress(terminal, () => log);
  const log = createLog({
    level,
    format,
    write: (line) => progress.line(line),
    now: () => new Date(terminal.nowMs()),
    paint: paintFor(terminal),
  });
  const isJson = flags['json'] === true;
  const { env, nowMs, newId, stop, abort, onHangup, collectGarbage, stdin, stdout, stderr, ask } = terminal;
  return {
    args,
    flags: { text: (name) => text(flags, name), list: (name) => list(flags, name), has: (name) => flags[name] === true },
    configPath: text(flags, 'config') ?? 'feeds.json',
    overrides: Object.fromEntries(OVERRIDE_FLAGS.map(({ name }) => [name, text(flags, name)])),
    ...{ env, log, nowMs, newId, stop, abort, onHangup, collectGarbage, progress, stdin, stdout, ask },
    say: (text) => stderr.write(text),
    sayTable: (table) => stderr.write(renderTable(table, true)),
    isJson,
    print: ({ table, json, isAligned = stdout.isTerminal }) =>
      stdout.write(isJson ? renderJson(json) : renderTable(table, isAligned)),
    write: (text) => stdout.write(text),
    screen: createScreen(stdout, isJson),
    tell: (error) => stderr.write(renderError(error, level, paintFor(terminal))),
  };
}

function parse(terminal: Terminal): { command: Chosen | null; flags: Flags } {
  const program = cac('lake');
  let chosen: Chosen | null = null;
  const choose = (command: Chosen): void => {
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
    const verbs = COMMANDS.map(verbOf);
    throw new LakeError('usage', `there is no command ${word} (there are: ${verbs.join(', ')})${didYouMean(word, verbs)}`);
  }
  const options = [...program.globalCommand.options, ...program.matchedCommand.options];
  guarded(() => program.runMatchedCommand(), {
    flags: options.map(({ rawName }) => rawName.split(' ')[0] ?? rawName),
    todo: `see  lake ${program.matchedCommandName} --help`,
  });
  return { command: chosen, flags };
}

function declare(program: ReturnType<typeof cac>, choose: (command: Chosen) => void): void {
  for (const { flag, text, values: _, ...more } of GLOBAL_OPTIONS) program.option(flag, text, more);
  for (const { usage, summary, options, examples, run } of COMMANDS) {
    const command = program.command(usage, summary);
    for (const { flag, text, values: _, ...more } of options) command.option(flag, text, more);
    for (const example of examples) command.example(`  ${example}`);
    // One argument a word of the usage, then the options.
    command.action((...given: unknown[]) => choose({ run, args: given.slice(0, -1).flat().filter(isText).map(unmarked) }));
  }
}

const isText = (value: unknown): value is string => typeof value === 'string';

const EXAMPLES_AND_EXITS = {
  title: 'Exit codes',
  body: '  0 done · 1 failed, act · 2 usage or configuration, nothing touched · 3 the answer is no · 4 out of reach · 5 fenced · 70 bug',
};

/** cac turns 007 into 7, loses digits of large numbers, and `-`; `--flag=value` with a leading mark keeps the text. */
function textArguments(argv: readonly string[]): string[] {
  return argv.map((word) =>
    word === '-' || /^-?\d/.test(word) ? `${TEXT_MARK}${word}` : word.replace(/^(--[a-z-]+)=(?=-?\d)/, `$1=${TEXT_MARK}`),
  );
}

const TEXT_MARK = '\u0001';
const unmarked = (word: string): string => word.replaceAll(TEXT_MARK, '');

type Known = { readonly flags: readonly string[]; readonly todo?: string };

/** `flags`: those there are, for one that is not. */
function guarded<T>(work: () => T, { flags, ...more }: Known = { flags: [] }): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'CACError') throw error;
    // cac tells it in camel case.
    const unknown = /^Unknown option `(--?\w+)`$/.exec(error.message)?.[1];
    if (unknown === undefined) throw new LakeError('usage', inPlainWords(error.message), more);
    const flag = unknown.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new LakeError('usage', `there is no flag ${flag}${didYouMean(flag, flags)}`, more);
  }
}

function inPlainWords(message: string): string {
  const missing = /^missing required args for command `(.*)`$/.exec(message)?.[1];
  if (missing !== undefined) return `something is missing: it is  lake ${missing}`;
  const unused = /^Unused args: (.*)$/.exec(message)?.[1];
  return unused === undefined ? message : `${unused.replaceAll('`', '"')} is more than it takes`;
}

function text(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  if (value === undefined || value === true || value === false) return undefined;
  if (Array.isArray(value)) throw new LakeError('usage', `--${name} is given ${value.length} times`);
  return unmarked(String(value));
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
