// lake trace: where one message is, in every target that should have it. Exit 3 when one has it not, or not yet.

import { didYouMean } from '../config/suggest.ts';
import { EXIT, type ExitCode, LakeError } from '../errors.ts';
import { toOffset } from '../model/offsets.ts';
import { type MessagePlace, parsePlace, verdictOf } from '../model/trace.ts';
import { openInstallation } from '../operations/installation.ts';
import { type Trace, traceMessage } from '../operations/trace.ts';
import { kafkaFacts } from '../operations/trace-message.ts';
import type { CommandSpec } from './command.ts';
import { type CommandContext, configOf } from './context.ts';

export const trace: CommandSpec = {
  usage: 'trace <message>',
  summary: 'Where a message is, named <topic>:<partition>:<offset>: file and row, warehouse row, dead letter, or why not',
  options: [],
  examples: ['lake trace customer_events:0:18204', 'lake trace user_transaction_summary:2:977 --json'],
  run,
};

const EXITS = { found: EXIT.done, no: EXIT.no, unreachable: EXIT.unreachable } as const;

async function run(context: CommandContext): Promise<ExitCode> {
  const [word = ''] = context.args;
  const parsed = parsePlace(word);
  if (!parsed)
    throw new LakeError('usage', `${JSON.stringify(word)} names no message; one is named <topic>:<partition>:<offset>`, {
      todo: 'for example  lake trace customer_events:0:18204',
    });
  const place: MessagePlace = { ...parsed, offset: toOffset(parsed.offset) };
  const config = configOf(context);
  const feeds = config.feeds.filter(({ topic, enabled }) => topic === place.topic && enabled);
  if (feeds.length === 0) {
    const topics = config.feeds.filter(({ enabled }) => enabled).map(({ topic }) => topic);
    throw new LakeError('feed_unknown', `no enabled feed reads topic ${place.topic}${didYouMean(place.topic, topics)}`);
  }
  const { log, nowMs, newId, stop: signal } = context;
  await using installation = openInstallation({ config, log, nowMs, newId, signal });
  const found = await traceMessage(installation, feeds, place);
  report(context, place, found);
  return EXITS[verdictOf(found.answers)];
}

function report({ print }: CommandContext, { topic, partition, offset }: MessagePlace, { look, answers }: Trace): void {
  const kafka = kafkaFacts(look);
  const verdict = verdictOf(answers);
  const words = [kafka['timestamp'], kafka['key'] === null ? 'no key' : kafka['key'], kafka['value'] ?? 'no value'];
  const shown = look.kind === 'message' ? words.join(' · ') : (kafka['reason'] ?? watermarksOf(look));
  print({
    table: {
      columns: [{ title: 'feed' }, { title: 'target' }, { title: 'result' }, { title: 'where' }],
      rows: [
        ['', 'kafka', look.kind, String(shown)],
        ...answers.map(({ feed, target, status, detail }) => [feed, target, status, detail]),
      ],
    },
    json: {
      ok: verdict === 'found',
      topic,
      partition,
      offset,
      kafka,
      answers: answers.map(({ feed, target, status, detail, facts }) => ({ feed, target, status, detail, ...facts })),
    },
  });
}

const watermarksOf = (look: Trace['look']): string =>
  'bounds' in look ? `Kafka has ${look.bounds.low} to ${look.bounds.end}` : 'Kafka has no such partition';
