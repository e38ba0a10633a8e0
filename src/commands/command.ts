// What the command line is told of a verb; each verb declares itself beside its own code.

import type { ExitCode } from '../errors.ts';
import type { CommandContext } from './context.ts';

export type CommandSpec = {
  /** As cac writes it: the verb, then `<needed>`, `[optional]` or `[...any]` words. */
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly CommandOption[];
  /** Whole command lines that work as they are. */
  readonly examples: readonly string[];
  /** What the first word may be, where the verb has actions. */
  readonly words?: readonly string[];
  readonly run: (context: CommandContext) => ExitCode | Promise<ExitCode>;
};

export type CommandOption = {
  readonly flag: string;
  readonly text: string;
  readonly default?: string;
  /** Those it takes, for completion. */
  readonly values?: readonly string[];
};

export const verbOf = ({ usage }: Pick<CommandSpec, 'usage'>): string => usage.split(' ')[0] ?? usage;
