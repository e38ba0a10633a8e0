// lake completions bash|zsh|fish: the script that completes verbs, flags and names of feeds, made from the declarations of the commands.

import { EXIT, type ExitCode } from '../errors.ts';
import { type Completable, SHELLS, scriptOf } from '../model/completions.ts';
import { type CommandOption, type CommandSpec, verbOf } from './command.ts';
import { type CommandContext, oneOf } from './context.ts';
import { GLOBAL_OPTIONS } from './global-options.ts';

/** `commands`: asked when the command runs, for it is one of them. */
export const completionsOf = (commands: () => readonly CommandSpec[]): CommandSpec => ({
  usage: 'completions <shell>',
  words: SHELLS,
  summary: 'The completion script of a shell: bash, zsh or fish',
  options: [],
  examples: [
    'source <(lake completions bash)',
    'lake completions bash > /etc/bash_completion.d/lake',
    'lake completions zsh > ~/.zfunc/_lake',
    'lake completions fish > ~/.config/fish/completions/lake.fish',
  ],
  run: (context) => run(context, commands()),
});

async function run(context: CommandContext, commands: readonly CommandSpec[]): Promise<ExitCode> {
  const shell = oneOf(context.args[0] ?? '', SHELLS, 'the shell of lake completions');
  const script = scriptOf(shell, { verbs: commands.map(completable), globals: GLOBAL_OPTIONS.map(flagOf) });
  await context.stdout.send(Buffer.from(script));
  return EXIT.done;
}

const completable = (command: CommandSpec): Completable['verbs'][number] => ({
  verb: verbOf(command),
  summary: command.summary,
  words: command.words ?? [],
  takesFeeds: /feeds?\b|names/.test(command.usage.slice(verbOf(command).length)),
  flags: command.options.map(flagOf),
});

const flagOf = ({ flag, text, values = [] }: CommandOption): Completable['globals'][number] => {
  const [name = flag, value = null] = flag.split(' ');
  return { name, text, value: value?.replaceAll(/[<>]/g, '') ?? null, values };
};
