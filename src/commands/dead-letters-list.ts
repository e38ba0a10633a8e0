// lake dead-letters list: which messages could not become rows, and why.

import { EXIT, type ExitCode } from '../errors.ts';
import { type Letter, messageName } from '../model/dead-letters.ts';
import { type Choice, listLetters } from '../operations/dead-letters.ts';
import { openInstallation } from '../operations/installation.ts';
import { type CommandContext, configOf } from './context.ts';

const LIMIT = 100;
const REASON_CHARS_MAX = 90;

export async function listCommand(context: CommandContext, choice: Choice): Promise<ExitCode> {
  const { log, nowMs, newId, stop: signal } = context;
  const limit = choice.selection.limit ?? LIMIT;
  await using installation = openInstallation({ config: configOf(context), log, nowMs, newId, signal });
  // One more than are shown tells whether there are more.
  const wanted = { ...choice, selection: { ...choice.selection, limit: limit + 1 } };
  const { letters: found, failures } = await listLetters(installation, wanted);
  const groups = [...Map.groupBy(found, ({ feed, target }) => `${feed} ${target}`).values()];
  const letters = groups.flatMap((group) => group.slice(0, limit));
  const isCut = groups.some((group) => group.length > limit);
  context.print({
    table: {
      columns: ['feed', 'target', 'message', 'time', 'field', 'reason'].map((title) => ({ title })),
      rows: letters.map((letter) => [
        letter.feed,
        letter.target,
        messageName(letter),
        timeOf(letter.timestampMs) ?? '',
        letter.field ?? '',
        context.stdout.isTerminal ? cut(letter.reason) : letter.reason,
      ]),
    },
    json: { letters: letters.map(letterJson), is_cut: isCut },
  });
  if (isCut) context.say(`there are more than ${limit}: see them with --limit\n`);
  for (const failure of failures) context.tell(failure);
  return failures[0]?.exit ?? EXIT.done;
}

const cut = (text: string): string => (text.length > REASON_CHARS_MAX ? `${text.slice(0, REASON_CHARS_MAX - 1)}…` : text);

/** ISO 8601 UTC. */
export const timeOf = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

export const letterJson = (letter: Letter) => ({
  feed: letter.feed,
  target: letter.target,
  topic: letter.topic,
  partition: letter.partition,
  offset: letter.offset,
  timestamp: timeOf(letter.timestampMs),
  field: letter.field,
  reason: letter.reason,
  schema_version: letter.schemaVersion,
  state: letter.state,
});
