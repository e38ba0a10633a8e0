// lake lag: how far each target is behind Kafka, and how long Kafka will keep what is not in yet.

import { EXIT, LakeError } from '../errors.ts';
import { type LagLine, lookAtLag } from '../operations/lag.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, chosenFeeds, configOf, type Table } from './context.ts';
import { lookAndShow, WATCH } from './look.ts';

export const lag: CommandSpec = {
  usage: 'lag [...feeds]',
  summary: 'How far lake and warehouse are behind Kafka, in messages and time',
  options: [WATCH, { flag: '--max <messages>', text: 'Exit 3 if a partition is further behind than this' }],
  examples: [
    'lake lag',
    'lake lag customer_events --watch',
    'lake lag --max 100000 || echo "ingest does not keep up"',
    "lake lag --json | jq '.[] | select(.seconds_to_loss != null and .seconds_to_loss < 3600)'",
  ],
  run: (context) => {
    const feeds = chosenFeeds(configOf(context), context.args);
    const max = maxOf(context);
    return lookAndShow(context, async (installation) => {
      const { lines, errors, unknownRetention } = await lookAtLag(installation, feeds);
      const isOver = lines.some((line) => isOverMax(line, max));
      const notes = unknownRetention.map(
        (topic) => `this user may not read the settings of topic ${topic}, so its time to loss is -`,
      );
      return { table: tableOf(lines, max), json: lines.map(jsonOf), errors, notes, exit: isOver ? EXIT.no : EXIT.done };
    });
  },
};

function maxOf({ flags }: CommandContext): bigint | null {
  const text = flags.text('max');
  if (text === undefined && !flags.has('max')) return null;
  if (!/^\d+$/.test(text ?? ''))
    throw new LakeError('usage', `--max is ${JSON.stringify(text ?? '')}; it takes a number of messages`);
  return BigInt(text ?? '');
}

const isOverMax = (line: LagLine, max: bigint | null): boolean => max !== null && line.lag !== null && line.lag > max;

/** DESIGN §7; docs/json-output.md. Counts are numbers, offsets texts. */
const jsonOf = ({ feed, target, topic, partition, bounds, position, lag, lagSeconds, secondsToLoss }: LagLine) => ({
  feed,
  target,
  topic,
  partition,
  position,
  low_watermark: bounds.low,
  high_watermark: bounds.high,
  last_stable_offset: bounds.end,
  lag: lag === null ? null : Number(lag),
  lag_seconds: lagSeconds,
  seconds_to_loss: secondsToLoss,
});

function tableOf(lines: readonly LagLine[], max: bigint | null): Table {
  return {
    columns: [
      { title: 'feed' },
      { title: 'target' },
      { title: 'partition', as: 'number' },
      { title: 'position', as: 'number' },
      { title: 'end', as: 'number' },
      { title: 'lag', as: 'number' },
      { title: 'behind', as: 'seconds' },
      { title: 'loss in', as: 'seconds' },
      { title: 'note' },
    ],
    rows: lines.map((line) => {
      const { feed, target, partition, position, bounds, lag, lagSeconds, secondsToLoss } = line;
      const numbers = [position, bounds.end, lag, lagSeconds, secondsToLoss].map((value) =>
        value === null ? '-' : String(value),
      );
      return [feed, target, String(partition), ...numbers, noteOf(line, max)];
    }),
  };
}

function noteOf(line: LagLine, max: bigint | null): string {
  const isEmpty = line.lag === 0n;
  const notes = {
    ...NOTES,
    ...(isEmpty && { not_started: '' }),
    expired: `Kafka has deleted ${line.bounds.low - (line.position ?? 0n)} of it unread`,
  };
  return [notes[line.standing], isOverMax(line, max) ? `over ${max}` : ''].filter((note) => note !== '').join('; ');
}

const NOTES = {
  caught_up: '',
  behind: '',
  not_started: 'not ingested yet, counted from the low watermark',
  beyond_end: 'Kafka ends before it: messages are gone, or the topic is another one',
  away: 'out of reach',
};
